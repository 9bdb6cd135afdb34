"""The custodian's side: it follows the ledger and releases what was permitted, to nobody else.

What no longer stands (consent withdrawn, record erased, time run out) it takes back: the wrapped
keys are destroyed here, and the ledger tells the requester.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from admin.errors import get_chaincode_answer
from admin.exchange.errors import ExchangeError, StoreAway
from admin.exchange.header import Header
from admin.exchange.keyring import KeyRing
from admin.exchange.release import Release, ReleasedKey
from admin.exchange.sealing import read_header, wrap_for
from admin.exchange.store import NotStored, RecordStore
from admin.exchange.trust import ChannelTrust
from admin.procedures.networks.health import Health
from chaincode import canonical
from chaincode.directory.model import EncryptionKey
from chaincode.records.model import (
    AccessEvent,
    AccessStanding,
    AccessView,
    Membership,
    Revocation,
)
from chaincode.records.model import Release as RecordedRelease
from network.client import errors as client
from network.client.checkpoint import Checkpoint

log = logging.getLogger("medfabric.exchange")

DECIDED = "records.AccessDecided"
PERMIT = "PERMIT"
NARROWING = frozenset(
    {
        *("consent.Granted", "consent.Amended", "consent.Revoked", "directory.DelegationRevoked"),
        *("records.AccessRevoked", "records.Superseded", "records.Withdrawn", "records.Erased"),
    }
)
"""Events after which something that was released may have to be taken back."""
NO_LONGER_PERMITTED = "no-longer-permitted"


@dataclass(frozen=True, slots=True)
class Custodian:
    """One organisation's records: its store, its keys, its voice on the ledger."""

    msp_id: str
    health: Health
    store: RecordStore
    keys: KeyRing
    trust: ChannelTrust
    locate: Callable[[str], Membership | None] = lambda record: None
    """Returns where a record of one of this custodian's batches stands."""

    async def follow(self, checkpoint: Checkpoint) -> None:
        """Release every access that is permitted from the checkpoint on; runs until cancelled.

        What a peer or a store that is away raises ends it; the event is handled when it is called
        again.
        """
        network = self.health.gateway.network(self.health.channel_id)
        start = 0 if checkpoint.position is None else None
        events = network.chaincode_events(
            self.health.chaincode, start_block=start, checkpoint=checkpoint, reconnect=True
        )
        async for event in events:
            if event.name == DECIDED:
                await self._answer(_read_event(event.payload))
            elif event.name in NARROWING:
                await self.take_back()

    async def take_back(self) -> list[str]:
        """Destroy every released key whose access no longer stands; returns those accesses.

        Where it is not the clock that ended it, the access is revoked on the ledger too, whose
        event tells the requester.
        """
        ended = []
        for access in await asyncio.to_thread(self.store.releases):
            try:
                if await self._end(access):
                    ended.append(access)
            except (ExchangeError, client.ClientError) as failure:
                log.warning("access %s not taken back: %s", access, _reason(failure))
        return ended

    async def _end(self, access: str) -> bool:
        standing = await self.health.evaluate("records:CheckAccess", access, result=AccessStanding)
        if standing.view.release is None or any(record.stands for record in standing.records):
            return False  # one whose release is being recorded this moment stays, too
        await asyncio.to_thread(self.store.remove_release, access)
        view = standing.view
        if view.revocation is None and view.access.expires_at > datetime.now(UTC):
            await self.health.submit(
                "records:RevokeAccess", access, NO_LONGER_PERMITTED, result=Revocation
            )
        log.info("access %s taken back", access)
        return True

    async def release(self, access: str) -> RecordedRelease | None:
        """Wrap the keys of a permitted access for its requester and record that on the ledger.

        Returns None if nothing is to be done: not permitted, another's, or released already.

        Raises:
            NotStored: a record is not here. ExchangeError: it cannot be opened.
            GatewayError, CommitError: the ledger refused; nothing is handed out then.
        """
        view = await self.health.evaluate("records:GetAccess", access, result=AccessView)
        if view.access.custodian != self.msp_id or view.release is not None:
            return None
        if not view.access.decision.permitted:
            return None
        release = await asyncio.to_thread(self._wrap_all, view, await self._recipient(view))
        # Stored before it is recorded: what the ledger calls released can be fetched, and nobody
        # can fetch what the ledger does not call released.
        await asyncio.to_thread(self.store.put_release, access, release.encode())
        done = await self.health.submit(
            "records:Release", access, release.digest.hex(), result=RecordedRelease
        )
        return done.value

    async def _answer(self, event: AccessEvent) -> None:
        if event.custodian != self.msp_id or event.verdict != PERMIT:
            return
        try:
            released = await self.release(event.access)
        except (ExchangeError, client.ClientError) as failure:
            if is_away(failure):
                raise  # the event comes again once the peer is back
            # One access that cannot be served must not keep the others waiting.
            log.warning("access %s not released: %s", event.access, _reason(failure))
        else:
            if released is not None:
                log.info("access %s released", event.access)

    async def _recipient(self, view: AccessView) -> EncryptionKey:
        """Return the requester's own key, or their organisation's where they published none."""
        access = view.access
        try:
            return await self.health.evaluate(
                "directory:GetKey", access.msp_id, f"user:{access.user}", result=EncryptionKey
            )
        except client.EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != 404:
                raise
        return await self.health.evaluate("directory:GetKey", access.msp_id, result=EncryptionKey)

    def _wrap_all(self, view: AccessView, recipient: EncryptionKey) -> Release:
        keys = tuple(
            self._wrap(item.record, item.version, recipient)
            for item in view.access.permitted_records
        )
        return Release(view.access.id, keys)

    def _wrap(self, record: str, version: int, recipient: EncryptionKey) -> ReleasedKey:
        header = self._read_header(record, version)
        manifest = header.manifest
        wrapped = wrap_for(manifest, self.keys.unwrap(header), recipient.public_key)
        return ReleasedKey(record, version, wrapped.key_id, wrapped.wrapped_key, manifest.digest)

    def _read_header(self, record: str, version: int) -> Header:
        with self.store.reading(record, version) as source:
            header = read_header(source, self.trust.verify)
        if (header.manifest.record, header.manifest.version) != (record, version):
            raise NotStored(f"record {record} version {version}: another record lies in its place")
        return header


def is_away(failure: Exception) -> bool:
    """Whether somebody did not answer, so that the same may succeed later."""
    return isinstance(failure, StoreAway) or getattr(failure, "status", None) in client.UNREACHABLE


def _read_event(payload: bytes) -> AccessEvent:
    return canonical.decode(AccessEvent, payload)


def _reason(failure: Exception) -> str:
    if isinstance(failure, client.GatewayError):
        answer = get_chaincode_answer(failure)
        return answer[1] if answer else failure.status
    return str(failure)
