"""How organisations come to agree on a chaincode's definition: each approves, one commits.

Texts are Fabric's. Source: core/chaincode/lifecycle/{lifecycle,scc}.go.
"""

from dataclasses import replace

from network.rules.lifecycle.collections import validate_collections
from network.rules.lifecycle.definitions import (
    DEFINITION_TYPE,
    LOCAL_PACKAGE_TYPE,
    PARAMETERS_TYPE,
    ChaincodeDefinition,
    get_definition,
    get_sequence,
    package_fields,
    private_name,
    read_committed,
    read_definition,
    read_package_id,
)
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.invocation import ChannelFacts, Invocation
from network.rules.lifecycle.names import CHAINCODE_NAME, CHAINCODE_VERSION, SYSTEM_NAMES
from network.rules.lifecycle.states import OrgState, PublicState
from network.rules.lifecycle.structures import (
    CHAINCODE_SOURCES,
    NAMESPACES,
    find_mismatches,
    get_metadata,
    write_structure,
)
from network.rules.policy.application import policy_reference
from network.rules.policy.manager import ENDORSEMENT


def check_commit_readiness(
    call: Invocation, chaincode: str, proposed: ChaincodeDefinition
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
    call: Invocation, chaincode: str, definition: ChaincodeDefinition
) -> dict[str, list[str]]:
    """Return per MSP id what its approval differs in: [] is agreement."""
    name = private_name(chaincode, definition.sequence)
    return {
        org.msp_id: find_mismatches(org, NAMESPACES, name, PARAMETERS_TYPE, definition.parameters())
        for org in call.orgs()
    }


def commit_definition(call: Invocation, chaincode: str, proposed: ChaincodeDefinition) -> None:
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
    call: Invocation, chaincode: str, proposed: ChaincodeDefinition, package_id: str
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


def validate_definition(call: Invocation, chaincode: str, proposed: ChaincodeDefinition) -> None:
    """Refuse bad names, versions and collections. Raises LifecycleError."""
    try:
        _validate_names(chaincode, proposed.version)
        validate_collections(
            proposed.collections, read_committed(call.public(), chaincode), call.facts().msps
        )
    except LifecycleError as error:
        raise LifecycleError(f"error validating chaincode definition: {error.text}") from error


def _with_defaults(facts: ChannelFacts, proposed: ChaincodeDefinition) -> ChaincodeDefinition:
    parameter = proposed.validation_parameter
    if not parameter:
        if not facts.has_default_endorsement:
            raise LifecycleError(
                "could not set defaults for chaincode definition in channel"
                f" {facts.channel_id}: policy '{ENDORSEMENT}' must be defined for channel"
                f" '{facts.channel_id}' before chaincode operations can be attempted"
            )
        parameter = policy_reference(ENDORSEMENT)
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
    if not CHAINCODE_NAME.fullmatch(chaincode):
        raise LifecycleError(
            f"invalid chaincode name '{chaincode}'. Names can only consist of alphanumerics, '_',"
            " and '-' and can only begin with alphanumerics"
        )
    if chaincode in SYSTEM_NAMES:
        raise LifecycleError(f"chaincode name '{chaincode}' is the name of a system chaincode")
    if not CHAINCODE_VERSION.fullmatch(version):
        raise LifecycleError(
            f"invalid chaincode version '{version}'. Versions can only consist of alphanumerics,"
            " '_', '-', '+', and '.'"
        )
