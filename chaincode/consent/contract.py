"""The transactions `consent:*`: read state, ask the rules, write state, leave the trail and event.

Written by the patient, by a delegate in scope, or by the custodian (privacy officer or service) on
the patient's document. Versions are never rewritten: each lies under its own key.
"""

from __future__ import annotations

from chaincode.access import anyone, attribute, role
from chaincode.audit import trail
from chaincode.audit.model import AuditEntry, Kind, ReviewItem, ReviewKind
from chaincode.consent import access, explain, lifecycle
from chaincode.consent.messages import (
    AmendRequest,
    BreakGlassDeclared,
    BreakGlassRequest,
    BreakGlassReviewed,
    ConsentChanged,
    ConsentPage,
    ConsentReceipt,
    EvaluationRequest,
    Explanation,
    GrantList,
    GrantRequest,
    ReviewRequest,
    RevokeRequest,
)
from chaincode.consent.model import (
    AccessRequest,
    Author,
    BreakGlassGrant,
    Capacity,
    Consent,
    ConsentPlace,
    Decision,
    Review,
)
from chaincode.contract import Context, Contract, query, transaction
from chaincode.directory import registry
from chaincode.directory.model import Scope, Standing
from chaincode.errors import Denied
from chaincode.table import PageRequest

_FIRST_PAGE = PageRequest()
_OVERSEERS = ("auditor", "privacy-officer")


