"""The rest of the law of claims: forms, rooms, sides, what an edge leaves behind. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from chaincode import canonical, commitment
from chaincode.claims.codes import Group, is_carc, is_rarc
from chaincode.claims.details import Adjudication, PolicyTable, Remittance, SealedDetails
from chaincode.claims.model import (
    CheckResult,
    Claim,
    ClaimEvent,
    Evidence,
    EvidenceRef,
    Filing,
    Fingerprints,
    Notice,
    Reason,
    Room,
    Step,
    Verdict,
)
from chaincode.claims.states import Action, Outcome, Side, Status, follow, is_reversal
from chaincode.errors import Conflict, Denied, InvalidArgument
from chaincode.forms import validate_codes, validate_digest
from chaincode.phi import validate_handle

MAX_EVIDENCE = 100
MAX_BATCH = 1000
MAX_REASONS = 99
_ORDINARY_CHECKS = ("eligibility", "enrolment", "authorization", "code-edits")


def validate_filing(filing: Filing) -> None:
    """Raise InvalidArgument unless each field has its form."""
    validate_handle(filing.claim, "filing.claim")
    validate_handle(filing.patient, "filing.patient")
    validate_digest(filing.commitment, "filing.commitment")
    validate_codes(filing.labels or (), "filing.labels")
    for name, handle in (("replaces", filing.replaces), ("coordinates", filing.coordinates)):
        if handle:
            validate_handle(handle, f"filing.{name}")
        if handle == filing.claim:
            raise InvalidArgument(f"filing.{name}: a claim cannot name itself")
    if len(filing.evidence) > MAX_EVIDENCE:
        raise InvalidArgument(f"filing.evidence: at most {MAX_EVIDENCE} records")
    for index, item in enumerate(filing.evidence):
        validate_handle(item.record, f"filing.evidence[{index}].record")
    if len({item.record for item in filing.evidence}) != len(filing.evidence):
        raise InvalidArgument("filing.evidence: the same record twice")


def validate_details(filing: Filing, sealed: SealedDetails) -> None:
    """Raise InvalidArgument unless the details are those that the filing commits to."""
    if not opens_details(filing.commitment, sealed):
        raise InvalidArgument(
            "filing.commitment: not the commitment to the salt and details in the transient field"
        )


def opens_details(committed: bytes, sealed: SealedDetails) -> bool:
    """Whether salt and details open the commitment."""
    return commitment.opens(
        committed, commitment.CLAIM, sealed.salt, canonical.encode(sealed.details)
    )


def collection_of(room: Room, filer_name: str, payer_name: str, payer: str) -> str:
    """The name of the private data collection of a room.

    The filer is the provider, or the payer that forwards a claim to another one.
    """
    if room is Room.OWN:
        return f"_implicit_org_{payer}"
    return f"claims-{filer_name}-{payer_name}"


def sides_of(claim: Claim, msp_id: str) -> frozenset[Side]:
    """On which sides of the claim an organisation stands; on none for outsiders.

    A payer that entered a claim from its own intake stands on both: it files what the provider sent
    it by another channel.
    """
    sides = set()
    if msp_id in (claim.provider, claim.submitter) and msp_id:
        sides.add(Side.FILER)
    if msp_id == claim.payer:
        sides.add(Side.PAYER)
    return frozenset(sides)


def open_claim(
    filing: Filing,
    fingerprints: Fingerprints,
    checks: tuple[CheckResult, ...],
    *,
    submitter: str,
    collection: str,
    rejected: bool,
    now: datetime,
    tx_id: str,
) -> Claim:
    """Return the claim that a filing becomes."""
    return Claim(
        claim=filing.claim,
        patient=filing.patient,
        submitter=submitter,
        provider=filing.provider,
        payer=filing.payer,
        room=filing.room,
        collection=collection,
        status=Status.REJECTED if rejected else Status.ACCEPTED,
        version=1,
        commitment=filing.commitment,
        fingerprints=fingerprints,
        submitted_at=now,
        updated_at=now,
        tx_id=tx_id,
        checks=checks,
        reasons=gate_reasons(checks) if rejected else (),
        evidence=tuple(EvidenceRef(item.record, item.version) for item in filing.evidence),
        replaces=filing.replaces,
        coordinates=filing.coordinates,
    )


def gate_reasons(checks: Iterable[CheckResult]) -> tuple[Reason, ...]:
    """The distinct reasons of a rejection, sorted."""
    found = {
        (finding.group, finding.carc, finding.rarc)
        for result in checks
        for finding in result.findings
        if finding.verdict is Verdict.REJECTED
    }
    return tuple(Reason(*reason) for reason in sorted(found))


def is_same_submission(claim: Claim, filing: Filing, submitter: str) -> bool:
    """Whether this was submitted before: then it is answered, and nothing is written.

    Raises:
        Conflict: the handle is taken by another claim.
    """
    if claim.commitment != filing.commitment or claim.submitter != submitter:
        raise Conflict("another claim has this handle; take a fresh one")
    return True


def advance(
    claim: Claim, action: Action, version: int, msp_id: str, *, now: datetime, tx_id: str
) -> Claim:
    """Return the claim after the action, if this organisation may take it as of that version.

    Raises:
        Conflict: the claim moved on, or its status has no such edge.
        Denied: the caller is on no side of the claim, or on the wrong one.
    """
    sides = sides_of(claim, msp_id)
    if not sides:
        raise Denied("the caller's organisation is no party to the claim")
    validate_version(claim, version)
    return replace(
        claim,
        status=follow(action, claim.status, sides, claim.before),
        version=claim.version + 1,
        updated_at=now,
        tx_id=tx_id,
        reversal=claim.reversal
        or (action in (Action.VOID, Action.REPLACE) and is_reversal(claim.status)),
    )


def validate_version(claim: Claim, version: int) -> None:
    """Raise Conflict unless the claim still stands at the version that a change rests on."""
    if claim.version != version:
        raise Conflict(f"the claim is at version {claim.version}, not at {version}; read it again")


def decided(claim: Claim, notice: Notice, now: datetime) -> Claim:
    """Return the claim with the decision on it; a refusal carries its reasons and a deadline."""
    refused = notice.outcome is not Outcome.PAID
    if refused and not notice.reasons:
        raise InvalidArgument("notice.reasons: a denial carries a group code and a CARC")
    return replace(
        claim,
        outcome=notice.outcome,
        reasons=notice.reasons,
        decision=notice.decision,
        decision_version=claim.version,
        checks=notice.checks,
        accumulator=notice.accumulator,
        units=notice.units,
        appeal_deadline=now + timedelta(days=notice.appeal_days) if refused else None,
        before=None,
    )


def validate_appeal(claim: Claim, now: datetime) -> None:
    """Raise Conflict unless there is a refusal to appeal against, in time."""
    if claim.outcome in (None, Outcome.PAID) or claim.appeal_deadline is None:
        raise Conflict("the claim was paid; there is nothing to appeal against")
    if now > claim.appeal_deadline:
        raise Conflict("the deadline for an appeal has passed")


def validate_payment(claim: Claim) -> None:
    """Raise Conflict if the claim is denied: there is nothing to pay."""
    if claim.outcome is Outcome.DENIED:
        raise Conflict("the claim is denied; there is nothing to pay")


def validate_reasons(reasons: Iterable[Reason], path: str = "change.reasons") -> None:
    """Raise InvalidArgument unless each is a group code, a CARC and perhaps a RARC."""
    listed = list(reasons)
    if len(listed) > MAX_REASONS:
        raise InvalidArgument(f"{path}: at most {MAX_REASONS} reasons")
    groups = {group.value for group in Group}
    for index, reason in enumerate(listed):
        if reason.group not in groups:
            raise InvalidArgument(f"{path}[{index}].group: expected CO, PR, OA or PI")
        if not is_carc(reason.carc):
            raise InvalidArgument(f"{path}[{index}].carc: not a claim adjustment reason code")
        if reason.rarc and not is_rarc(reason.rarc):
            raise InvalidArgument(f"{path}[{index}].rarc: not a remittance advice remark code")


def validate_ready(checks: Iterable[CheckResult], *, accept_deferred: bool) -> None:
    """Raise unless the rules may decide by themselves.

    Raises:
        InvalidArgument: facts are missing that a check needs.
        Conflict: a check found something that a person has to look at.
    """
    for result in checks:
        if result.verdict is Verdict.PENDED:
            raise Conflict(
                f"check {result.check} asks for a person: pend the claim, or decide by hand"
            )
        deferred = any(finding.verdict is Verdict.DEFERRED for finding in result.findings)
        if deferred and result.check in _ORDINARY_CHECKS and not accept_deferred:
            raise InvalidArgument(
                f"check {result.check} lacks its facts; send them in the transient fields facts "
                "and table, or accept that it is deferred"
            )


def step_of(claim: Claim, action: str, msp_id: str, user: str, committed: bytes | None) -> Step:
    """Return the step that led to this state."""
    return Step(
        claim=claim.claim,
        version=claim.version,
        action=action,
        status=claim.status,
        msp_id=msp_id,
        user=user,
        at=claim.updated_at,
        tx_id=claim.tx_id,
        outcome=claim.outcome,
        reasons=claim.reasons,
        commitment=committed,
    )


def event_of(claim: Claim, later: Sequence[Claim] = ()) -> ClaimEvent:
    """Return the payload of the claim's events."""
    return ClaimEvent(
        claim=claim.claim,
        patient=claim.patient,
        payer=claim.payer,
        provider=claim.provider,
        status=claim.status,
        version=claim.version,
        outcome=claim.outcome,
        codes=tuple(
            "-".join(part for part in (reason.group, reason.carc, reason.rarc) if part)
            for reason in claim.reasons
        ),
        later=tuple(one.claim for one in later),
        later_payers=tuple(sorted({one.payer for one in later})),
    )


def read_table(content: bytes, digest: bytes) -> PolicyTable:
    """Return the table in these bytes. Raises InvalidArgument if they are not those registered."""
    if hashlib.sha256(content).digest() != digest:
        raise InvalidArgument("table: not the content of the digest that the payer loaded")
    return canonical.decode(PolicyTable, content, "table")


def filing_of(claim: Claim) -> Filing:
    """The filing that a claim came from, as far as the checks look at it."""
    return Filing(
        claim=claim.claim,
        patient=claim.patient,
        payer=claim.payer,
        commitment=claim.commitment,
        provider=claim.provider,
        room=claim.room,
        evidence=tuple(Evidence(item.record, item.version) for item in claim.evidence),
        replaces=claim.replaces,
        coordinates=claim.coordinates,
    )


def validate_remittance(remittance: Remittance, adjudication: Adjudication) -> None:
    """Raise InvalidArgument unless exactly what was decided is paid."""
    if remittance.claim != adjudication.claim or remittance.currency != adjudication.currency:
        raise InvalidArgument("remittance: for another claim or in another currency")
    if remittance.paid != adjudication.paid:
        raise InvalidArgument("remittance.paid: not the amount that was decided")
