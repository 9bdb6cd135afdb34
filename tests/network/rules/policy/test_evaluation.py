"""Policies: Fabric's greedy evaluation and counting policies."""

from collections.abc import Sequence

import pytest
from fabric_protos.common import configtx_pb2, policies_pb2
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import policy_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from network.rules.envelope import SignedData
from network.rules.identity.identity import Identity, Signer
from network.rules.identity.msp import Msp, MspManager, open_msp_config
from network.rules.identity.principals import role_principal
from network.rules.policy.application import compile_application_policy
from network.rules.policy.dsl import out_of, parse_config_policy, parse_policy, signed_by
from network.rules.policy.evaluation import (
    MalformedPolicy,
    PolicyUnsatisfied,
    compile_signature_policy,
    signature_set_to_valid_identities,
)
from network.rules.policy.manager import PolicyManager
from tests.network.consortium import make_org

ORGS = {name: make_org(name) for name in ("A", "B", "C")}
MSPS = MspManager([Msp(open_msp_config(org.msp_config)) for org in ORGS.values()])
SIGNERS: dict[str, Signer] = {
    f"{name}.{ou}{number}": org.enrol(f"{ou}{number}.{name}", ou)
    for name, org in ORGS.items()
    for ou in ("client", "peer", "admin")
    for number in (0, 1)
}
STRANGER = make_org("A").enrol("mallory", "admin")


def sign(*names: str, data: bytes = b"data") -> list[SignedData]:
    signers = [STRANGER if name == "stranger" else SIGNERS[name] for name in names]
    return [SignedData(data, signer.creator, signer.sign(data)) for signer in signers]


def satisfied(text: str, *names: str) -> bool:
    policy = compile_signature_policy(parse_policy(text), MSPS)
    try:
        policy.evaluate(sign(*names))
    except PolicyUnsatisfied:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("OR('A.peer')", ["A.peer0"], True),
        ("OR('A.peer')", ["A.client0"], False),
        ("OR('A.member')", ["A.admin0"], True),
        ("OR('A.member')", ["stranger"], False),
        ("AND('A.peer', 'B.peer')", ["B.peer0", "A.peer0"], True),
        ("AND('A.peer', 'B.peer')", ["A.peer0", "A.peer1"], False),
        ("OutOf(2, 'A.peer', 'B.peer', 'C.peer')", ["C.peer0", "A.peer1"], True),
        # One identity counts once, however often it signs.
        ("AND('A.peer', 'A.peer')", ["A.peer0", "A.peer0"], False),
        ("AND('A.peer', 'A.peer')", ["A.peer0", "A.peer1"], True),
        # Greedy: the member takes the admin, who is then missing for the second rule.
        ("AND('A.member', 'A.admin')", ["A.admin0", "A.client0"], False),
        ("AND('A.member', 'A.admin')", ["A.client0", "A.admin0"], True),
        ("AND('A.admin', 'A.member')", ["A.admin0", "A.client0"], True),
        # All gates are tried though enough are satisfied, and keep what they took.
        (
            "AND(OR('A.member', 'A.admin'), 'A.admin')",
            ["A.client0", "A.admin0"],
            False,
        ),
        # A failing gate gives back what it took.
        ("OR(AND('A.admin', 'B.admin'), 'A.admin')", ["A.admin0"], True),
        ("OutOf(0, 'A.member')", [], True),
        ("OutOf(2, 'A.member')", ["A.client0", "A.client1"], False),
    ],
)
def test_greedy_evaluation(text: str, names: list[str], expected: bool) -> None:
    assert satisfied(text, *names) is expected


