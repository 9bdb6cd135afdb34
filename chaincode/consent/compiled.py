"""A directive made ready for many requests: sets and bounds in place of lists and dates.

Compiling resolves hierarchies once, in the direction of each rule's effect. Matching is
three-valued: NO, MAYBE (the request leaves open whether the rule applies) and YES. Who decides what
a MAYBE means is `rules`, never this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum

from chaincode.consent import codes
from chaincode.consent.dates import open_date, open_period
from chaincode.consent.model import (
    AccessRequest,
    Consent,
    Criterion,
    DataItem,
    DataReference,
    Effect,
    Match,
    Meaning,
    Period,
    Rule,
)

MAX_DEPTH = 16
_DOCUMENTS = frozenset({"", "Binary", "Bundle", "Composition", "DocumentReference"})


class Fit(IntEnum):
    """How a rule's attributes fit a request."""

    NO = 0
    MAYBE = 1
    YES = 2


NO, MAYBE, YES = Fit.NO, Fit.MAYBE, Fit.YES
Interval = tuple[datetime, datetime]
_NOBODY: frozenset[str] = frozenset()


class MalformedDirective(ValueError):
    """A rule cannot be given a meaning; the text names the path and the attribute."""


class Asker:
    """The side of a request that is the same for all of its items, ready for matching."""

    __slots__ = ("action", "acts_for", "delegated", "names", "purpose")

    def __init__(self, request: AccessRequest) -> None:
        actor = request.actor
        names = {f"org:{actor.msp_id}"}
        if actor.user:
            names.add(f"user:{actor.user}")
        if actor.role:
            names.add(f"role:{actor.role}")
            names.add(f"role:{actor.msp_id}/{actor.role}")
        if actor.patient:
            names.add(f"patient:{actor.patient}")
        if actor.groups:
            names.update(f"group:{group}" for group in actor.groups)
        self.names = names
        self.purpose = request.purpose
        self.action = request.action
        self.delegated = bool(actor.delegation)
        self.acts_for = f"patient:{actor.acts_for}" if actor.acts_for else ""


class Asked:
    """One item asked for, ready for matching. `rank` is None where confidentiality is open."""

    __slots__ = ("item", "labelled", "rank", "sensitivities", "times")

    def __init__(self, item: DataItem) -> None:
        self.item = item
        self.labelled = item.labels is not None
        ranks = [codes.CONFIDENTIALITY_RANK.get(code) for code in item.labels or ()]
        known = [rank for rank in ranks if rank is not None]
        self.sensitivities = frozenset(
            code for code, rank in zip(item.labels or (), ranks, strict=True) if rank is None
        )
        self.rank: int | None
        if known:
            self.rank = max(known)
        elif item.labels is None:
            # Unlabelled: R for a record; a category is still to be looked at, so it stays open.
            self.rank = None if item.category else codes.RESTRICTED
        else:
            self.rank = codes.RESTRICTED if self.sensitivities else codes.NORMAL
        self.times = [open_date(d) for d in (item.authored, item.updated) if d is not None]


