"""Random consents and requests from small vocabularies, so that rules and requests often meet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from chaincode.consent import codes
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    Author,
    Capacity,
    Combining,
    Consent,
    ConsentPolicy,
    DataItem,
    DataReference,
    Directive,
    Effect,
    Meaning,
    Party,
    Period,
    Rule,
    Status,
)

T = TypeVar("T")

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
PATIENT = "aa" * 16
USERS = ("11" * 32, "22" * 32)
RECORDS = tuple(f"{i:02x}" * 16 for i in range(1, 5))
ORGS = ("HospitalMSP", "ClinicMSP", "PayerMSP")
ROLES = ("clinician", "claims")
GROUPS = ("c0" * 16, "c1" * 16)
PURPOSES = (
    *("TREAT", "ETREAT", "BTG", "COC", "HPAYMT", "CLMATTCH", "COVERAGE", "ELIGVER", "HOPERAT"),
    *("HLEGAL", "FRAUD", "HRESCH", "CLINTRCH", "HMARKT", "PATRQT", "FAMRQT", "PUBHLTH"),
)
LABELS = ("L", "N", "R", "V", "HIV", "PSY", "MH", "BH", "SUD", "ETHUD", "ETH", "SEX", "ADOL")
TYPES = ("Observation", "Claim", "Account", "DocumentReference")
PROFILE = "http://example.org/StructureDefinition/lab"
CLASSES = (PROFILE, "Claim", f"{codes.RESOURCE_TYPES}|Observation", "http://loinc.org|11488-4")
DOCUMENTS = ("http://loinc.org|11488-4", "http://loinc.org|18842-5")
CODES = ("http://loinc.org|4548-4", "http://snomed.info/sct|4548-4", "http://loinc.org|718-7")
DATES = (
    *("2019", "2020", "2020-06", "2021", "2021-03-05", "2026", "2026-06", "2026-06-15"),
    *("2026-06-15T12:00:00Z", "2026-06-15T11:59:59Z", "2026-06-15T14:00:00+02:00", "2027"),
)
IMPLICIT = ("", *sorted(codes.IMPLICIT_POLICIES))


class Generator:
    """A source of random values, reproducible by its seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def case(self) -> tuple[list[Consent], AccessRequest, ConsentPolicy]:
        """Up to three consents, a request for up to two records, a policy."""
        count = self.random.choice((0, 1, 1, 1, 2, 3))
        return [self.consent(i) for i in range(count)], self.request(), self.policy()

    def policy(self) -> ConsentPolicy:
        algorithm = self.random.choice(tuple(Combining))
        return ConsentPolicy(algorithm, self.random.choice(IMPLICIT), self.chance(0.8), 1)

    def consent(self, index: int = 0) -> Consent:
        granted = NOW - timedelta(days=self.random.randrange(3))
        return Consent(
            id=f"{index:032x}",
            version=1,
            patient=PATIENT if self.chance(0.97) else "bb" * 16,
            status=Status.ACTIVE if self.chance(0.95) else Status.INACTIVE,
            directive=self.directive(),
            author=Author("HospitalMSP", USERS[0], Capacity.PATIENT),
            granted_at=granted,
            recorded_at=granted,
        )

    def directive(self) -> Directive:
        decision = None if self.chance(0.02) else self.random.choice(tuple(Effect))
        policies = (codes.SELF_PAY,) if self.chance(0.05) else ()
        return Directive(decision, self.rule(0), policies=policies)

    def rule(self, depth: int) -> Rule:
        """A rule with about two attributes, the fewer the nearer to the root."""
        share = 0.1 if depth == 0 else 0.2
        return Rule(
            period=self.period() if self.chance(share / 2) else None,
            actors=self.some(self.parties(), share),
            actions=self.some(("access", "disclose"), share / 2),
            purposes=self.some(PURPOSES, 0.4, most=4),
            labels=self.some(LABELS, share),
            classes=self.some(CLASSES, share / 2),
            resource_types=self.some(TYPES, share / 2),
            document_types=self.some(DOCUMENTS, share / 4),
            codes=self.some(CODES, share / 2),
            data_period=self.period() if self.chance(share / 2) else None,
            data=self.some(self.references(), share / 2),
            exceptions=tuple(
                self.rule(depth + 1)
                for _ in range(self.random.choice((0, 0, 1, 2, 3)) if depth < 4 else 0)
            ),
        )

    def parties(self) -> tuple[Party, ...]:
        return (
            *(Party(f"org:{o}", self.random.choice(("IRCP", "PRCP", "CST"))) for o in ORGS),
            *(Party(f"role:{r}") for r in ROLES),
            Party("role:ClinicMSP/clinician"),
            Party(f"user:{USERS[0]}", self.random.choice(("IRCP", "DELEGATEE"))),
            Party(f"group:{GROUPS[0]}"),
            Party(f"patient:{PATIENT}", "DELEGATOR"),
        )

    def references(self) -> tuple[DataReference, ...]:
        meanings = (Meaning.INSTANCE, Meaning.RELATED, Meaning.DEPENDENTS)
        return (
            *(DataReference(r, self.random.choice(meanings)) for r in RECORDS),
            DataReference("org:HospitalMSP", Meaning.AUTHORED_BY),
        )

    def period(self) -> Period:
        start = self.random.choice((None, "2019", "2020-06", "2021-03-05", "2026-06-15"))
        end = self.random.choice((None, "2026", "2026-06-15", "2027", "2026-06-15T12:00:00Z"))
        return Period(start, end)

    def request(self) -> AccessRequest:
        items = tuple(self.item() for _ in range(self.random.choice((1, 1, 2))))
        action = self.random.choice(("access", "access", "disclose"))
        return AccessRequest(PATIENT, self.actor(), self.random.choice(PURPOSES), action, items)

    def actor(self) -> Actor:
        delegated = self.chance(0.1)
        return Actor(
            msp_id=self.random.choice(ORGS),
            role=self.random.choice(ROLES),
            user=self.random.choice(USERS),
            groups=self.some(GROUPS, 0.3),
            patient=PATIENT if self.chance(0.05) else "",
            delegation="dd" * 16 if delegated else "",
            acts_for=PATIENT if delegated else "",
            withheld=self.some(("ADOL", "SEX", "MH"), 0.5) if delegated else (),
            purposes=self.some(("PATRQT", "FAMRQT", "TREAT"), 0.5) if delegated else (),
            break_glass="ee" * 16 if self.chance(0.4) else "",
        )

    def item(self, *, known: bool = False) -> DataItem:
        """A record; where `known`, with nothing left open."""

        def maybe(value: tuple[str, ...]) -> tuple[str, ...] | None:
            return value if known or self.chance(0.85) else None

        kind = self.random.choice(TYPES) if known or self.chance(0.9) else ""
        document = self.random.choice(DOCUMENTS) if known else self.random.choice(("", *DOCUMENTS))
        return DataItem(
            id=self.random.choice(RECORDS) if known or self.chance(0.9) else "",
            resource_type=kind,
            document_type=document if kind == "DocumentReference" or not known else "",
            classes=maybe(self.some((PROFILE, "http://loinc.org|11488-4"), 0.4)),
            codes=maybe(self.some((*CODES, "718-7"), 0.6)),
            labels=maybe(self.some(LABELS, 0.6, most=2)),
            authors=maybe(self.some(("org:HospitalMSP", "org:ClinicMSP"), 0.6)),
            references=maybe(self.some(RECORDS, 0.4)),
            referenced_by=maybe(self.some(RECORDS, 0.4)),
            contexts=maybe(self.some(RECORDS, 0.3)),
            authored=self.random.choice(DATES) if known or self.chance(0.8) else None,
            updated=self.random.choice(DATES) if known or self.chance(0.3) else None,
            custodian=self.random.choice(ORGS) if known or self.chance(0.8) else "",
        )

    def some(self, values: Sequence[T], share: float, most: int = 3) -> tuple[T, ...]:
        """One to `most` of the values with probability `share`, else none."""
        if not self.chance(share):
            return ()
        count = self.random.randint(1, min(most, len(values)))
        return tuple(self.random.sample(values, count))

    def chance(self, share: float) -> bool:
        return self.random.random() < share
