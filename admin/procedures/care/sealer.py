"""Sealing into an organisation's store: one content at a time, as a stream."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import date

from admin.errors import input_error
from admin.exchange.sealing import new_secret, seal
from admin.exchange.store import RecordStore
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import resource_types
from admin.procedures.care.keys import ensure_key, find_key
from admin.procedures.care.sources import Source
from admin.procedures.care.streaming import NO_PROGRESS, Progress
from admin.procedures.networks.health import Health
from chaincode import commitment
from chaincode.directory.model import EncryptionKey
from chaincode.errors import InvalidArgument
from chaincode.records import rules
from chaincode.records.model import Anchor
from network.client.profile import Profile, Surroundings
from network.rules.identity.identity import Signer

HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True)
class SealOptions:
    """What is said of a record when it is sealed; None of `labels` means: nobody labelled it.

    From `retain_until` on the record may be erased (`medfabric record expire`).
    """

    patient: str
    record: str = ""
    version: int = 1
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    contexts: tuple[str, ...] = ()
    retain_until: date | None = None


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record that lies sealed in its custodian's store, ready to be anchored."""

    record: str
    version: int
    patient: str
    size: int
    sealed_size: int
    media_type: str
    resource_types: tuple[str, ...]
    commitment: str
    recipients: tuple[str, ...]
    anchor: Anchor = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals for the organisation's key and for the key of who seals."""

    store: RecordStore
    signer: Signer
    keys: tuple[EncryptionKey, ...]

    def seal(
        self,
        source: Source,
        options: SealOptions,
        *,
        progress: Progress = NO_PROGRESS,
        durable: bool = True,
    ) -> SealedRecord:
        """The content lies sealed in the store, whole; nothing is on the ledger yet.

        Raises:
            FaultError: an option is not what the ledger would take; nothing is written then.
        """
        record = options.record or secrets.token_hex(HANDLE_BYTES)
        _validate_options(record, options)
        secret = new_secret()
        digest = hashlib.sha256(commitment.RECORD + secret.salt)
        with self.store.writing(record, options.version, durable=durable) as target:
            sealed = seal(
                source.stream,
                target,
                record=record,
                version=options.version,
                media_type=source.media_type,
                recipients=[key.public_key for key in self.keys],
                sender=self.signer.creator,
                sign=self.signer.sign,
                secret=secret,
                digests=[digest],
                progress=progress,
            )
        resource = source.resource
        canonical = None
        if resource is not None:
            static = canonical_static(resource)
            canonical = commitment.commit(commitment.RECORD_CANONICAL, secret.salt, static)
        place = f"{self.signer.msp_id}/{record}/{options.version}"
        anchor = Anchor(
            record=record,
            patient=options.patient,
            version=options.version,
            commitment=digest.digest(),
            canonical=canonical,
            size=sealed.sealed_size,
            locator=hashlib.sha256(place.encode()).digest(),
            resource_types=resource_types(resource) if resource else (),
            classes=options.classes,
            labels=options.labels,
            contexts=options.contexts,
        )
        return SealedRecord(
            record=record,
            version=options.version,
            patient=options.patient,
            size=sealed.size,
            sealed_size=sealed.sealed_size,
            media_type=source.media_type,
            resource_types=anchor.resource_types,
            commitment=anchor.commitment.hex(),
            recipients=tuple(key.id for key in self.keys),
            anchor=anchor,
        )


async def open_sealer(
    surroundings: Surroundings, profile: Profile, health: Health, store: RecordStore
) -> Sealer:
    """Return who seals for an organisation; its own key is published if there was none.

    Raises FaultError: the organisation has published no key.
    """
    own = await ensure_key(surroundings, profile, health)
    organization = await find_key(health, profile.signer.msp_id)
    if organization is None:
        raise input_error(
            f"{profile.organization.name} has published no encryption key",
            "bring its record exchange up: medfabric network up",
        )
    keys = {key.id: key for key in (organization, own)}
    return Sealer(store, profile.signer, tuple(keys.values()))


def _validate_options(record: str, options: SealOptions) -> None:
    """Before anything is sealed: what the ledger will say of these options it says now."""
    zero = hashlib.sha256().digest()
    anchor = Anchor(
        record=record,
        patient=options.patient,
        commitment=zero,
        size=1,
        locator=zero,
        version=options.version,
        classes=options.classes,
        labels=options.labels,
        contexts=options.contexts,
    )
    try:
        rules.validate_anchor(anchor)
    except InvalidArgument as error:
        raise input_error(str(error).replace("anchor.", ""), "correct the option") from error
