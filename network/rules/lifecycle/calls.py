"""The `_lifecycle` system chaincode as pure functions: what each call reads, writes and answers.

`invoke` takes the function's name and its marshalled arguments and returns the marshalled result;
the peer only authorises, dispatches and endorses. Texts are Fabric's.
Source: core/chaincode/lifecycle/scc.go.
"""

from collections.abc import Callable
from typing import Any

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.message import DecodeError

from network.rules.lifecycle.agreement import (
    approve_definition,
    check_commit_readiness,
    commit_definition,
    get_org_mismatches,
    validate_definition,
)
from network.rules.lifecycle.definitions import (
    DEFINITION_TYPE,
    PARAMETERS_TYPE,
    ChaincodeDefinition,
    get_sequence,
    private_name,
    read_definition,
    read_package_id,
)
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.invocation import InstalledChaincode, Invocation
from network.rules.lifecycle.states import OrgState, WritableState
from network.rules.lifecycle.structures import (
    CHAINCODE_SOURCES,
    NAMESPACES,
    get_all_metadata,
    get_metadata,
)


def invoke(function: str, args: bytes, call: Invocation) -> bytes:
    """Run one function of `_lifecycle` and return its marshalled result.

    Raises:
        LifecycleError: the response is `error.status` with `str(error)` as message.
        SimulationError: from the recorder.
    """
    entry = _FUNCTIONS.get(function)
    if entry is None:
        raise _failed(function, f"receiver *lifecycle.Invocation.{function} does not exist")
    kind, run = entry
    try:
        result = run(kind.FromString(args), call)
    except DecodeError as error:
        raise _failed(
            function, f"could not decode input arg for *lifecycle.Invocation.{function}: {error}"
        ) from error
    except LifecycleError as error:
        if error.status != 500:  # 404 goes out with its bare text
            raise
        raise _failed(function, error.text) from error
    return bytes(result.SerializeToString())


# --- the functions of the system chaincode, in the order of scc.go ---------------------------


def _install(args: Any, call: Invocation) -> Any:
    installed = call.packages().install(args.chaincode_install_package)
    return lifecycle_pb2.InstallChaincodeResult(
        label=installed.label, package_id=installed.package_id
    )


def _query_installed(args: Any, call: Invocation) -> Any:
    installed = call.packages().get(args.package_id)
    if installed is None:
        raise _no_package(args.package_id)
    result = lifecycle_pb2.QueryInstalledChaincodeResult(
        package_id=installed.package_id, label=installed.label
    )
    _fill_references(result.references, installed)
    return result


def _get_package(args: Any, call: Invocation) -> Any:
    package = call.packages().load(args.package_id)
    if package is None:
        raise LifecycleError(
            "could not load cc install package: chaincode install package"
            f" '{args.package_id}' not found"
        )
    return lifecycle_pb2.GetInstalledChaincodePackageResult(chaincode_install_package=package)


def _query_all_installed(args: Any, call: Invocation) -> Any:
    result = lifecycle_pb2.QueryInstalledChaincodesResult()
    for installed in call.packages().list():
        entry = result.installed_chaincodes.add(
            package_id=installed.package_id, label=installed.label
        )
        _fill_references(entry.references, installed)
    return result


def _approve(args: Any, call: Invocation) -> Any:
    proposed = _proposed(args)
    validate_definition(call, args.name, proposed)
    # An unavailable or unnamed source means: approved, but not to be run on this peer.
    approve_definition(call, args.name, proposed, args.source.local_package.package_id)
    return lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgResult()


def _query_approved(args: Any, call: Invocation) -> Any:
    sequence = args.sequence
    if sequence == 0:
        sequence = get_sequence(call.public(), args.name)
        following = private_name(args.name, sequence + 1)
        if get_metadata(call.own(), NAMESPACES, following) is not None:
            sequence += 1
    metadata = get_metadata(call.own(), NAMESPACES, private_name(args.name, sequence))
    if metadata is None:
        raise LifecycleError(
            f"could not fetch approved chaincode definition (name: '{args.name}', sequence:"
            f" '{sequence}') on channel '{call.facts().channel_id}'"
        )
    result = lifecycle_pb2.QueryApprovedChaincodeDefinitionResult()
    _fill_approved(result, call.own(), args.name, sequence, metadata)
    return result


def _query_all_approved(args: Any, call: Invocation) -> Any:
    result = lifecycle_pb2.QueryApprovedChaincodeDefinitionsResult()
    for name, metadata in get_all_metadata(call.own()).items():
        chaincode, _, sequence = name.partition("#")
        if not sequence.isdecimal():
            raise LifecycleError(
                "could not extract chaincode name and sequence number from metadata:"
                f" {name}: invalid private name format: {name}"
            )
        entry = result.approved_chaincode_definitions.add(name=chaincode)
        _fill_approved(entry, call.own(), chaincode, int(sequence), metadata)
    return result


def _check_readiness(args: Any, call: Invocation) -> Any:
    _, mismatches = check_commit_readiness(call, args.name, _proposed(args))
    result = lifecycle_pb2.CheckCommitReadinessResult()
    for msp_id, items in mismatches.items():
        result.approvals[msp_id] = not items
        if items:
            result.mismatches[msp_id].items.extend(items)
    return result