class ConsentContract(Contract, name="consent"):
    """What patients allow: directives and their versions, decisions, declared emergencies."""

    @transaction
    async def Grant(self, ctx: Context, request: GrantRequest) -> ConsentReceipt:
        """Write a consent. By the patient, a delegate in scope, or the custodian on a document."""
        standing = await registry.require_acting(ctx, request.patient)
        consent = lifecycle.first_version(
            request.id,
            request.patient,
            request.directive,
            _author(ctx, standing),
            ctx.now,
            ctx.tx_id,
        )
        await access.PLACES.add(ctx, ConsentPlace(consent.patient, 1), consent.id, what="consent")
        return await _keep(ctx, consent, Kind.CONSENT_GRANTED, "consent.Granted")

    @transaction
    async def Amend(self, ctx: Context, request: AmendRequest) -> ConsentReceipt:
        """Replace the directive of an active consent; names the version it is based on."""
        held = await _current(ctx, request.id)
        standing = await registry.require_acting(ctx, held.patient)
        consent = lifecycle.amended(
            held,
            request.based_on,
            request.directive,
            author=_author(ctx, standing),
            now=ctx.now,
            tx_id=ctx.tx_id,
        )
        return await _keep(ctx, consent, Kind.CONSENT_AMENDED, "consent.Amended")

    @transaction
    async def Revoke(self, ctx: Context, request: RevokeRequest) -> ConsentReceipt:
        """Make a consent inactive from now on; names the version it is based on."""
        held = await _current(ctx, request.id)
        standing = await registry.require_acting(ctx, held.patient)
        consent = lifecycle.revoked(
            held, request, author=_author(ctx, standing), now=ctx.now, tx_id=ctx.tx_id
        )
        return await _keep(ctx, consent, Kind.CONSENT_REVOKED, "consent.Revoked")

    @query
    async def Get(self, ctx: Context, consent_id: str, version: int = 0) -> Consent:
        """A consent's current version, or an earlier one.

        For those who act for the patient, the custodian, auditors and privacy officers, and the
        organisations that the consent names.
        """
        consent = await _current(ctx, consent_id)
        if version:
            consent = await access.VERSIONS.require(
                ctx, consent_id, f"{version:06d}", what="version of the consent"
            )
        await _validate_reader(ctx, consent)
        return consent

    @query
    async def List(
        self, ctx: Context, patient: str, page: PageRequest = _FIRST_PAGE
    ) -> ConsentPage:
        """A patient's consents in their current versions, revoked ones too."""
        await _validate_reader_of(ctx, patient)
        found = await access.CONSENTS.page(ctx, patient, page=page)
        return ConsentPage(tuple(found.values), found.bookmark)

    @query
    async def History(
        self, ctx: Context, consent_id: str, page: PageRequest = _FIRST_PAGE
    ) -> ConsentPage:
        """All versions of a consent, oldest first. For the same readers as `Get`."""
        await _validate_reader(ctx, await _current(ctx, consent_id))
        found = await access.VERSIONS.page(ctx, consent_id, page=page)
        return ConsentPage(tuple(found.values), found.bookmark)

    @query
    async def Evaluate(self, ctx: Context, request: EvaluationRequest) -> Decision:
        """Decide on a request for access, without recording it.

        Members ask for themselves; on behalf of another actor only those who act for the patient,
        auditors and privacy officers.
        """
        return await access.decide(ctx, await _question(ctx, request))

    @query
    async def Explain(self, ctx: Context, request: EvaluationRequest) -> Explanation:
        """As `Evaluate`, and why, in words."""
        question = await _question(ctx, request)
        decision = await access.decide(ctx, question)
        return Explanation(decision, explain.explain(question, decision))

    @transaction(access=attribute("btg", "true"))
    async def BreakGlass(self, ctx: Context, request: BreakGlassRequest) -> BreakGlassGrant:
        """Declare an emergency: opens a patient's record to the caller until it expires.

        Notifies by event and waits for a privacy officer of the caller's organisation or of the
        patient's custodian. One endorsement by any member suffices beyond the chaincode's policy.
        """
        await registry.require_member(ctx)
        patient = await registry.patient(ctx, request.patient)
        policy = await registry.policy(ctx)
        grant = lifecycle.declared(
            request,
            msp_id=ctx.client.msp_id,
            user=registry.user_digest(ctx),
            role=ctx.client.get_attribute("role") or "",
            limit_minutes=policy.break_glass_minutes,
            now=ctx.now,
            tx_id=ctx.tx_id,
        )
        place = ConsentPlace(grant.patient, 1)
        await access.GRANT_PLACES.add(ctx, place, grant.id, what="break-glass grant")
        await access.GRANTS.put(ctx, grant, grant.patient, grant.id)
        for msp_id in sorted({grant.msp_id, patient.custodian}):
            await trail.open_review(ctx, _review_of(grant, msp_id))
        await _record(ctx, grant, Kind.BREAK_GLASS, "OPEN")
        ctx.set_event("consent.BreakGlassDeclared", _declaration(grant, patient.custodian))
        return grant

    @transaction(access=role("privacy-officer"))
    async def ReviewBreakGlass(self, ctx: Context, request: ReviewRequest) -> BreakGlassGrant:
        """Close the review of a break-glass grant; ends it at once unless it was justified."""
        place = await access.GRANT_PLACES.require(ctx, request.id, what="break-glass grant")
        grant = await access.GRANTS.require(ctx, place.patient, request.id)
        patient = await registry.patient(ctx, grant.patient)
        review = Review(
            outcome=request.outcome,
            reviewer_msp_id=ctx.client.msp_id,
            reviewer=registry.user_digest(ctx),
            reviewed_at=ctx.now,
            commitment=request.commitment,
        )
        closed = lifecycle.reviewed(grant, review, patient.custodian)
        await access.GRANTS.put(ctx, closed, closed.patient, closed.id)
        for msp_id in sorted({grant.msp_id, patient.custodian}):
            await trail.close_review(ctx, msp_id, grant.id)
        await _record(ctx, closed, Kind.BREAK_GLASS_REVIEWED, request.outcome.value)
        ctx.set_event(
            "consent.BreakGlassReviewed",
            BreakGlassReviewed(closed.id, closed.patient, request.outcome),
        )
        return closed

    @query(access=anyone())
    async def ListBreakGlass(self, ctx: Context, patient: str) -> GrantList:
        """All break-glass grants on a patient: who, why, until when, how it was reviewed."""
        await _validate_reader_of(ctx, patient)
        return GrantList(tuple(await access.GRANTS.all(ctx, patient)))


