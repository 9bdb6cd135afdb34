"""Which sets of signers would satisfy a policy: what a gateway plans endorsements from.

Source: Fabric `common/policies/inquire/inquire.go` (principal sets) and
`discovery/endorsement/endorsement.go` (layouts). Sets that contain a smaller one are left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations, product
from math import comb

from fabric_protos.common import policies_pb2
from fabric_protos.msp import identities_pb2, msp_principal_pb2
from google.protobuf.message import DecodeError

from network.rules.policy import MalformedPolicy, PolicySource, compile_application_policy

PrincipalSet = tuple[int, ...]  # indexes into the envelope's identities, sorted, with repeats

# Fabric gives up beyond this many as well (inquire.go combinationsUpperBound).
MAX_COMBINATIONS = 10_000


def satisfying_org_combinations(
    envelope: policies_pb2.SignaturePolicyEnvelope,
) -> list[Mapping[str, int]]:
    """Return the smallest sets {MSP id: how many of its identities} that can satisfy the policy.

    Fewest signers first, then by name. A policy that nothing satisfies gives an empty list; one
    that needs nobody gives a list with one empty set. Raises `MalformedPolicy` for principals that
    belong to no single MSP.
    """
    owners = [_get_msp_id(principal) for principal in envelope.identities]
    counted: dict[tuple[tuple[str, int], ...], Counter[str]] = {}
    for chosen in satisfying_principal_sets(envelope):
        count = Counter(owners[index] for index in chosen)
        counted.setdefault(tuple(sorted(count.items())), count)
    smallest = _drop_supersets(counted.values())
    return sorted(smallest, key=lambda count: (sum(count.values()), sorted(count.items())))


def application_org_combinations(policy: bytes, source: PolicySource) -> list[Mapping[str, int]]:
    """Return the combinations for ApplicationPolicy bytes, channel references followed.

    Raises `MalformedPolicy`.
    """
    return satisfying_org_combinations(compile_application_policy(policy, source).to_envelope())


def combine(
    first: Iterable[Mapping[str, int]], second: Iterable[Mapping[str, int]]
) -> list[Mapping[str, int]]:
    """Return the smallest combinations that satisfy both: one signer may count for either."""
    merged = {
        tuple(sorted((Counter(left) | Counter(right)).items()))
        for left, right in product(first, second)
    }
    smallest = _drop_supersets(Counter(dict(items)) for items in merged)
    return sorted(smallest, key=lambda count: (sum(count.values()), sorted(count.items())))


def satisfying_principal_sets(
    envelope: policies_pb2.SignaturePolicyEnvelope,
) -> list[PrincipalSet]:
    """Return the principal sets of the policy as sorted tuples of identity indexes."""
    return sorted(set(_sets(envelope.rule, len(envelope.identities))))


def _sets(rule: policies_pb2.SignaturePolicy, principals: int) -> list[PrincipalSet]:
    kind = rule.WhichOneof("Type")
    if kind == "signed_by":
        if not 0 <= rule.signed_by < principals:
            raise MalformedPolicy(f"identity index out of range, requested {rule.signed_by}")
        return [(rule.signed_by,)]
    if kind != "n_out_of":
        raise MalformedPolicy("Unknown type: <nil>:<nil>")
    parts = [_sets(part, principals) for part in rule.n_out_of.rules]
    needed = max(rule.n_out_of.n, 0)
    if comb(len(parts), needed) > MAX_COMBINATIONS:
        raise MalformedPolicy("the policy has too many ways to be satisfied to plan for")
    found: set[PrincipalSet] = set()
    for chosen in combinations(parts, needed):
        for sets in product(*chosen):
            found.add(tuple(sorted(index for single in sets for index in single)))
            if len(found) > MAX_COMBINATIONS:
                raise MalformedPolicy("the policy has too many ways to be satisfied to plan for")
    return list(found)


def _get_msp_id(principal: msp_principal_pb2.MSPPrincipal) -> str:
    kinds = msp_principal_pb2.MSPPrincipal
    kind, value = principal.principal_classification, principal.principal
    try:
        if kind == kinds.ROLE:
            return str(msp_principal_pb2.MSPRole.FromString(value).msp_identifier)
        if kind == kinds.ORGANIZATION_UNIT:
            return str(msp_principal_pb2.OrganizationUnit.FromString(value).msp_identifier)
        if kind == kinds.IDENTITY:
            return str(identities_pb2.SerializedIdentity.FromString(value).mspid)
    except DecodeError as error:
        raise MalformedPolicy(f"a principal cannot be read: {error}") from None
    raise MalformedPolicy(f"principals of type {kind} belong to no single organisation")


def _drop_supersets(counts: Iterable[Counter[str]]) -> list[Counter[str]]:
    kept: list[Counter[str]] = []
    for count in sorted(counts, key=lambda count: sum(count.values())):
        if not any(smaller <= count for smaller in kept):
            kept.append(count)
    return kept
