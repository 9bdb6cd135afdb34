"""What the other contracts call to decide on access inside their own transaction.

    actor = await access.caller(ctx, patient, purpose)
    decision = await access.decide(ctx, AccessRequest(patient, actor, purpose, "access", items))

Reads the patient's consents as one range (so that a consent written at the same time invalidates
the decision), the consortium's policy and, where claimed, a delegation and a break-glass grant.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from chaincode import canonical
from chaincode.consent import codes, lifecycle, rules
from chaincode.consent.compiled import CompiledConsent, compile_consent
from chaincode.consent.model import (
    AccessRequest,
    Actor,
    BreakGlassGrant,
    Consent,
    ConsentPlace,
    Decision,
)
from chaincode.contract import Context
from chaincode.directory import registry
from chaincode.directory.model import Capacity, Scope
from chaincode.table import Table

CONSENTS = Table("consent~patient", Consent)
VERSIONS = Table("consent~version", Consent)
PLACES = Table("consent~id", ConsentPlace)
GRANTS = Table("consent~breakglass", BreakGlassGrant)
GRANT_PLACES = Table("consent~breakglassid", ConsentPlace)

_EMERGENCIES = frozenset({codes.BREAK_GLASS, codes.EMERGENCY})


async def caller(ctx: Context, patient: str, purpose: str) -> Actor:
    """The caller as an actor: with what their certificate says, and what the ledger adds for them.

    Their delegation for the patient (scope access) and their open break-glass grant for the
    purpose are filled in. Raises NotFound: no such patient.
    """
    await registry.meet(ctx, patient)
    user = registry.user_digest(ctx)
    standing = await registry.acts_for(ctx, patient, Scope.ACCESS)
    actor = Actor(
        msp_id=ctx.client.msp_id,
        role=ctx.client.get_attribute("role") or "",
        user=user,
        groups=_groups(ctx),
        patient=patient if standing.capacity is Capacity.PATIENT else "",
    )
    if standing.delegation is not None:
        actor = replace(
            actor,
            delegation=standing.delegation.id,
            acts_for=patient,
            withheld=standing.delegation.withheld,
            purposes=standing.delegation.purposes,
        )
    grant = await _open_grant(ctx, patient, actor, purpose)
    return replace(actor, break_glass=grant.id) if grant else actor


async def decide(ctx: Context, request: AccessRequest) -> Decision:
    """The decision on `request` at the transaction's time, under the policy in force.

    What the actor claims beyond their certificate (delegation, break-glass) counts only if it holds
    now, so a stored request may be decided again later. Raises NotFound: no such patient.
    """
    await registry.meet(ctx, request.patient)
    await registry.patient(ctx, request.patient)
    policy = await registry.policy(ctx)
    consents = await load(ctx, request.patient)
    current = replace(request, actor=await _verified(ctx, request))
    return rules.evaluate(consents, current, ctx.now, policy.consent)


async def load(ctx: Context, patient: str) -> list[CompiledConsent]:
    """The patient's consents in their newest versions, oldest grant first."""
    found = ctx.stub.get_state_by_partial_composite_key(CONSENTS.name, [patient])
    consents = [_compiled(entry.value) async for entry in found]
    return sorted(consents, key=lambda c: (c.consent.granted_at, c.consent.id))


@lru_cache(maxsize=8192)
def _compiled(raw: bytes) -> CompiledConsent:
    """Compiling depends on the stored bytes alone, so keeping it changes no decision."""
    return compile_consent(canonical.decode(Consent, raw))


async def _verified(ctx: Context, request: AccessRequest) -> Actor:
    actor = request.actor
    if actor.delegation:
        held = await registry.DELEGATIONS.get(ctx, request.patient, actor.delegation)
        if held is None or not await registry.is_in_force(ctx, held):
            actor = replace(actor, delegation="", acts_for="", purposes=())
        else:
            actor = replace(
                actor, acts_for=request.patient, withheld=held.withheld, purposes=held.purposes
            )
    if actor.break_glass:
        grant = await GRANTS.get(ctx, request.patient, actor.break_glass)
        if grant is None or not lifecycle.is_open(
            grant, actor.msp_id, actor.user, request.purpose, ctx.now
        ):
            actor = replace(actor, break_glass="")
    return actor


async def _open_grant(
    ctx: Context, patient: str, actor: Actor, purpose: str
) -> BreakGlassGrant | None:
    if purpose not in _EMERGENCIES:
        return None
    grants = await GRANTS.all(ctx, patient)
    mine = [g for g in grants if lifecycle.is_open(g, actor.msp_id, actor.user, purpose, ctx.now)]
    return max(mine, key=lambda g: (g.expires_at, g.id), default=None)


def _groups(ctx: Context) -> tuple[str, ...]:
    """Handles of the groups and care teams in the certificate's attribute `groups`."""
    listed = ctx.client.get_attribute("groups") or ""
    return tuple(sorted({name.strip() for name in listed.split(",") if name.strip()}))
