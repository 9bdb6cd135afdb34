"""The requester's side of records: ask for them, open what was released, and acknowledge it."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from admin.errors import FaultError, get_chaincode_answer, input_error, refused_error
from admin.exchange.errors import NotARecipient, SealBroken
from admin.exchange.fetch import Wanted, fetch_record, locate_records
from admin.exchange.header import Header, wrap_context
from admin.exchange.keywrap import RecordSecret, unwrap_secret
from admin.exchange.place import exchange_folder
from admin.exchange.release import ReleasedKey
from admin.exchange.sealing import read_header, unseal
from admin.exchange.trust import ChannelTrust
from admin.procedures.care.keys import ensure_key, open_keyring
from admin.procedures.care.records import Records
from admin.procedures.care.streaming import Progress, run_streaming
from admin.procedures.care.transport import open_exchange
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical, commitment
from chaincode.errors import InvalidArgument
from chaincode.records.model import (
    Access,
    AccessApplication,
    AccessView,
    Membership,
    Receipt,
    Record,
    RecordPage,
    RecordRef,
    Revocation,
)
from chaincode.table import PageRequest
from network.client.errors import EvaluateError, NodeError
from network.client.profile import Profile, Surroundings
from network.topology.safefiles import write_file

NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose plain content was written out."""

    record: str
    version: int
    access: str
    size: int
    sender: str
    media_type: str
    path: str
    receipt: str


