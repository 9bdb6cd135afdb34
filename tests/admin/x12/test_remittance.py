"""835s out: balanced on every line, every claim and in total, whatever was decided."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.x12.guides import find_faults
from admin.x12.partners import Member, Payee, Payer, Profile
from admin.x12.remittance import (
    Paid,
    Payment,
    UnbalancedError,
    build_remittance,
    merge_payments,
    validate_rows,
)
from admin.x12.writer import Address, SetOut, build_interchange, money
from chaincode.claims.adjudication import total_up
from chaincode.claims.codes import RARC, Group
from chaincode.claims.details import Adjudication, Adjustment, Details, LineDecision
from chaincode.claims.states import Outcome
from tests.chaincode.claims.samples import NPI, details, line
from tests.chaincode.consortium import PATIENT

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PROFILE = Profile(
    payer=Payer(
        "United Payer", "371234567", "1 Plaza", "Springfield", "IL", "62701", "EDI", "2175550100"
    ),
    sender=Address("UNITEDPAYER"),
    receiver=Address("GENERALHOSP"),
    payees={NPI: Payee("General Hospital", "379876543")},
    members={PATIENT: Member("UP-1", "Nobody", "Ever")},
)


def decide(made: Details, *adjustments: tuple[Adjustment, ...]) -> Adjudication:
    lines = []
    for one, taken in zip(made.lines, adjustments, strict=True):
        paid = one.net - sum(item.amount for item in taken)
        lines.append(LineDecision(one.sequence, one.net, taken, paid))
    return total_up(made.claim, made.currency, lines)


def paid(made: Details, decision: Adjudication, **changed: object) -> Paid:
    base = Paid("f" * 32, made, decision, Outcome.PAID, date(2026, 1, 3))
    return replace(base, **changed)  # type: ignore[arg-type]


def payment(*claims: Paid) -> Payment:
    return Payment(NPI, "EFT-7", date(2026, 1, 9), claims)


def write(*sets: SetOut) -> str:
    return build_interchange(sets, "HP", PROFILE.sender, PROFILE.receiver, at=AT, control=7)


def sums(text: str) -> dict[str, Decimal]:
    """What a receiver adds up: independent of how it was written."""
    found = dict.fromkeys(("charge", "cas", "clp", "svc", "plb", "bpr"), Decimal(0))
    for raw in text.split("~"):
        row = raw.strip().split("*")
        if row[0] == "BPR":
            found["bpr"] += Decimal(row[2])
        elif row[0] == "CLP":
            found["charge"] += Decimal(row[3])
            found["clp"] += Decimal(row[4])
        elif row[0] == "SVC":
            found["svc"] += Decimal(row[3])
        elif row[0] == "CAS":
            found["cas"] += sum(Decimal(x) for x in row[3::3])
        elif row[0] == "PLB":
            found["plb"] += sum(Decimal(x) for x in row[4::2])
    return found


MADE = details(lines=(line(1), line(2, net=99_99, unit_price=99_99, control="L2")))
DECIDED = decide(
    MADE,
    (Adjustment(Group.CONTRACTUAL, "45", 30_00), Adjustment(Group.PATIENT, "2", 24_00)),
    (Adjustment(Group.CONTRACTUAL, "97", 99_99, "M15"),),
)


def test_a_remittance_keeps_its_guide_and_tells_every_reason() -> None:
    text = write(build_remittance(payment(paid(MADE, DECIDED)), PROFILE, AT))
    assert find_faults(text) == ()
    rows = [row.rstrip("~") for row in text.splitlines()]
    assert "BPR*I*96*C*CHK************20260109" in rows
    assert "CAS*CO*45*30" in rows
    assert "CAS*PR*2*24" in rows
    assert "CAS*CO*97*99.99" in rows
    assert "LQ*HE*M15" in rows
    assert "REF*6R*L2" in rows
    assert any(row.startswith("CLP*") and "*1*249.99*96*24*" in row for row in rows)


def test_a_denial_pays_nothing() -> None:
    denied = decide(MADE, *((Adjustment(Group.CONTRACTUAL, "29", one.net),) for one in MADE.lines))
    text = write(build_remittance(payment(paid(MADE, denied, outcome=Outcome.DENIED)), PROFILE, AT))
    assert find_faults(text) == ()
    assert "BPR*H*0*C*NON*" in text
    assert "*4*249.99*0*" in text


def test_a_reversal_is_negated_and_carried_forward() -> None:
    back = paid(MADE, DECIDED, reversed=True)
    text = write(build_remittance(payment(back), PROFILE, AT))
    assert find_faults(text) == ()
    assert "*22*-249.99*-96*" in text
    assert "CAS*CO*45*-30" in text
    assert f"PLB*{NPI}*20261231*FB:EFT-7*-96" in text
    found = sums(text)
    assert found["bpr"] == found["clp"] - found["plb"] == 0


def test_a_correction_beside_its_reversal_pays_the_difference() -> None:
    small = decide(MADE, (), (Adjustment(Group.CONTRACTUAL, "45", 1),))
    text = write(
        build_remittance(
            payment(paid(MADE, DECIDED, reversed=True), paid(MADE, small)), PROFILE, AT
        )
    )
    assert find_faults(text) == ()
    assert "PLB" not in text
    assert sums(text)["bpr"] == sums(text)["clp"] == Decimal("153.98")


@pytest.mark.parametrize(
    "broken",
    [
        replace(DECIDED, paid=DECIDED.paid + 1),
        replace(DECIDED, charge=DECIDED.charge - 1),
        replace(DECIDED, lines=DECIDED.lines[:1]),
        replace(DECIDED, lines=(replace(DECIDED.lines[0], paid=0), DECIDED.lines[1])),
        replace(DECIDED, lines=(replace(DECIDED.lines[0], charge=1), DECIDED.lines[1])),
        replace(DECIDED, currency="EUR"),
    ],
)
def test_an_unbalanced_one_is_refused(broken: Adjudication) -> None:
    with pytest.raises(UnbalancedError) as refusal:
        build_remittance(payment(paid(MADE, broken)), PROFILE, AT)
    assert not any(char.isdigit() and char not in "0123456789" for char in str(refusal.value))


@pytest.mark.parametrize("segment", ["CAS", "SVC", "CLP", "BPR"])
def test_a_changed_amount_is_caught_before_it_is_written(segment: str) -> None:
    made = build_remittance(payment(paid(MADE, DECIDED)), PROFILE, AT)
    at = {"CAS": 3, "SVC": 3, "CLP": 4, "BPR": 2}[segment]
    rows = list(made.rows)
    index = next(n for n, row in enumerate(rows) if row[0] == segment)
    rows[index] = (*rows[index][:at], "1.11", *rows[index][at + 1 :])
    with pytest.raises(UnbalancedError):
        validate_rows(rows)


amounts = st.integers(0, 500_000)
groups = st.sampled_from(list(Group))
carcs = st.sampled_from(["1", "2", "3", "23", "45", "97", "119", "253"])


@st.composite
def decisions(draw: st.DrawFn) -> tuple[Details, Adjudication]:
    nets = draw(st.lists(amounts, min_size=1, max_size=5))
    made = details(lines=tuple(line(n, net=x, unit_price=x) for n, x in enumerate(nets, 1)))
    taken = []
    for net in nets:
        left, items = net, []
        for _ in range(draw(st.integers(0, 9))):
            amount = draw(st.integers(0, left))
            left -= amount
            items.append(Adjustment(draw(groups), draw(carcs), amount))
        taken.append(tuple(items))
    return made, decide(made, *taken)


@given(st.lists(st.tuples(decisions(), st.booleans()), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_remittance_balances(cases: list[tuple[tuple[Details, Adjudication], bool]]) -> None:
    claims = tuple(paid(*made, reversed=back) for made, back in cases)
    text = write(build_remittance(payment(*claims), PROFILE, AT))
    found = sums(text)
    assert found["charge"] - found["cas"] == found["clp"] == found["svc"]
    assert found["clp"] - found["plb"] == found["bpr"]
    assert found["bpr"] >= 0


def test_payments_of_one_trace_are_one() -> None:
    one = payment(paid(MADE, DECIDED))
    other = replace(one, trace="EFT-8")
    assert [len(x.claims) for x in merge_payments([one, other, one])] == [2, 1]


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0"), (5, "0.05"), (50, "0.5"), (6250, "62.5"), (-100, "-1")]
)
def test_amounts_have_no_needless_zeros(cents: int, text: str) -> None:
    assert money(cents) == text


def test_every_remark_that_is_emitted_is_on_the_published_list() -> None:
    codes = ElementTree.fromstring(files("pyx12").joinpath("map", "codes.xml").read_bytes())
    (listed,) = (one for one in codes.iter("codeset") if one.findtext("id") == "remark_code")
    assert set(RARC) <= {code.text for code in listed.iter("code")}


@pytest.mark.parametrize(
    ("row", "broken"),
    [
        ("CAS*CO*97", "CAS*XX*97"),
        ("CAS*CO*97", "CAS*CO*"),
        ("LQ*HE*M15", "LQ*XX*M15"),
        ("CLP*", "CLQ*"),
        ("N1*PE*", "N1*ZZ*"),
    ],
)
def test_its_guide_really_holds_it(row: str, broken: str) -> None:
    text = write(build_remittance(payment(paid(MADE, DECIDED)), PROFILE, AT))
    assert row in text
    assert find_faults(text.replace(row, broken))
