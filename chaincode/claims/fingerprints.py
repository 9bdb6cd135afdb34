"""Keyed fingerprints: by them payers see that a service was billed twice, and nothing else. Pure.

The key is shared by the consortium's payers and providers and never reaches the ledger. A claim's
own fingerprint is over everything that makes an exact duplicate (patient, provider, days, services,
places, charges); a line's is over patient, provider, day, service and use only: what was
authorised and then rendered is no duplicate.
"""

from __future__ import annotations

from decimal import Decimal

from chaincode import commitment
from chaincode.claims.details import Details, Line
from chaincode.claims.model import Fingerprints


def compute_fingerprints(key: bytes, details: Details) -> Fingerprints:
    """Return the fingerprints of a claim and its lines, in the lines' order.

    Raises ``ValueError`` for a key shorter than 32 bytes.
    """
    who = (details.patient, details.provider_npi)
    # The order of lines makes no other claim of it.
    services = sorted("\x1f".join(_exact(line)) for line in details.lines)
    whole = commitment.fingerprint(
        key, commitment.FINGERPRINT_CLAIM, (*who, details.use, details.currency, *services)
    )
    lines = tuple(
        commitment.fingerprint(
            key,
            commitment.FINGERPRINT_LINE,
            (*who, details.use, line.serviced_from.isoformat(), line.code, _modifiers(line)),
        )
        for line in details.lines
    )
    return Fingerprints(whole, lines)


def _exact(line: Line) -> tuple[str, ...]:
    return (
        line.serviced_from.isoformat(),
        line.last_day.isoformat(),
        line.code,
        _modifiers(line),
        line.place,
        _plain(line.quantity),
        str(line.net),
    )


def _modifiers(line: Line) -> str:
    """Modifiers tell repeated services apart (76, 77, RT, LT): they are part of the service."""
    return ",".join(sorted(line.modifiers))


def _plain(number: Decimal) -> str:
    """1, 1.0 and 1.00 are one quantity."""
    return format(number.normalize(), "f")