class Requests:
    """Acts on others' records in the name of one identity."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        self._surroundings = surroundings
        self._profile = profile
        self._health = health

    async def request(
        self,
        records: tuple[str, ...],
        purpose: str,
        action: str,
        memberships: tuple[Membership, ...] = (),
    ) -> Committed[Access]:
        """The decision on the records is on the ledger, permit or deny.

        `memberships` bring in records of batches that nobody has changed since. Where such a record
        comes without, the exchanges are asked for its place.

        Raises:
            FaultError: the ledger does not know a record, nor does an exchange.
        """
        await ensure_key(self._surroundings, self._profile, self._health)
        proofs = {one.anchor.record: one for one in memberships}
        proofs |= await self._locate([name for name in records if name not in proofs])
        names = dict.fromkeys((*records, *proofs))
        refs = tuple(RecordRef(name, membership=proofs.get(name)) for name in names)
        application = AccessApplication(refs, purpose, action)
        done = await self._health.submit("records:RequestAccess", application, result=Access)
        for name, membership in proofs.items():
            write_file(self._kept(done.value.id, name), canonical.encode(membership))
        return done

    async def _locate(self, records: list[str]) -> dict[str, Membership]:
        """Return the places of the records that the ledger knows only by their batch."""
        missing = [name for name in records if not await self._is_anchored(name)]
        found: dict[str, Membership] = {}
        silent = []
        for organization in self._surroundings.topology.organizations:
            left = [name for name in missing if name not in found]
            if not left or organization.exchange is None:
                continue
            try:
                places = await locate_records(
                    await open_exchange(self._surroundings, self._profile, organization),
                    self._health.channel_id,
                    organization.msp_id,
                    left,
                    self._profile.signer,
                )
            except (NodeError, InvalidArgument):
                silent.append(organization.name)
            else:
                found |= {one.anchor.record: one for one in places}
        for name in missing:
            if name not in found:
                raise _unknown(name, silent)
        return found

    async def _is_anchored(self, record: str) -> bool:
        try:
            await self._health.evaluate("records:Get", record, result=Record)
        except EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != NOT_FOUND:
                raise
            return False
        return True

    async def revoke(self, access: str, reason: str) -> Committed[Revocation]:
        """Nothing is released or handed out on the access any more."""
        return await self._health.submit("records:RevokeAccess", access, reason, result=Revocation)

    async def find(self, access: str) -> AccessView:
        """Return the access with what became of it."""
        return await self._health.evaluate("records:GetAccess", access, result=AccessView)

    async def open(
        self,
        access: str,
        record: str,
        target: Path,
        *,
        fetching: Progress,
        opening: Progress,
        starting: Progress = lambda size: None,
    ) -> OpenedRecord:
        """The released record is written to `target`, whole, and its receipt is on the ledger.

        What is written is what the ledger anchors: its salted commitment is recomputed on the way.
        A transfer that broke is taken up where it broke.

        Args:
            access: a permitted, released access of who acts.
            record: which one, where it permits several; any beginning of its handle.
            target: the file to write; never there half.
            fetching: told the sealed bytes that are here.
            opening: told the plain bytes that are written.
            starting: told the sealed file's size once it is known.

        Raises:
            NodeError: the exchange refused, or went away. SealBroken: what came is not what was
            sealed and anchored; nothing is written then.
        """
        view = await self.find(access)
        wanted = self._wanted(view, record)
        anchored = await self._anchored(wanted)
        name = self._surroundings.wallet.member(view.access.custodian).name
        custodian = self._surroundings.topology.organization(name)
        sealed = self._received / f"{access[:16]}-{wanted.record}-{wanted.version}.sealed"

        def told(done: int, size: int) -> None:
            starting(size)
            fetching(done)

        key = await fetch_record(
            await open_exchange(self._surroundings, self._profile, custodian),
            wanted,
            self._profile.signer,
            sealed,
            progress=told,
        )
        trust = await Records(self._surroundings, self._profile, self._health).read_trust()
        try:
            header, size, digest = await run_streaming(
                lambda tell: self._write_opened(sealed, key, trust, anchored, target, tell),
                opening,
            )
        finally:
            # Opened, it is of no more use; broken, it must not be taken up again.
            sealed.unlink(missing_ok=True)
        if view.receipt is None:
            done = await self._health.submit(
                "records:AcknowledgeReceipt", access, digest.hex(), result=Receipt
            )
            receipt = done.value
        else:  # opened before: the ledger knows
            receipt = view.receipt
        return OpenedRecord(
            record=wanted.record,
            version=wanted.version,
            access=access,
            size=size,
            sender=trust.identify(header.sender).common_name,
            media_type=header.manifest.media_type,
            path=str(target),
            receipt=receipt.tx_id,
        )

    @property
    def _received(self) -> Path:
        return exchange_folder(self._surroundings, self._profile.organization) / "received"

    def _wanted(self, view: AccessView, record: str) -> Wanted:
        permitted = view.access.permitted_records
        if not permitted:
            raise refused_error(
                f"the access was decided {view.access.decision.verdict.value}",
                f"see why: medfabric consent explain {view.access.patient} "
                f"--purpose {view.access.request.purpose}",
            )
        found = [item for item in permitted if item.record.startswith(record)]
        if len(found) != 1:
            raise input_error(
                f"the access permits {len(permitted)} record(s); {record!r} names {len(found)}",
                "name one with --record",
            )
        if view.revocation is not None:
            raise refused_error(
                f"the access was revoked ({view.revocation.reason})",
                "ask again: medfabric record request",
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

    async def _anchored(self, wanted: Wanted) -> bytes:
        """Return the commitment of the version, from the ledger or from its proof in a batch."""
        kept = self._kept(wanted.access, wanted.record)
        if kept.is_file():  # proven to the ledger when it was requested
            membership = canonical.decode(Membership, kept.read_bytes())
            if membership.anchor.version == wanted.version:
                return membership.anchor.commitment
        page = PageRequest(size=1000)
        while True:
            found = await self._health.evaluate(
                "records:History", wanted.record, page, result=RecordPage
            )
            for one in found.records:
                if one.anchor.version == wanted.version:
                    return one.anchor.commitment
            if not found.bookmark:
                raise input_error(
                    "the ledger does not show what was anchored, nor is a proof here",
                    "request the record again on this machine, with its --proof",
                )
            page = PageRequest(size=1000, bookmark=found.bookmark)

    def _kept(self, access: str, record: str) -> Path:
        folder = exchange_folder(self._surroundings, self._profile.organization)
        return folder / "requested" / f"{access}-{record}.json"

    def _write_opened(
        self,
        sealed: Path,
        key: ReleasedKey,
        trust: ChannelTrust,
        anchored: bytes,
        target: Path,
        tell: Progress,
    ) -> tuple[Header, int, bytes]:
        private = open_keyring(self._surroundings, self._profile).find(key.key_id)
        if private is None:
            raise NotARecipient(
                "the record was released to a key that is not on this machine: request it again"
            )
        with sealed.open("rb") as source:
            header = read_header(source, trust.verify)
            if header.manifest.digest != key.manifest_digest:
                raise SealBroken("the sealed file is not the one that was released: fetch it again")
            secret = unwrap_secret(
                key.wrapped_key, private, wrap_context(header.manifest, key.key_id)
            )
            size, digest = write_plain(source, header, secret, target, anchored, tell)
        return header, size, digest


def _unknown(record: str, silent: list[str]) -> FaultError:
    remedy = "check the handle; of a record of a batch get its place, and name it with --proof"
    if silent:
        remedy += f" (no answer from the exchange of {', '.join(silent)})"
    return input_error(
        "no such record: the ledger does not have it, nor a batch of an exchange", remedy, record
    )


def write_plain(
    source: BinaryIO,
    header: Header,
    secret: RecordSecret,
    target: Path,
    anchored: bytes,
    progress: Progress,
) -> tuple[int, bytes]:
    """The content is at `target` once all of it is authentic and is what was anchored.

    Returns its size and its salted commitment. Raises SealBroken; `target` is untouched then.
    """
    part = target.with_name(f".{target.name}.part")
    digest = hashlib.sha256(commitment.RECORD + secret.salt)
    try:
        with open(part, "wb", opener=_private) as file:
            size = unseal(
                source, file, header=header, secret=secret, digests=[digest], progress=progress
            )
        if digest.digest() != anchored:
            raise SealBroken(
                "the content is authentic but not what its custodian anchored: tell the custodian"
            )
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return size, digest.digest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
