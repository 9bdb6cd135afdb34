"""The consent engine without any ledger: FHIR Consents in, decisions and reasons out.

    consents = [open_consent(resource, handles) for resource in resources]
    decision = evaluate(consents, request, now, ConsentPolicy())
    reasons = explain(request, decision)

Everything here is pure: no network, no clock, no file. `docs/consent.md` shows it at work. On a
ledger the same functions decide; what `open_consent` cannot know there is known: who wrote a
consent, in what capacity, and when it was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaincode.consent.compiled import CompiledConsent, compile_consent
from chaincode.consent.dates import EARLIEST, open_date
from chaincode.consent.elements import AmbiguousConsent, MalformedConsent
from chaincode.consent.explain import explain
from chaincode.consent.export import build_r4, build_r5
from chaincode.consent.fhir import normalise
from chaincode.consent.levels import Level, find_level
from chaincode.consent.lifecycle import directive_digest, validate_directive
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    Author,
    Capacity,
    Combining,
    Consent,
    ConsentPolicy,
    DataItem,
    Decision,
    Verdict,
)
from chaincode.consent.provisions import Dialect
from chaincode.consent.rules import evaluate

__all__ = [
    "AccessRequest",
    "Actor",
    "AmbiguousConsent",
    "Combining",
    "CompiledConsent",
    "Consent",
    "ConsentPolicy",
    "DataItem",
    "Decision",
    "Dialect",
    "Level",
    "MalformedConsent",
    "Verdict",
    "build_r4",
    "build_r5",
    "compile_consent",
    "evaluate",
    "explain",
    "find_level",
    "normalise",
    "open_consent",
]


def open_consent(
    resource: Mapping[str, Any],
    handles: Mapping[str, str] | None = None,
    *,
    dialect: Dialect = Dialect.STRICT,
) -> Consent:
    """Return a FHIR R4 or R5 Consent as `evaluate` takes it, in the status that it states.

    `handles` says what its references stand for; see `fhir.normalise`. It counts as written by the
    patient at its own date, which `most-recent` goes by.

    Raises:
        MalformedConsent: it cannot be enforced as written; the text names the element.
        InvalidArgument: what became of it means nothing; the text names the rule.
    """
    found = normalise(resource, handles, dialect=dialect)
    validate_directive(found.directive)
    version = str((resource.get("meta") or {}).get("versionId", ""))
    written = open_date(found.date)[0] if found.date else EARLIEST
    return Consent(
        id=str(resource.get("id", "")),
        version=int(version) if version.isdecimal() else 1,
        patient=found.patient,
        status=found.status,
        directive=found.directive,
        author=Author("", "", Capacity.PATIENT),
        granted_at=written,
        recorded_at=written,
        digest=directive_digest(found.directive),
    )
