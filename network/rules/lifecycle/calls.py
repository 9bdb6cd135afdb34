"""The `_lifecycle` system chaincode as pure functions: what each call reads, writes and answers.

`invoke` takes the function's name and its marshalled arguments and returns the marshalled result;
the peer only authorises, dispatches and endorses. Texts are Fabric's.
Source: core/chaincode/lifecycle/{scc,lifecycle}.go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fabric_protos.peer import collection_pb2
from fabric_protos.peer.lifecycle import lifecycle_pb2
from google.protobuf.message import DecodeError

from network.rules.lifecycle.collections import validate_collections
from network.rules.lifecycle.definitions import (
    CHAINCODE_SOURCES,
    DEFINITION_TYPE,
    LOCAL_PACKAGE_TYPE,
    NAMESPACES,
    PARAMETERS_TYPE,
    ChaincodeDefinition,
    LifecycleError,
    OrgState,
    PublicState,
    WritableState,
    find_mismatches,
    get_all_metadata,
    get_definition,
    get_metadata,
    get_sequence,
    package_fields,
    policy_reference,
    private_name,
    read_definition,
    read_package_id,
    write_structure,
)
from network.rules.state.recorder import Recorder

DEFAULT_ENDORSEMENT = "/Channel/Application/Endorsement"

_NAME = re.compile(r"\A[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*\Z")
_VERSION = re.compile(r"\A[A-Za-z0-9_.+-]+\Z")
_SYSTEM_NAMES = frozenset({"cscc", "escc", "lscc", "qscc", "vscc"})


@dataclass(frozen=True, slots=True)
class InstalledChaincode:
    """A package in the peer's store; `references` maps channel → (chaincode, version) using it."""

    package_id: str
    label: str
    references: Mapping[str, Sequence[tuple[str, str]]]


class ChaincodeStore(Protocol):
    """The peer's installed packages."""

    def install(self, package: bytes) -> InstalledChaincode:
        """Store a package. Raises LifecycleError, also when it is installed already."""
        ...

    def get(self, package_id: str) -> InstalledChaincode | None:
        """Return what is installed under the id, or None."""
        ...

    def load(self, package_id: str) -> bytes | None:
        """Return the package's bytes, or None."""
        ...

    def list(self) -> Sequence[InstalledChaincode]:
        """Return everything installed."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What lifecycle must know of a channel's configuration.

    `msp_ids` are the application organisations, `msps` the channel's MspManager.
    """

    channel_id: str
    msp_ids: tuple[str, ...]
    msps: Any
    has_default_endorsement: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation: the peer's organisation, its packages and, on a channel, a recorder."""

    msp_id: str
    store: ChaincodeStore | None = None
    recorder: Recorder | None = None
    channel: ChannelFacts | None = None

    def public(self) -> PublicState:
        """Return the public lifecycle state. Raises LifecycleError without a channel."""
        return PublicState(self._recorder())

    def own(self) -> OrgState:
        """Return the state of the peer's own organisation."""
        return OrgState(self._recorder(), self.msp_id)

    def orgs(self) -> list[OrgState]:
        """Return the state of every organisation of the channel; only hashes can be read."""
        return [OrgState(self._recorder(), msp_id) for msp_id in self.facts().msp_ids]

    def facts(self) -> ChannelFacts:
        """Return the channel's facts. Raises LifecycleError without a channel."""
        if self.channel is None:
            raise LifecycleError("no application config for channel ''")
        return self.channel

    def packages(self) -> ChaincodeStore:
        """Return the store of packages. Raises LifecycleError where there is none."""
        if self.store is None:
            raise LifecycleError("no chaincode packages are kept here")
        return self.store

    def _recorder(self) -> Recorder:
        if self.recorder is None:
            raise LifecycleError("invalid channel-less operation")
        return self.recorder


def invoke(function: str, args: bytes, call: Call) -> bytes:
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


def check_commit_readiness(
    call: Call, chaincode: str, proposed: ChaincodeDefinition
) -> tuple[ChaincodeDefinition, dict[str, list[str]]]:
    """Return the definition with defaults filled in, and per MSP id what that approval differs in.

    Raises:
        LifecycleError: the sequence is not the next one, or the channel lacks the default policy.
    """
    current = get_sequence(call.public(), chaincode)
    if proposed.sequence != current + 1:
        raise LifecycleError(
            f"requested sequence is {proposed.sequence}, but new definition must be sequence"
            f" {current + 1}"
        )
    definition = _with_defaults(call.facts(), proposed)
    return definition, get_org_mismatches(call, chaincode, definition)


def get_org_mismatches(
    call: Call, chaincode: str, definition: ChaincodeDefinition
) -> dict[str, list[str]]:
    """Return per MSP id what its approval differs in: [] is agreement."""
    name = private_name(chaincode, definition.sequence)
    return {
        org.msp_id: find_mismatches(org, NAMESPACES, name, PARAMETERS_TYPE, definition.parameters())
        for org in call.orgs()
    }


