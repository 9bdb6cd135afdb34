"""Which peers' endorsements would satisfy a set of policies: groups of peers and layouts of groups.

The idea is that of Fabric's discovery (`discovery/endorsement/endorsement.go`), with one
simplification: a group is a set of peers that are interchangeable for the policies at hand, not a
principal. So 'Org1.member' and 'Org1.peer' are one group where Org1's peers satisfy both, and one
endorsement counts for a chaincode's and for its collection's policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from network.rules.endorsement.plan import Endorser

MAX_COMBINATIONS = 10_000
"""How many ways to satisfy one policy are looked at (Fabric's combinationsUpperBound)."""

Satisfies = Callable[[Endorser, msp_principal_pb2.MSPPrincipal], bool]
Group = frozenset[Endorser]


class NoLayout(ValueError):
    """No set of the known peers satisfies the policies; the text is Fabric's."""


@dataclass(frozen=True, slots=True)
class Layouts:
    """Ways to satisfy the policies, by group name."""

    layouts: tuple[dict[str, int], ...]
    groups: dict[str, tuple[Endorser, ...]]


def build_layouts(
    policies: Sequence[policies_pb2.SignaturePolicyEnvelope],
    peers: Sequence[Endorser],
    satisfies: Satisfies,
    has_chaincodes: Callable[[Endorser], bool] = lambda _: True,
) -> Layouts:
    """Every minimal layout that satisfies all policies with peers that have the chaincodes.

    The peers' order is kept within a group.

    Raises:
        NoLayout: there is none.
    """
    ways: list[Counter[Group]] = [Counter()]
    for policy in policies:
        ways = _merge(ways, _satisfying(policy, peers, satisfies))
    ways = [way for way in ways if _possible(way, peers)]
    if not ways:
        raise NoLayout("no peer combination can satisfy the endorsement policy")
    able = {peer for peer in peers if has_chaincodes(peer)}
    ways = [way for way in ways if all(len(group & able) >= count for group, count in way.items())]
    if not ways:
        raise NoLayout("required chaincodes are not installed on sufficient peers")
    ways = _minimal(ways)
    names = {group: f"G{number}" for number, group in enumerate(dict.fromkeys(_groups(ways)))}
    return Layouts(
        layouts=tuple({names[group]: count for group, count in way.items()} for way in ways),
        groups=_distribute(names, [peer for peer in peers if peer in able]),
    )


def _satisfying(
    policy: policies_pb2.SignaturePolicyEnvelope, peers: Sequence[Endorser], satisfies: Satisfies
) -> list[Counter[Group]]:
    """The groups and quantities of each way to satisfy one policy."""
    groups = [
        frozenset(peer for peer in peers if satisfies(peer, principal))
        for principal in policy.identities
    ]

    def ways(rule: policies_pb2.SignaturePolicy) -> list[Counter[Group]]:
        kind = rule.WhichOneof("Type")
        if kind == "signed_by":
            known = 0 <= rule.signed_by < len(groups) and groups[rule.signed_by]
            return [Counter({groups[rule.signed_by]: 1})] if known else []
        if kind != "n_out_of":
            return []
        children = [found for found in map(ways, rule.n_out_of.rules) if found]
        chosen = combinations(children, max(rule.n_out_of.n, 0))
        sums = (sum(parts, Counter[Group]()) for members in chosen for parts in product(*members))
        return list(islice(sums, MAX_COMBINATIONS))

    return ways(policy.rule)


def _merge(left: list[Counter[Group]], right: list[Counter[Group]]) -> list[Counter[Group]]:
    """One endorsement serves both policies, so the larger quantity of each group suffices."""
    merged = (one | other for one, other in product(left, right))
    return list(islice(merged, MAX_COMBINATIONS))


def _possible(way: Counter[Group], peers: Sequence[Endorser]) -> bool:
    """Enough peers in each group, and enough altogether where groups overlap."""
    union = frozenset[Endorser]().union(*way) if way else frozenset[Endorser]()
    return way.total() <= len(union & set(peers)) and all(
        len(group) >= count for group, count in way.items()
    )


def _minimal(ways: list[Counter[Group]]) -> list[Counter[Group]]:
    """Without repetitions and without ways that ask for more than another way does."""
    ordered = sorted(ways, key=lambda way: way.total())
    kept: list[Counter[Group]] = []
    for way in ordered:
        if not any(smaller <= way for smaller in kept):
            kept.append(way)
    return kept


def _groups(ways: Iterable[Counter[Group]]) -> Iterable[Group]:
    return (group for way in ways for group in way)


def _distribute(
    names: Mapping[Group, str], peers: Sequence[Endorser]
) -> dict[str, tuple[Endorser, ...]]:
    """Each peer stands in one group only: where groups overlap, in the smallest of its own."""
    placed: dict[str, list[Endorser]] = {name: [] for name in names.values()}
    for peer in peers:
        homes = [group for group in names if peer in group]
        if homes:
            placed[names[min(homes, key=len)]].append(peer)
    return {name: tuple(members) for name, members in placed.items()}
