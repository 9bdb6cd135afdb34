"""The transactions `directory:*`: read state, ask the rules, write state, emit an event."""

from __future__ import annotations

from dataclasses import replace

from chaincode.access import Access, anyone, attribute, ou, role
from chaincode.contract import Context, Contract, query, transaction
from chaincode.directory import governance, registry, rules
from chaincode.directory.model import (
    ORGANIZATION_SUBJECT,
    Capacity,
    Consortium,
    Delegation,
    DelegationChanged,
    DelegationList,
    DelegationRequest,
    EncryptionKey,
    KeyPage,
    KeyPlace,
    KeyPublication,
    KeyPublished,
    Organization,
    OrganizationChanged,
    OrganizationList,
    Patient,
    PatientPage,
    PatientRegistered,
    PatientRegistration,
    Policy,
    PolicyChanged,
    Scope,
)
from chaincode.errors import Conflict, Denied, InvalidArgument, NotFound
from chaincode.table import PageRequest

REGISTRARS: Access = role("service", "privacy-officer", "clinician", "claims") | ou("admin")
_FIRST_PAGE = PageRequest()


class DirectoryContract(Contract, name="directory"):
    """Organisations, patients' handles, delegations, encryption keys, consortium policy."""

    @transaction(access=ou("admin"))
    async def Bootstrap(
        self, ctx: Context, organizations: list[Organization], policy: Policy | None = None
    ) -> OrganizationList:
        """Found the consortium, once: an admin of a founding organisation names all of them.

        From then on organisations and policy change only with the endorsement of a majority of the
        organisations that have peers (key-level endorsement policy).
        """
        if await registry.CONSORTIUM.get(ctx) is not None:
            raise Conflict("the consortium is founded already; use SetOrganization or SetPolicy")
        rules.validate_founding(organizations, ctx.client.msp_id)
        founded = sorted(
            (replace(o, version=1, active=True) for o in organizations), key=lambda o: o.msp_id
        )
        for organization in founded:
            await registry.ORGANIZATIONS.put(ctx, organization, organization.msp_id)
        await _put_policy(ctx, policy or Policy(), 1)
        await _govern(ctx, founded, Consortium(ctx.now, ()))
        ctx.set_event("directory.PolicyChanged", PolicyChanged(1))
        return OrganizationList(tuple(founded))

    @transaction(access=ou("admin"))
    async def SetOrganization(self, ctx: Context, organization: Organization) -> Organization:
        """Add or change an organisation; needs a majority of the organisations to endorse.

        `version` is the version that the change is based on, 0 for a new organisation.
        """
        consortium = await registry.CONSORTIUM.require(ctx, what="consortium; call Bootstrap first")
        rules.validate_organization(organization)
        listed = {o.msp_id: o for o in await registry.ORGANIZATIONS.all(ctx)}
        held = listed.get(organization.msp_id)
        rules.validate_version(organization.version, held.version if held else 0, "organisation")
        changed = replace(organization, version=organization.version + 1)
        listed[changed.msp_id] = changed
        if not any(o.endorses and o.active for o in listed.values()):
            raise InvalidArgument("organization: nobody would be left to endorse")
        await registry.ORGANIZATIONS.put(ctx, changed, changed.msp_id)
        await _govern(ctx, list(listed.values()), consortium)
        ctx.set_event(
            "directory.OrganizationChanged",
            OrganizationChanged(changed.msp_id, changed.role, changed.version, changed.active),
        )
        return changed

    @query
    async def GetOrganization(self, ctx: Context, msp_id: str) -> Organization:
        """The organisation with this MSP id, whether active or not."""
        return await registry.ORGANIZATIONS.require(ctx, msp_id, what="organisation")

    @query
    async def ListOrganizations(self, ctx: Context) -> OrganizationList:
        """All organisations, by MSP id."""
        return OrganizationList(tuple(await registry.ORGANIZATIONS.all(ctx)))

    @transaction(access=ou("admin"))
    async def SetPolicy(self, ctx: Context, policy: Policy) -> Policy:
        """Change the consortium's policy; needs a majority of the organisations to endorse.

        `version` is the version that the change is based on.
        """
        await registry.CONSORTIUM.require(ctx, what="consortium; call Bootstrap first")
        held = await registry.policy(ctx)
        rules.validate_version(policy.version, held.version, "policy")
        changed = await _put_policy(ctx, policy, held.version + 1)
        ctx.set_event("directory.PolicyChanged", PolicyChanged(changed.version))
        return changed

    @query
    async def GetPolicy(self, ctx: Context, version: int = 0) -> Policy:
        """The policy in force, or an earlier version of it."""
        if version == 0:
            return await registry.policy(ctx)
        part = _version_part(version)
        return await registry.POLICY_VERSIONS.require(ctx, part, what="policy version")

    @transaction(access=REGISTRARS)
    async def RegisterPatient(self, ctx: Context, registration: PatientRegistration) -> Patient:
        """Enter a patient's random handle; the caller's organisation becomes their custodian."""
        member = await registry.find_organization(ctx, ctx.client.msp_id)
        rules.validate_registration(registration, member, ctx.now)
        patient = Patient(
            handle=registration.handle,
            custodian=ctx.client.msp_id,
            registered_at=ctx.now,
            commitment=registration.commitment,
            majority_year=registration.majority_year,
            tx_id=ctx.tx_id,
        )
        await registry.PATIENTS.add(ctx, patient, patient.handle, what="patient")
        await registry.PATIENTS_OF.put(ctx, patient.custodian, patient.handle)
        ctx.set_event(
            "directory.PatientRegistered", PatientRegistered(patient.handle, patient.custodian)
        )
        return patient

    @query
    async def GetPatient(self, ctx: Context, handle: str) -> Patient:
        """A registered patient: custodian, time, commitment. For members of the consortium."""
        await registry.require_member(ctx)
        return await registry.patient(ctx, handle)

    @query
    async def ListPatients(self, ctx: Context, page: PageRequest = _FIRST_PAGE) -> PatientPage:
        """Handles of the patients whose custodian is the caller's organisation."""
        handles, bookmark = await registry.PATIENTS_OF.page(ctx, ctx.client.msp_id, page=page)
        return PatientPage(tuple(handles), bookmark)

    @transaction
    async def Delegate(self, ctx: Context, request: DelegationRequest) -> Delegation:
        """Let somebody act for a patient.

        By the patient (power of attorney), a delegate with scope delegate (no more than their own),
        or the custodian's privacy officer or service on a document (parent, court, power of
        attorney), whose commitment goes with it.
        """
        standing = await registry.require_acting(ctx, request.patient, Scope.DELEGATE)
        member = await registry.find_organization(ctx, request.delegate_msp_id)
        rules.validate_delegation(request, standing, member, ctx.now)
        delegation = Delegation(
            id=request.id,
            patient=request.patient,
            delegate=request.delegate,
            delegate_msp_id=request.delegate_msp_id,
            basis=request.basis,
            scope=tuple(sorted(set(request.scope))),
            period=request.period,
            purposes=tuple(sorted(set(request.purposes))),
            withheld=tuple(sorted(set(request.withheld))),
            commitment=request.commitment,
            granted_by_msp_id=ctx.client.msp_id,
            granted_by=registry.user_digest(ctx),
            granted_at=ctx.now,
        )
        if standing.delegation is not None:
            delegation = rules.narrowed(delegation, standing.delegation)
        await registry.enter_delegation(ctx, delegation)
        ctx.set_event("directory.Delegated", DelegationChanged(delegation.id, delegation.patient))
        return delegation

    @transaction
    async def RevokeDelegation(self, ctx: Context, patient: str, delegation_id: str) -> Delegation:
        """End a delegation from now on: by the patient, the custodian, or the delegate themself."""
        held = await registry.DELEGATIONS.require(ctx, patient, delegation_id, what="delegation")
        if held.revoked_at is not None:
            raise Conflict("the delegation is revoked already")
        digest = registry.user_digest(ctx)
        client = ctx.client
        if not rules.names_caller(held, client.msp_id, digest, client.attributes):
            standing = await registry.require_acting(ctx, patient, Scope.DELEGATE)
            if standing.capacity is Capacity.DELEGATE and held.granted_by != digest:
                raise Denied("a delegate may revoke only what they delegated")
        revoked = replace(held, revoked_at=ctx.now, revoked_by=digest)
        await registry.DELEGATIONS.put(ctx, revoked, patient, delegation_id)
        ctx.set_event("directory.DelegationRevoked", DelegationChanged(delegation_id, patient))
        return revoked

    @query
    async def ListDelegations(self, ctx: Context, patient: str) -> DelegationList:
        """All delegations of a patient: for those who act for them, and auditors."""
        if ctx.client.get_attribute("role") not in ("auditor", "privacy-officer"):
            await registry.require_acting(ctx, patient, Scope.AUDIT)
        await registry.require_member(ctx)
        return DelegationList(tuple(await registry.delegations(ctx, patient)))

    @transaction(access=attribute("role") | ou("admin"))
    async def PublishKey(self, ctx: Context, publication: KeyPublication) -> EncryptionKey:
        """Publish a key that others seal data to; an earlier one of the subject is retired.

        `subject` org: by an admin or a service of the organisation. `subject` user: by anybody, for
        themself.
        """
        await registry.require_member(ctx)
        subject = publication.subject
        if subject == "user":
            subject = f"user:{registry.user_digest(ctx)}"
        elif subject != ORGANIZATION_SUBJECT:
            raise InvalidArgument("publication.subject: expected org or user")
        elif not ctx.client.has_ou("admin") and ctx.client.get_attribute("role") != "service":
            raise Denied("attribute role=service is missing; or organisational unit admin")
        rules.validate_apart(publication, ctx.client.certificate)
        key_id, not_after = rules.read_key(publication, ctx.now)
        if await registry.KEY_IDS.get(ctx, key_id) is not None:
            raise Conflict("this key is published already; rotate to a new one")
        head = await registry.KEY_HEADS.get(ctx, ctx.client.msp_id, subject)
        place = KeyPlace(ctx.client.msp_id, subject, head.version + 1 if head else 1)
        if head is not None:
            old = await registry.KEYS.require(ctx, *registry.key_parts(head))
            retired = replace(old, retired_at=ctx.now)
            await registry.KEYS.put(ctx, retired, *registry.key_parts(head))
        key = EncryptionKey(
            id=key_id,
            msp_id=place.msp_id,
            subject=subject,
            version=place.version,
            public_key=publication.public_key,
            certificate=publication.certificate,
            published_at=ctx.now,
            not_after=not_after,
        )
        await registry.KEYS.put(ctx, key, *registry.key_parts(place))
        await registry.KEY_HEADS.put(ctx, place, place.msp_id, subject)
        await registry.KEY_IDS.put(ctx, place, key_id)
        ctx.set_event(
            "directory.KeyPublished", KeyPublished(key_id, place.msp_id, subject, place.version)
        )
        return key

    @query
    async def GetKey(
        self, ctx: Context, msp_id: str, selector: str = ORGANIZATION_SUBJECT
    ) -> EncryptionKey:
        """A key by its id, or the newest of a subject: `org` or `user:<digest>`."""
        return await registry.encryption_key(ctx, msp_id, selector)

    @query
    async def ListKeys(self, ctx: Context, msp_id: str, page: PageRequest = _FIRST_PAGE) -> KeyPage:
        """All keys of an organisation and its people, retired ones too."""
        found = await registry.KEYS.page(ctx, msp_id, page=page)
        return KeyPage(tuple(found.values), found.bookmark)

    @query(access=anyone())
    async def WhoAmI(self, ctx: Context) -> dict[str, str]:
        """How the ledger knows the caller: MSP id, digest, role. Needed to name a delegate."""
        return {
            "mspId": ctx.client.msp_id,
            "user": registry.user_digest(ctx),
            "role": ctx.client.get_attribute("role") or "",
            "patient": ctx.client.get_attribute("patient") or "",
        }


async def _put_policy(ctx: Context, policy: Policy, version: int) -> Policy:
    rules.validate_policy(policy)
    changed = replace(policy, version=version)
    await registry.POLICY.put(ctx, changed)
    await registry.POLICY_VERSIONS.add(ctx, changed, _version_part(version), what="policy version")
    return changed


async def _govern(ctx: Context, organizations: list[Organization], consortium: Consortium) -> None:
    """Put the keys of organisations and policy under a majority of those who endorse.

    The consortium's own key is rewritten with each change, so that a new organisation, whose key
    has no policy yet, cannot be added without the majority either.
    """
    endorsers = sorted(o.msp_id for o in organizations if o.endorses and o.active)
    await registry.CONSORTIUM.put(ctx, replace(consortium, endorsers=tuple(endorsers)))
    majority = governance.build_majority_policy(endorsers)
    keys = [registry.ORGANIZATIONS.key(ctx, o.msp_id) for o in organizations]
    for key in (registry.CONSORTIUM.key(ctx), registry.POLICY.key(ctx), *keys):
        await ctx.stub.set_state_validation_parameter(key, majority)


def _version_part(version: int) -> str:
    if not 0 < version < 10**6:
        raise NotFound("no such policy version")
    return f"{version:06d}"