def commit_definition(call: Call, chaincode: str, proposed: ChaincodeDefinition) -> None:
    """Write the definition to public state, if the peer's own organisation has approved it.

    Other organisations' approvals are not enforced here: each endorses only what it approved, and
    the lifecycle endorsement policy counts the endorsements. Raises LifecycleError.
    """
    if call.msp_id not in call.facts().msp_ids:
        raise LifecycleError(
            "impossibly, this peer's org is processing requests for a channel it is not a member of"
        )
    definition, mismatches = check_commit_readiness(call, chaincode, proposed)
    write_structure(call.public(), NAMESPACES, chaincode, DEFINITION_TYPE, definition.fields())
    if mismatches[call.msp_id]:
        raise LifecycleError(f"chaincode definition not agreed to by this org ({call.msp_id})")


def approve_definition(
    call: Call, chaincode: str, proposed: ChaincodeDefinition, package_id: str
) -> None:
    """Write the approval and the package id to the organisation's own collection.

    Raises:
        LifecycleError: sequence out of turn, other parameters than committed, or nothing new.
    """
    public, own = call.public(), call.own()
    current = get_sequence(public, chaincode)
    _validate_sequence(current, proposed.sequence)
    definition = _with_defaults(call.facts(), proposed)
    name = private_name(chaincode, definition.sequence)
    if definition.sequence == current:
        _validate_equals_committed(public, chaincode, definition)
    if _is_unchanged(own, name, definition, package_id):
        if definition.sequence == current:
            raise LifecycleError(
                f"attempted to redefine the current committed sequence ({current}) for namespace"
                f" {chaincode}"
            )
        raise LifecycleError(
            f"attempted to redefine uncommitted sequence ({definition.sequence}) for namespace"
            f" {chaincode} with unchanged content"
        )
    write_structure(own, NAMESPACES, name, PARAMETERS_TYPE, definition.parameters())
    # Written even when empty: that is how an organisation stops endorsing a chaincode.
    write_structure(own, CHAINCODE_SOURCES, name, LOCAL_PACKAGE_TYPE, package_fields(package_id))


def validate_definition(call: Call, chaincode: str, proposed: ChaincodeDefinition) -> None:
    """Refuse bad names, versions and collections. Raises LifecycleError."""
    try:
        _validate_names(chaincode, proposed.version)
        validate_collections(
            proposed.collections, _get_committed(call, chaincode), call.facts().msps
        )
    except LifecycleError as error:
        raise LifecycleError(f"error validating chaincode definition: {error.text}") from error


# --- the functions of the system chaincode, in the order of scc.go ---------------------------


def _install(args: Any, call: Call) -> Any:
    installed = call.packages().install(args.chaincode_install_package)
    return lifecycle_pb2.InstallChaincodeResult(
        label=installed.label, package_id=installed.package_id
    )


def _query_installed(args: Any, call: Call) -> Any:
    installed = call.packages().get(args.package_id)
    if installed is None:
        raise _no_package(args.package_id)
    result = lifecycle_pb2.QueryInstalledChaincodeResult(
        package_id=installed.package_id, label=installed.label
    )
    _fill_references(result.references, installed)
    return result


def _get_package(args: Any, call: Call) -> Any:
    package = call.packages().load(args.package_id)
    if package is None:
        raise LifecycleError(
            "could not load cc install package: chaincode install package"
            f" '{args.package_id}' not found"
        )
    return lifecycle_pb2.GetInstalledChaincodePackageResult(chaincode_install_package=package)


def _query_all_installed(args: Any, call: Call) -> Any:
    result = lifecycle_pb2.QueryInstalledChaincodesResult()
    for installed in call.packages().list():
        entry = result.installed_chaincodes.add(
            package_id=installed.package_id, label=installed.label
        )
        _fill_references(entry.references, installed)
    return result


def _approve(args: Any, call: Call) -> Any:
    proposed = _proposed(args)
    validate_definition(call, args.name, proposed)
    # An unavailable or unnamed source means: approved, but not to be run on this peer.
    approve_definition(call, args.name, proposed, args.source.local_package.package_id)
    return lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgResult()


def _query_approved(args: Any, call: Call) -> Any:
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


def _query_all_approved(args: Any, call: Call) -> Any:
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


def _check_readiness(args: Any, call: Call) -> Any:
    _, mismatches = check_commit_readiness(call, args.name, _proposed(args))
    result = lifecycle_pb2.CheckCommitReadinessResult()
    for msp_id, items in mismatches.items():
        result.approvals[msp_id] = not items
        if items:
            result.mismatches[msp_id].items.extend(items)
    return result


