"""What a consent says about a kind of data nobody has looked at yet: a permit with residual rules.

Where a rule depends on what the data will turn out to be, the answer is PERMIT with REDACT
obligations (leave out what matches; leave out all but what matches), as IHE PCF's `residual` and
LEAP's `exceptAnyOfCodes` do. Where criteria nest deeper than an obligation can say, the narrower
reading is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chaincode.consent.compiled import MAYBE, NO, YES, Asked, Asker, CompiledRule
from chaincode.consent.model import Criterion, Effect, Match, Obligation

REDACT = "REDACT"


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of a category that a rule tree permits.

    PERMIT: all of it, less what each obligation takes away. DENY: none of it. None: the tree does
    not speak for it, and still what the obligations name is denied.
    """

    effect: Effect | None
    match: Match
    obligations: tuple[Obligation, ...] = ()


def evaluate_category(root: CompiledRule, asker: Asker, asked: Asked, now: datetime) -> Portion:
    """Return what the tree under `root` permits of the category `asked`."""
    fit = root.fit(asker, asked, now)
    if fit == NO:
        return Portion(None, root.match)
    inner = _within(root, asker, asked, now)
    if fit == YES:
        return inner
    if root.effect is Effect.PERMIT:
        if inner.effect is Effect.DENY:
            # It denies what a permit's attributes select, and an obligation reads attributes as a
            # deny's; so the whole is closed.
            return Portion(Effect.DENY, inner.match)
        return Portion(Effect.PERMIT, inner.match, (_only((root,)), *inner.obligations))
    # A deny of an unknown part: that part is closed, whatever its exceptions would reopen.
    closed = inner.effect is Effect.DENY or inner.obligations
    return Portion(None, root.match, (_without(root),) if closed else ())


def _within(rule: CompiledRule, asker: Asker, asked: Asked, now: datetime) -> Portion:
    """What `rule`, taken to match all of the category, permits of it."""
    nested = [
        (child, fit, _within(child, asker, asked, now))
        for child in rule.exceptions
        if (fit := child.fit(asker, asked, now)) != NO
    ]
    if rule.effect is Effect.PERMIT:
        return _less(rule, nested)
    return _more(rule, nested)


def _less(rule: CompiledRule, nested: Sequence[tuple[CompiledRule, int, Portion]]) -> Portion:
    """A permit less its exceptions."""
    obligations: list[Obligation] = []
    for child, fit, inner in nested:
        if fit == YES and inner.effect is Effect.DENY:
            return inner
        if fit == YES:
            obligations.extend(inner.obligations)
        elif inner.effect is Effect.DENY or inner.obligations:
            obligations.append(_without(child))
    return Portion(Effect.PERMIT, rule.match, tuple(obligations))


def _more(rule: CompiledRule, nested: Sequence[tuple[CompiledRule, int, Portion]]) -> Portion:
    """A deny and the exceptions that permit a part of it."""
    whole = [p for _, fit, p in nested if fit == YES and p.effect is Effect.PERMIT]
    if whole:
        return min(whole, key=lambda p: len(p.obligations))
    parts = [(c, p) for c, fit, p in nested if fit == MAYBE and p.effect is Effect.PERMIT]
    if not parts:
        return Portion(Effect.DENY, rule.match)
    taken = tuple(o for _, p in parts for o in p.obligations)
    only = _only(tuple(child for child, _ in parts))
    return Portion(Effect.PERMIT, parts[0][1].match, (only, *taken))


def _without(rule: CompiledRule) -> Obligation:
    return Obligation(REDACT, reason=rule.match.path, matching=(rule.criterion,))


def _only(rules: tuple[CompiledRule, ...]) -> Obligation:
    criteria: tuple[Criterion, ...] = tuple(rule.criterion for rule in rules)
    return Obligation(REDACT, reason=rules[0].match.path, excepting=criteria)
