"""Configurations and their updates as JSON, the very form that configtxlator writes and reads.

Fabric's `protolator` (fabric-config): field names as in the .proto files, 64-bit numbers as text,
bytes in base64, and every bytes field that holds another message written out as that message, so
that a person can read and change it. What a field holds follows from where it stands; the table of
that is `_find_kind`.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2, policies_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2
from fabric_protos.orderer.smartbft import configuration_pb2 as smartbft_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from network.rules.channel.configvalues import (
    APPLICATION_ORG_VALUES,
    APPLICATION_VALUES,
    CHANNEL_VALUES,
    ORDERER_ORG_VALUES,
    ORDERER_VALUES,
)

_VALUES: Mapping[str, Mapping[str, type[Message]]] = {
    "channel": CHANNEL_VALUES,
    "Orderer": ORDERER_VALUES,
    "Orderer/organization": ORDERER_ORG_VALUES,
    "Application": APPLICATION_VALUES,
    "Application/organization": APPLICATION_ORG_VALUES,
    "Consortiums": {},
    "Consortiums/organization": {"ChannelCreationPolicy": policies_pb2.Policy},
    "Consortiums/organization/organization": {"MSP": msp_config_pb2.MSPConfig},
}
_PLAIN: Mapping[tuple[str, str], type[Message]] = {
    ("common.Envelope", "payload"): common_pb2.Payload,
    ("common.Header", "channel_header"): common_pb2.ChannelHeader,
    ("common.Header", "signature_header"): common_pb2.SignatureHeader,
    ("common.SignatureHeader", "creator"): identities_pb2.SerializedIdentity,
    ("common.BlockData", "data"): common_pb2.Envelope,
    ("common.ConfigUpdateEnvelope", "config_update"): configtx_pb2.ConfigUpdate,
    ("common.ConfigSignature", "signature_header"): common_pb2.SignatureHeader,
}
_PAYLOADS: Mapping[int, type[Message]] = {
    common_pb2.CONFIG: configtx_pb2.ConfigEnvelope,
    common_pb2.CONFIG_UPDATE: configtx_pb2.ConfigUpdateEnvelope,
}
_POLICIES: Mapping[int, type[Message]] = {
    policies_pb2.Policy.SIGNATURE: policies_pb2.SignaturePolicyEnvelope,
    policies_pb2.Policy.IMPLICIT_META: policies_pb2.ImplicitMetaPolicy,
}
_PRINCIPALS: Mapping[int, type[Message]] = {
    msp_principal_pb2.MSPPrincipal.ROLE: msp_principal_pb2.MSPRole,
    msp_principal_pb2.MSPPrincipal.ORGANIZATION_UNIT: msp_principal_pb2.OrganizationUnit,
    msp_principal_pb2.MSPPrincipal.IDENTITY: identities_pb2.SerializedIdentity,
}
_CONSENSUS: Mapping[str, type[Message]] = {
    "etcdraft": etcdraft_pb2.ConfigMetadata,
    "BFT": smartbft_pb2.Options,
}
_GROUPS = ("common.Config", "common.ConfigUpdate")


class InvalidConfigJson(ValueError):
    """The JSON is none of a configuration; tells the place as a path of names."""


def format_config_json(message: Any) -> str:
    """Return a Config, ConfigUpdate, Envelope or Block, or a part of one, as configtxlator's JSON.

    Raises `InvalidConfigJson` where bytes do not hold the message that stands there.
    """
    tree = to_tree(message)
    return json.dumps(tree, indent="\t", sort_keys=True, ensure_ascii=False) + "\n"


def parse_config_json(text: str, kind: type[Message]) -> Any:
    """Return the message that the JSON tells; raises `InvalidConfigJson`."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfigJson(f"is no JSON: {error}") from None
    return from_tree(tree, kind)


def to_tree(message: Any, place: str = "") -> dict[str, Any]:
    """Return the message as plain values; ``place`` says which group of a channel it is."""
    tree: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if _is_map(field):
            tree[field.name] = {
                key: _to_value(value[key], message, field, _descend(message, field, place, key))
                for key in value
            }
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            inner = _descend(message, field, place)
            tree[field.name] = [_to_value(entry, message, field, inner) for entry in value]
        elif field.message_type is not None and not message.HasField(field.name):
            tree[field.name] = None
        else:
            tree[field.name] = _to_value(value, message, field, _descend(message, field, place))
    return tree


def from_tree(tree: Any, kind: type[Message], place: str = "", path: str = "") -> Any:
    """Return the message of plain values; raises `InvalidConfigJson` with the path of the fault."""
    if not isinstance(tree, dict):
        raise InvalidConfigJson(f"{path or 'the document'} should be an object")
    message: Any = kind()
    known = message.DESCRIPTOR.fields_by_name
    for name in tree:
        if name not in known:
            raise InvalidConfigJson(
                f"{_join(path, name)}: there is no such field in {message.DESCRIPTOR.full_name}; "
                f"there are: {', '.join(sorted(known))}"
            )
    # What a bytes field holds may follow from a field beside it: those go first.
    for field in sorted(message.DESCRIPTOR.fields, key=_is_bytes):
        value = tree.get(field.name)
        if value is not None:
            _set_field(message, field, value, place, _join(path, field.name))
    return message


