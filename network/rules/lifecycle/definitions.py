"""Chaincode definitions: what a channel agreed on, and what an organisation approved.

Source: core/chaincode/lifecycle/lifecycle.go.
"""

import re
from dataclasses import dataclass
from typing import Any

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2

from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.states import PublicState, ReadableState
from network.rules.lifecycle.structures import (
    CHAINCODE_SOURCES,
    NAMESPACES,
    field_key,
    get_field,
    get_metadata,
    open_stored,
)

DEFINITION_TYPE = "ChaincodeDefinition"
PARAMETERS_TYPE = "ChaincodeParameters"
LOCAL_PACKAGE_TYPE = "ChaincodeLocalPackage"
SEQUENCE_KEY = re.compile(r"\Anamespaces/fields/([^/]+)/Sequence\Z")
"""A write to such a key (re)defines the chaincode it names."""


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
        package = open_stored(
            collection_pb2.CollectionConfigPackage, self.collections, "Collections"
        )
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


def private_name(chaincode: str, sequence: int) -> str:
    """Return the name under which an approval is kept."""
    return f"{chaincode}#{sequence}"


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
    data = get_field(state, NAMESPACES, chaincode, "Sequence")
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


def read_committed(public: PublicState, chaincode: str) -> ChaincodeDefinition | None:
    """Return the committed definition, or None, leaving Fabric's reads in the read-write set.

    Without one Fabric falls back to the old lifecycle, whose read becomes part of the set too.

    Raises:
        LifecycleError: what is stored is unreadable.
    """
    definition = get_definition(public, chaincode)
    if definition is None:
        public.recorder.get_state("lscc", chaincode)
    return definition


def read_definition(state: ReadableState, name: str, sequence: int) -> ChaincodeDefinition:
    """Return the definition stored under `name` (a chaincode, or `chaincode#sequence`)."""
    endorsement = open_stored(
        chaincode_definition_pb2.ChaincodeEndorsementInfo,
        get_field(state, NAMESPACES, name, "EndorsementInfo").Bytes,
        "EndorsementInfo",
    )
    validation = open_stored(
        chaincode_definition_pb2.ChaincodeValidationInfo,
        get_field(state, NAMESPACES, name, "ValidationInfo").Bytes,
        "ValidationInfo",
    )
    return ChaincodeDefinition(
        sequence=sequence,
        version=endorsement.version,
        init_required=endorsement.init_required,
        endorsement_plugin=endorsement.endorsement_plugin,
        validation_plugin=validation.validation_plugin,
        validation_parameter=validation.validation_parameter,
        collections=get_field(state, NAMESPACES, name, "Collections").Bytes,
    )


def read_package_id(state: ReadableState, name: str) -> str:
    """Return the package id stored for `chaincode#sequence`, empty when none is."""
    return str(get_field(state, CHAINCODE_SOURCES, name, "PackageID").String)


def package_fields(package_id: str) -> dict[str, bytes]:
    """Return the fields of a ChaincodeLocalPackage as stored StateData."""
    return {"PackageID": db_pb2.StateData(String=package_id).SerializeToString()}


def _bytes_data(value: bytes) -> bytes:
    # A set oneof with empty bytes is emitted (tag and length 0), as Go does for nil.
    return bytes(db_pb2.StateData(Bytes=value).SerializeToString())
