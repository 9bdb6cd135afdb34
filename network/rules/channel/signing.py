"""Whose signatures a config update has, and whose it still needs, before it is sent anywhere.

Each element that an update changes is guarded by its mod policy (Fabric `common/configtx/update.go`
fn verifyDeltaSet). Here the same policies are asked, and what they lack is told by organisation:
so that a proposal can be carried to those who are missing, and to nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fabric_protos.common import configtx_pb2
from fabric_protos.msp import msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import RefusedUpdate, list_guarded, update_signed_data
from network.rules.identity.identity import Identity, IdentityError, read_identity
from network.rules.policy.evaluation import (
    ImplicitMetaPolicy,
    Policy,
    SignaturePolicy,
    signature_set_to_valid_identities,
)


@dataclass(frozen=True, slots=True)
class Signature:
    """Somebody's signature under an update.

    Attributes:
        msp_id: the MSP id it claims; empty where it cannot be read.
        name: the certificate's common name; empty where it cannot be read.
        valid: whether it is a right signature of a known identity, counted once.
    """

    msp_id: str
    name: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Requirement:
    """A policy that guards something the update changes.

    Attributes:
        policy: its path, such as /Channel/Application/Admins.
        rule: what it asks for, in words.
        elements: the keys of what it guards here, as Fabric names them.
        satisfied: whether the signatures are enough for it.
        missing: how many of `candidates` must still sign, at least.
        candidates: MSP ids of organisations that have not signed as it asks and could.
    """

    policy: str
    rule: str
    elements: tuple[str, ...]
    satisfied: bool
    missing: int
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        if self.satisfied:
            return f"{self.policy}: satisfied"
        if not self.candidates:
            return f"{self.policy}: nobody can satisfy it ({self.rule})"
        names = ", ".join(self.candidates)
        if self.missing >= len(self.candidates):
            return f"{self.policy}: still needs {names}"
        return f"{self.policy}: still needs {self.missing} of {names}"


def judge_signatures(
    config: ChannelConfig, envelope: configtx_pb2.ConfigUpdateEnvelope
) -> list[Requirement]:
    """Return every policy that the update must satisfy, each once, in the order of the paths.

    Raises `RefusedUpdate`, with Fabric's text, where the update does not fit the configuration.
    """
    try:
        update = configtx_pb2.ConfigUpdate.FromString(envelope.config_update)
    except DecodeError as error:
        raise RefusedUpdate(f"error unmarshalling ConfigUpdate: {error}") from None
    identities = signature_set_to_valid_identities(update_signed_data(envelope), config.msps)
    guarded: dict[str, tuple[Policy | None, list[str]]] = {}
    for element, path, policy in list_guarded(config, update):
        guarded.setdefault(path, (policy, []))[1].append(element.key)
    return [
        _judge(path, policy, elements, identities)
        for path, (policy, elements) in sorted(guarded.items())
    ]


def list_signatures(
    config: ChannelConfig, envelope: configtx_pb2.ConfigUpdateEnvelope
) -> list[Signature]:
    """Return who has signed, in order; raises `RefusedUpdate` for a header that does not parse."""
    signed = update_signed_data(envelope)
    seen: set[tuple[str, bytes]] = set()
    found = []
    for entry in signed:
        identities = signature_set_to_valid_identities([entry], config.msps)
        if identities and identities[0].key not in seen:
            seen.add(identities[0].key)
            found.append(Signature(identities[0].msp_id, identities[0].common_name, True))
        else:
            found.append(Signature(*_claim(entry.identity), False))
    return found


def _judge(
    path: str, policy: Policy | None, elements: Sequence[str], identities: Sequence[Identity]
) -> Requirement:
    if policy is None:
        return Requirement(path, "the channel has no such policy", tuple(elements), False, 0, ())
    satisfied = policy.check_identities(identities)
    missing, candidates = (0, ()) if satisfied else _find_missing(policy, identities)
    return Requirement(path, policy.needed, tuple(elements), satisfied, missing, candidates)


def _find_missing(policy: Policy, identities: Sequence[Identity]) -> tuple[int, tuple[str, ...]]:
    """How many organisations must still sign at least, and which could."""
    if isinstance(policy, ImplicitMetaPolicy):
        lacking = {
            name: _find_missing(child, identities)
            for name, child in policy.children.items()
            if not child.check_identities(identities)
        }
        wanted = policy.threshold - (len(policy.children) - len(lacking))
        able = sorted(count for count, candidates in lacking.values() if candidates)
        candidates = {one: None for _, found in lacking.values() for one in found}
        return sum(able[: max(wanted, 0)]), tuple(candidates)
    if isinstance(policy, SignaturePolicy):
        return _find_missing_signers(policy, identities)
    return 0, ()


def _find_missing_signers(
    policy: SignaturePolicy, identities: Sequence[Identity]
) -> tuple[int, tuple[str, ...]]:
    """A rule over principals: what one more signature of each named organisation would do."""
    signed = {identity.msp_id for identity in identities}
    named = [_read_msp_id(principal) for principal in policy.envelope.identities]
    organisations = tuple(dict.fromkeys(name for name in named if name))
    # Somebody of the organisation may have signed in another role than the rule asks for.
    unsigned = tuple(name for name in organisations if name not in signed) or organisations
    count = _count_needed(policy.envelope.rule, [name in signed for name in named])
    return max(1, min(count, len(unsigned))), unsigned


def _count_needed(rule: object, given: Sequence[bool]) -> int:
    """The least number of further signatures, counting organisations that signed as done."""
    kind = rule.WhichOneof("Type")  # type: ignore[attr-defined]
    if kind == "signed_by":
        index: int = rule.signed_by  # type: ignore[attr-defined]
        return 0 if index < len(given) and given[index] else 1
    gate = rule.n_out_of  # type: ignore[attr-defined]
    costs = sorted(_count_needed(part, given) for part in gate.rules)
    return sum(costs[: gate.n])


def _read_msp_id(principal: msp_principal_pb2.MSPPrincipal) -> str:
    kinds = msp_principal_pb2.MSPPrincipal
    try:
        if principal.principal_classification == kinds.ROLE:
            role = msp_principal_pb2.MSPRole.FromString(principal.principal)
            return str(role.msp_identifier)
        if principal.principal_classification == kinds.ORGANIZATION_UNIT:
            unit = msp_principal_pb2.OrganizationUnit.FromString(principal.principal)
            return str(unit.msp_identifier)
        if principal.principal_classification == kinds.IDENTITY:
            return _claim(principal.principal)[0]
    except DecodeError:
        pass
    return ""


def _claim(serialized: bytes) -> tuple[str, str]:
    try:
        identity = read_identity(serialized)
    except IdentityError:
        return "", ""
    return identity.msp_id, identity.common_name
