"""Records from a file to another organisation's screen: seal, anchor, request, open, prove."""

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from admin.errors import input_error, refused_error
from admin.exchange.errors import NotARecipient
from admin.exchange.fetch import Wanted, fetch_record
from admin.exchange.header import Header, wrap_context
from admin.exchange.keywrap import RecordSecret, unwrap_secret
from admin.exchange.place import exchange_endpoint, exchange_folder, store_url
from admin.exchange.sealing import new_secret, read_header, seal, unseal
from admin.exchange.store import RecordStore
from admin.exchange.trust import ChannelTrust
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import Resource, SourceFile, parse_resource, resource_types
from admin.procedures.care.keys import ensure_key, find_key, open_keyring
from admin.procedures.care.proofs import RecordProof
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical, commitment
from chaincode.records.model import (
    Access,
    AccessApplication,
    AccessView,
    Anchor,
    Receipt,
    Record,
    RecordRef,
    Status,
)
from network.client.channel import get_block_of, get_config_block
from network.client.peer import PeerClient
from network.client.profile import Profile, Surroundings
from network.rules.channel.config import ChannelConfig

FHIR_JSON = "application/fhir+json"
BINARY = "application/octet-stream"
HANDLE_BYTES = 16

Progress = Callable[[int], None]
NO_PROGRESS: Progress = lambda done: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class SealOptions:
    """What is said of a record when it is sealed; None of `labels` means: nobody labelled it."""

    patient: str
    record: str = ""
    version: int = 1
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that lies sealed in its custodian's store, ready to be anchored."""

    record: str
    version: int
    patient: str
    size: int
    sealed_size: int
    resource_types: tuple[str, ...]
    commitment: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose plain content was written out."""

    record: str
    version: int
    access: str
    size: int
    sender: str
    path: str
    receipt: str


class Records:
    """Acts on records in the name of one identity."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        self._surroundings = surroundings
        self._profile = profile
        self._health = health

    # -- the custodian's side ----------------------------------------

    async def seal(
        self, source: SourceFile, options: SealOptions, *, progress: Progress = NO_PROGRESS
    ) -> SealedRecord:
        """The file lies sealed in the organisation's store; nothing is on the ledger yet.

        FHIR JSON is validated first. It is sealed for the organisation and for who seals.
        """
        resource = _read_resource(source)
        handle = options.record or secrets.token_hex(HANDLE_BYTES)
        own = await ensure_key(self._surroundings, self._profile, self._health)
        organization = await find_key(self._health, self._profile.signer.msp_id)
        if organization is None:
            raise input_error(
                f"{self._profile.organization.name} has published no encryption key",
                "bring its record exchange up: medfabric network up",
            )
        secret = new_secret()
        digest = hashlib.sha256(commitment.RECORD + secret.salt)
        sealed = _seal_into(
            self._store,
            source,
            handle,
            options.version,
            media_type=FHIR_JSON if resource else BINARY,
            recipients=[organization.public_key, own.public_key],
            profile=self._profile,
            secret=secret,
            digest=digest,
            progress=progress,
        )
        anchor = Anchor(
            record=handle,
            patient=options.patient,
            version=options.version,
            commitment=digest.digest(),
            canonical=_canonical_commitment(resource, secret),
            size=self._store.size(handle, options.version),
            locator=hashlib.sha256(sealed).digest(),
            resource_types=resource_types(resource) if resource else (),
            classes=options.classes,
            labels=options.labels,
            contexts=options.contexts,
        )
        self._keep_card(anchor)
        return SealedRecord(
            record=handle,
            version=options.version,
            patient=options.patient,
            size=len(source.raw),
            sealed_size=anchor.size,
            resource_types=anchor.resource_types,
            commitment=anchor.commitment.hex(),
            recipients=(organization.id, own.id),
        )

    async def anchor(self, record: str) -> Committed[Record]:
        """The newest sealed version of the record is on the ledger."""
        anchor = self._card(self.resolve(record))
        if anchor.version == 1:
            return await self._health.submit("records:Anchor", anchor, result=Record)
        return await self._health.submit("records:Supersede", anchor, result=Record)

    def resolve(self, record: str) -> str:
        """Return the full handle of a record sealed here, from any unique beginning of it."""
        found = sorted({file.name.partition("-")[0] for file in self._cards.glob("*.json")})
        matching = [name for name in found if name.startswith(record)]
        if len(matching) > 1 and record not in matching:
            raise input_error(f"{record!r} begins several records", "write more of the handle")
        return record if record in matching or not matching else matching[0]

    # -- the requester's side ----------------------------------------

    async def request(
        self, records: tuple[str, ...], purpose: str, action: str
    ) -> Committed[Access]:
        """The decision on the records is on the ledger, permit or deny."""
        await ensure_key(self._surroundings, self._profile, self._health)
        application = AccessApplication(
            tuple(RecordRef(record) for record in records), purpose, action
        )
        return await self._health.submit("records:RequestAccess", application, result=Access)

    async def open_access(
        self, access: str, record: str, target: Path, *, progress: Progress = NO_PROGRESS
    ) -> OpenedRecord:
        """The released record is written to `target`, and its receipt is on the ledger."""
        view = await self._health.evaluate("records:GetAccess", access, result=AccessView)
        wanted = self._wanted(view, record)
        custodian = self._surroundings.wallet.member(view.access.custodian).name
        organization = self._surroundings.topology.organization(custodian)
        folder = exchange_folder(self._surroundings, self._profile.organization) / "received"
        sealed = folder / f"{wanted.record}-{wanted.version}.sealed"
        key = await fetch_record(
            exchange_endpoint(self._surroundings, organization),
            wanted,
            self._profile.signer,
            sealed,
            now=datetime.now(UTC),
            progress=lambda done, size: progress(done),
        )
        trust = await self.read_trust()
        private = open_keyring(self._surroundings, self._profile).find(key.key_id)
        if private is None:
            raise NotARecipient(
                "the record was released to a key that is not on this machine: request it again"
            )
        with sealed.open("rb") as source:
            header = read_header(source, trust.verify)
            secret = unwrap_secret(
                key.wrapped_key, private, wrap_context(header.manifest, key.key_id)
            )
            size = _write_plain(source, header, secret, target, progress)
        receipt = await self._health.submit(
            "records:AcknowledgeReceipt", access, key.sealed_digest.hex(), result=Receipt
        )
        return OpenedRecord(
            record=wanted.record,
            version=wanted.version,
            access=access,
            size=size,
            sender=trust.identify(header.sender).common_name,
            path=str(target),
            receipt=receipt.transaction_id,
        )

    def _wanted(self, view: AccessView, record: str) -> Wanted:
        permitted = view.access.permitted_records
        if not permitted:
            raise refused_error(
                f"the access was decided {view.access.decision.verdict.value}",
                f"see why: medfabric consent explain {view.access.patient[:12]} "
                f"--purpose {view.access.request.purpose}",
            )
        found = [item for item in permitted if item.record.startswith(record)]
        if len(found) != 1:
            raise input_error(
                f"the access permits {len(permitted)} record(s); {record!r} names {len(found)}",
                "name one with --record",
            )
        if view.release is None:
            raise refused_error(
                "the custodian has not released it yet",
                "try again in a moment; see: medfabric network status",
            )
        return Wanted(
            self._health.channel_id,
            view.access.id,
            found[0].record,
            found[0].version,
            view.access.custodian,
            view.release.wrapped_key,
        )

    # -- proofs ------------------------------------------------------

    async def prove(self, record: str) -> tuple[RecordProof, bytes]:
        """Return the proof of a record sealed here, and the block that anchors it."""
        handle = self.resolve(record)
        known = await self._health.evaluate("records:Get", handle, result=Record)
        if known.status is Status.ERASED:
            raise input_error("the record is erased: its salt is destroyed", "")
        trust = await self.read_trust()
        version = known.anchor.version
        with self._store.reading(handle, version) as source:
            header = read_header(source, trust.verify)
        secret = open_keyring(self._surroundings, self._profile).unwrap(header)
        async with PeerClient(self._profile.endpoint, self._profile.signer) as peer:
            block = await get_block_of(peer, self._health.channel_id, known.tx_id)
        proof = RecordProof(
            channel=self._health.channel_id,
            record=handle,
            version=version,
            salt=secret.salt,
            block_number=block.header.number,
            transaction_id=known.tx_id,
        )
        return proof, block.SerializeToString()

    async def read_trust(self) -> ChannelTrust:
        """Return the channel's members, as the identity's own peer has them."""
        async with PeerClient(self._profile.endpoint, self._profile.signer) as peer:
            block = await get_config_block(peer, self._health.channel_id)
        return ChannelTrust(ChannelConfig.from_block(block))

    # -- where things lie --------------------------------------------

    @property
    def _store(self) -> RecordStore:
        return RecordStore(store_url(self._surroundings, self._profile.organization))

    @property
    def _cards(self) -> Path:
        return exchange_folder(self._surroundings, self._profile.organization) / "anchors"

    def _keep_card(self, anchor: Anchor) -> None:
        self._cards.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._cards / f"{anchor.record}-{anchor.version:08d}.json"
        file.write_bytes(canonical.encode(anchor))

    def _card(self, record: str) -> Anchor:
        cards = sorted(self._cards.glob(f"{record}-*.json"))
        if not cards:
            raise input_error(
                f"{self._profile.organization.name} has sealed no record {record!r} here",
                "seal it first: medfabric record seal FILE --patient HANDLE",
            )
        return canonical.decode(Anchor, cards[-1].read_bytes())