def _commit(args: Any, call: Call) -> Any:
    proposed = _proposed(args)
    validate_definition(call, args.name, proposed)
    commit_definition(call, args.name, proposed)
    return lifecycle_pb2.CommitChaincodeDefinitionResult()


def _query_definition(args: Any, call: Call) -> Any:
    definition = _get_defined(call.public(), args.name)
    result = lifecycle_pb2.QueryChaincodeDefinitionResult()
    _fill_definition(result, definition)
    for msp_id, items in get_org_mismatches(call, args.name, definition).items():
        result.approvals[msp_id] = not items
    return result


def _query_definitions(args: Any, call: Call) -> Any:
    result = lifecycle_pb2.QueryChaincodeDefinitionsResult()
    for name, metadata in get_all_metadata(call.public()).items():
        if metadata.datatype == DEFINITION_TYPE:
            entry = result.chaincode_definitions.add(name=name)
            _fill_definition(entry, _get_defined(call.public(), name))
    return result


_FUNCTIONS: dict[str, tuple[Any, Callable[[Any, Call], Any]]] = {
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


def _with_defaults(facts: ChannelFacts, proposed: ChaincodeDefinition) -> ChaincodeDefinition:
    parameter = proposed.validation_parameter
    if not parameter:
        if not facts.has_default_endorsement:
            raise LifecycleError(
                "could not set defaults for chaincode definition in channel"
                f" {facts.channel_id}: policy '{DEFAULT_ENDORSEMENT}' must be defined for channel"
                f" '{facts.channel_id}' before chaincode operations can be attempted"
            )
        parameter = policy_reference(DEFAULT_ENDORSEMENT)
    return replace(
        proposed,
        endorsement_plugin=proposed.endorsement_plugin or "escc",
        validation_plugin=proposed.validation_plugin or "vscc",
        validation_parameter=parameter,
    )


def _validate_sequence(current: int, requested: int) -> None:
    if current == requested == 0:
        raise LifecycleError("requested sequence is 0, but first definable sequence number is 1")
    if requested < current:
        raise LifecycleError(
            f"currently defined sequence {current} is larger than requested sequence {requested}"
        )
    if requested > current + 1:
        raise LifecycleError(
            f"requested sequence {requested} is larger than the next available sequence number"
            f" {current + 1}"
        )


def _validate_equals_committed(
    public: PublicState, chaincode: str, definition: ChaincodeDefinition
) -> None:
    committed = get_definition(public, chaincode)
    if committed is None:
        raise LifecycleError(
            f"missing metadata for currently committed sequence number ({definition.sequence})"
        )
    difference = _find_difference(committed, definition)
    if difference:
        raise LifecycleError(
            f"attempted to redefine the current committed sequence ({definition.sequence}) for"
            f" namespace {chaincode} with different parameters: {difference}"
        )


def _find_difference(expected: ChaincodeDefinition, passed: ChaincodeDefinition) -> str | None:
    pairs = (
        ("Version", expected.version, passed.version),
        ("EndorsementPlugin", expected.endorsement_plugin, passed.endorsement_plugin),
        (
            "InitRequired",
            str(expected.init_required).lower(),
            str(passed.init_required).lower(),
        ),
        ("ValidationPlugin", expected.validation_plugin, passed.validation_plugin),
        (
            "ValidationParameter",
            expected.validation_parameter.hex(),
            passed.validation_parameter.hex(),
        ),
    )
    for name, one, other in pairs:
        if one != other:
            return f"expected {name} '{one}' does not match passed {name} '{other}'"
    return None if expected.collections == passed.collections else "Collections do not match"


def _is_unchanged(
    own: OrgState, name: str, definition: ChaincodeDefinition, package_id: str
) -> bool:
    if get_metadata(own, NAMESPACES, name) is None:
        return False
    approved = read_definition(own, name, definition.sequence)
    if _find_difference(approved, definition):
        return False
    if get_metadata(own, CHAINCODE_SOURCES, name) is None:
        return False
    return read_package_id(own, name) == package_id


def _validate_names(chaincode: str, version: str) -> None:
    if not _NAME.match(chaincode):
        raise LifecycleError(
            f"invalid chaincode name '{chaincode}'. Names can only consist of alphanumerics, '_',"
            " and '-' and can only begin with alphanumerics"
        )
    if chaincode in _SYSTEM_NAMES:
        raise LifecycleError(f"chaincode name '{chaincode}' is the name of a system chaincode")
    if not _VERSION.match(version):
        raise LifecycleError(
            f"invalid chaincode version '{version}'. Versions can only consist of alphanumerics,"
            " '_', '-', '+', and '.'"
        )


def _get_committed(call: Call, chaincode: str) -> ChaincodeDefinition | None:
    public = call.public()
    definition = get_definition(public, chaincode)
    if definition is None:
        # Fabric looks in the old lifecycle too; the read belongs to the read-write set.
        public.recorder.get_state("lscc", chaincode)
    return definition


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
