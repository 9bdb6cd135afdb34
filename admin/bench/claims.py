"""What a claim with all its checks costs, beside a bare transaction of the same network.

Synthetic claims of two lines, each on a day of its own, are filed as a payer files its intake: from
FHIR Claims to the ledger, with every check and in chunks. A bare transaction (`claims:
RegisterProvider`) reads one key and writes one, by the same identity, endorsed by as many peers.
Both are measured in wall time and in processor time of this process and of every node on this
machine, which other work on the machine changes far less.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from admin.bench.process import read_own_cpu, read_usage
from admin.procedures.claims.claims import Claims
from admin.procedures.claims.preparation import FilingOptions
from admin.procedures.claims.sources import ClaimSource
from admin.procedures.networks.health import Health
from chaincode.claims.model import Registration, RegistrationRequest

CODES = ("G0463", "G0108")
FILLED_AT_ONCE = 1_000
DAYS = 300
"""Days over which services are spread: within a filing limit of a year."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one kind of work took, for each of `count` pieces of it.

    `before` is how many claims this measurement had filed when the work began.
    """

    what: str
    count: int
    seconds: float
    client_cpu: float
    nodes_cpu: float
    failed: int = 0
    before: int = 0

    @property
    def rate(self) -> float:
        """Pieces a second."""
        return self.count / self.seconds

    @property
    def cpu(self) -> float:
        """Seconds of processor time for one piece, client and nodes together."""
        return (self.client_cpu + self.nodes_cpu) / self.count


@dataclass(frozen=True, slots=True)
class Course:
    """How much is measured: rounds of so many claims and bare transactions, in turn.

    `grow` are stages: the rounds are measured again once so many claims are on the ledger.
    """

    claims: int = 500
    bare: int = 200
    rounds: int = 3
    concurrency: int = 32
    grow: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Filed:
    """For which member and provider claims are made: handles, and the provider's NPI."""

    patient: str
    coverage: str
    npi: str


class ClaimsBench:
    """Measures in the name of one payer; `pids` are the network's nodes on this machine."""

    def __init__(
        self, claims: Claims, health: Health, options: FilingOptions, pids: Sequence[int]
    ) -> None:
        self._claims = claims
        self._health = health
        self._options = options
        self._pids = tuple(pids)
        self._filed = 0

    async def run(
        self, filed: Filed, course: Course, told: Callable[[Cost], None] = lambda cost: None
    ) -> list[Cost]:
        """Return the costs of bare transactions and of claims, stage by stage, round by round."""
        found = []
        await self._round(filed, course)  # warms up
        for stage in (0, *course.grow):
            while self._filed < stage:
                await self._file(filed, min(stage - self._filed, FILLED_AT_ONCE))
            for _ in range(course.rounds):
                for cost in await self._round(filed, course):
                    told(cost)
                    found.append(cost)
        return found

    async def _round(self, filed: Filed, course: Course) -> tuple[Cost, Cost]:
        bare = await self._measure("bare transaction", course.bare, lambda: self._bare(course))
        claims = await self._measure(
            "claim", course.claims, lambda: self._file(filed, course.claims)
        )
        return bare, claims

    async def _measure(self, what: str, count: int, work: Callable[[], Awaitable[int]]) -> Cost:
        nodes, own, begun = self._nodes_cpu(), read_own_cpu(), time.perf_counter()
        before = self._filed
        failed = await work()
        return Cost(
            what=what,
            count=count,
            seconds=time.perf_counter() - begun,
            client_cpu=read_own_cpu() - own,
            nodes_cpu=self._nodes_cpu() - nodes,
            failed=failed,
            before=before,
        )

    async def _bare(self, course: Course) -> int:
        limit = asyncio.Semaphore(course.concurrency)

        async def one() -> None:
            request = RegistrationRequest(secrets.token_hex(16), secrets.token_bytes(32))
            async with limit:
                await self._health.submit("claims:RegisterProvider", request, result=Registration)

        await asyncio.gather(*(one() for _ in range(course.bare)))
        return 0

    async def _file(self, filed: Filed, count: int) -> int:
        sources = [make_claim(filed, number) for number in range(count)]
        done = await self._claims.submit(sources, self._options)
        self._filed += count
        return sum(one.refused for one in done)

    def _nodes_cpu(self) -> float:
        found = (read_usage(pid) for pid in self._pids)
        return sum(usage.cpu for usage in found if usage is not None)


def make_claim(filed: Filed, number: int) -> ClaimSource:
    """Return a FHIR Claim of two lines that no other one equals."""
    today = datetime.now(UTC).date()
    day = today - timedelta(days=1 + number % DAYS)
    # A charge of its own: claims of one day are no duplicates of one another.
    price = Decimal(secrets.randbelow(9_000_000) + 100) / 100
    lines = [_line(n, code, day, price + n) for n, code in enumerate(CODES, 1)]
    total = sum((line["net"]["value"] for line in lines), Decimal(0))
    resource: dict[str, Any] = {
        "resourceType": "Claim",
        "identifier": [{"system": "urn:medfabric:bench", "value": secrets.token_hex(12)}],
        "status": "active",
        "type": {"coding": [{"code": "professional"}]},
        "use": "claim",
        "patient": {"reference": "Patient/bench"},
        "created": today.isoformat(),
        "provider": {
            "identifier": {"system": "http://hl7.org/fhir/sid/us-npi", "value": filed.npi}
        },
        "diagnosis": [{"sequence": 1, "diagnosisCodeableConcept": {"coding": [{"code": "E11.9"}]}}],
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/bench"}}],
        "item": lines,
        "total": {"value": total, "currency": "USD"},
    }
    return ClaimSource(f"claim {number}", resource)


def naming_of(options: FilingOptions, filed: Filed) -> FilingOptions:
    """Return the options with the handles that the made claims' references stand for."""
    naming = replace(
        options.naming, patient=filed.patient, coverages={"Coverage/bench": filed.coverage}
    )
    return replace(options, naming=naming, labels=("N",))


def by_stage(costs: Sequence[Cost], course: Course) -> list[tuple[int, list[Cost]]]:
    """Return the costs of each stage, with the claims that were on the ledger when it began."""
    size = 2 * course.rounds
    stages = [list(costs[start : start + size]) for start in range(0, len(costs), size)]
    return [(stage[0].before, stage) for stage in stages]


def median_ratio(costs: Sequence[Cost]) -> tuple[float, float]:
    """Return how much more a claim takes than its round's bare transaction: time, processor."""
    pairs = list(zip(costs[::2], costs[1::2], strict=True))
    times = sorted(bare.rate / claim.rate for bare, claim in pairs)
    cpus = sorted(claim.cpu / bare.cpu for bare, claim in pairs)
    return times[len(times) // 2], cpus[len(cpus) // 2]


def _line(number: int, code: str, day: date, price: Decimal) -> dict[str, Any]:
    amount = {"value": price, "currency": "USD"}
    return {
        "sequence": number,
        "productOrService": {"coding": [{"code": code}]},
        "servicedDate": day.isoformat(),
        "locationCodeableConcept": {"coding": [{"code": "11"}]},
        "quantity": {"value": 1},
        "unitPrice": amount,
        "net": amount,
        "diagnosisSequence": [1],
        # Two services of a day are told apart, so that the day's other claims do not pend it.
        "modifier": [{"coding": [{"code": secrets.token_hex(4)}]}],
    }
