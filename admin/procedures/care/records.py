"""The custodian's side of records: seal, anchor, supersede, re-wrap, rotate, release, prove.

What was sealed here is remembered in `anchors/<record>-<version>.json`: handles and digests, as
they go on the ledger. Nothing of a content is kept outside its sealed file.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from admin.errors import input_error
from admin.exchange.custodian import Custodian
from admin.exchange.errors import ExchangeError
from admin.exchange.header import Header, encode_header
from admin.exchange.pipes import piped
from admin.exchange.place import batches_folder, exchange_folder, store_url
from admin.exchange.rewrapping import rewrap
from admin.exchange.sealing import read_header, unseal
from admin.exchange.store import NotStored, RecordStore
from admin.exchange.trust import ChannelTrust
from admin.procedures.care.batchfiles import find_membership
from admin.procedures.care.keys import open_keyring
from admin.procedures.care.retention import Retention
from admin.procedures.care.sealer import SealedRecord, SealOptions, open_sealer
from admin.procedures.care.sources import Source
from admin.procedures.care.streaming import NO_PROGRESS, Progress, run_streaming
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical
from chaincode.records.model import Anchor, Membership, Record, RecordPage
from chaincode.records.model import Release as RecordedRelease
from chaincode.table import PageRequest
from network.client.channel import get_config
from network.client.errors import GatewayError
from network.client.peer import PeerClient
from network.client.profile import Profile, Surroundings
from network.rules.channel.config import ChannelConfig
from network.topology.safefiles import write_file

HANDLE_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """A sealed version whose key is wrapped for the present keys only."""

    record: str
    version: int
    recipients: tuple[str, ...]
    dropped: tuple[str, ...]


class Records:
    """Keeps one organisation's records in the name of one identity."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        self._surroundings = surroundings
        self._profile = profile
        self._health = health

    # -- sealing and anchoring ---------------------------------------

    async def seal(
        self, source: Source, options: SealOptions, *, progress: Progress = NO_PROGRESS
    ) -> SealedRecord:
        """The content lies sealed in the organisation's store; nothing is on the ledger yet.

        It is sealed for the organisation and for who seals. Interrupted, it leaves nothing.
        """
        sealer = await open_sealer(self._surroundings, self._profile, self._health, self.store)
        sealed = await run_streaming(
            lambda tell: sealer.seal(source, options, progress=tell), progress
        )
        self._keep_card(sealed.anchor)
        if options.retain_until is not None:
            self.retention.keep(sealed.record, options.retain_until)
        return sealed

    async def anchor(self, record: str) -> Committed[Record]:
        """The newest sealed version of the record is on the ledger."""
        anchor = self._card(self.resolve(record))
        if anchor.version == 1:
            return await self._health.submit("records:Anchor", anchor, result=Record)
        return await self._supersede(anchor)

    async def supersede(
        self,
        record: str,
        source: Source,
        options: SealOptions,
        *,
        progress: Progress = NO_PROGRESS,
    ) -> Committed[Record]:
        """The record's next version is sealed and on the ledger.

        What the options leave open stays as it was. Refused, the record is as before and nothing of
        the new version is left.
        """
        known = (await self.current(record)).anchor
        merged = SealOptions(
            patient=known.patient,
            record=known.record,
            version=known.version + 1,
            classes=options.classes or known.classes,
            labels=options.labels if options.labels is not None else known.labels,
            contexts=options.contexts or known.contexts,
            retain_until=options.retain_until,
        )
        sealed = await self.seal(source, merged, progress=progress)
        try:
            return await self._supersede(sealed.anchor)
        except GatewayError:
            self.forget_version(sealed.record, sealed.version)
            raise

    async def rotate(self, record: str, *, progress: Progress = NO_PROGRESS) -> Committed[Record]:
        """The same content is the record's next version, under a fresh data key and salt.

        Who holds an earlier key opens nothing that is fetched from now on.
        """
        known = (await self.current(record)).anchor
        trust = await self.read_trust()
        sealer = await open_sealer(self._surroundings, self._profile, self._health, self.store)
        options = SealOptions(
            patient=known.patient,
            record=known.record,
            version=known.version + 1,
            classes=known.classes,
            labels=known.labels,
            contexts=known.contexts,
        )

        def work(tell: Progress) -> SealedRecord:
            with self._opened(known.record, known.version, trust) as (header, source):
                return sealer.seal(
                    replace(source, media_type=header.manifest.media_type), options, progress=tell
                )

        try:
            sealed = await run_streaming(work, progress)
            anchor = replace(sealed.anchor, resource_types=known.resource_types)
            self._keep_card(anchor)
            return await self._supersede(anchor)
        except (ExchangeError, GatewayError):
            self.forget_version(known.record, options.version)
            raise

    async def rewrap(self, record: str, *, progress: Progress = NO_PROGRESS) -> list[Rewrapped]:
        """Every stored version of the record is wrapped for the keys in force, and for no other.

        Nothing is encrypted anew and nothing changes on the ledger: commitment and salt stay.
        """
        handle = self.resolve(record)
        versions = self._require_versions(handle)
        trust = await self.read_trust()
        sealer = await open_sealer(self._surroundings, self._profile, self._health, self.store)
        ring = open_keyring(self._surroundings, self._profile)
        recipients = [key.public_key for key in sealer.keys]
        done = []
        for version in versions:
            before, after = await run_streaming(
                lambda tell, version=version: rewrap(  # type: ignore[misc]
                    self.store,
                    handle,
                    version,
                    recipients=recipients,
                    sender=sealer.signer.creator,
                    sign=sealer.signer.sign,
                    unwrap=ring.unwrap,
                    verify=trust.verify,
                    progress=tell,
                ),
                progress,
            )
            kept = {one.key_id for one in after.recipients}
            gone = tuple(r.key_id for r in before.recipients if r.key_id not in kept)
            done.append(Rewrapped(handle, version, tuple(sorted(kept)), gone))
        return done

    async def withdraw(self, record: str, reason: str) -> Committed[Record]:
        """The record is released no longer; `reason` is a code."""
        known = await self.current(record)
        return await self._health.submit(
            "records:Withdraw",
            known.anchor.record,
            str(known.anchor.version),
            reason,
            *self._first_proof(known),
            result=Record,
        )

    async def escrow(self, record: str) -> Committed[None]:
        """The organisation's private collection holds the record's wrapped key.

        It survives this machine's store there, still opens only for the organisation's key, and
        erasure purges it from every peer.
        """
        handle = self.resolve(record)
        version = self._require_versions(handle)[-1]
        trust = await self.read_trust()
        with self.store.reading(handle, version) as source:
            header = read_header(source, trust.verify)
        msp_id = self._profile.signer.msp_id
        return await self._health.submit(
            "records:Escrow",
            handle,
            result=type(None),
            transient={"secret": encode_header(header)},
            organizations=(msp_id,),
        )

    async def release(self, access: str) -> RecordedRelease | None:
        """A permitted access is released by hand; None if there is nothing to release.

        For an organisation whose exchange does not run, in the name of its exchange identity.
        """
        return await (await self._custodian()).release(access)

    async def take_back(self) -> list[str]:
        """Released keys whose access ended are destroyed; returns those accesses."""
        return await (await self._custodian()).take_back()

    async def _custodian(self) -> Custodian:
        return Custodian(
            msp_id=self._profile.signer.msp_id,
            health=self._health,
            store=self.store,
            keys=open_keyring(self._surroundings, self._profile),
            trust=await self.read_trust(),
        )

    # -- what is known -----------------------------------------------

    async def current(self, record: str) -> Record:
        """Return the record as it stands on the ledger; one from a batch by its proof."""
        handle = self.resolve(record)
        membership = self.membership(handle)
        if membership is None:
            return await self._health.evaluate("records:Get", handle, result=Record)
        return await self._health.evaluate("records:Get", handle, membership, result=Record)

    async def history(self, record: str) -> RecordPage:
        """Return the record's versions, oldest first; the newest as it stands."""
        handle = self.resolve(record)
        found: list[Record] = []
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "records:History", handle, PageRequest(1000, bookmark), result=RecordPage
            )
            found += page.records
            bookmark = page.bookmark
            if not bookmark:
                break
        current = await self.current(handle)
        older = [one for one in found if one.anchor.version != current.anchor.version]
        return RecordPage((*older, current))

    def membership(self, record: str) -> Membership | None:
        """Return the proof that a record is in one of our batches, None for a single anchor."""
        folder = batches_folder(self._surroundings, self._profile.organization)
        return find_membership(folder, record)

    def resolve(self, record: str) -> str:
        """Return the full handle of a record sealed here, from any unique beginning of it."""
        if len(record) == HANDLE_LENGTH:
            return record
        found = sorted({file.name.partition("-")[0] for file in self._cards.glob(f"{record}*")})
        if len(found) > 1:
            raise input_error(f"{record!r} begins several records", "write more of the handle")
        return found[0] if found else record

    async def read_trust(self) -> ChannelTrust:
        """Return the channel's members, as the identity's own peer has them."""
        async with PeerClient(self._profile.endpoint, self._profile.signer) as peer:
            config = await get_config(peer, self._health.channel_id)
        return ChannelTrust(ChannelConfig.from_config(self._health.channel_id, config))

    # -- where things lie --------------------------------------------

    @property
    def folder(self) -> Path:
        """The organisation's own folder for its records."""
        return exchange_folder(self._surroundings, self._profile.organization)

    @property
    def store(self) -> RecordStore:
        """The organisation's sealed records."""
        return RecordStore(store_url(self._surroundings, self._profile.organization))

    @property
    def retention(self) -> Retention:
        """Until when the organisation's records are kept."""
        return Retention(self.folder / "retention")

    def stored(self, record: str) -> list[int]:
        """Return the versions of a record whose sealed files are here."""
        try:
            return self.store.versions(record)
        except NotStored:
            return []

    def forget_version(self, record: str, version: int) -> None:
        """A sealed version and its card are destroyed."""
        self.store.erase(record, version)
        self._card_file(record, version).unlink(missing_ok=True)

    def forget_cards(self, record: str) -> None:
        """Nothing here names the record any more, but for the batch it came from."""
        for file in self._cards.glob(f"{record}-*.json"):
            file.unlink()

    @contextlib.contextmanager
    def _opened(
        self, record: str, version: int, trust: ChannelTrust
    ) -> Iterator[tuple[Header, Source]]:
        """A stored version's header and plain content, as a pipe: it is never on disk in clear."""
        ring = open_keyring(self._surroundings, self._profile)
        with self.store.reading(record, version) as sealed:
            header = read_header(sealed, trust.verify)
            secret = ring.unwrap(header)
            with piped(
                lambda target: unseal(sealed, target, header=header, secret=secret)
            ) as plain:
                yield header, Source(record, plain, header.manifest.media_type)

    async def _supersede(self, anchor: Anchor) -> Committed[Record]:
        membership = self.membership(anchor.record)
        extra = () if membership is None else (membership,)
        return await self._health.submit("records:Supersede", anchor, *extra, result=Record)

    def _first_proof(self, known: Record) -> tuple[Membership, ...]:
        """What a change of a record from a batch comes with; nothing for any other."""
        membership = self.membership(known.anchor.record) if known.batch else None
        return () if membership is None else (membership,)

    def _require_versions(self, record: str) -> list[int]:
        versions = self.stored(record)
        if not versions:
            raise input_error(
                f"{self._profile.organization.name} keeps no record {record!r} here",
                "see what there is: medfabric record list PATIENT",
            )
        return versions

    @property
    def _cards(self) -> Path:
        return self.folder / "anchors"

    def _card_file(self, record: str, version: int) -> Path:
        return self._cards / f"{record}-{version:08d}.json"

    def _keep_card(self, anchor: Anchor) -> None:
        write_file(self._card_file(anchor.record, anchor.version), canonical.encode(anchor))

    def _card(self, record: str) -> Anchor:
        cards = sorted(self._cards.glob(f"{record}-*.json"))
        if not cards:
            raise input_error(
                f"{self._profile.organization.name} has sealed no record {record!r} here",
                "seal it first: medfabric record seal FILE --patient HANDLE",
            )
        return canonical.decode(Anchor, cards[-1].read_bytes())