def naive(rule: policies_pb2.SignaturePolicy, principals: Sequence[object], fits: object) -> object:
    """`cauthdsl.go` fn compile written down once more, with sets instead of flags."""

    def run(rule: policies_pb2.SignaturePolicy, used: frozenset[int]) -> frozenset[int] | None:
        if rule.WhichOneof("Type") == "signed_by":
            for index in range(fits.count):  # type: ignore[attr-defined]
                if index not in used and fits(index, rule.signed_by):  # type: ignore[operator]
                    return used | {index}
            return None
        hits = 0
        for part in rule.n_out_of.rules:
            after = run(part, used)
            if after is not None:
                hits, used = hits + 1, after
        return used if hits >= rule.n_out_of.n else None

    return run(rule, frozenset())


class Fits:
    def __init__(
        self, identities: list[Identity], principals: Sequence[msp_principal_pb2.MSPPrincipal]
    ) -> None:
        self.count = len(identities)
        self._identities, self._principals = identities, principals

    def __call__(self, index: int, principal: int) -> bool:
        try:
            MSPS.satisfies(self._identities[index], self._principals[principal])
        except ValueError:
            return False
        return True


def rules(principals: int) -> st.SearchStrategy[policies_pb2.SignaturePolicy]:
    return st.recursive(
        st.integers(0, principals - 1).map(signed_by),
        lambda parts: st.lists(parts, min_size=1, max_size=3).flatmap(
            lambda items: st.integers(0, len(items)).map(lambda count: out_of(count, items))
        ),
        max_leaves=8,
    )


PRINCIPALS = [role_principal(name, role) for name in ("A", "B") for role in (0, 1, 3)]
IDENTITIES = {name: MSPS.identity(signer.creator) for name, signer in SIGNERS.items()}


@settings(max_examples=300)
@given(rules(len(PRINCIPALS)), st.lists(st.sampled_from(sorted(IDENTITIES)), unique=True))
def test_evaluation_equals_the_naive_transcription(
    rule: policies_pb2.SignaturePolicy, names: list[str]
) -> None:
    identities = [IDENTITIES[name] for name in names]
    envelope = policies_pb2.SignaturePolicyEnvelope(rule=rule, identities=PRINCIPALS)
    expected = naive(rule, PRINCIPALS, Fits(identities, PRINCIPALS)) is not None
    assert compile_signature_policy(envelope, MSPS).check_identities(identities) is expected


def test_unreadable_wrong_and_repeated_signatures_are_passed_over() -> None:
    good, forged = sign("A.peer0", "B.peer0")
    entries = [
        SignedData(b"data", b"no identity", b""),
        SignedData(forged.data, forged.identity, good.signature),
        good,
        good,
    ]
    identities = signature_set_to_valid_identities(entries, MSPS)
    assert [identity.common_name for identity in identities] == ["peer0.A"]


def test_first_wrong_then_right_signature_of_one_identity_counts() -> None:
    """Only a right signature makes an identity known, so a second try is not a duplicate."""
    (good,) = sign("A.peer0")
    wrong = SignedData(b"data", good.identity, b"wrong")
    assert len(signature_set_to_valid_identities([wrong, good], MSPS)) == 1


def test_unsatisfied_tells_what_was_needed_and_who_signed() -> None:
    policy = compile_signature_policy(parse_policy("AND('A.peer', 'B.peer')"), MSPS)
    with pytest.raises(PolicyUnsatisfied) as caught:
        policy.evaluate(sign("A.peer0"))
    assert str(caught.value) == "signature set did not satisfy policy"
    assert caught.value.needed == "AND('A.peer', 'B.peer')"
    assert caught.value.given == ("A/peer0.A",)


def test_malformed_policies() -> None:
    for envelope in (
        policies_pb2.SignaturePolicyEnvelope(),
        policies_pb2.SignaturePolicyEnvelope(rule=signed_by(0)),
        policies_pb2.SignaturePolicyEnvelope(rule=signed_by(-1), identities=PRINCIPALS),
    ):
        with pytest.raises(MalformedPolicy):
            compile_signature_policy(envelope, MSPS)


# Managers and implicit policies


