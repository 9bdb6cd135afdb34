"""What the other contracts read of the directory, inside their own transactions."""

from __future__ import annotations

from chaincode.contract import Context
from chaincode.directory import rules
from chaincode.directory.model import (
    ORGANIZATION_SUBJECT,
    Capacity,
    Consortium,
    Delegated,
    Delegation,
    EncryptionKey,
    KeyPlace,
    Organization,
    OrganizationRole,
    Patient,
    Policy,
    Scope,
    Standing,
)
from chaincode.errors import Denied, NotFound
from chaincode.table import Index, Table, prefetch

CONSORTIUM = Table("directory~consortium", Consortium)
ORGANIZATIONS = Table("directory~organization", Organization, few=True)
POLICY = Table("directory~policy", Policy, few=True)
POLICY_VERSIONS = Table("directory~policyversion", Policy)
PATIENTS = Table("directory~patient", Patient)
PATIENTS_OF = Index("directory~patientof")
DELEGATIONS = Table("directory~delegation", Delegation)
DELEGATES = Table("directory~delegate", Delegated)
KEYS = Table("directory~key", EncryptionKey)
KEY_HEADS = Table("directory~keyhead", KeyPlace)
KEY_IDS = Table("directory~keyid", KeyPlace)

CUSTODIAN_ROLES = ("privacy-officer", "service")
"""Who may act at a custodian on a patient's documented behalf (certificate attribute role)."""


def user_digest(ctx: Context) -> str:
    """The name under which the ledger knows the caller (see `rules.user_digest`)."""
    return rules.user_digest(ctx.client.msp_id, ctx.client.id)


async def meet(ctx: Context, handle: str) -> None:
    """What the directory says of the caller and a patient is read, in one message to the peer.

    An economy and nothing else: the functions below answer the same without it, and more slowly.
    """
    await prefetch(
        ctx,
        (ORGANIZATIONS, (ctx.client.msp_id,)),
        (POLICY, ()),
        (PATIENTS, (handle,)),
        *((DELEGATES, (handle, ctx.client.msp_id, name)) for name in _names(ctx)),
    )


async def find_organization(ctx: Context, msp_id: str) -> Organization | None:
    """The active member with this MSP id, None if there is none."""
    found = await ORGANIZATIONS.get(ctx, msp_id) if msp_id else None
    return found if found is not None and found.active else None


async def require_member(ctx: Context, *roles: OrganizationRole) -> Organization:
    """The caller's organisation, of one of these roles if any are given. Raises Denied."""
    found = await find_organization(ctx, ctx.client.msp_id)
    if found is None:
        raise Denied("the caller's organisation is not a member of the consortium")
    if roles and found.role not in roles:
        wanted = " or ".join(role.value for role in roles)
        raise Denied(f"the caller's organisation is not a {wanted}")
    return found


async def policy(ctx: Context) -> Policy:
    """The consortium's policy in force; the documented defaults before one is set."""
    return await POLICY.get(ctx) or Policy()


async def patient(ctx: Context, handle: str) -> Patient:
    """The registered patient. Raises NotFound."""
    return await PATIENTS.require(ctx, handle, what="patient")


async def acts_for(ctx: Context, handle: str, scope: Scope = Scope.CONSENT) -> Standing:
    """How the caller stands to the patient: as themself, delegate in scope, custodian, or not.

    A certificate's word that its holder is the patient counts only from the patient's custodian or
    a patient trust: no other organisation may make patients. Raises NotFound: no such patient.
    """
    found = await patient(ctx, handle)
    missing = f"attribute patient={handle[:4]}… of the patient, or a delegation with scope {scope}"
    if ctx.client.get_attribute("patient") == handle:
        if ctx.client.get_attribute("role") == "patient" and await _vouches(ctx, found):
            return Standing(Capacity.PATIENT, found)
        missing = (
            "attribute role=patient in a certificate of the patient's custodian or a patient trust"
        )
    delegation = await delegation_of_caller(ctx, handle, scope)
    if delegation is not None:
        return Standing(Capacity.DELEGATE, found, delegation)
    if ctx.client.msp_id == found.custodian:
        if ctx.client.get_attribute("role") in CUSTODIAN_ROLES:
            return Standing(Capacity.CUSTODIAN, found)
        missing += f"; at the custodian, attribute role={'|'.join(CUSTODIAN_ROLES)}"
    return Standing(Capacity.NONE, found, missing=missing)


async def require_acting(ctx: Context, handle: str, scope: Scope = Scope.CONSENT) -> Standing:
    """As `acts_for`. Raises Denied, naming what is missing, if the caller may not act."""
    standing = await acts_for(ctx, handle, scope)
    if not standing.acts:
        raise Denied(f"the caller does not act for this patient: {standing.missing} is missing")
    return standing


async def delegation_of_caller(ctx: Context, handle: str, scope: Scope) -> Delegation | None:
    """The caller's delegation for the patient with `scope` that is in force, None if none is."""
    for name in _names(ctx):
        entry = await DELEGATES.get(ctx, handle, ctx.client.msp_id, name)
        for delegation_id in entry.delegations if entry else ():
            delegation = await DELEGATIONS.require(ctx, handle, delegation_id, what="delegation")
            if scope in delegation.scope and await is_in_force(ctx, delegation):
                return delegation
    return None


async def is_in_force(ctx: Context, delegation: Delegation) -> bool:
    """Whether the delegation holds now, and with it every one that it was passed on from."""
    while rules.is_in_force(delegation, ctx.now):
        if not delegation.passed_on_from:
            return True
        delegation = await DELEGATIONS.require(
            ctx, delegation.patient, delegation.passed_on_from, what="delegation"
        )
    return False


async def enter_delegation(ctx: Context, delegation: Delegation) -> None:
    """The delegation is on the ledger, and found by its patient and by its delegate."""
    await DELEGATIONS.add(ctx, delegation, delegation.patient, delegation.id, what="delegation")
    place = (delegation.patient, delegation.delegate_msp_id, delegation.delegate)
    held = await DELEGATES.get(ctx, *place) or Delegated(())
    await DELEGATES.put(ctx, Delegated((*held.delegations, delegation.id)), *place)


async def delegations(ctx: Context, handle: str) -> list[Delegation]:
    """Every delegation of the patient, past ones too, by id."""
    return await DELEGATIONS.all(ctx, handle)


async def encryption_key(
    ctx: Context, msp_id: str, selector: str = ORGANIZATION_SUBJECT
) -> EncryptionKey:
    """A key by its id, or the newest of a subject (`org`, `user:<digest>`). Raises NotFound."""
    place = await KEY_IDS.get(ctx, selector) or await KEY_HEADS.get(ctx, msp_id, selector)
    if place is None or place.msp_id != msp_id:
        raise NotFound("no such encryption key; publish one with directory:PublishKey")
    return await KEYS.require(ctx, *key_parts(place), what="encryption key")


def key_parts(place: KeyPlace) -> tuple[str, str, str]:
    """The key parts of a key's record: its versions sort by number."""
    return place.msp_id, place.subject, f"{place.version:06d}"


def _names(ctx: Context) -> list[str]:
    """The names by which a delegation may mean the caller."""
    person = ctx.client.get_attribute("person")
    return [f"user:{user_digest(ctx)}", *([f"person:{person}"] if person else ())]


async def _vouches(ctx: Context, found: Patient) -> bool:
    """Whether the caller's organisation may say who this patient is."""
    if ctx.client.msp_id == found.custodian:
        return True
    member = await find_organization(ctx, ctx.client.msp_id)
    return member is not None and member.role is OrganizationRole.PATIENT_TRUST
