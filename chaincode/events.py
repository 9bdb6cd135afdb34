"""The catalogue of the `health` chaincode's events: one for every change of public state.

An event names what happened and to which handle; its payload is the canonical JSON of the type
named here, and holds handles, codes, MSP ids, digests and times only. `docs/events.md` is written
from this catalogue (`python -m admin.events.catalogue`), and tests hold every contract to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaincode.audit.model import LogAnchor, ReviewItem
from chaincode.claims.model import BatchSubmitted, ClaimEvent, Registration, TableVersion
from chaincode.consent.messages import BreakGlassDeclared, BreakGlassReviewed, ConsentChanged
from chaincode.directory.model import (
    DelegationChanged,
    KeyPublished,
    OrganizationChanged,
    PatientRegistered,
    PolicyChanged,
)
from chaincode.records.model import AccessEvent, BatchEvent, RecordEvent


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event.

    Attributes:
        name: as it stands in the block, `contract.Happened`.
        payload: the type whose canonical JSON is the payload.
        by: the transactions that set it.
        meaning: what is true once it is seen, one sentence.
        subject: the payload's field that names what it is about: events that agree in it are
            ordered among themselves.
    """

    name: str
    payload: type
    by: tuple[str, ...]
    meaning: str
    subject: str


CATALOGUE: tuple[EventKind, ...] = (
    EventKind(
        "consent.Granted",
        ConsentChanged,
        ("consent:Grant",),
        "A consent is in force, as its first version.",
        "patient",
    ),
    EventKind(
        "consent.Amended",
        ConsentChanged,
        ("consent:Amend",),
        "A consent has a new version; the earlier one counts no longer.",
        "patient",
    ),
    EventKind(
        "consent.Revoked",
        ConsentChanged,
        ("consent:Revoke",),
        "A consent is inactive from now on. Forget what you cached of it.",
        "patient",
    ),
    EventKind(
        "consent.BreakGlassDeclared",
        BreakGlassDeclared,
        ("consent:BreakGlass",),
        "Somebody opened a patient's records in an emergency; it waits for review.",
        "patient",
    ),
    EventKind(
        "consent.BreakGlassReviewed",
        BreakGlassReviewed,
        ("consent:ReviewBreakGlass",),
        "A privacy officer has judged a declared emergency.",
        "patient",
    ),
    EventKind(
        "records.Anchored",
        RecordEvent,
        ("records:Anchor",),
        "A record's first version is committed to.",
        "record",
    ),
    EventKind(
        "records.BatchAnchored",
        BatchEvent,
        ("records:AnchorBatch",),
        "A Merkle root over many records is committed to.",
        "batch",
    ),
    EventKind(
        "records.Superseded",
        RecordEvent,
        ("records:Supersede",),
        "A record has a new version.",
        "record",
    ),
    EventKind(
        "records.Withdrawn",
        RecordEvent,
        ("records:Withdraw",),
        "A record is released no longer.",
        "record",
    ),
    EventKind(
        "records.Erased",
        RecordEvent,
        ("records:Erase",),
        "A record's salt and keys are destroyed: nobody can open it, or link the anchor to it.",
        "record",
    ),
    EventKind(
        "records.AccessDecided",
        AccessEvent,
        ("records:RequestAccess",),
        "Access was asked for and decided, permit or deny: read `verdict`.",
        "access",
    ),
    EventKind(
        "records.AccessReleased",
        AccessEvent,
        ("records:Release",),
        "The custodian has wrapped the keys for the requester, who may fetch now.",
        "access",
    ),
    EventKind(
        "records.AccessRevoked",
        AccessEvent,
        ("records:RevokeAccess",),
        "An access is taken back: nothing is handed out on it any more.",
        "access",
    ),
    EventKind(
        "records.ReceiptAcknowledged",
        AccessEvent,
        ("records:AcknowledgeReceipt",),
        "The requester has the records.",
        "access",
    ),
    EventKind(
        "claims.Submitted",
        ClaimEvent,
        ("claims:Submit",),
        "A claim passed the gate and waits for the payer's decision.",
        "claim",
    ),
    EventKind(
        "claims.Rejected",
        ClaimEvent,
        ("claims:Submit", "claims:Replace"),
        "A claim was turned back at the gate, with reasons; it may be corrected and sent again.",
        "claim",
    ),
    EventKind(
        "claims.BatchSubmitted",
        BatchSubmitted,
        ("claims:SubmitBatch",),
        "Many claims were submitted at once: which were accepted, which rejected.",
        "submitter",
    ),
    EventKind(
        "claims.Pended",
        ClaimEvent,
        ("claims:Pend",),
        "The payer waits for information; `codes` says for what.",
        "claim",
    ),
    EventKind(
        "claims.Supplied",
        ClaimEvent,
        ("claims:Supply",),
        "The filer supplied what the payer waited for.",
        "claim",
    ),
    EventKind(
        "claims.Adjudicated",
        ClaimEvent,
        ("claims:Adjudicate",),
        "The payer has decided: read `outcome`.",
        "claim",
    ),
    EventKind(
        "claims.Paid", ClaimEvent, ("claims:Pay",), "The payer has paid what it decided.", "claim"
    ),
    EventKind(
        "claims.Reconciled",
        ClaimEvent,
        ("claims:Reconcile",),
        "The filer has matched the payment.",
        "claim",
    ),
    EventKind(
        "claims.Appealed",
        ClaimEvent,
        ("claims:Appeal",),
        "The filer contests a refusal.",
        "claim",
    ),
    EventKind(
        "claims.AppealDecided",
        ClaimEvent,
        ("claims:DecideAppeal",),
        "The payer has decided an appeal.",
        "claim",
    ),
    EventKind(
        "claims.Voided",
        ClaimEvent,
        ("claims:Void",),
        "The filer has taken a claim back.",
        "claim",
    ),
    EventKind(
        "claims.Replaced",
        ClaimEvent,
        ("claims:Replace",),
        "A corrected claim, named by `claim`, stands for an earlier one.",
        "claim",
    ),
    EventKind(
        "claims.CoordinationConfirmed",
        ClaimEvent,
        ("claims:Confirm",),
        "A later payer stays with its claim, although what it rests on has changed.",
        "claim",
    ),
    EventKind(
        "claims.Registered",
        Registration,
        ("claims:RegisterCoverage", "claims:Authorize", "claims:RegisterProvider"),
        "A payer is committed to a coverage, an authorisation or a provider's enrolment.",
        "handle",
    ),
    EventKind(
        "claims.TableLoaded",
        TableVersion,
        ("claims:LoadTable",),
        "A payer's table has a new version; `content` is left out.",
        "name",
    ),
    EventKind(
        "audit.LogAnchored",
        LogAnchor,
        ("audit:AnchorLog",),
        "An organisation is committed to a batch of its access log.",
        "mspId",
    ),
    EventKind(
        "audit.ReviewClosed",
        ReviewItem,
        ("audit:CloseReview",),
        "A privacy officer has looked at a denied access.",
        "patient",
    ),
    EventKind(
        "directory.PolicyChanged",
        PolicyChanged,
        ("directory:Bootstrap", "directory:SetPolicy"),
        "The consortium's policy has a new version.",
        "version",
    ),
    EventKind(
        "directory.OrganizationChanged",
        OrganizationChanged,
        ("directory:SetOrganization",),
        "An organisation is new or changed.",
        "mspId",
    ),
    EventKind(
        "directory.PatientRegistered",
        PatientRegistered,
        ("directory:RegisterPatient",),
        "A patient's handle is known, with its custodian.",
        "patient",
    ),
    EventKind(
        "directory.Delegated",
        DelegationChanged,
        ("directory:Delegate",),
        "Somebody may act for a patient.",
        "patient",
    ),
    EventKind(
        "directory.DelegationRevoked",
        DelegationChanged,
        ("directory:RevokeDelegation",),
        "Somebody may act for a patient no longer.",
        "patient",
    ),
    EventKind(
        "directory.KeyPublished",
        KeyPublished,
        ("directory:PublishKey",),
        "A key to seal to is published; an earlier one of the subject is retired.",
        "mspId",
    ),
)

SILENT: dict[str, str] = {
    "records:Escrow": "writes the custodian's private collection only",
    "claims:Stage": "writes the payer's private collection only",
    "claims:StageDecision": "writes the payer's private collection only",
    "claims:StagePrivate": "writes a private collection only",
    "claims:KeepFact": "writes the payer's private collection only",
}
"""Transactions that set no event, since they write nothing that others may know of."""

BY_NAME: dict[str, EventKind] = {kind.name: kind for kind in CATALOGUE}