def group(policies: dict[str, str], **groups: configtx_pb2.ConfigGroup) -> configtx_pb2.ConfigGroup:
    result = configtx_pb2.ConfigGroup()
    for name, text in policies.items():
        result.policies[name].policy.CopyFrom(parse_config_policy(text))
    for name, child in groups.items():
        result.groups[name].CopyFrom(child)
    return result


def manager(rule: str) -> PolicyManager:
    members = {name: group({"Admins": f"OR('{name}.admin')"}) for name in ("A", "B")}
    # C has no Admins: it counts, and never agrees.
    members["C"] = group({"Readers": "OR('C.member')"})
    root = group(
        {"Admins": f"{rule} Admins"}, Application=group({"Admins": rule + " Admins"}, **members)
    )
    return PolicyManager("Channel", root, MSPS)


@pytest.mark.parametrize(
    ("rule", "names", "expected"),
    [
        ("ANY", ["A.admin0"], True),
        ("ANY", ["A.client0"], False),
        ("MAJORITY", ["A.admin0"], False),
        ("MAJORITY", ["A.admin0", "B.admin0"], True),
        ("ALL", ["A.admin0", "B.admin0", "C.admin0"], False),
    ],
)
def test_implicit_policies_count_children(rule: str, names: list[str], expected: bool) -> None:
    for path in ("/Channel/Application/Admins", "/Channel/Admins"):
        policy = manager(rule).get(path)
        try:
            policy.evaluate(sign(*names))
            result = True
        except PolicyUnsatisfied:
            result = False
        assert result is expected


def test_implicit_text_of_fabric() -> None:
    with pytest.raises(PolicyUnsatisfied) as caught:
        manager("MAJORITY").get("/Channel/Application/Admins").evaluate(sign("A.admin0"))
    assert str(caught.value) == (
        "implicit policy evaluation failed - 1 sub-policies were satisfied, but this policy "
        "requires 2 of the 'Admins' sub-policies to be satisfied"
    )
    assert "B: OR('B.admin')" in caught.value.needed


def test_implicit_policy_without_children_is_satisfied() -> None:
    for rule in ("ANY", "ALL", "MAJORITY"):
        policies = PolicyManager("Channel", group({"Admins": f"{rule} Admins"}), MSPS)
        policies.get("Admins").evaluate([])


def test_unknown_policies_reject() -> None:
    policies = manager("ANY")
    for name in (
        "/Channel/Nothing",
        "Nothing",
        "",
        "/Other/Admins",
        "/Channel",
        "/Channelx/Admins",
    ):
        assert policies.find(name) is None
        with pytest.raises(PolicyUnsatisfied, match="no such policy"):
            policies.get(name).evaluate(sign("A.admin0"))


def test_relative_names_and_managers() -> None:
    policies = manager("ANY")
    below = policies.manager(["Application", "A"])
    assert below is not None
    assert below.find("Admins") is policies.find("/Channel/Application/A/Admins")
    assert below.find("/Channel/Application/A/Admins") is below.find("Admins")
    assert below.find("/Channel/Application/B/Admins") is None
    assert policies.manager(["Nobody"]) is None
    assert policies.manager([]) is policies


class Source:
    msps = MSPS

    def __init__(self, policies: PolicyManager) -> None:
        self.find_policy = policies.find


def test_application_policies() -> None:
    source = Source(manager("MAJORITY"))
    own = policy_pb2.ApplicationPolicy(signature_policy=parse_policy("OR('C.peer')"))
    compile_application_policy(own.SerializeToString(), source).evaluate(sign("C.peer0"))
    path = policy_pb2.ApplicationPolicy(
        channel_config_policy_reference="/Channel/Application/Admins"
    )
    compile_application_policy(path.SerializeToString(), source).evaluate(
        sign("A.admin0", "B.admin0")
    )
    missing = policy_pb2.ApplicationPolicy(channel_config_policy_reference="/Channel/Gone")
    for data in (b"", b"\xff", missing.SerializeToString()):
        with pytest.raises(MalformedPolicy):
            compile_application_policy(data, source)


# Combinations
