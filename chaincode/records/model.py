"""The values of records: an anchor, a batch, a record's state, an access and what became of it.

A record is named by a random handle; what it says is sealed off chain. `commitment` is the salted
commitment to the exact stored bytes (`commitment.RECORD`), `canonical` the one to the canonical
static FHIR form, `locator` the digest of where the ciphertext lies. Codes are FHIR resource types,
document classes and v3 security labels; clinical codes and dates never come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from chaincode.consent.model import AccessRequest, Decision


class Status(StrEnum):
    """Where a record stands. Only CURRENT ones are released."""

    CURRENT = "current"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Anchor:
    """What a custodian states about one version of a record; also the leaf of a batch.

    `labels` None means that nobody labelled it (read as restricted), empty that a labelling service
    passed it as normal. `contexts` are handles of the encounters and episodes it was made in.
    `size` is the ciphertext's, in bytes.
    """

    record: str
    patient: str
    commitment: bytes
    size: int
    locator: bytes
    version: int = 1
    canonical: bytes | None = None
    resource_types: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """A Merkle root over many anchors: leaf i is the RFC 6962 leaf hash of `rules.leaf_bytes`.

    `previous` names an earlier batch of the same custodian that this one continues: its leaves are
    the first of this tree, and `consistency` (RFC 9162 section 2.1.4) shows it.
    """

    batch: str
    root: bytes
    size: int
    previous: str = ""
    consistency: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class AnchoredBatch:
    """A batch as the ledger keeps it."""

    batch: str
    root: bytes
    size: int
    custodian: str
    author: str
    anchored_at: datetime
    tx_id: str
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """The proof that an anchor is leaf `index` of a batch."""

    batch: str
    index: int
    anchor: Anchor
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands: its newest anchor, who keeps it, since when, and its status.

    `author` is the digest of the client id that anchored this version, `batch` the batch it came
    from, `reason` the code given when it was withdrawn or erased, `proof` the digest of the
    certificate that its salts and keys were destroyed.
    """

    anchor: Anchor
    custodian: str
    author: str
    anchored_at: datetime
    tx_id: str
    status: Status = Status.CURRENT
    batch: str = ""
    reason: str = ""
    changed_at: datetime | None = None
    proof: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecordRef:
    """A record asked for; `version` 0 means the newest, `membership` brings one in from a batch."""

    record: str
    version: int = 0
    membership: Membership | None = None


@dataclass(frozen=True, slots=True)
class AccessApplication:
    """A request for records of one patient at one custodian.

    `purpose` is a v3-ActReason code, `action` as in consent.
    """

    records: tuple[RecordRef, ...]
    purpose: str
    action: str = "access"


@dataclass(frozen=True, slots=True)
class AccessedRecord:
    """One record of an access: the version that was decided on and its verdict."""

    record: str
    version: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Access:
    """A recorded decision. It never changes; release and receipt lie beside it.

    `id` is the transaction's id. `request` is what was decided on, kept so that the release can be
    decided again. `user` is the digest of the requester's client id.
    """

    id: str
    patient: str
    custodian: str
    msp_id: str
    user: str
    role: str
    records: tuple[AccessedRecord, ...]
    request: AccessRequest
    decision: Decision
    requested_at: datetime
    expires_at: datetime

    @property
    def permitted_records(self) -> tuple[AccessedRecord, ...]:
        """Those that may be released."""
        return tuple(item for item in self.records if item.verdict == "PERMIT")


@dataclass(frozen=True, slots=True)
class Release:
    """The custodian handed over a wrapped key; `wrapped_key` is the digest of what was sent."""

    access: str
    wrapped_key: bytes
    user: str
    decision: Decision
    released_at: datetime
    tx_id: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """The requester acknowledged; `digest` is that of what was received.

    Our requesters give the commitment that they recomputed from the opened content: equal to the
    anchor's, it shows that they read exactly what was anchored.
    """

    access: str
    digest: bytes
    user: str
    received_at: datetime
    tx_id: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """An access was taken back: nothing is released or handed out on it from now on.

    `reason` is a code; `msp_id` and `user` are who took it back.
    """

    access: str
    reason: str
    msp_id: str
    user: str
    revoked_at: datetime
    tx_id: str


@dataclass(frozen=True, slots=True)
class AccessView:
    """An access with what became of it."""

    access: Access
    release: Release | None = None
    receipt: Receipt | None = None
    revocation: Revocation | None = None


@dataclass(frozen=True, slots=True)
class StandingRecord:
    """Whether one record of an access may be handed out now; `reason` says in words why not."""

    record: str
    version: int
    reason: str = ""

    @property
    def stands(self) -> bool:
        """Whether it may be handed out."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class AccessStanding:
    """An access as it stands now: decided again on today's consents and today's records."""

    view: AccessView
    records: tuple[StandingRecord, ...]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of records; an empty bookmark ends it."""

    records: tuple[Record, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class AccessPage:
    """A page of accesses, oldest first."""

    accesses: tuple[AccessView, ...]
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """The payload of a record's events: handles and digests."""

    record: str
    patient: str
    version: int
    custodian: str
    status: Status
    commitment: bytes


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """The payload of `RecordBatchAnchored`."""

    batch: str
    root: bytes
    size: int
    custodian: str


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """The payload of an access's events: what a custodian's release service follows."""

    access: str
    patient: str
    custodian: str
    msp_id: str
    user: str
    purpose: str
    verdict: str
    records: tuple[str, ...]
    expires_at: datetime
