"""A decision in words, for the patient, the clinician and the privacy officer."""

from __future__ import annotations

from collections.abc import Iterable

from chaincode.consent.model import (
    AccessRequest,
    Decision,
    Match,
    Obligation,
    Verdict,
)

_VERDICTS = {
    Verdict.PERMIT: "Permitted",
    Verdict.DENY: "Denied",
    Verdict.NOT_APPLICABLE: "Not permitted: nothing applies",
    Verdict.INDETERMINATE: "Not permitted: it cannot be determined",
}
_GUARDS = {
    "guard:break-glass-not-declared": "Break-glass must be declared first (consent:BreakGlass).",
    "guard:withheld-from-proxy": (
        "The delegation withholds such data from the proxy, or nobody labelled the data."
    ),
    "guard:outside-delegation": "The purpose is outside the delegation.",
    "guard:part-2-needs-consent": (
        "Substance use disorder records go out only on the patient's consent (42 CFR Part 2)."
    ),
    "guard:part-2-proceedings": (
        "Substance use disorder records serve proceedings only under a consent that names them "
        "(42 CFR 2.31)."
    ),
}
_OBLIGATIONS = {
    "REDACT": "leave out what is not permitted",
    "MASK": "mask it",
    "MINEC": "use no more than the purpose needs",
    "DEID": "remove what identifies the patient",
    "PSEUD": "replace identifiers by pseudonyms",
    "ENCRYPT": "keep it encrypted",
    "AOD": "account for the disclosure",
    "AUDIT": "expect a review",
    "CPLYCD": "comply with the consent directive",
    "PERSISTLABEL": "keep the security labels on it",
    "HUAPRV": "have a person approve it",
    "DELAU": "delete it after use",
    "NORDSCLCD": "do not disclose it again without the patient's consent",
    "NOREUSE": "use it once, for this purpose only",
    "NOAUTH": "no use without the patient's authorisation",
    "NODSCLCD": "do not disclose it without the patient's consent",
    "NOPERSISTP": "do not keep it",
    "ORCON": "only as the originator allows",
}


def explain(request: AccessRequest, decision: Decision) -> tuple[str, ...]:
    """Return why `request` was decided so, one sentence a line, the verdict first."""
    who = f"{request.actor.role or 'a member'} of {request.actor.msp_id}"
    lines = [
        f"{_VERDICTS[decision.verdict]}: {request.action} for {request.purpose} by {who}.",
        _ground(decision.match, decision),
    ]
    if decision.applicable:
        count = len(decision.applicable)
        lines.append(
            f"{count} consent{'s' if count > 1 else ''} applied, combined by "
            f"{decision.algorithm.value}: " + _consents(decision.applicable) + "."
        )
    if len(decision.items) > 1:
        permitted = sum(item.verdict is Verdict.PERMIT for item in decision.items)
        lines.append(f"{permitted} of {len(decision.items)} items are permitted.")
        lines.extend(
            f"Item {i}: {item.verdict.value}. {_ground(item.match, decision)}"
            for i, item in enumerate(decision.items)
        )
    lines.extend(_obligation(o) for o in decision.obligations)
    lines.extend(f"Problem: {problem}." for problem in decision.problems)
    return tuple(lines)


def _ground(match: Match, decision: Decision) -> str:
    if match.consent_id:
        place = "its base decision" if match.path == "base" else f"the rule {match.path}"
        return f"Consent {match.consent_id} version {match.version} says so in {place}."
    kind, _, name = match.path.partition(":")
    if match.path in _GUARDS:
        return _GUARDS[match.path]
    if kind == "individual":
        return "The patient asks for their own record."
    if kind == "delegation":
        return f"Delegation {name} covers it."
    if kind == "break-glass":
        return f"An emergency was declared (grant {name}); it will be reviewed."
    if kind == "implicit" and name.startswith("http"):
        return f"No consent applies; the consortium's implicit policy decides: {name}."
    if kind == "implicit" and name == "none":
        return "No consent applies, and the consortium has no implicit policy."
    if kind == "request":
        return "The request cannot be decided as it stands."
    return f"No consent decides it; the algorithm {decision.algorithm.value} does."


def _consents(matches: Iterable[Match]) -> str:
    return ", ".join(f"{m.consent_id} version {m.version}" for m in matches)


def _obligation(obligation: Obligation) -> str:
    words = _OBLIGATIONS.get(obligation.code, "see v3 ActCode")
    detail = ""
    if obligation.items:
        detail = f", items {', '.join(map(str, obligation.items))}"
    elif obligation.matching:
        detail = f", all that matches {obligation.reason}"
    elif obligation.excepting:
        detail = f", all but what matches {obligation.reason}"
    return f"Obligation {obligation.code}: {words}{detail} ({obligation.reason})."