def _review_of(grant: BreakGlassGrant, msp_id: str) -> ReviewItem:
    """The grant as this organisation's privacy officer reviews it."""
    return ReviewItem(
        id=grant.id,
        kind=ReviewKind.BREAK_GLASS,
        msp_id=msp_id,
        patient=grant.patient,
        user=grant.user,
        purpose=grant.purpose,
        opened_at=grant.declared_at,
        reason=grant.reason,
    )


def _declaration(grant: BreakGlassGrant, custodian: str) -> BreakGlassDeclared:
    return BreakGlassDeclared(
        id=grant.id,
        patient=grant.patient,
        msp_id=grant.msp_id,
        custodian=custodian,
        purpose=grant.purpose,
        reason=grant.reason,
        expires_at=grant.expires_at,
    )


async def _current(ctx: Context, consent_id: str) -> Consent:
    place = await access.PLACES.require(ctx, consent_id, what="consent")
    return await access.CONSENTS.require(ctx, place.patient, consent_id, what="consent")


async def _keep(ctx: Context, consent: Consent, kind: Kind, event: str) -> ConsentReceipt:
    """Write the version under its own key and as the current one; leave trail and event."""
    await access.VERSIONS.add(
        ctx, consent, consent.id, f"{consent.version:06d}", what="version of the consent"
    )
    await access.CONSENTS.put(ctx, consent, consent.patient, consent.id)
    await trail.record(
        ctx,
        AuditEntry(
            patient=consent.patient,
            kind=kind,
            subject=consent.id,
            verdict=consent.status.value,
            reason=consent.reason,
            consent_id=consent.id,
            consent_version=consent.version,
            consent_digest=consent.digest,
        ),
    )
    ctx.set_event(
        event,
        ConsentChanged(
            id=consent.id,
            version=consent.version,
            patient=consent.patient,
            status=consent.status,
            digest=consent.digest,
            capacity=consent.author.capacity,
        ),
    )
    return ConsentReceipt(
        id=consent.id,
        version=consent.version,
        patient=consent.patient,
        status=consent.status,
        digest=consent.digest,
        recorded_at=consent.recorded_at,
        tx_id=consent.tx_id,
    )


async def _record(ctx: Context, grant: BreakGlassGrant, kind: Kind, verdict: str) -> None:
    await trail.record(
        ctx,
        AuditEntry(
            patient=grant.patient,
            kind=kind,
            subject=grant.id,
            purpose=grant.purpose,
            verdict=verdict,
            reason=grant.reason,
        ),
    )


def _author(ctx: Context, standing: Standing) -> Author:
    return Author(
        msp_id=ctx.client.msp_id,
        user=registry.user_digest(ctx),
        capacity=Capacity(standing.capacity.value),
        delegation=standing.delegation.id if standing.delegation else "",
    )


async def _question(ctx: Context, request: EvaluationRequest) -> AccessRequest:
    """The request with a trustworthy actor: the caller, or one whom the caller may ask about."""
    await registry.meet(ctx, request.patient)
    await registry.require_member(ctx)
    actor = request.actor
    if actor is None:
        actor = await access.caller(ctx, request.patient, request.purpose)
    else:
        await _validate_reader_of(ctx, request.patient)
    return AccessRequest(request.patient, actor, request.purpose, request.action, request.data)


async def _validate_reader(ctx: Context, consent: Consent) -> None:
    member = await registry.find_organization(ctx, ctx.client.msp_id)
    if member and lifecycle.names_organization(consent.directive, ctx.client.msp_id):
        return
    await _validate_reader_of(ctx, consent.patient)


async def _validate_reader_of(ctx: Context, patient: str) -> None:
    """Raise Denied unless the caller may read what was decided for the patient."""
    found = await registry.patient(ctx, patient)
    if ctx.client.get_attribute("role") in _OVERSEERS or ctx.client.msp_id == found.custodian:
        await registry.require_member(ctx)
        if ctx.client.get_attribute("role") != "patient":
            return
    for scope in (Scope.CONSENT, Scope.AUDIT):
        standing = await registry.acts_for(ctx, patient, scope)
        if standing.acts:
            return
    raise Denied(
        f"{standing.missing}; or attribute role={'|'.join(_OVERSEERS)}, or membership of the "
        "patient's custodian is missing"
    )
