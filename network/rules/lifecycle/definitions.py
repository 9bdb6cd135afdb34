"""How `_lifecycle` keeps chaincode definitions in state: keys, field messages, reading and writing.

Public state holds one definition a chaincode; each organisation's implicit collection holds its
approvals and the package it runs. Only fields that change are written, so read-write sets stay
equal to Fabric's. Source: core/chaincode/lifecycle/{serializer,lifecycle}.go.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import collection_pb2, policy_pb2
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2
from google.protobuf.message import DecodeError

from network.rules.state.recorder import Recorder
from network.rules.state.snapshot import StateReader

LIFECYCLE = "_lifecycle"
NAMESPACES = "namespaces"
CHAINCODE_SOURCES = "chaincode-sources"
DEFINITION_TYPE = "ChaincodeDefinition"
PARAMETERS_TYPE = "ChaincodeParameters"
LOCAL_PACKAGE_TYPE = "ChaincodeLocalPackage"
SEQUENCE_KEY = re.compile(r"\Anamespaces/fields/([^/]+)/Sequence\Z")
"""A write to such a key (re)defines the chaincode it names."""

_IMPLICIT_PREFIX = "_implicit_org_"


class LifecycleError(Exception):
    """A lifecycle call that cannot be done; the text is Fabric's, `status` the response's."""

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class ReadableState(Protocol):
    """State that can be read by key."""

    def get(self, key: str) -> bytes | None:
        """Return the value or None."""
        ...


class WritableState(ReadableState, Protocol):
    """State that can be read and written by key."""

    def put(self, key: str, value: bytes) -> None:
        """Set the value."""
        ...

    def delete(self, key: str) -> None:
        """Remove the key."""
        ...

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return all keys that begin with `prefix` (ASCII), with their values."""
        ...


@dataclass(frozen=True, slots=True)
class PublicState:
    """The `_lifecycle` namespace through a recorder."""

    recorder: Recorder

    def get(self, key: str) -> bytes | None:
        """Return the value or None; the read is recorded."""
        return self.recorder.get_state(LIFECYCLE, key)

    def put(self, key: str, value: bytes) -> None:
        """Record the write."""
        self.recorder.put_state(LIFECYCLE, key, value)

    def delete(self, key: str) -> None:
        """Record the deletion."""
        self.recorder.delete_state(LIFECYCLE, key)

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return the keys that begin with `prefix`; the range is recorded."""
        return _collect(self.recorder.range(LIFECYCLE, prefix, prefix + "\x7f"))


@dataclass(frozen=True, slots=True)
class CommittedState:
    """The `_lifecycle` namespace as committed; reading it records nothing."""

    reader: StateReader

    def get(self, key: str) -> bytes | None:
        """Return the value or None."""
        found = self.reader.get_state(LIFECYCLE, key)
        return found.value if found else None


@dataclass(frozen=True, slots=True)
class OrgState:
    """The implicit collection of one organisation in `_lifecycle`, through a recorder."""

    recorder: Recorder
    msp_id: str

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return implicit_collection(self.msp_id)

    def get(self, key: str) -> bytes | None:
        """Return the private value or None; works on this organisation's peers."""
        return self.recorder.get_private(LIFECYCLE, self.collection, key)

    def get_hash(self, key: str) -> bytes | None:
        """Return the hash of the value; works on every peer."""
        return self.recorder.get_private_hash(LIFECYCLE, self.collection, key)

    def put(self, key: str, value: bytes) -> None:
        """Record the private write."""
        self.recorder.put_private(LIFECYCLE, self.collection, key, value)

    def delete(self, key: str) -> None:
        """Record the private deletion."""
        self.recorder.delete_private(LIFECYCLE, self.collection, key)

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return the private keys that begin with `prefix`; makes the transaction read-only."""
        return _collect(
            self.recorder.private_range(LIFECYCLE, self.collection, prefix, prefix + "\x7f")
        )


@dataclass(frozen=True, slots=True)
class ChaincodeDefinition:
    """What a channel agreed on for one chaincode, or is asked to agree on.

    `validation_parameter` is a marshalled ApplicationPolicy; `collections` a marshalled
    CollectionConfigPackage, empty when there are none.
    """

    sequence: int
    version: str
    init_required: bool = False
    endorsement_plugin: str = ""
    validation_plugin: str = ""
    validation_parameter: bytes = b""
    collections: bytes = b""

    def collection_configs(self) -> list[Any]:
        """Return the StaticCollectionConfig messages. Raises LifecycleError."""
        package = _parse(collection_pb2.CollectionConfigPackage, self.collections, "Collections")
        return [
            config.static_collection_config
            for config in package.config
            if config.WhichOneof("payload") == "static_collection_config"
        ]

    def collection(self, name: str) -> Any | None:
        """Return the StaticCollectionConfig of that name, or None."""
        for config in self.collection_configs():
            if config.name == name:
                return config
        return None

    def parameters(self) -> dict[str, bytes]:
        """Return the fields of an approval, in Fabric's order, as stored StateData."""
        endorsement = chaincode_definition_pb2.ChaincodeEndorsementInfo(
            version=self.version,
            init_required=self.init_required,
            endorsement_plugin=self.endorsement_plugin,
        )
        validation = chaincode_definition_pb2.ChaincodeValidationInfo(
            validation_plugin=self.validation_plugin,
            validation_parameter=self.validation_parameter,
        )
        return {
            "EndorsementInfo": _bytes_data(endorsement.SerializeToString()),
            "ValidationInfo": _bytes_data(validation.SerializeToString()),
            "Collections": _bytes_data(self.collections),
        }

    def fields(self) -> dict[str, bytes]:
        """Return the fields of a public definition, in Fabric's order, as stored StateData."""
        sequence = db_pb2.StateData(Int64=self.sequence).SerializeToString()
        return {"Sequence": sequence, **self.parameters()}


