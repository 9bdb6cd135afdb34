"""Erasure: the sealed files, the wrapped keys and the salts are destroyed, and the ledger is told.

Destroyed first, recorded second: the certificate says what was destroyed, so it can only be signed
afterwards, and its digest is what the ledger keeps. If the recording fails the certificate lies in
`erased/` and the next attempt records it. Copies elsewhere (a backup, a bucket's older versions)
open for whoever still has a key: they are outside what this can show.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import rfc8785

from admin.errors import get_chaincode_answer, input_error, refused_error
from admin.exchange.release import open_keys
from admin.exchange.store import RecordStore
from admin.procedures.care.records import Records
from admin.procedures.networks.health import Committed, Health
from chaincode.records.model import Record, Status
from network.client.errors import EvaluateError
from network.client.profile import Profile
from network.rules.identity.identity import Identity, verify_signature
from network.topology.safefiles import write_file

FORMAT = "medfabric-erasure/1"
_TAG = b"medfabric/erasure-certificate/v1\x00"
NOT_FOUND = 404
ERASERS = ("service", "privacy-officer")


@dataclass(frozen=True, slots=True)
class Erased:
    """An erasure as it is on the ledger, and where its certificate lies.

    A record that was never anchored leaves neither: `block_number` and `certificate` are None.
    """

    record: str
    versions: tuple[int, ...]
    releases: int
    certificate: Path | None
    digest: str
    transaction_id: str
    block_number: int | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases records of one organisation in the name of one identity."""

    records: Records
    profile: Profile
    health: Health

    async def erase(self, record: str) -> Erased:
        """Nothing of the record is left but commitments that open nothing, and a certificate.

        Raises:
            FaultError: it is another organisation's, or erased already.
            EndorseError: the caller may not erase; nothing is destroyed then.
        """
        handle = self.records.resolve(record)
        known = await self._find(handle)
        if known is None:
            return await asyncio.to_thread(self._discard, handle)
        await self._validate(known)
        file = self.records.folder / "erased" / f"{handle}.json"
        if not file.is_file():
            raw = await asyncio.to_thread(self._destroy, known)
            write_file(file, raw, secret=True)
        certificate = file.read_bytes()
        done = await self._record(known, hashlib.sha256(certificate).digest())
        told = json.loads(certificate)
        self.records.forget_cards(handle)
        self.records.retention.forget(handle)
        return Erased(
            record=handle,
            versions=tuple(told["versions"]),
            releases=len(told["releases"]),
            certificate=file,
            digest=hashlib.sha256(certificate).hexdigest(),
            transaction_id=done.transaction_id,
            block_number=done.block_number,
        )

    async def expire(self, today: date) -> list[Erased]:
        """Every record whose last day is over is erased; the longest overdue first."""
        return [await self.erase(record) for record, _ in self.records.retention.expired(today)]

    async def _find(self, record: str) -> Record | None:
        """The record on the ledger; None for one that was sealed here and never anchored."""
        try:
            return await self.records.current(record)
        except EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != NOT_FOUND or not self.records.stored(record):
                raise
            return None

    def _discard(self, record: str) -> Erased:
        """What nobody else knows of is destroyed without a word to anybody."""
        versions = self.records.stored(record)
        for version in versions:
            self.records.forget_version(record, version)
        self.records.retention.forget(record)
        return Erased(record, tuple(versions), 0, None, "", "", None)

    async def _validate(self, known: Record) -> None:
        """Before anything is destroyed: what the ledger would refuse, we refuse."""
        if known.custodian != self.profile.signer.msp_id:
            raise refused_error(
                f"the record is {known.custodian}'s: only its custodian may erase it",
                "act as the custodian's privacy officer, with --as",
            )
        if known.status is Status.ERASED:
            raise input_error("the record is erased already", "see: medfabric record history")
        told = await self.health.evaluate("directory:WhoAmI", result=dict[str, str])
        if told.get("role") not in ERASERS:
            raise refused_error(
                "only a privacy officer or a service may erase a record",
                "enrol one: medfabric identity enroll ORG/USER --attr role=privacy-officer",
            )

    def _destroy(self, known: Record) -> bytes:
        """Destroy what is here and return the signed certificate of it."""
        store, record = self.records.store, known.anchor.record
        versions = store.versions(record)
        destroyed = []
        for version in versions:
            size = store.size(record, version)
            store.erase(record, version)
            destroyed.append({"version": version, "size": size})
        accesses = [access for access in store.releases() if _releases(store, access, record)]
        for access in accesses:
            store.remove_release(access)
        if store.versions(record):
            raise OSError("the store still shows the record after it was deleted")
        return build_certificate(
            {
                "format": FORMAT,
                "record": record,
                "version": known.anchor.version,
                "versions": versions,
                "destroyed": destroyed,
                "releases": accesses,
                "custodian": known.custodian,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            self.profile,
        )

    async def _record(self, known: Record, digest: bytes) -> Committed[Record]:
        membership = self.records.membership(known.anchor.record)
        extra = () if known.batch == "" or membership is None else (membership,)
        return await self.health.submit(
            "records:Erase",
            known.anchor.record,
            str(known.anchor.version),
            digest.hex(),
            *extra,
            result=Record,
        )


def build_certificate(told: dict[str, object], profile: Profile) -> bytes:
    """Return the certificate, canonical JSON, signed by who erased."""
    body = {**told, "signer": profile.signer.creator.hex()}
    signature = profile.signer.sign(_TAG + rfc8785.dumps(body))  # type: ignore[arg-type]
    return rfc8785.dumps({**body, "signature": signature.hex()})  # type: ignore[dict-item]


def verify_certificate(raw: bytes, identity: Identity) -> dict[str, object]:
    """Return what the certificate says if this identity signed it. Raises IdentityError."""
    document = json.loads(raw)
    signature = bytes.fromhex(document.pop("signature"))
    verify_signature(identity, _TAG + rfc8785.dumps(document), signature)
    return dict(document)


def _releases(store: RecordStore, access: str, record: str) -> bool:
    return any(key.record == record for key in open_keys(store.get_release(access)).keys)
