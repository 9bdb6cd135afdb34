"""Structures in the state of `_lifecycle`: fields under keys of their own, and what names them.

Only fields that change are written, so read-write sets stay equal to Fabric's.
Source: core/chaincode/lifecycle/serializer.go.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fabric_protos.peer.lifecycle import db_pb2
from google.protobuf.message import DecodeError

from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.states import OrgState, ReadableState, WritableState

NAMESPACES = "namespaces"
CHAINCODE_SOURCES = "chaincode-sources"


def metadata_key(namespace: str, name: str) -> str:
    """Return the key that names a structure's type and fields."""
    return f"{namespace}/metadata/{name}"


def field_key(namespace: str, name: str, field: str) -> str:
    """Return the key of one field of a structure."""
    return f"{namespace}/fields/{name}/{field}"


def get_metadata(state: ReadableState, namespace: str, name: str) -> Any | None:
    """Return the StateMetadata of a structure, or None. Raises LifecycleError."""
    raw = state.get(metadata_key(namespace, name))
    if raw is None:
        return None
    return open_stored(db_pb2.StateMetadata, raw, f"metadata for namespace {namespace}/{name}")


def get_all_metadata(state: WritableState) -> dict[str, Any]:
    """Return name → StateMetadata of everything in `namespaces`."""
    prefix = metadata_key(NAMESPACES, "")
    return {
        key[len(prefix) :]: open_stored(db_pb2.StateMetadata, raw, f"metadata for key {key}")
        for key, raw in state.with_prefix(prefix).items()
    }


def get_field(state: ReadableState, namespace: str, name: str, field: str) -> Any:
    """Return the StateData of a field, empty when it is not stored. Raises LifecycleError."""
    key = field_key(namespace, name, field)
    return open_stored(db_pb2.StateData, state.get(key) or b"", f"state for key {key}")


def write_structure(
    state: WritableState, namespace: str, name: str, datatype: str, fields: Mapping[str, bytes]
) -> None:
    """Store a structure, writing only what differs from what is stored."""
    metadata = get_metadata(state, namespace, name) or db_pb2.StateMetadata()
    existing = {}
    for field in metadata.fields:
        key = field_key(namespace, name, field)
        existing[key] = state.get(key)
    for field, data in fields.items():
        key = field_key(namespace, name, field)
        if existing.pop(key, None) != data:
            state.put(key, data)
    if existing or metadata.datatype != datatype or len(metadata.fields) != len(fields):
        state.put(metadata_key(namespace, name), build_metadata(datatype, fields))
    for key in existing:
        state.delete(key)


def find_mismatches(
    state: OrgState, namespace: str, name: str, datatype: str, fields: Mapping[str, bytes]
) -> list[str]:
    """Return what differs between the structure and the hashes stored: [] when all agrees.

    The datatype's name alone means that nothing is stored at all.
    """
    keys = [metadata_key(namespace, name), *(field_key(namespace, name, f) for f in fields)]
    hashes = {key: state.get_hash(key) for key in keys}
    if hashes[keys[0]] != sha256(build_metadata(datatype, fields)).digest():
        return [datatype]
    return [
        field
        for field, data in fields.items()
        if hashes[field_key(namespace, name, field)] != sha256(data).digest()
    ]


def build_metadata(datatype: str, fields: Mapping[str, bytes]) -> bytes:
    """Return the StateMetadata bytes of a structure."""
    message = db_pb2.StateMetadata(datatype=datatype, fields=fields.keys())
    return bytes(message.SerializeToString())


def open_stored(kind: Any, raw: bytes, what: str) -> Any:
    """Return the message of class `kind` in stored bytes. Raises LifecycleError, naming `what`."""
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise LifecycleError(f"could not unmarshal {what}: {error}") from error