def _set_field(message: Any, field: Any, value: Any, place: str, path: str) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        if not isinstance(value, dict):
            raise InvalidConfigJson(f"{path} should be an object")
        for key, entry in value.items():
            inner, where = _descend(message, field, place, key), _join(path, key)
            made = _from_value(entry, message, field, inner, where)
            if isinstance(made, Message):
                target[key].CopyFrom(made)
            else:
                target[key] = made
    elif field.label == FieldDescriptor.LABEL_REPEATED:
        if not isinstance(value, list):
            raise InvalidConfigJson(f"{path} should be a list")
        inner = _descend(message, field, place)
        for index, entry in enumerate(value):
            made = _from_value(entry, message, field, inner, f"{path}[{index}]")
            target.append(made)
    else:
        made = _from_value(value, message, field, _descend(message, field, place), path)
        if isinstance(made, Message):
            target.CopyFrom(made)
        else:
            setattr(message, field.name, made)


def _to_value(value: Any, message: Any, field: Any, place: str) -> Any:
    scalar = _get_scalar(field)
    if scalar.message_type is not None:
        if _is_well_known(scalar):
            return json_format.MessageToDict(value)
        return to_tree(value, place)
    if scalar.type == FieldDescriptor.TYPE_BYTES:
        kind = _find_kind(message, field, place)
        if kind is None:
            return base64.b64encode(value).decode() if value or not _is_extension(field) else None
        if not value:
            return None
        try:
            return to_tree(kind.FromString(value), place)
        except DecodeError as error:
            name = f"{message.DESCRIPTOR.full_name}.{field.name}"
            raise InvalidConfigJson(
                f"{name} holds no {kind.DESCRIPTOR.full_name}: {error}"
            ) from None
    if scalar.type == FieldDescriptor.TYPE_ENUM:
        known = scalar.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    if scalar.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return str(value)
    return value


def _from_value(value: Any, message: Any, field: Any, place: str, path: str) -> Any:
    scalar = _get_scalar(field)
    try:
        if scalar.message_type is not None:
            if _is_well_known(scalar):
                made: Any = scalar.message_type._concrete_class()
                return json_format.ParseDict(value, made)
            return from_tree(value, scalar.message_type._concrete_class, place, path)
        if scalar.type == FieldDescriptor.TYPE_BYTES:
            kind = _find_kind(message, field, place)
            if kind is not None and not isinstance(value, str):
                content = from_tree(value, kind, place, path)
                return bytes(content.SerializeToString(deterministic=True))
            return _read_base64(value)
        if scalar.type == FieldDescriptor.TYPE_ENUM and isinstance(value, str):
            return scalar.enum_type.values_by_name[value].number
        if scalar.cpp_type in _INTEGERS:
            return _read_integer(value)
        _validate_type(value, scalar)
    except (json_format.ParseError, binascii.Error, KeyError, ValueError) as error:
        if isinstance(error, InvalidConfigJson):
            raise
        raise InvalidConfigJson(f"{path}: {value!r} is no {_name_type(scalar)}") from None
    return value


_INTEGERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)


def _read_integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("no number")
    return int(value)


def _read_base64(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("no text")
    return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)


def _validate_type(value: Any, field: Any) -> None:
    wanted = bool if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else str
    if not isinstance(value, wanted):
        raise ValueError("another type")


def _name_type(field: Any) -> str:
    if field.message_type is not None:
        return str(field.message_type.full_name)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "base64"
    if field.type == FieldDescriptor.TYPE_ENUM:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    if field.cpp_type in _INTEGERS:
        return "whole number"
    return "true or false" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "text"


def _descend(message: Any, field: Any, place: str, key: str = "") -> str:
    """The place of what a field holds: groups of a channel have names, values of groups too."""
    name = message.DESCRIPTOR.full_name
    if name in _GROUPS:
        return "channel"
    if name != "common.ConfigGroup":
        return place if name == "common.ConfigValue" else ""
    if field.name == "groups":
        if place == "channel":
            return key
        return f"{place}/organization"
    return f"{place}:{key}" if field.name == "values" else ""


def _find_kind(message: Any, field: Any, place: str) -> type[Message] | None:
    """The message that a bytes field holds; None where it holds plain bytes."""
    name = message.DESCRIPTOR.full_name
    if name == "common.ConfigValue":
        group, _, key = place.rpartition(":")
        return _VALUES.get(group, {}).get(key)
    if (name, field.name) == ("common.Payload", "data"):
        header = common_pb2.ChannelHeader.FromString(message.header.channel_header)
        return _PAYLOADS.get(header.type)
    if (name, field.name) == ("common.Policy", "value"):
        return _POLICIES.get(message.type)
    if (name, field.name) == ("common.MSPPrincipal", "principal"):
        return _PRINCIPALS.get(message.principal_classification)
    if (name, field.name) == ("msp.MSPConfig", "config"):
        return msp_config_pb2.FabricMSPConfig if message.type == 0 else None
    if (name, field.name) == ("orderer.ConsensusType", "metadata"):
        return _CONSENSUS.get(message.type)
    return _PLAIN.get((name, field.name))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_extension(field: Any) -> bool:
    """A channel header's extension: what it holds follows from the type; absent is null."""
    return bool(field.full_name == "common.ChannelHeader.extension")


def _is_bytes(field: Any) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_BYTES)


def _get_scalar(field: Any) -> Any:
    """The field itself, or for a map the field of its values."""
    return field.message_type.fields_by_name["value"] if _is_map(field) else field


def _is_well_known(field: Any) -> bool:
    return str(field.message_type.full_name).startswith("google.protobuf.")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
