"""A report as CSV (RFC 4180): one header line, one row an entry, times in UTC."""

import csv
import io
from collections.abc import Iterable

from chaincode import canonical
from chaincode.audit.model import Accounting, AuditEntry, ReviewItem

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")

TRAIL = (
    *("at", "kind", "subject", "mspId", "user", "role", "purpose", "action", "verdict", "reason"),
    *("consentId", "consentVersion", "records", "classes", "obligations", "custodian"),
    *("recipientMspId", "recipient", "recipientRole", "txId"),
)
DISCLOSURES = (
    *("first", "last", "count", "recipientMspId", "recipient", "purpose", "classes", "records"),
    *("consents", "exclusion"),
)
REVIEWS = ("openedAt", "id", "kind", "mspId", "patient", "user", "purpose", "reason")


def build_trail(entries: Iterable[AuditEntry]) -> str:
    """Return the trail as CSV."""
    return _build(TRAIL, entries)


def build_disclosures(accounting: Accounting) -> str:
    """Return the accounting as CSV: also what the rule leaves out, with the ground."""
    return _build(DISCLOSURES, accounting.disclosures)


def build_reviews(items: Iterable[ReviewItem]) -> str:
    """Return a review queue as CSV."""
    return _build(REVIEWS, items)


def _build(columns: tuple[str, ...], values: Iterable[object]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for value in values:
        wire = canonical.to_wire(value)
        writer.writerow([_cell(wire.get(column)) for column in columns])
    return text.getvalue()


def _cell(value: object) -> str:
    """A cell's text; one that a spreadsheet would take for a formula is quoted (CWE-1236)."""
    if value is None:
        return ""
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text
