"""277CA (005010X214): what of an 837's claims is taken into adjudication, and what is not.

A 999 speaks of a file's form; this one of its claims, by STC01's two lists (X12's Claim Status
Category Codes 507 and Claim Status Codes 508):

| here | STC | says |
|---|---|---|
| accepted, or there already | A2:20 | accepted for processing |
| a member whom nobody knows | A3:33 | subscriber and subscriber id not found |
| the filer may not file it | A3:24 | entity not approved as an electronic submitter |
| no consent to payment, or another reason not to take it | A3:122 | prevents the payer from \
processing it |
| its form | A7:21 | information is missing or invalid |
| its sums | A7:400 | the claim is out of balance |
| what it rests on is not anchored | A6:294 | supporting documentation |

Nothing else is said: which consent is missing is the patient's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from admin.x12.claims import Party, Told837
from admin.x12.writer import Row, SetOut, composite
from chaincode.claims.model import CheckResult, Verdict

GUIDE = "005010X214"
ACCEPTED = "A2:20"
UNKNOWN_MEMBER = "A3:33"
NOT_TAKEN = "A3:122"
INCOMPLETE = "A7:21"
_OUT_OF_BALANCE = "A7:400"
_SUMS = "M54"
_BY_CHECK = {
    "structure": INCOMPLETE,
    "authority": "A3:24",
    "evidence": "A6:294",
    "pricing": _OUT_OF_BALANCE,
}
_RECEIVED = "A1:19"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one claim: `word` is STC01, `handle` what the payer calls it, "" if nothing.

    `set` is the number of its transaction set in the file.
    """

    told: Told837
    word: str
    handle: str = ""
    set: int = 1

    @property
    def accepted(self) -> bool:
        """Whether it goes on to adjudication."""
        return self.word == ACCEPTED


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer's own number for what it received, and when it answers."""

    number: str
    at: datetime


def word_for(checks: Iterable[CheckResult]) -> str:
    """STC01's first two components for a claim with these results of its checks."""
    for result in checks:
        if result.verdict is not Verdict.REJECTED:
            continue
        if any(finding.rarc == _SUMS for finding in result.findings):
            return _OUT_OF_BALANCE
        return _BY_CHECK.get(result.check, NOT_TAKEN)
    return ACCEPTED


def build_claim_acknowledgements(found: Sequence[Answered], receipt: Receipt) -> list[SetOut]:
    """A 277CA for each transaction set of the file that these claims are from, in order."""
    ordered = sorted(found, key=lambda one: one.set)
    return [
        SetOut("277", GUIDE, tuple(_rows(list(claims), receipt)))
        for _, claims in groupby(ordered, key=lambda one: one.set)
    ]


def _rows(claims: list[Answered], receipt: Receipt) -> Iterator[Row]:
    day = f"{receipt.at:%Y%m%d}"
    told = claims[0].told
    yield ("BHT", "0085", "08", receipt.number, day, f"{receipt.at:%H%M}", "TH")
    yield ("HL", "1", "", "20", "1")
    payer = told.receiver
    yield ("NM1", "PR", "2", payer.name or payer.id, *("",) * 4, "46", payer.id)
    yield ("TRN", "1", receipt.number)
    yield ("DTP", "050", "D8", day)
    yield ("DTP", "009", "D8", day)
    yield ("HL", "2", "1", "21", "1")
    yield ("NM1", "41", *_named(told.sender), "46", told.sender.id)
    yield ("TRN", "2", told.batch)
    yield ("STC", composite(*_RECEIVED.split(":"), "PR"), day, "WQ", _dollars(_charge(claims)))
    yield from _totals(claims, "90", "AA")
    level = 2
    for _, group in groupby(claims, key=lambda one: one.told.provider):
        of_provider = list(group)
        level += 1
        above = level
        provider = of_provider[0].told.provider
        yield ("HL", str(level), "2", "19", "1")
        yield ("NM1", "85", *_named(provider), "XX", provider.id)
        yield ("TRN", "1", "0")
        charge = _dollars(_charge(of_provider))
        yield ("STC", composite(*_RECEIVED.split(":"), "PR"), "", "WQ", charge)
        yield from _totals(of_provider, "QA", "QC")
        for one in of_provider:
            level += 1
            yield ("HL", str(level), str(above), "PT")
            yield from _claim(one, day)


def _claim(one: Answered, day: str) -> Iterator[Row]:
    told = one.told
    yield ("NM1", "QC", *_named(told.patient), "MI", told.patient.id)
    yield ("TRN", "2", told.number)
    entity = "PR" if one.accepted else "IL" if one.word == UNKNOWN_MEMBER else ""
    action = "WQ" if one.accepted else "U"
    yield (
        "STC", composite(*one.word.split(":"), entity), day, action, _dollars(told.charge)
    )  # fmt: skip
    if one.handle:
        yield ("REF", "1K", one.handle)
    if told.clearing:
        yield ("REF", "D9", told.clearing)
    if told.bill:
        yield ("REF", "BLT", told.bill)
    first, last = told.served
    yield ("DTP", "472", "D8", first) if first == last else ("DTP", "472", "RD8", f"{first}-{last}")


def _totals(claims: Sequence[Answered], taken: str, refused: str) -> Iterator[Row]:
    """How many were accepted and how many not, then what they charge; none is left out."""
    kinds = [(taken, "YU", [c for c in claims if c.accepted])]
    kinds.append((refused, "YY", [c for c in claims if not c.accepted]))
    for quantity, _, counted in kinds:
        if counted:
            yield ("QTY", quantity, str(len(counted)))
    for _, amount, counted in kinds:
        if counted:
            yield ("AMT", amount, _dollars(_charge(counted)))


def _charge(claims: Iterable[Answered]) -> Decimal:
    return sum((one.told.charge for one in claims), Decimal(0))


def _named(party: Party) -> tuple[str, ...]:
    """NM102 to NM107: a person has a given name."""
    given = party.given if party.kind == "1" else ""
    return (party.kind, party.name, given, "", "", "")


def _dollars(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