class CompiledRule:
    """One rule of a directive with its effect made explicit."""

    __slots__ = (
        *("_action_set", "_class_tokens", "_class_types", "_code_set", "_custodians"),
        *("_data", "_data_period", "_delegatees", "_delegators", "_document_set"),
        *(
            "_has_actors",
            "_has_classes",
            "_label_rank",
            "_label_sensitivities",
            "_never",
            "_period",
            "_permits",
        ),
        *("_purpose_set", "_recipients", "_rule", "_type_set", "effect"),
        *("exceptions", "listed_purposes", "match"),
    )

    def __init__(self, rule: Rule, effect: Effect, match: Match, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise MalformedDirective(f"{match.path}: nested deeper than {MAX_DEPTH} levels")
        self._rule = rule
        self.effect = effect
        self.match = match
        self._permits = effect is Effect.PERMIT
        self._period = _interval(rule.period, match.path, "period")
        self._data_period = _interval(rule.data_period, match.path, "dataPeriod")
        self._action_set = frozenset(rule.actions) or None
        self.listed_purposes = frozenset(rule.purposes)
        closed = codes.purposes_permitted if self._permits else codes.purposes_denied
        self._purpose_set = closed(rule.purposes) if rule.purposes else None
        self._compile_actors(rule)
        self._compile_labels(rule.labels)
        self._type_set = frozenset(rule.resource_types) or None
        self._document_set = frozenset(rule.document_types) or None
        self._compile_classes(rule.classes)
        self._code_set = self._compile_codes(rule.codes)
        self._data = _by_meaning(rule.data)
        self.exceptions = tuple(
            CompiledRule(
                nested,
                effect.flipped,
                Match(
                    f"{match.path}.exceptions[{i}]", match.consent_id, match.version, match.digest
                ),
                depth + 1,
            )
            for i, nested in enumerate(rule.exceptions)
        )

    @property
    def criterion(self) -> Criterion:
        """What the rule's data attributes select of a category."""
        rule = self._rule
        return Criterion(
            labels=rule.labels,
            classes=rule.classes,
            resource_types=rule.resource_types,
            document_types=rule.document_types,
            codes=rule.codes,
            data_period=rule.data_period,
            data=rule.data,
        )

    def fit(self, asker: Asker, asked: Asked, now: datetime) -> Fit:
        """Return how this rule's own attributes (not its exceptions) fit a request at `now`."""
        if self._period is not None and not self._period[0] <= now < self._period[1]:
            return NO
        if self._purpose_set is None:
            # Break-glass is never implied, so not by a permit that names no purpose either.
            if self._permits and asker.purpose == codes.BREAK_GLASS:
                return NO
        elif asker.purpose not in self._purpose_set:
            return NO
        if self._action_set is not None and asker.action not in self._action_set:
            return NO
        if self._has_actors and not self._fits_actor(asker, asked.item.custodian):
            return NO
        return self._fit_data(asked)

    def _fit_data(self, asked: Asked) -> Fit:
        """The least of what each data attribute says: they are ANDed."""
        item, fit = asked.item, YES
        if self._type_set is not None and item.resource_type not in self._type_set:
            if item.resource_type:
                return NO
            fit = MAYBE
        if self._document_set is not None and item.document_type not in self._document_set:
            if item.document_type or item.resource_type not in _DOCUMENTS:
                return NO
            fit = MAYBE
        if self._code_set is not None:
            if item.codes is None:
                fit = MAYBE
            elif self._code_set.isdisjoint(item.codes):
                return NO
        if self._label_rank is not None:
            fit = min(fit, self._fit_labels(asked))
        if self._has_classes and fit:
            fit = min(fit, self._fit_class(item))
        if self._data_period is not None and fit:
            fit = min(fit, self._fit_time(asked.times))
        if self._data is not None and fit:
            fit = min(fit, self._fit_references(item))
        return fit

    def _fits_actor(self, asker: Asker, custodian: str) -> bool:
        """Whether the parties fit; a permit needs each kind of party that it names (AND)."""
        found = []
        if self._recipients:
            found.append(not self._recipients.isdisjoint(asker.names))
        if self._custodians:
            known = f"org:{custodian}" in self._custodians
            found.append(known or (not custodian and not self._permits))
        if self._delegatees:
            found.append(asker.delegated and not self._delegatees.isdisjoint(asker.names))
        if self._delegators:
            found.append(asker.acts_for in self._delegators)
        if self._permits:
            return not self._never and all(found)
        return any(found)

    def _fit_class(self, item: DataItem) -> Fit:
        if item.resource_type in self._class_types or item.document_type in self._class_tokens:
            return YES
        if item.classes is not None and not self._class_tokens.isdisjoint(item.classes):
            return YES
        if self._class_types and not item.resource_type:
            return MAYBE
        return MAYBE if self._class_tokens and item.classes is None else NO

    def _fit_labels(self, asked: Asked) -> Fit:
        listed, bound, rank = self._label_sensitivities, self._label_rank, asked.rank
        assert bound is not None
        if rank is None:
            return MAYBE
        if self._permits:
            if rank <= bound:
                return YES
            covered = bool(asked.sensitivities) and asked.sensitivities <= listed
            return YES if covered else NO
        if rank >= bound or not listed.isdisjoint(asked.sensitivities):
            return YES
        return MAYBE if listed and not asked.labelled else NO

    def _fit_time(self, times: list[Interval]) -> Fit:
        assert self._data_period is not None
        if not times:
            return MAYBE
        start, after = self._data_period
        if self._permits:
            return YES if any(start <= s and a <= after for s, a in times) else NO
        return YES if any(s < after and start < a for s, a in times) else NO

    def _fit_references(self, item: DataItem) -> Fit:
        assert self._data is not None
        instance, related, dependents, authored = self._data
        if item.id and (item.id in instance or item.id in related or item.id in dependents):
            return YES
        checks = (
            (related, item.referenced_by),
            (related, item.contexts),
            (dependents, item.references),
            (authored, item.authors),
        )
        unknown = not item.id and bool(instance or related or dependents)
        for wanted, have in checks:
            if have is None:
                unknown = unknown or bool(wanted)
            elif not wanted.isdisjoint(have):
                return YES
        return MAYBE if unknown else NO

    def _compile_actors(self, rule: Rule) -> None:
        self._has_actors = bool(rule.actors)
        self._custodians = self._delegatees = self._delegators = self._recipients = _NOBODY
        self._never = False
        if not rule.actors:
            return
        by_role: dict[str, set[str]] = {}
        for party in rule.actors:
            by_role.setdefault(party.role, set()).add(party.reference)
        self._custodians = frozenset(by_role.pop(codes.CUSTODIAN_ROLE, ()))
        self._delegatees = frozenset(by_role.pop(codes.DELEGATEE_ROLE, ()))
        self._delegators = frozenset(by_role.pop(codes.DELEGATOR_ROLE, ()))
        # A role that nobody here plays: a permit to it reaches no one, a deny reaches the asker.
        self._never = bool(by_role.keys() - codes.RECIPIENT_ROLES)
        self._recipients = frozenset(name for names in by_role.values() for name in names)

    def _compile_labels(self, labels: tuple[str, ...]) -> None:
        self._label_rank: int | None = None
        if not labels:
            return
        ranks = [codes.CONFIDENTIALITY_RANK[c] for c in labels if c in codes.CONFIDENTIALITY_RANK]
        named = [c for c in labels if c not in codes.CONFIDENTIALITY_RANK]
        closed = codes.sensitivities_permitted if self._permits else codes.sensitivities_denied
        self._label_sensitivities = closed(named)
        # A high-water mark: a permit reaches up to it, a deny from it upwards.
        self._label_rank = max(ranks, default=-1) if self._permits else min(ranks, default=99)

    def _compile_classes(self, classes: tuple[str, ...]) -> None:
        self._has_classes = bool(classes)
        if not classes:
            return
        prefix = codes.RESOURCE_TYPES + "|"
        types = {codes.code_of(c) for c in classes if c.startswith(prefix)}
        bare = {c for c in classes if "|" not in c and ":" not in c}
        self._class_types = frozenset(types | bare)
        self._class_tokens = frozenset(classes) - bare - {prefix + t for t in types}

    def _compile_codes(self, listed: tuple[str, ...]) -> frozenset[str] | None:
        if not listed:
            return None
        # An item's code without a system meets a deny of that code in any system.
        bare = () if self._permits else map(codes.code_of, listed)
        return frozenset((*listed, *bare))


class CompiledConsent:
    """A consent ready for many requests. `problem` says why it cannot be decided, if so."""

    __slots__ = ("consent", "match", "problem", "root", "self_pay")

    def __init__(self, consent: Consent) -> None:
        self.consent = consent
        self.match = Match("base", consent.id, consent.version, consent.digest)
        self.root: CompiledRule | None = None
        self.problem = ""
        self.self_pay = codes.SELF_PAY in map(codes.code_of, consent.directive.policies)
        if consent.directive.decision is None:
            self.problem = "the base decision is not determined"
            return
        try:
            self.root = CompiledRule(consent.directive.rule, consent.directive.decision, self.match)
        except MalformedDirective as error:
            self.problem = str(error)


def compile_consent(consent: Consent) -> CompiledConsent:
    """Return `consent` ready for `rules.evaluate`; worth keeping while the version lives."""
    return CompiledConsent(consent)


def _interval(period: Period | None, path: str, name: str) -> Interval | None:
    if period is None:
        return None
    try:
        return open_period(period.start, period.end)
    except ValueError as error:
        raise MalformedDirective(f"{path}.{name}: {error}") from error


def _by_meaning(
    data: Iterable[DataReference],
) -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]] | None:
    listed = tuple(data)
    if not listed:
        return None

    def having(meaning: Meaning) -> frozenset[str]:
        return frozenset(d.reference for d in listed if d.meaning is meaning)

    return (
        having(Meaning.INSTANCE),
        having(Meaning.RELATED),
        having(Meaning.DEPENDENTS),
        having(Meaning.AUTHORED_BY),
    )
