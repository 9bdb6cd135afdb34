"""The custodian's side: it follows the ledger and releases what was permitted, to nobody else."""

import asyncio
import hashlib
import logging
from dataclasses import dataclass

from admin.errors import get_chaincode_answer
from admin.exchange.errors import ExchangeError
from admin.exchange.header import Header
from admin.exchange.keyring import KeyRing
from admin.exchange.release import Release, ReleasedKey
from admin.exchange.sealing import read_header, wrap_for
from admin.exchange.store import NotStored, RecordStore
from admin.exchange.trust import ChannelTrust
from admin.procedures.networks.health import Health
from chaincode import canonical
from chaincode.directory.model import EncryptionKey
from chaincode.records.model import AccessEvent, AccessView
from chaincode.records.model import Release as RecordedRelease
from network.client import errors as client
from network.client.checkpoint import Checkpoint

log = logging.getLogger("medfabric.exchange")

DECIDED = "records.AccessDecided"
PERMIT = "PERMIT"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Custodian:
    """One organisation's records: its store, its keys, its voice on the ledger."""

    msp_id: str
    health: Health
    store: RecordStore
    keys: KeyRing
    trust: ChannelTrust

    async def follow(self, checkpoint: Checkpoint) -> None:
        """Release every access that is permitted from the checkpoint on; runs until cancelled."""
        network = self.health.gateway.network(self.health.channel_id)
        start = 0 if checkpoint.position is None else None
        events = network.chaincode_events(
            self.health.chaincode, start_block=start, checkpoint=checkpoint, reconnect=True
        )
        async for event in events:
            if event.name == DECIDED:
                await self._answer(_read_event(event.payload))

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
        self.store.put_release(access, release.encode())
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
        header, digest = self._inspect(record, version)
        wrapped = wrap_for(header.manifest, self.keys.unwrap(header), recipient.public_key)
        return ReleasedKey(record, version, wrapped.key_id, wrapped.wrapped_key, digest)

    def _inspect(self, record: str, version: int) -> tuple[Header, bytes]:
        with self.store.reading(record, version) as source:
            header = read_header(source, self.trust.verify)
        if (header.manifest.record, header.manifest.version) != (record, version):
            raise NotStored(f"record {record} version {version}: another record lies in its place")
        digest = hashlib.sha256()
        with self.store.reading(record, version) as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
        return header, digest.digest()


def _read_event(payload: bytes) -> AccessEvent:
    return canonical.decode(AccessEvent, payload)


def _reason(failure: Exception) -> str:
    if isinstance(failure, client.GatewayError):
        answer = get_chaincode_answer(failure)
        return answer[1] if answer else failure.status
    return str(failure)