def _commit(args: Any, call: Invocation) -> Any:
    proposed = _proposed(args)
    validate_definition(call, args.name, proposed)
    commit_definition(call, args.name, proposed)
    return lifecycle_pb2.CommitChaincodeDefinitionResult()


def _query_definition(args: Any, call: Invocation) -> Any:
    definition = _get_defined(call.public(), args.name)
    result = lifecycle_pb2.QueryChaincodeDefinitionResult()
    _fill_definition(result, definition)
    for msp_id, items in get_org_mismatches(call, args.name, definition).items():
        result.approvals[msp_id] = not items
    return result


def _query_definitions(args: Any, call: Invocation) -> Any:
    result = lifecycle_pb2.QueryChaincodeDefinitionsResult()
    for name, metadata in get_all_metadata(call.public()).items():
        if metadata.datatype == DEFINITION_TYPE:
            entry = result.chaincode_definitions.add(name=name)
            _fill_definition(entry, _get_defined(call.public(), name))
    return result


_FUNCTIONS: dict[str, tuple[Any, Callable[[Any, Invocation], Any]]] = {
    "InstallChaincode": (lifecycle_pb2.InstallChaincodeArgs, _install),
    "QueryInstalledChaincode": (lifecycle_pb2.QueryInstalledChaincodeArgs, _query_installed),
    "GetInstalledChaincodePackage": (
        lifecycle_pb2.GetInstalledChaincodePackageArgs,
        _get_package,
    ),
    "QueryInstalledChaincodes": (
        lifecycle_pb2.QueryInstalledChaincodesArgs,
        _query_all_installed,
    ),
    "ApproveChaincodeDefinitionForMyOrg": (
        lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs,
        _approve,
    ),
    "QueryApprovedChaincodeDefinition": (
        lifecycle_pb2.QueryApprovedChaincodeDefinitionArgs,
        _query_approved,
    ),
    "QueryApprovedChaincodeDefinitions": (
        lifecycle_pb2.QueryApprovedChaincodeDefinitionsArgs,
        _query_all_approved,
    ),
    "CheckCommitReadiness": (lifecycle_pb2.CheckCommitReadinessArgs, _check_readiness),
    "CommitChaincodeDefinition": (lifecycle_pb2.CommitChaincodeDefinitionArgs, _commit),
    "QueryChaincodeDefinition": (lifecycle_pb2.QueryChaincodeDefinitionArgs, _query_definition),
    "QueryChaincodeDefinitions": (lifecycle_pb2.QueryChaincodeDefinitionsArgs, _query_definitions),
}


# --- helpers ---------------------------------------------------------------------------------


def _proposed(args: Any) -> ChaincodeDefinition:
    return ChaincodeDefinition(
        sequence=args.sequence,
        version=args.version,
        init_required=args.init_required,
        endorsement_plugin=args.endorsement_plugin,
        validation_plugin=args.validation_plugin,
        validation_parameter=args.validation_parameter,
        collections=args.collections.SerializeToString(),
    )


def _get_defined(state: WritableState, chaincode: str) -> ChaincodeDefinition:
    metadata = get_metadata(state, NAMESPACES, chaincode)
    if metadata is None:
        raise LifecycleError(f"namespace {chaincode} is not defined", status=404)
    if metadata.datatype != DEFINITION_TYPE:
        raise LifecycleError(
            f"could not deserialize namespace {chaincode} as chaincode: type name mismatch"
            f" '{DEFINITION_TYPE}' != '{metadata.datatype}'"
        )
    return read_definition(state, chaincode, get_sequence(state, chaincode))


def _fill_definition(message: Any, definition: ChaincodeDefinition) -> None:
    message.sequence = definition.sequence
    message.version = definition.version
    message.endorsement_plugin = definition.endorsement_plugin
    message.validation_plugin = definition.validation_plugin
    message.validation_parameter = definition.validation_parameter
    message.init_required = definition.init_required
    message.collections.CopyFrom(
        collection_pb2.CollectionConfigPackage.FromString(definition.collections)
    )


def _fill_approved(
    message: Any, own: OrgState, chaincode: str, sequence: int, metadata: Any
) -> None:
    name = private_name(chaincode, sequence)
    if metadata.datatype != PARAMETERS_TYPE:
        raise LifecycleError(f"not a chaincode parameters type: {metadata.datatype}")
    _fill_definition(message, read_definition(own, name, sequence))
    if get_metadata(own, CHAINCODE_SOURCES, name) is None:
        raise LifecycleError(f"could not fetch chaincode-source metadata for {name}")
    package_id = read_package_id(own, name)
    if package_id:
        message.source.local_package.package_id = package_id
    else:
        message.source.unavailable.SetInParent()


def _fill_references(references: Any, installed: InstalledChaincode) -> None:
    for channel, chaincodes in installed.references.items():
        references[channel].SetInParent()
        for name, version in chaincodes:
            references[channel].chaincodes.add(name=name, version=version)


def _no_package(package_id: str) -> LifecycleError:
    return LifecycleError(f"chaincode install package '{package_id}' not found", status=404)


def _failed(function: str, text: str) -> LifecycleError:
    return LifecycleError(f"failed to invoke backing implementation of '{function}': {text}")
