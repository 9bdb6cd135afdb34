"""A patient's trail, accounting and reviews off the ledger, whole, as one value to report from."""

from dataclasses import dataclass
from datetime import UTC, datetime

from admin.errors import input_error
from admin.procedures.networks.health import Committed, Health
from chaincode.audit import rules
from chaincode.audit.model import (
    Accounting,
    AuditEntry,
    ReviewItem,
    ReviewPage,
    TrailPage,
)
from chaincode.table import PageRequest
from network.client.channel import ChainInfo, get_chain_info
from network.client.peer import PeerClient
from network.client.profile import Profile

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What one caller may read of one patient over a period, and the ledger it was read from.

    `since` is included and `until` is not. `made_by` names who asked, by organisation and user.
    """

    network: str
    channel: str
    patient: str
    since: datetime
    until: datetime
    made_at: datetime
    made_by: str
    chain: ChainInfo
    entries: tuple[AuditEntry, ...]
    accounting: Accounting


@dataclass(frozen=True, slots=True)
class Queue:
    """What waited for an organisation's privacy officer when it was read."""

    network: str
    channel: str
    msp_id: str
    made_at: datetime
    made_by: str
    chain: ChainInfo
    items: tuple[ReviewItem, ...]


class Audit:
    """The audit's queries in the name of one identity; pages are put together."""

    def __init__(self, network: str, profile: Profile, health: Health) -> None:
        self._network = network
        self._profile = profile
        self._health = health

    async def trail(
        self, patient: str, since: datetime | None = None, until: datetime | None = None
    ) -> list[AuditEntry]:
        """The patient's trail, oldest first, of a period if one is given."""
        entries: list[AuditEntry] = []
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "audit:Trail", patient, PageRequest(PAGE, bookmark), result=TrailPage
            )
            entries += (one for one in page.entries if _within(one, since, until))
            bookmark = page.bookmark
            if not bookmark:
                return entries

    async def disclosures(
        self, patient: str, since: datetime | None = None, until: datetime | None = None
    ) -> Accounting:
        """The accounting of disclosures over the period, six years unless `since` says less."""
        pages: list[Accounting] = []
        bookmark = ""
        while not pages or bookmark:
            pages.append(
                await self._health.evaluate(
                    "audit:Disclosures",
                    patient,
                    since,
                    until,
                    PageRequest(PAGE, bookmark),
                    result=Accounting,
                )
            )
            # What is disclosed while pages are read belongs to none of them.
            until, bookmark = pages[0].until, pages[-1].bookmark
        return rules.join_accountings(pages)

    async def reviews(self, msp_id: str = "") -> list[ReviewItem]:
        """All that waits for the organisation's privacy officer, oldest first."""
        items: list[ReviewItem] = []
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "audit:ReviewQueue", PageRequest(PAGE, bookmark), msp_id, result=ReviewPage
            )
            items += page.items
            bookmark = page.bookmark
            if not bookmark:
                return sorted(items, key=lambda item: item.opened_at)

    async def resolve(self, review: str) -> str:
        """The full id of a review of the caller's queue, from any unique beginning of it.

        Raises FaultError: it begins several.
        """
        beginning = review.rstrip("….")
        found = [one.id for one in await self.reviews() if one.id.startswith(beginning)]
        if len(found) > 1:
            raise input_error(f"{beginning!r} begins several reviews", "write more of it")
        return found[0] if found else beginning

    async def close(self, review: str, outcome: str) -> Committed[ReviewItem]:
        """A denied access is out of the queue, with the outcome on the trail."""
        return await self._health.submit("audit:CloseReview", review, outcome, result=ReviewItem)

    async def report(
        self, patient: str, since: datetime | None = None, until: datetime | None = None
    ) -> Report:
        """All of it for one patient, with the chain's height and newest hash."""
        chain = await self._chain()
        accounting = await self.disclosures(patient, since, until)
        return Report(
            network=self._network,
            channel=self._health.channel_id,
            patient=patient,
            since=accounting.since,
            until=accounting.until,
            made_at=datetime.now(UTC),
            made_by=self._profile.identity,
            chain=chain,
            entries=tuple(await self.trail(patient, accounting.since, accounting.until)),
            accounting=accounting,
        )

    async def queue(self, msp_id: str = "") -> Queue:
        """The review queue as a value to report from."""
        chain = await self._chain()
        return Queue(
            network=self._network,
            channel=self._health.channel_id,
            msp_id=msp_id or self._profile.signer.msp_id,
            made_at=datetime.now(UTC),
            made_by=self._profile.identity,
            chain=chain,
            items=tuple(await self.reviews(msp_id)),
        )

    async def _chain(self) -> ChainInfo:
        async with PeerClient(self._profile.endpoint, self._profile.signer) as peer:
            return await get_chain_info(peer, self._health.channel_id)


def _within(entry: AuditEntry, since: datetime | None, until: datetime | None) -> bool:
    if entry.at is None:
        return False
    return (since is None or since <= entry.at) and (until is None or entry.at < until)