def _read_resource(source: SourceFile) -> Resource | None:
    """Return the FHIR resource in the file; None for anything that is not JSON."""
    if not source.raw.lstrip().startswith(b"{"):
        return None
    return parse_resource(source)


def _canonical_commitment(resource: Resource | None, secret: RecordSecret) -> bytes | None:
    if resource is None:
        return None
    return commitment.commit(commitment.RECORD_CANONICAL, secret.salt, canonical_static(resource))


def _seal_into(
    store: RecordStore,
    source: SourceFile,
    record: str,
    version: int,
    *,
    media_type: str,
    recipients: list[bytes],
    profile: Profile,
    secret: RecordSecret,
    digest: "hashlib._Hash",
    progress: Progress,
) -> bytes:
    """Write the sealed file and return where it lies, as text for the locator's digest."""
    import io

    with store.writing(record, version) as target:
        seal(
            io.BytesIO(source.raw),
            target,
            record=record,
            version=version,
            media_type=media_type,
            recipients=recipients,
            sender=profile.signer.creator,
            sign=profile.signer.sign,
            secret=secret,
            digests=[digest],
            progress=progress,
        )
    return f"{profile.signer.msp_id}/{record}/{version}".encode()


def _write_plain(
    source: BinaryIO, header: Header, secret: RecordSecret, target: Path, progress: Progress
) -> int:
    """Write the content beside `target` and put it in place once all of it is authentic."""
    part = target.with_name(f".{target.name}.part")
    size = 0
    try:
        with part.open("wb") as file:
            part.chmod(0o600)
            for chunk in unseal(source, header, secret, progress=progress):
                file.write(chunk)
                size += len(chunk)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return size


def encode_proof(proof: RecordProof) -> str:
    """Return the proof file's text: indented JSON that `verification.read_proof` reads."""
    return json.dumps(json.loads(canonical.encode(proof)), indent=2) + "\n"
