"""How claims stand → 277 (005010X212), and 276 → which claims are asked for.

A claim's status here becomes a category and a status code of the two lists that STC01 quotes
(X12's Claim Status Category Codes 507 and Claim Status Codes 508):

| here | STC01 | says |
|---|---|---|
| accepted, supplied | A2:20, P1:20 | accepted for processing; in process |
| rejected | A3:21 | refused at the gate: information missing or wrong |
| pended | P3:21 | waits for what the provider was asked for |
| appealed | P2:47 | the payer reviews it |
| adjudicated | F1:3, F2:1 | decided, not paid yet; refused: see the remittance |
| remitted, reconciled | F1:65 | paid |
| voided, replaced | F4:101, F3:101 | taken back, or replaced by another claim |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO

from admin.errors import input_error
from admin.fhir.reading import SourceFile
from admin.x12.envelope import EnvelopeReader
from admin.x12.partners import Profile
from admin.x12.problems import Problem
from admin.x12.segments import read_segments
from admin.x12.writer import Row, SetOut, composite, money
from chaincode.claims.details import Adjudication, Details
from chaincode.claims.model import Claim
from chaincode.claims.states import Outcome, Status

GUIDE = "005010X212"
_WORDS = {
    Status.ACCEPTED: ("A2", "20"),
    Status.SUPPLIED: ("P1", "20"),
    Status.REJECTED: ("A3", "21"),
    Status.PENDED: ("P3", "21"),
    Status.APPEALED: ("P2", "47"),
    Status.ADJUDICATED: ("F1", "3"),
    Status.REMITTED: ("F1", "65"),
    Status.RECONCILED: ("F1", "65"),
    Status.VOIDED: ("F4", "101"),
    Status.REPLACED: ("F3", "101"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A claim with what its party sees of it; a claim that was rejected has no details."""

    claim: Claim
    details: Details | None = None
    decision: Adjudication | None = None
    paid_on: date | None = None
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Request276:
    """What a 276 asks: the payer's claim numbers (REF 1K), each with the trace to answer under."""

    reference: str
    claims: tuple[str, ...]
    traces: dict[str, str]


def word_of(claim: Claim) -> str:
    """STC01's first two components, `F1:65`."""
    if claim.status is Status.ADJUDICATED and claim.outcome is Outcome.DENIED:
        return "F2:1"
    return ":".join(_WORDS[claim.status])


def build_status(
    found: Sequence[Standing], profile: Profile, at: datetime, asked: Request276 | None = None
) -> SetOut:
    """The 277 of these claims: one level a provider, and under it one a patient. FaultError."""
    reference = asked.reference if asked else f"{at:%Y%m%d%H%M%S}"
    rows: list[Row] = [
        ("BHT", "0010", "08", reference, f"{at:%Y%m%d}", f"{at:%H%M}", "DG"),
        ("HL", "1", "", "20", "1"),
        ("NM1", "PR", "2", profile.payer.name, *("",) * 4, "PI", profile.payer.tax_id),
        ("PER", "IC", profile.payer.contact, "TE", profile.payer.phone),
        ("HL", "2", "1", "21", "1"),
        ("NM1", "41", "2", profile.receiver.id, *("",) * 4, "46", profile.receiver.id),
    ]
    level = 2
    for npi, of_provider in _by_provider(found):
        level += 1
        provider = level
        rows += [
            ("HL", str(level), "2", "19", "1"),
            ("NM1", "1P", "2", profile.payee(npi).name, *("",) * 4, "XX", npi),
        ]
        for one in of_provider:
            level += 1
            member = profile.member(one.claim.patient)
            if not member.last:
                raise input_error(
                    "a 277 names the patient, and nobody told the name",
                    "add the member with last and first to the profile's members",
                )
            rows += [
                ("HL", str(level), str(provider), "22", "0"),
                ("NM1", "IL", "1", member.last, member.first, "", "", "", "MI", member.id),
                *_standing(one, asked),
            ]
    return SetOut("277", GUIDE, tuple(rows))


def _standing(one: Standing, asked: Request276 | None) -> Iterable[Row]:
    claim, details, decision = one.claim, one.details, one.decision
    number = details.number if details else ""
    trace = (asked.traces.get(claim.claim) if asked else "") or number or claim.claim
    category, code = word_of(claim).split(":")
    row: Row = (
        "STC",
        composite(category, code),
        f"{claim.updated_at:%Y%m%d}",
        "",
        money(details.total) if details else "",
        money(decision.paid) if decision else "",
    )
    if one.paid_on is not None:
        row += (f"{one.paid_on:%Y%m%d}", "", f"{one.paid_on:%Y%m%d}", one.trace)
    yield ("TRN", "2", trace)
    yield row
    yield ("REF", "1K", claim.claim)
    if number:
        yield ("REF", "EJ", number)
    if details and details.lines:
        first = min(line.serviced_from for line in details.lines)
        last = max(line.last_day for line in details.lines)
        if first == last:
            yield ("DTP", "472", "D8", f"{first:%Y%m%d}")
        else:
            yield ("DTP", "472", "RD8", f"{first:%Y%m%d}-{last:%Y%m%d}")


def read_request(source: SourceFile) -> Request276:
    """The claims that a 276 asks for. Raises FaultError, naming the place."""
    reference, claims, traces, trace = "", [], {}, ""
    reader = EnvelopeReader()
    for item in read_segments(BytesIO(source.raw)):
        if isinstance(item, Problem):
            raise input_error(item.tell(), item.remedy, source.name)
        reader.take(item)
        held = reader.set
        if held is None:
            continue
        if held.kind != "276":
            raise input_error(
                f"ST {held.number}: the set is no 276", "name a file that asks", source.name
            )
        if item.id == "BHT":
            reference = item[3]
        elif item.id == "TRN":
            trace = item[2]
        elif item.id == "REF" and item[1] == "1K":
            claims.append(item[2])
            traces[item[2]] = trace
    problems = [p for one in reader.interchanges for p in one.envelope_problems]
    if problems:
        raise input_error(problems[0].tell(), problems[0].remedy, source.name)
    if not claims:
        raise input_error(
            "the 276 asks for no claim by the payer's number",
            "add REF 1K with it: CLP07 of an 835, REF 1K of a 277",
            source.name,
        )
    return Request276(reference, tuple(dict.fromkeys(claims)), traces)


def _by_provider(found: Sequence[Standing]) -> list[tuple[str, list[Standing]]]:
    grouped: dict[str, list[Standing]] = {}
    for one in found:
        npi = one.details.provider_npi if one.details else one.claim.provider
        grouped.setdefault(npi, []).append(one)
    return sorted(grouped.items())
