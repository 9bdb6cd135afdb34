"""Private data collections: who may use them, which exist, and whether a proposed set is sound.

Besides the collections of a definition, every chaincode has an implicit one for each organisation
of the channel. Sources: core/chaincode/lifecycle/{scc,deployedcc_infoprovider}.go,
core/common/privdata/store.go.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import collection_pb2
from google.protobuf.message import DecodeError

from network.rules.identity.identity import IdentityError
from network.rules.lifecycle.definitions import ChaincodeDefinition, read_committed
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import COLLECTION_NAME, LIFECYCLE
from network.rules.lifecycle.states import PublicState, implicit_collection, implicit_collection_org
from network.rules.policy.dsl import n_of_members
from network.rules.policy.evaluation import MalformedPolicy, compile_signature_policy
from network.rules.state.recorder import CollectionNames, Recorder, SimulationError


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether the creator of a transaction may read and write a collection."""

    read: bool
    write: bool


def channel_collections(msp_ids: Sequence[str]) -> CollectionNames:
    """Return the lookup a Recorder needs, for a channel of these application organisations.

    The lookup reads the definition through the recorder, so that the reads become part of the
    read-write set as they do in Fabric.
    """
    implicit = frozenset(implicit_collection(msp_id) for msp_id in msp_ids)

    def names(recorder: Recorder, chaincode: str) -> frozenset[str] | None:
        if chaincode == LIFECYCLE:
            return implicit
        definition = read_committed(PublicState(recorder), chaincode)
        if definition is None:
            return None
        return implicit | {config.name for config in definition.collection_configs()}

    return names


def get_collection(recorder: Recorder, chaincode: str, name: str) -> Any | None:
    """Return the StaticCollectionConfig of a collection, read through the recorder, or None."""
    if chaincode == LIFECYCLE:
        definition: ChaincodeDefinition | None = ChaincodeDefinition(0, "")
    else:
        definition = read_committed(PublicState(recorder), chaincode)
    if definition is None:
        return None
    msp_id = implicit_collection_org(name)
    return build_implicit_collection(msp_id) if msp_id is not None else definition.collection(name)


def build_implicit_collection(
    msp_id: str, *, required_peers: int = 0, maximum_peers: int = 0
) -> Any:
    """Return the configuration of an organisation's implicit collection.

    The peer counts are core.yaml's for the peer's own organisation and 0 for others.
    """
    config = collection_pb2.StaticCollectionConfig(
        name=implicit_collection(msp_id),
        required_peer_count=required_peers,
        maximum_peer_count=maximum_peers,
    )
    config.member_orgs_policy.signature_policy.CopyFrom(n_of_members(1, [msp_id]))
    return config


def check_permission(
    recorder: Recorder,
    channel_id: str,
    chaincode: str,
    collection: str,
    is_member: Callable[[Any], bool],
) -> Permission:
    """Return what the creator may do with the collection.

    `is_member` evaluates a SignaturePolicyEnvelope (the member policy) on the signed proposal.
    Ask once a collection and transaction and keep the answer: Fabric reads the definition once.

    Raises:
        SimulationError: there is no such collection.
    """
    config = get_collection(recorder, chaincode, collection)
    if config is None:
        raise SimulationError(
            f"collection {channel_id}/{chaincode}/{collection} could not be found"
        )
    open_to_all = not config.member_only_read and not config.member_only_write
    if open_to_all or is_member(config.member_orgs_policy.signature_policy):
        return Permission(read=True, write=True)
    return Permission(read=not config.member_only_read, write=not config.member_only_write)


def is_member(policy: Any, identity: bytes, msps: Any) -> bool:
    """Whether a peer's SerializedIdentity satisfies a member policy (SignaturePolicyEnvelope).

    `msps` is the channel's MspManager. What cannot be evaluated takes nobody.
    """
    try:
        return compile_signature_policy(policy, msps).check_identities([msps.identity(identity)])
    except (IdentityError, MalformedPolicy):
        return False


def validate_collections(package: bytes, committed: ChaincodeDefinition | None, msps: Any) -> None:
    """Refuse a proposed collection package that a channel cannot use.

    `msps` is the channel's MspManager; `committed` the definition to be replaced.

    Raises:
        LifecycleError: with Fabric's text.
    """
    configs = _open_package(package)
    seen: set[str] = set()
    for config in configs:
        _validate_collection(config, seen, msps)
        seen.add(config.name)
    if committed is not None:
        _validate_kept(configs, committed.collection_configs())


