"""An evaluator written from the text of the specification alone, as an oracle for the real one.

Structure and data on purpose unlike `chaincode.consent.rules`: nothing is compiled, hierarchies are
walked upwards from the request, the tree is flattened and settled bottom up, verdicts are sets.
Only the value types are shared. Slow.
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta

from chaincode.consent.model import (
    AccessRequest,
    Combining,
    Consent,
    ConsentPolicy,
    DataItem,
    Directive,
    Effect,
    Rule,
    Status,
    Verdict,
)

# v3-ActReason, child to parent (reference, finding 4 and section 2.3).
PURPOSE_PARENT = {
    **dict.fromkeys(["CLINTRL", "COC", "ETREAT", "POPHLTH"], "TREAT"),
    **dict.fromkeys(["BTG", "ERTREAT"], "ETREAT"),
    **dict.fromkeys(["CLMATTCH", "COVAUTH", "COVERAGE", "REMITADV"], "HPAYMT"),
    **dict.fromkeys(["ELIGDTRM", "ELIGVER", "ENROLLM", "MILDCRG"], "COVERAGE"),
    **dict.fromkeys(["CAREMGT", "FRAUD", "HQUALIMP", "RECORDMGT", "MEMADMIN", "HLEGAL"], "HOPERAT"),
    **dict.fromkeys(["BIORCH", "CLINTRCH", "DSRCH"], "HRESCH"),
    **dict.fromkeys(["CLINTRCHNPC", "CLINTRCHPC"], "CLINTRCH"),
    **dict.fromkeys(["FAMRQT", "PWATRNY", "SUPNWK"], "PATRQT"),
    **dict.fromkeys(["DISASTER", "THREAT"], "PUBHLTH"),
}
ORDER = "ULMNRV"
# Sensitivity, child to parents: as v3 has it, and as a refusal means it.
NARROW = {
    **{code: ["SPI"] for code in ("BH", "MH", "PSY", "PSYTHPN", "SUD")},
    **{code: ["BH"] for code in ("COGN", "DVD", "EMOTDIS")},
    **{code: ["SUD"] for code in ("ETHUD", "OPIOIDUD")},
}
WIDE = {
    **NARROW,
    "SUD": ["SPI", "ETH", "BH"],
    "ETHUD": ["SUD", "ETH"],
    "OPIOIDUD": ["SUD", "ETH"],
    "ETH": ["SUD"],
    "MH": ["SPI", "BH"],
    "PSY": ["SPI", "BH", "MH"],
    "PSYTHPN": ["SPI", "BH", "MH"],
    "STD": ["SEX"],
}
SUBSTANCE_USE = {"ETH", "SUD", "ETHUD", "OPIOIDUD"}
SPECIAL = {
    *("ETH", "GDIS", "HIV", "MST", "SCA", "SDV", "SEX", "SPI", "BH", "COGN", "DVD", "EMOTDIS"),
    *("MH", "PSY", "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD", "STD", "ADOL", "CEL"),
}


def decide(
    consents: list[Consent], request: AccessRequest, now: datetime, policy: ConsentPolicy
) -> tuple[Verdict, list[Verdict]]:
    """The verdict as a whole and on each item (items are records, not categories)."""
    verdicts = [decide_item(consents, request, item, now, policy) for item in request.data]
    for wanted in (Verdict.PERMIT, Verdict.INDETERMINATE, Verdict.DENY):
        if wanted in verdicts:
            return wanted, verdicts
    return Verdict.NOT_APPLICABLE, verdicts


def decide_item(
    consents: list[Consent],
    request: AccessRequest,
    item: DataItem,
    now: datetime,
    policy: ConsentPolicy,
) -> Verdict:
    actor, purpose = request.actor, request.purpose
    sensitive = {label for label in item.labels or () if label not in ORDER}
    if purpose == "BTG" and actor.break_glass == "":
        return Verdict.DENY
    if actor.acts_for == request.patient and actor.withheld:
        if item.labels is None:
            return Verdict.DENY
        if any(climb(s, WIDE) & set(actor.withheld) for s in sensitive):
            return Verdict.DENY
    if "PATRQT" in purpose_ancestry(purpose):
        if actor.patient == request.patient:
            return Verdict.PERMIT
        if actor.delegation != "" and actor.acts_for == request.patient:
            inside = not actor.purposes or any(
                p in purpose_ancestry(purpose) for p in actor.purposes
            )
            return Verdict.PERMIT if inside else Verdict.DENY

    said: list[tuple[Consent, Verdict]] = []
    for consent in consents:
        if consent.patient == request.patient and consent.status == Status.ACTIVE:
            verdict = speak(consent.directive, request, item, now)
            if verdict is not Verdict.NOT_APPLICABLE:
                said.append((consent, verdict))
    for consent, verdict in said:
        self_pay = any(p.split("|")[-1] == "hipaa-self-pay" for p in consent.directive.policies)
        plan = {"HPAYMT", "HOPERAT"} & set(purpose_ancestry(purpose))
        if self_pay and plan and verdict is Verdict.DENY:
            return Verdict.DENY
    answer = combine(policy.combining, said)
    consented = any(v is Verdict.PERMIT for _, v in said) and answer is Verdict.PERMIT
    if consented:
        return answer
    if actor.break_glass and purpose in ("BTG", "ETREAT") and not policy.implicit.endswith("-deny"):
        refused = any(
            verdict is Verdict.DENY and refuses_emergency(consent.directive, request, item, now)
            for consent, verdict in said
        )
        if policy.break_glass_overrides and not refused:
            return Verdict.PERMIT
    if not said and policy.implicit:
        return implied(policy.implicit, request, item)
    if answer is Verdict.NOT_APPLICABLE and policy.implicit:
        return implied(policy.implicit, request, item)
    if answer is Verdict.PERMIT and sensitive & SUBSTANCE_USE:
        return Verdict.DENY
    return answer


def speak(directive: Directive, request: AccessRequest, item: DataItem, now: datetime) -> Verdict:
    """What one consent says: settle every rule from the leaves up."""
    if directive.decision is None:
        return Verdict.INDETERMINATE
    flat: list[tuple[Rule, Effect, int]] = []

    def flatten(rule: Rule, effect: Effect, parent: int) -> None:
        flat.append((rule, effect, parent))
        here = len(flat) - 1
        other = Effect.DENY if effect == Effect.PERMIT else Effect.PERMIT
        for nested in rule.exceptions:
            flatten(nested, other, here)

    flatten(directive.rule, directive.decision, -1)
    truth = [holds(rule, effect, request, item, now) for rule, effect, _ in flat]
    taken = [
        t is True or (t is None and effect == Effect.DENY)
        for t, (_, effect, _) in zip(truth, flat, strict=True)
    ]
    stands = list(taken)
    for i in range(len(flat) - 1, 0, -1):
        parent = flat[i][2]
        if stands[i]:
            stands[parent] = False
    if not taken[0]:
        return Verdict.NOT_APPLICABLE
    final = directive.decision if stands[0] else flat[0][1].flipped
    if final == Effect.DENY:
        return Verdict.DENY
    if truth[0] is None:
        return Verdict.NOT_APPLICABLE
    # 42 CFR 2.31: proceedings against the patient need a consent that names them.
    labels = set(item.labels or ())
    if labels & SUBSTANCE_USE and request.purpose == "HLEGAL":
        if stands[0]:
            legal = "HLEGAL" in directive.rule.purposes
        else:
            legal = "HLEGAL" in first_standing_permit(flat, stands).purposes
        return Verdict.PERMIT if legal else Verdict.DENY
    return Verdict.PERMIT


def first_standing_permit(flat: list[tuple[Rule, Effect, int]], stands: list[bool]) -> Rule:
    """The rule whose permit holds where the root does not: the first child that turns it."""
    return next(flat[i][0] for i, (_, _, parent) in enumerate(flat) if parent == 0 and stands[i])


def refuses_emergency(
    directive: Directive, request: AccessRequest, item: DataItem, now: datetime
) -> bool:
    """A deny that lists BTG, at the end of a path of rules that may all match."""
    assert directive.decision is not None

    def search(rule: Rule, effect: Effect) -> bool:
        if holds(rule, effect, request, item, now) is False:
            return False
        if effect == Effect.DENY and "BTG" in rule.purposes:
            return True
        return any(search(nested, effect.flipped) for nested in rule.exceptions)

    return search(directive.rule, directive.decision)


def combine(algorithm: Combining, said: list[tuple[Consent, Verdict]]) -> Verdict:
    verdicts = {v for _, v in said}
    permit, deny, unclear = Verdict.PERMIT, Verdict.DENY, Verdict.INDETERMINATE
    if algorithm == Combining.MOST_RECENT:
        if not said:
            return Verdict.NOT_APPLICABLE
        latest = max(c.recorded_at for c, _ in said)
        newest = {v for c, v in said if c.recorded_at == latest}
        return deny if deny in newest else unclear if unclear in newest else permit
    if algorithm == Combining.ORDERED:
        return said[0][1] if said else Verdict.NOT_APPLICABLE
    order = {
        Combining.DENY_OVERRIDES: [deny, unclear, permit],
        Combining.ORDERED_DENY_OVERRIDES: [deny, unclear, permit],
        Combining.PERMIT_OVERRIDES: [permit, unclear, deny],
        Combining.ORDERED_PERMIT_OVERRIDES: [permit, unclear, deny],
        Combining.DENY_UNLESS_PERMIT: [permit],
        Combining.PERMIT_UNLESS_DENY: [deny, unclear],
    }[algorithm]
    for verdict in order:
        if verdict in verdicts:
            return verdict
    if algorithm == Combining.DENY_UNLESS_PERMIT:
        return deny
    if algorithm == Combining.PERMIT_UNLESS_DENY:
        return permit
    return Verdict.NOT_APPLICABLE


def implied(uri: str, request: AccessRequest, item: DataItem) -> Verdict:
    """IHE PCF: what holds where no consent applies. Only normal data ever goes out so."""
    name = uri.rsplit("/", 1)[-1]
    if name == "Policy-deny":
        return Verdict.DENY
    if name == "Policy-break-glass-only":
        return Verdict.PERMIT if request.purpose == "BTG" else Verdict.DENY
    labels = item.labels
    normal = labels is not None and rank_of(item) <= ORDER.index("N") and not set(labels) & SPECIAL
    if name == "Policy-all-normal":
        return Verdict.PERMIT if normal and request.purpose != "BTG" else Verdict.DENY
    if name == "Policy-basic-normal":
        treatment = "TREAT" in purpose_ancestry(request.purpose)
        emergency = "ETREAT" in purpose_ancestry(request.purpose)
        clinician = request.actor.role == "clinician"
        ok = normal and treatment and not emergency and clinician
        return Verdict.PERMIT if ok else Verdict.DENY
    return Verdict.INDETERMINATE


def holds(
    rule: Rule, effect: Effect, request: AccessRequest, item: DataItem, now: datetime
) -> bool | None:
    """True, False, or None: the request leaves it open. AND over the attributes."""
    found = [
        about_time(rule, now),
        about_purpose(rule, effect, request.purpose),
        not rule.actions or request.action in rule.actions,
        about_actor(rule, effect, request, item),
        about_labels(rule, effect, item),
        about_class(rule, item),
        about_types(rule, item),
        about_documents(rule, item),
        about_codes(rule, effect, item),
        about_data_time(rule, effect, item),
        about_data(rule, item),
    ]
    if False in found:
        return False
    return None if None in found else True


def purpose_ancestry(purpose: str) -> list[str]:
    chain = [purpose]
    while chain[-1] in PURPOSE_PARENT:
        chain.append(PURPOSE_PARENT[chain[-1]])
    return chain


def about_purpose(rule: Rule, effect: Effect, purpose: str) -> bool:
    if not rule.purposes:
        return not (effect == Effect.PERMIT and purpose == "BTG")
    chain = purpose_ancestry(purpose)
    if effect == Effect.PERMIT:
        if purpose == "BTG":
            return "BTG" in rule.purposes
        if "ETREAT" in chain:
            chain = chain[: chain.index("ETREAT") + 1]
    return any(p in rule.purposes for p in chain)


def about_time(rule: Rule, now: datetime) -> bool:
    if rule.period is None:
        return True
    start, end = rule.period.start, rule.period.end
    return (start is None or first_moment(start) <= now) and (end is None or now < after(end))


def about_actor(rule: Rule, effect: Effect, request: AccessRequest, item: DataItem) -> bool:
    if not rule.actors:
        return True
    actor = request.actor
    mine = {f"org:{actor.msp_id}", f"user:{actor.user}", f"role:{actor.role}"}
    mine |= {f"role:{actor.msp_id}/{actor.role}", f"patient:{actor.patient}"}
    mine |= {f"group:{g}" for g in actor.groups}
    answers: dict[str, list[bool]] = {}
    for party in rule.actors:
        if party.role in ("IRCP", "PRCP", "GRANTEE"):
            answers.setdefault("recipient", []).append(party.reference in mine)
        elif party.role == "CST":
            known = item.custodian != ""
            same = party.reference == f"org:{item.custodian}"
            answers.setdefault("custodian", []).append(same if known else effect == Effect.DENY)
        elif party.role == "DELEGATEE":
            acting = actor.delegation != ""
            answers.setdefault("delegatee", []).append(acting and party.reference in mine)
        elif party.role == "DELEGATOR":
            answers.setdefault("delegator", []).append(
                party.reference == f"patient:{actor.acts_for}"
            )
        else:
            # A role that nobody plays: a permit to it is none, a deny to it means the requester.
            mine_or_never = effect == Effect.DENY and party.reference in mine
            answers.setdefault("nobody", []).append(mine_or_never)
    kinds = [any(a) for a in answers.values()]
    return all(kinds) if effect == Effect.PERMIT else any(kinds)


def rank_of(item: DataItem) -> int:
    ranks = [ORDER.index(label) for label in item.labels or () if label in ORDER]
    if ranks:
        return max(ranks)
    return ORDER.index("N") if item.labels == () else ORDER.index("R")


def climb(code: str, parents: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [code]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += parents.get(at, [])
    return seen


def about_labels(rule: Rule, effect: Effect, item: DataItem) -> bool | None:
    if not rule.labels:
        return True
    levels = [ORDER.index(label) for label in rule.labels if label in ORDER]
    named = {label for label in rule.labels if label not in ORDER}
    has = {label for label in item.labels or () if label not in ORDER}
    if effect == Effect.PERMIT:
        if any(rank_of(item) <= level for level in levels):
            return True
        return bool(has) and all(climb(s, NARROW) & named for s in has)
    if any(rank_of(item) >= level for level in levels):
        return True
    if any(climb(s, WIDE) & named for s in has):
        return True
    return None if named and item.labels is None else False


def about_class(rule: Rule, item: DataItem) -> bool | None:
    answers: list[bool | None] = []
    for token in rule.classes:
        system, _, code = token.rpartition("|")
        if system == "http://hl7.org/fhir/resource-types" or (not system and ":" not in token):
            answers.append(item.resource_type == code if item.resource_type else None)
        elif item.document_type == token:
            answers.append(True)
        else:
            answers.append(None if item.classes is None else token in item.classes)
    return either(answers)


def about_types(rule: Rule, item: DataItem) -> bool | None:
    if not item.resource_type:
        return None if rule.resource_types else True
    return not rule.resource_types or item.resource_type in rule.resource_types


def about_documents(rule: Rule, item: DataItem) -> bool | None:
    if not rule.document_types or item.document_type in rule.document_types:
        return True
    may_be = item.resource_type in ("", "Binary", "Bundle", "Composition", "DocumentReference")
    return None if not item.document_type and may_be else False


def about_codes(rule: Rule, effect: Effect, item: DataItem) -> bool | None:
    if not rule.codes:
        return True
    if item.codes is None:
        return None
    for code in item.codes:
        if code in rule.codes:
            return True
        bare = "|" not in code
        if effect == Effect.DENY and bare and any(r.endswith(f"|{code}") for r in rule.codes):
            return True
    return False


def about_data_time(rule: Rule, effect: Effect, item: DataItem) -> bool | None:
    if rule.data_period is None:
        return True
    dates = [d for d in (item.authored, item.updated) if d is not None]
    if not dates:
        return None
    start, end = rule.data_period.start, rule.data_period.end
    low = first_moment(start) if start else datetime.min.replace(tzinfo=UTC)
    high = after(end) if end else datetime.max.replace(tzinfo=UTC)
    if effect == Effect.PERMIT:
        return any(low <= first_moment(d) and after(d) <= high for d in dates)
    return any(first_moment(d) < high and low < after(d) for d in dates)


def about_data(rule: Rule, item: DataItem) -> bool | None:
    answers: list[bool | None] = []
    for data in rule.data:
        wanted = data.reference
        itself: bool | None = item.id == wanted if item.id else None
        meaning = data.meaning.value
        if meaning == "authoredby":
            answers.append(among(wanted, item.authors))
        elif meaning == "instance":
            answers.append(itself)
        elif meaning == "related":
            answers += [itself, among(wanted, item.referenced_by), among(wanted, item.contexts)]
        else:
            answers += [itself, among(wanted, item.references)]
    return either(answers)


def among(wanted: str, have: tuple[str, ...] | None) -> bool | None:
    return None if have is None else wanted in have


def either(answers: list[bool | None]) -> bool | None:
    """OR; nothing asked is no constraint."""
    if not answers or True in answers:
        return True
    return None if None in answers else False


def first_moment(text: str) -> datetime:
    if re.fullmatch(r"\d{4}", text):
        text += "-01-01"
    elif re.fullmatch(r"\d{4}-\d{2}", text):
        text += "-01"
    if len(text) == 10:
        text += "T00:00:00+00:00"
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def after(text: str) -> datetime:
    """The first moment after what the text names (years, months, days and whole seconds)."""
    if len(text) == 4:
        return datetime(int(text) + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        days = calendar.monthrange(year, month)[1]
        return datetime(year, month, days, tzinfo=UTC) + timedelta(days=1)
    if len(text) == 10:
        return first_moment(text) + timedelta(days=1)
    milliseconds = re.search(r"\.\d{3}\D", text + "Z")
    return first_moment(text) + timedelta(milliseconds=1 if milliseconds else 1000)
