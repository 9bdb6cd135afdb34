"""The decision: the table of cases, the laws that hold for all, and an independent oracle."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaincode import canonical
from chaincode.consent import codes
from chaincode.consent.compiled import compile_consent
from chaincode.consent.model import (
    AccessRequest,
    Author,
    Capacity,
    Combining,
    Consent,
    ConsentPolicy,
    Criterion,
    DataItem,
    Decision,
    Directive,
    Effect,
    Obligation,
    Period,
    Rule,
    Status,
    Verdict,
)
from chaincode.consent.rules import evaluate
from tests.chaincode.consent import naive
from tests.chaincode.consent.cases import CASES, LETTERS, PATIENT, Case
from tests.chaincode.consent.generate import NOW, Generator
from tests.chaincode.consent.generate import PATIENT as SOMEBODY

SEEDS = st.integers(0, 2**40)
COMPARED = int(os.environ.get("CONSENT_COMPARISONS", "4000"))


def consents_of(case: Case) -> list[Consent]:
    author = Author("HospitalMSP", "00" * 32, Capacity.PATIENT)
    granted = [case.now - timedelta(days=len(case.directives) - i) for i in range(100)]
    return [
        Consent(f"{i:032x}", 1, PATIENT, case.status, d, author, granted[i], granted[i])
        for i, d in enumerate(case.directives)
    ]


def test_the_table_is_large_enough_and_each_row_is_its_own() -> None:
    assert len(CASES) >= 150
    rows = [(c.clause, c.what) for c in CASES]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.clause}: {c.what}")
def test_case(case: Case) -> None:
    decision = evaluate(consents_of(case), case.request, case.now, case.policy)
    assert decision.verdict is LETTERS[case.expected]
    if case.path:
        assert decision.match.path == case.path
    if case.obligations is not None:
        assert tuple(o.code for o in decision.obligations) == case.obligations
    if case.items:
        assert [i.verdict for i in decision.items] == [LETTERS[c] for c in case.items]
    # What is decided can be kept and read again as it was.
    assert canonical.decode(Decision, canonical.encode(decision)) == decision


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in CASES
        if not any(i.category for i in c.request.data)
        and not (c.clause == "closed" and c.expected == "I")
    ],
    ids=lambda c: f"{c.clause}: {c.what}",
)
def test_the_oracle_reads_each_case_alike(case: Case) -> None:
    """But rows that are malformed on purpose, and categories: the oracle has no notion of them."""
    decision = evaluate(consents_of(case), case.request, case.now, case.policy)
    verdict, items = naive.decide(consents_of(case), case.request, case.now, case.policy)
    assert (decision.verdict, [i.verdict for i in decision.items]) == (verdict, items)


def test_an_independent_evaluator_agrees() -> None:
    """`CONSENT_COMPARISONS=100000 pytest …` for the long run."""
    seen = dict.fromkeys(Verdict, 0)
    for seed in range(COMPARED):
        consents, request, policy = Generator(seed).case()
        decision = evaluate(consents, request, NOW, policy)
        verdict, items = naive.decide(consents, request, NOW, policy)
        assert (decision.verdict, [i.verdict for i in decision.items]) == (verdict, items), seed
        seen[verdict] += 1
    assert min(seen.values()) > COMPARED / 200, "the comparison has to meet every verdict"


class TestLaws:
    """Properties to hold: domain.md, consent."""

    @given(SEEDS)
    @settings(max_examples=400, deadline=None)
    def test_adding_a_deny_never_widens(self, seed: int) -> None:
        generator = Generator(seed)
        consents, request, policy = generator.case()
        rule = replace(generator.rule(0), exceptions=())
        deny = replace(
            generator.consent(9), patient=SOMEBODY, directive=Directive(Effect.DENY, rule)
        )
        at = generator.random.randint(0, len(consents))
        assert_no_wider(
            evaluate(consents, request, NOW, policy),
            evaluate([*consents[:at], deny, *consents[at:]], request, NOW, policy),
        )

    @given(SEEDS)
    @settings(max_examples=400, deadline=None)
    def test_revoking_a_permit_never_widens(self, seed: int) -> None:
        """A permit: a consent without exceptions, or one that permits all that is asked."""
        consents, request, policy = Generator(seed).case()
        request = _without_proceedings(request)
        for index, consent in enumerate(consents):
            alone = evaluate([consent], request, NOW, replace(policy, implicit=""))
            grounds = {(i.verdict, i.match.consent_id) for i in alone.items}
            permits = grounds == {(Verdict.PERMIT, consent.id)}
            if not (permits or _is_bare_permit(consent)):
                continue
            revoked = replace(consent, version=2, status=Status.INACTIVE)
            remaining = [*consents[:index], revoked, *consents[index + 1 :]]
            assert_no_wider(
                evaluate(consents, request, NOW, policy),
                evaluate(remaining, request, NOW, policy),
            )

    @given(SEEDS)
    @settings(max_examples=400, deadline=None)
    def test_the_expiry_of_a_permit_never_widens(self, seed: int) -> None:
        generator = Generator(seed)
        consents, request, policy = generator.case()
        request = _without_proceedings(request)
        rule = replace(generator.rule(0), exceptions=(), period=Period(None, "2026-06-15"))
        permit = replace(generator.consent(9), directive=Directive(Effect.PERMIT, rule))
        over = replace(rule, period=Period(None, "2026-06-14"))
        expired = replace(permit, directive=Directive(Effect.PERMIT, over))
        assert_no_wider(
            evaluate([*consents, permit], request, NOW, policy),
            evaluate([*consents, expired], request, NOW, policy),
        )

    @given(SEEDS)
    @settings(max_examples=300, deadline=None)
    def test_time_alone_closes_a_permit(self, seed: int) -> None:
        generator = Generator(seed)
        request = generator.request()
        actor = replace(request.actor, patient="", delegation="", break_glass="")
        rule = replace(generator.rule(0), period=Period(None, "2026-06-15"))
        permit = replace(generator.consent(), directive=Directive(Effect.PERMIT, rule))
        request = replace(request, actor=actor)
        for later in (NOW + timedelta(hours=12), NOW + timedelta(days=3650)):
            assert not evaluate([permit], request, later, ConsentPolicy()).permitted

    @given(SEEDS)
    @settings(max_examples=300, deadline=None)
    def test_narrowing_a_permit_never_widens(self, seed: int) -> None:
        """One more constraint on a bare permit."""
        generator = Generator(seed)
        consents, request, policy = generator.case()
        request = _without_proceedings(request)
        rule = replace(generator.rule(0), exceptions=())
        narrower = replace(rule, purposes=rule.purposes or ("TREAT",), labels=rule.labels or ("N",))
        wide = replace(generator.consent(9), directive=Directive(Effect.PERMIT, rule))
        narrow = replace(wide, directive=Directive(Effect.PERMIT, narrower))
        assert_no_wider(
            evaluate([*consents, wide], request, NOW, policy),
            evaluate([*consents, narrow], request, NOW, policy),
        )

    @given(SEEDS)
    @settings(max_examples=300, deadline=None)
    def test_narrowing_a_purpose_never_widens(self, seed: int) -> None:
        """A permit for one purpose below another, in place of the one above."""
        generator = Generator(seed)
        consents, request, policy = generator.case()
        request = _without_proceedings(request)
        above = generator.random.choice(sorted(codes.PURPOSE_CHILDREN))
        below = generator.random.choice(codes.PURPOSE_CHILDREN[above] or (above,))
        if below in (codes.EMERGENCY, codes.BREAK_GLASS):
            return  # not below, for a permit: an emergency is its own purpose
        rule = replace(generator.rule(0), exceptions=(), purposes=(above,))
        wide = replace(generator.consent(9), directive=Directive(Effect.PERMIT, rule))
        narrow = replace(wide, directive=Directive(Effect.PERMIT, replace(rule, purposes=(below,))))
        for purpose in (request.purpose, above, below):
            asked = _without_proceedings(replace(request, purpose=purpose))
            assert_no_wider(
                evaluate([*consents, wide], asked, NOW, policy),
                evaluate([*consents, narrow], asked, NOW, policy),
            )

    @given(SEEDS)
    @settings(max_examples=300, deadline=None)
    def test_a_revoked_consent_is_as_if_it_had_never_been(self, seed: int) -> None:
        """Whatever it said: from then on it neither permits nor denies."""
        consents, request, policy = Generator(seed).case()
        for index, consent in enumerate(consents):
            revoked = replace(consent, version=consent.version + 1, status=Status.INACTIVE)
            without = [c for c in consents if c.id != consent.id]
            assert evaluate([*consents, revoked], request, NOW, policy) == evaluate(
                without, request, NOW, policy
            ), index

    @given(SEEDS)
    @settings(max_examples=200, deadline=None)
    def test_learning_more_of_the_data_never_closes_what_was_open(self, seed: int) -> None:
        """An unknown is read against the requester: filling it in may only open (deny-overrides).

        Said the other way: forgetting an attribute never opens.
        """
        generator = Generator(seed)
        consents, request, policy = generator.case()
        known = generator.item(known=True)
        names = ("classes", "codes", "authors", "references", "referenced_by", "contexts")
        name = generator.random.choice(names)
        forgotten = replace(known, **{name: None})  # type: ignore[arg-type]
        policy = replace(policy, combining=Combining.DENY_OVERRIDES, implicit="")
        assert_no_wider(
            evaluate(consents, replace(request, data=(known,)), NOW, policy),
            evaluate(consents, replace(request, data=(forgotten,)), NOW, policy),
        )

    @given(SEEDS)
    @settings(max_examples=200, deadline=None)
    def test_the_same_question_has_the_same_answer(self, seed: int) -> None:
        consents, request, policy = Generator(seed).case()
        first = canonical.encode(evaluate(consents, request, NOW, policy))
        compiled = [compile_consent(c) for c in consents]
        for _ in range(2):
            assert canonical.encode(evaluate(compiled, request, NOW, policy)) == first

    @given(SEEDS)
    @settings(max_examples=300, deadline=None)
    def test_a_category_opens_nothing_that_a_record_in_it_would_not(self, seed: int) -> None:
        """Whatever passes the REDACT obligations of a category is permitted as a record."""
        generator = Generator(seed)
        consents, request, policy = generator.case()
        record = generator.item(known=True)
        kind = record.resource_type if generator.chance(0.5) else ""
        category = DataItem(category=True, resource_type=kind, custodian=record.custodian)
        whole = evaluate(consents, replace(request, data=(category,)), NOW, policy)
        if not whole.permitted or not _passes(whole.obligations, record):
            return
        one = evaluate(consents, replace(request, data=(record,)), NOW, policy)
        assert one.permitted


def assert_no_wider(before: Decision, after: Decision) -> None:
    for old, new in zip(before.items, after.items, strict=True):
        assert old.verdict is Verdict.PERMIT or new.verdict is not Verdict.PERMIT


def _is_bare_permit(consent: Consent) -> bool:
    directive = consent.directive
    return directive.decision is Effect.PERMIT and not directive.rule.exceptions


def _without_proceedings(request: AccessRequest) -> AccessRequest:
    """42 CFR 2.31 makes a general permit a denial for HLEGAL, so there it is no permit."""
    return replace(request, purpose="TREAT") if request.purpose == "HLEGAL" else request


def _passes(obligations: tuple[Obligation, ...], record: DataItem) -> bool:
    """What a release service does with REDACT: certain matches out, only certain matches in."""
    for obligation in obligations:
        if obligation.code != "REDACT":
            continue
        if any(_selects(c, Effect.DENY, record) for c in obligation.matching):
            return False
        if obligation.excepting and not any(
            _selects(c, Effect.PERMIT, record) for c in obligation.excepting
        ):
            return False
    return True


def _selects(criterion: Criterion, effect: Effect, record: DataItem) -> bool:
    rule = Rule(
        labels=criterion.labels,
        classes=criterion.classes,
        resource_types=criterion.resource_types,
        document_types=criterion.document_types,
        codes=criterion.codes,
        data_period=criterion.data_period,
        data=criterion.data,
    )
    anybody = Generator(0).request()
    held = naive.holds(rule, effect, replace(anybody, purpose="TREAT"), record, NOW)
    return held is True or (held is None and effect is Effect.DENY)


def test_of_several_versions_the_newest_counts() -> None:
    case = CASES[0]
    (old,) = consents_of(case)
    new = replace(old, version=2, status=Status.INACTIVE)
    assert evaluate([old], case.request, case.now, case.policy).permitted
    for order in ([old, new], [new, old]):
        assert not evaluate(order, case.request, case.now, case.policy).permitted


def test_another_patients_consent_says_nothing() -> None:
    case = CASES[0]
    (consent,) = consents_of(case)
    other = replace(consent, patient="77" * 16)
    decision = evaluate([other], case.request, case.now, case.policy)
    assert decision.verdict is Verdict.NOT_APPLICABLE


def test_an_indeterminate_decision_names_the_problem() -> None:
    consent = replace(consents_of(CASES[0])[0], directive=Directive(None))
    decision = evaluate([consent], CASES[0].request, NOW, CASES[0].policy)
    assert decision.problems == (f"{consent.id}: the base decision is not determined",)
