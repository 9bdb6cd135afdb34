"""The law of the audit: what counts as a disclosure, and when a log is continuous. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from chaincode import merkle
from chaincode.audit.model import (
    Accounting,
    AuditEntry,
    Disclosure,
    LogAnchor,
    LogBatch,
    LogProof,
    LogVerdict,
)
from chaincode.errors import Conflict, InvalidArgument
from chaincode.forms import validate_code, validate_digest

ACCOUNTING_YEARS = 6
"""How far back an accounting reaches: 45 CFR 164.528(a)(1)."""
MAX_LOG_BATCH = 1_000_000

_TREATMENT = ("TREAT", "ETREAT", "BTG", "CAREMGT", "CLINTRL", "COC", "HTEST", "POPHLTH", "TREATDS")
_PAYMENT = (
    *("HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM"),
    *("MILDCRG", "REMITADV"),
)
_OPERATIONS = (
    *("HOPERAT", "DONAT", "FRAUD", "GOV", "HACCRED", "HCOMPL", "HDECD", "HDIRECT", "HDM"),
    *("HLEGAL", "HOUTCOMS", "HPRGRP", "HQUALIMP", "HSYSADMIN", "LABELING", "METAMGT", "MEMADMIN"),
    *("PATADMIN", "PATSFTY", "PERFMSR", "RECORDMGT", "SYSDEV", "TRAIN"),
)
_INDIVIDUAL = ("PATRQT", "FAMRQT", "PWATRNY", "SUPNWK")

EXCLUSIONS: dict[str, str] = {
    **dict.fromkeys(_TREATMENT, "treatment"),
    **dict.fromkeys(_PAYMENT, "payment"),
    **dict.fromkeys(_OPERATIONS, "operations"),
    **dict.fromkeys(_INDIVIDUAL, "to the individual"),
}
"""Purposes that 45 CFR 164.528(a)(1) leaves out, with the ground; by v3-ActReason code.

That a disclosure was authorised (164.508) is an exclusion too, found by its consent.
"""


def evaluate_exclusion(entry: AuditEntry) -> str | None:
    """Return why the disclosure need not be accounted for, None if it must be."""
    if entry.recipient_role == "patient":
        return "to the individual"
    if entry.custodian and entry.recipient_msp_id == entry.custodian:
        return "within the custodian"
    return EXCLUSIONS.get(entry.purpose) or ("by authorization" if entry.consent_id else None)


def build_accounting(
    patient: str,
    entries: Iterable[AuditEntry],
    since: datetime,
    until: datetime,
    bookmark: str = "",
) -> Accounting:
    """Return the disclosures of the period, those to one recipient for one purpose as one."""
    grouped: dict[tuple[str, ...], list[AuditEntry]] = {}
    for entry in entries:
        if entry.at is not None and since <= entry.at < until:
            group = (
                entry.recipient_msp_id,
                entry.recipient,
                entry.purpose,
                evaluate_exclusion(entry) or "",
            )
            grouped.setdefault(group, []).append(entry)
    disclosures = tuple(_summarise(group) for group in grouped.values())
    return Accounting(patient, since, until, disclosures, bookmark)


def join_accountings(pages: Iterable[Accounting]) -> Accounting:
    """Return one accounting for the pages of one: disclosures that continue are summarised as one.

    Raises InvalidArgument: there is no page.
    """
    joined: Accounting | None = None
    merged: dict[tuple[str, ...], Disclosure] = {}
    for page in pages:
        joined = page if joined is None else replace(joined, bookmark=page.bookmark)
        for one in page.disclosures:
            group = (one.recipient_msp_id, one.recipient, one.purpose, one.exclusion or "")
            merged[group] = _add(merged[group], one) if group in merged else one
    if joined is None:
        raise InvalidArgument("an accounting has at least one page")
    return replace(joined, disclosures=tuple(merged.values()))


def validate_period(since: datetime, until: datetime, now: datetime) -> None:
    """Raise InvalidArgument unless the period is forward and within the last six years."""
    if since >= until:
        raise InvalidArgument("since: it must be before until")
    if since < _years_before(now, ACCOUNTING_YEARS):
        raise InvalidArgument(f"since: an accounting reaches back {ACCOUNTING_YEARS} years")


def earliest_accounting(now: datetime) -> datetime:
    """The earliest moment that an accounting reaches back to."""
    return _years_before(now, ACCOUNTING_YEARS)


def validate_log_batch(batch: LogBatch, last: int) -> None:
    """Raise unless the batch has its form and follows event `last` without gap or overlap.

    Raises:
        InvalidArgument: its form is wrong.
        Conflict: the log stands elsewhere.
    """
    validate_code(batch.log, "batch.log")
    validate_digest(batch.root, "batch.root")
    if not 1 <= batch.first <= batch.last:
        raise InvalidArgument("batch.first: expected 1 to batch.last")
    if batch.size > MAX_LOG_BATCH:
        raise InvalidArgument(f"batch: at most {MAX_LOG_BATCH} events")
    if batch.first != last + 1:
        raise Conflict(f"the log stands at event {last}; the next batch begins at {last + 1}")


def evaluate_log_proof(proof: LogProof, anchor: LogAnchor) -> LogVerdict:
    """Return whether the event is leaf `sequence` - `first` of the anchored batch."""
    valid, reason = True, "the event is in the anchored batch"
    try:
        merkle.validate_inclusion(
            proof.leaf,
            proof.sequence - anchor.batch.first,
            anchor.batch.size,
            proof.proof,
            anchor.batch.root,
        )
    except merkle.InvalidProof as error:
        valid, reason = False, str(error)
    return LogVerdict(valid, reason, anchor.anchored_at, anchor.tx_id)


def _summarise(entries: list[AuditEntry]) -> Disclosure:
    times = [entry.at for entry in entries if entry.at is not None]
    one = entries[0]
    return Disclosure(
        recipient_msp_id=one.recipient_msp_id,
        recipient=one.recipient,
        purpose=one.purpose,
        classes=_distinct(code for entry in entries for code in entry.classes),
        first=min(times),
        last=max(times),
        count=len(entries),
        records=_distinct(record for entry in entries for record in entry.records),
        consents=_distinct(
            f"{entry.consent_id}/{entry.consent_version}" for entry in entries if entry.consent_id
        ),
        exclusion=evaluate_exclusion(one),
    )


def _add(before: Disclosure, after: Disclosure) -> Disclosure:
    return replace(
        before,
        classes=_distinct((*before.classes, *after.classes)),
        first=min(before.first, after.first),
        last=max(before.last, after.last),
        count=before.count + after.count,
        records=_distinct((*before.records, *after.records)),
        consents=_distinct((*before.consents, *after.consents)),
    )


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _years_before(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year - years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year - years, day=28)