def implicit_collection(msp_id: str) -> str:
    """Return the name of an organisation's implicit collection."""
    return _IMPLICIT_PREFIX + msp_id


def implicit_collection_org(collection: str) -> str | None:
    """Return the MSP id an implicit collection belongs to; None for a defined collection."""
    if not collection.startswith(_IMPLICIT_PREFIX):
        return None
    return collection[len(_IMPLICIT_PREFIX) :]


def private_name(chaincode: str, sequence: int) -> str:
    """Return the name under which an approval is kept."""
    return f"{chaincode}#{sequence}"


def metadata_key(namespace: str, name: str) -> str:
    """Return the key that names a structure's type and fields."""
    return f"{namespace}/metadata/{name}"


def field_key(namespace: str, name: str, field: str) -> str:
    """Return the key of one field of a structure."""
    return f"{namespace}/fields/{name}/{field}"


def defined_chaincode(key: str) -> str | None:
    """Return the chaincode that a written `_lifecycle` key (re)defines, or None."""
    match = SEQUENCE_KEY.match(key)
    return match[1] if match else None


def get_sequence(state: ReadableState, chaincode: str) -> int:
    """Return the committed sequence, 0 when undefined.

    Every invocation of a chaincode makes this one read through its own recorder: that is how an
    upgrade in the meantime turns into an MVCC conflict (endorsement_info.go).

    Raises:
        LifecycleError: the stored value is not an integer.
    """
    data = _get_field(state, NAMESPACES, chaincode, "Sequence")
    if data.WhichOneof("Type") not in (None, "Int64"):
        raise LifecycleError(
            f"expected key {field_key(NAMESPACES, chaincode, 'Sequence')} to encode a value of"
            " type Int64"
        )
    return int(data.Int64)


def get_definition(state: ReadableState, chaincode: str) -> ChaincodeDefinition | None:
    """Return the committed definition, or None. Raises LifecycleError when it is unreadable."""
    metadata = get_metadata(state, NAMESPACES, chaincode)
    if metadata is None:
        return None
    if metadata.datatype != DEFINITION_TYPE:
        raise LifecycleError(f"not a chaincode type: {metadata.datatype}")
    return read_definition(state, chaincode, get_sequence(state, chaincode))


def read_definition(state: ReadableState, name: str, sequence: int) -> ChaincodeDefinition:
    """Return the definition stored under `name` (a chaincode, or `chaincode#sequence`)."""
    endorsement = _parse(
        chaincode_definition_pb2.ChaincodeEndorsementInfo,
        _get_field(state, NAMESPACES, name, "EndorsementInfo").Bytes,
        "EndorsementInfo",
    )
    validation = _parse(
        chaincode_definition_pb2.ChaincodeValidationInfo,
        _get_field(state, NAMESPACES, name, "ValidationInfo").Bytes,
        "ValidationInfo",
    )
    return ChaincodeDefinition(
        sequence=sequence,
        version=endorsement.version,
        init_required=endorsement.init_required,
        endorsement_plugin=endorsement.endorsement_plugin,
        validation_plugin=validation.validation_plugin,
        validation_parameter=validation.validation_parameter,
        collections=_get_field(state, NAMESPACES, name, "Collections").Bytes,
    )


def read_package_id(state: ReadableState, name: str) -> str:
    """Return the package id stored for `chaincode#sequence`, empty when none is."""
    return str(_get_field(state, CHAINCODE_SOURCES, name, "PackageID").String)


def get_metadata(state: ReadableState, namespace: str, name: str) -> Any | None:
    """Return the StateMetadata of a structure, or None. Raises LifecycleError."""
    raw = state.get(metadata_key(namespace, name))
    if raw is None:
        return None
    return _parse(db_pb2.StateMetadata, raw, f"metadata for namespace {namespace}/{name}")


def get_all_metadata(state: WritableState) -> dict[str, Any]:
    """Return name → StateMetadata of everything in `namespaces`."""
    prefix = metadata_key(NAMESPACES, "")
    return {
        key[len(prefix) :]: _parse(db_pb2.StateMetadata, raw, f"metadata for key {key}")
        for key, raw in state.with_prefix(prefix).items()
    }


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


def package_fields(package_id: str) -> dict[str, bytes]:
    """Return the fields of a ChaincodeLocalPackage as stored StateData."""
    return {"PackageID": db_pb2.StateData(String=package_id).SerializeToString()}


def policy_reference(path: str) -> bytes:
    """Return the ApplicationPolicy that refers to a channel policy."""
    policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference=path)
    return bytes(policy.SerializeToString())


def signature_policy(envelope: Any) -> bytes:
    """Return the ApplicationPolicy that holds a SignaturePolicyEnvelope."""
    policy = policy_pb2.ApplicationPolicy()
    policy.signature_policy.SetInParent()
    policy.signature_policy.CopyFrom(envelope)
    return bytes(policy.SerializeToString())


def _get_field(state: ReadableState, namespace: str, name: str, field: str) -> Any:
    key = field_key(namespace, name, field)
    return _parse(db_pb2.StateData, state.get(key) or b"", f"state for key {key}")


def _bytes_data(value: bytes) -> bytes:
    # A set oneof with empty bytes is emitted (tag and length 0), as Go does for nil.
    return bytes(db_pb2.StateData(Bytes=value).SerializeToString())


def _collect(iterator: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while True:
        page = iterator.next_page()
        for raw in page.results:
            kv = kv_query_result_pb2.KV.FromString(raw)
            found[kv.key] = kv.value
        if not page.has_more:
            return found


def _parse(kind: Any, raw: bytes, what: str) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise LifecycleError(f"could not unmarshal {what}: {error}") from error