def _validate_collection(config: Any, seen: set[str], msps: Any) -> None:
    name = config.name
    if not COLLECTION_NAME.fullmatch(name):
        raise LifecycleError(
            f"invalid collection name '{name}'. Names can only consist of alphanumerics, '_', and"
            " '-' and cannot begin with '_'"
        )
    if name in seen:
        raise LifecycleError(
            f"collection-name: {name} -- found duplicate in collection configuration"
        )
    if config.maximum_peer_count < config.required_peer_count:
        raise LifecycleError(
            f"collection-name: {name} -- maximum peer count ({config.maximum_peer_count}) cannot"
            f" be less than the required peer count ({config.required_peer_count})"
        )
    if config.required_peer_count < 0:
        raise LifecycleError(
            f"collection-name: {name} -- requiredPeerCount ({config.required_peer_count}) cannot"
            " be less than zero"
        )
    _validate_members(config, msps)


def _validate_members(config: Any, msps: Any) -> None:
    if not config.HasField("member_orgs_policy"):
        raise LifecycleError(f"collection member policy is not set for collection '{config.name}'")
    if config.member_orgs_policy.WhichOneof("payload") != "signature_policy":
        raise LifecycleError(
            f"collection member org policy is empty for collection '{config.name}'"
        )
    envelope = config.member_orgs_policy.signature_policy
    problem = _find_policy_problem(envelope.rule, len(envelope.identities))
    if problem:
        raise LifecycleError(f"invalid member org policy for collection '{config.name}': {problem}")
    _validate_or_concatenation(config.name, envelope.rule)
    for principal in envelope.identities:
        _validate_member(config.name, principal, msps)


def _find_policy_problem(rule: Any, identities: int) -> str | None:
    # common/cauthdsl/cauthdsl.go fn compile: what cannot be compiled is no policy.
    match rule.WhichOneof("Type"):
        case "signed_by":
            if not 0 <= rule.signed_by < identities:
                return (
                    f"identity index out of range, requested {rule.signed_by}, but identities"
                    f" length is {identities}"
                )
            return None
        case "n_out_of":
            problems = (_find_policy_problem(sub, identities) for sub in rule.n_out_of.rules)
            return next((problem for problem in problems if problem), None)
        case _:
            return "Unknown type: <nil>"


def _validate_or_concatenation(name: str, rule: Any) -> None:
    if rule.WhichOneof("Type") != "n_out_of":
        return
    if rule.n_out_of.n != 1:
        raise LifecycleError(
            f"collection-name: {name} -- error in member org policy: signature policy is not an OR"
            f" concatenation, NOutOf {rule.n_out_of.n}"
        )
    for sub in rule.n_out_of.rules:
        _validate_or_concatenation(name, sub)


def _validate_member(name: str, principal: Any, msps: Any) -> None:
    kinds = {
        msp_principal_pb2.MSPPrincipal.ROLE: (msp_principal_pb2.MSPRole, "MSPRole"),
        msp_principal_pb2.MSPPrincipal.ORGANIZATION_UNIT: (
            msp_principal_pb2.OrganizationUnit,
            "OrganizationUnit",
        ),
    }
    classification = principal.principal_classification
    if classification in kinds:
        kind, what = kinds[classification]
        try:
            msp_id = kind.FromString(principal.principal).msp_identifier
        except DecodeError as error:
            raise LifecycleError(
                f"collection-name: {name} -- cannot unmarshal identity bytes into {what}: {error}"
            ) from error
        if msp_id not in msps.msps:
            raise LifecycleError(
                f"collection-name: {name} -- collection member '{msp_id}' is not part of the"
                " channel"
            )
    elif classification == msp_principal_pb2.MSPPrincipal.IDENTITY:
        try:
            msps.identity(principal.principal)
        except ValueError as error:
            raise LifecycleError(
                f"collection-name: {name} -- contains an identity that is not part of the channel"
            ) from error
    else:
        shown = msp_principal_pb2.MSPPrincipal.Classification.Name(classification)
        raise LifecycleError(f"collection-name: {name} -- principal type {shown} is not supported")


def _validate_kept(proposed: list[Any], committed: list[Any]) -> None:
    if not committed:
        return
    if not proposed:
        raise LifecycleError(
            "the proposed collection config does not contain previously defined collections"
        )
    by_name = {config.name: config for config in proposed}
    for old in committed:
        new = by_name.get(old.name)
        if new is None:
            raise LifecycleError(
                f"existing collection [{old.name}] missing in the proposed collection configuration"
            )
        if new.block_to_live != old.block_to_live:
            raise LifecycleError(
                f"the BlockToLive in an existing collection [{old.name}] modified. Existing value"
                f" [{old.block_to_live}]"
            )


def _open_package(package: bytes) -> list[Any]:
    try:
        configs = collection_pb2.CollectionConfigPackage.FromString(package).config
    except DecodeError as error:
        raise LifecycleError(f"could not unmarshal collections: {error}") from error
    for config in configs:
        if config.WhichOneof("payload") != "static_collection_config":
            raise LifecycleError("collection config contains unexpected payload type: <nil>")
    return [config.static_collection_config for config in configs]
