"""Reads what the checks look at: one function a fact, and `Desk`, which assembles them.

Facts come from the public state, or from transient fields and are then compared with what their
payer registered, so that every endorser that is given the same facts comes to the same result.
"""

from __future__ import annotations

from dataclasses import replace

from chaincode import canonical, commitment
from chaincode.claims import rules, store
from chaincode.claims.checks import consent as consent_check
from chaincode.claims.checks.context import (
    ClaimContext,
    ConsentFact,
    EvidenceFact,
    Parties,
    PrimaryFact,
)
from chaincode.claims.details import (
    Authorization,
    Coverage,
    Details,
    Enrolment,
    Facts,
    PolicyTable,
)
from chaincode.claims.fingerprints import compute_fingerprints
from chaincode.claims.model import FactKind, Filing, Fingerprints, Registration, Room
from chaincode.consent import access as consent
from chaincode.consent.model import AccessRequest, Actor, DataItem
from chaincode.contract import Context
from chaincode.directory import registry
from chaincode.directory.model import Organization, Policy
from chaincode.errors import InvalidArgument
from chaincode.records import store as records

POLICY_TABLE = "policy"
"""The name of the table that a payer's rules of payment are loaded under."""
FINGERPRINT_KEY = "claims.fingerprintKey"
"""The consortium parameter that holds the hex `commitment.key_digest` of the key in force."""


class Desk:
    """What a transaction knows about the claims before it; each organisation is read once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._organizations: dict[str, Organization | None] = {}
        self._policy: Policy | None = None
        self._facts: Facts | None = None
        self._tables: dict[str, PolicyTable | None] = {}
        self._opened: dict[tuple[str, str], Registration] = {}

    async def organization(self, msp_id: str) -> Organization | None:
        """The active member, None if there is none."""
        if msp_id not in self._organizations:
            found = await registry.find_organization(self._ctx, msp_id)
            self._organizations[msp_id] = found
        return self._organizations[msp_id]

    async def policy(self) -> Policy:
        """The consortium's policy."""
        if self._policy is None:
            self._policy = await registry.policy(self._ctx)
        return self._policy

    async def collection(self, filing: Filing, submitter: str) -> str:
        """The private collection of the filing's room. Raises InvalidArgument: no such parties."""
        payer = await self.organization(filing.payer)
        if payer is None:
            raise InvalidArgument("filing.payer: no such organisation in the consortium")
        filer = await self.organization(filing.provider if submitter == filing.payer else submitter)
        if filer is None and filing.room is Room.SHARED:
            raise InvalidArgument("filing.provider: no such organisation in the consortium")
        name = filer.name if filer else ""
        return rules.collection_of(filing.room, name, payer.name, payer.msp_id)

    async def fingerprint_key(self) -> bytes:
        """The key in the transient field `fingerprintKey`, if it is the consortium's."""
        key = store.read_transient(self._ctx, "fingerprintKey")
        expected = (await self.policy()).parameters.get(FINGERPRINT_KEY)
        if expected is not None and commitment.key_digest(key).hex() != expected:
            raise InvalidArgument("fingerprintKey: not the consortium's key in force")
        if len(key) < commitment.MINIMUM_KEY_SIZE:
            raise InvalidArgument(
                f"fingerprintKey: shorter than {commitment.MINIMUM_KEY_SIZE} bytes"
            )
        return key

    async def fingerprints(self, details: Details) -> Fingerprints:
        """The claim's fingerprints under the key in the transient field `fingerprintKey`."""
        key = await self.fingerprint_key()
        try:
            return compute_fingerprints(key, details)
        except ValueError as error:
            raise InvalidArgument(f"fingerprintKey: {error}") from None

    async def public_context(self, filing: Filing, submitter: str) -> ClaimContext:
        """Everything that the LEDGER checks look at, but for duplicates."""
        claim = await self.private_context(filing, submitter, None)
        return replace(
            claim,
            consent=await _consent(self._ctx, filing),
            evidence=tuple([await _evidence(self._ctx, filing, n) for n in _indexes(filing)]),
        )

    async def private_context(
        self, filing: Filing, submitter: str, details: Details | None
    ) -> ClaimContext:
        """Everything that the DETAILS checks look at."""
        ctx = self._ctx
        parties = Parties(
            submitter,
            await self._role(submitter),
            await self._role(filing.provider),
            await self._role(filing.payer),
        )
        claim = ClaimContext(
            filing=filing,
            parties=parties,
            now=ctx.now,
            details=details,
            filing_days=(await self.policy()).filing_limit(filing.payer),
        )
        if details is None:
            return claim
        coverages = await self._coverages(filing.payer, details)
        authorizations, units = await self._authorizations(filing.payer, details)
        return replace(
            claim,
            coverages=coverages,
            authorizations=authorizations,
            units_left=units,
            enrolment=await self._enrolment(filing.payer, details),
            table=await self.table(filing.payer),
            primary=await self._primary(filing),
        )

    async def table(self, payer: str) -> PolicyTable | None:
        """The payer's table: its public content, or that of the transient field `table`."""
        if payer not in self._tables:
            self._tables[payer] = await self._read_table(payer)
        return self._tables[payer]

    async def _read_table(self, payer: str) -> PolicyTable | None:
        held = await store.TABLES.get(self._ctx, payer, POLICY_TABLE)
        if held is None:
            return None
        content = held.content.encode() or self._ctx.transient.get("table", b"")
        return rules.read_table(content, held.digest) if content else None

    def facts(self) -> Facts:
        """The transient field `facts`; none if it is not there."""
        if self._facts is None:
            raw = self._ctx.transient.get("facts")
            self._facts = canonical.decode(Facts, raw, "facts") if raw else Facts()
        return self._facts

    async def _role(self, msp_id: str) -> str:
        found = await self.organization(msp_id)
        return found.role.value if found else ""

    async def _coverages(self, payer: str, details: Details) -> tuple[Coverage, ...] | None:
        wanted = {item.coverage for item in details.insurance}
        found = []
        for index, item in enumerate(self.facts().coverages):
            if item.fact.coverage not in wanted:
                continue  # another claim's of the same submission
            found.append(item)
            await self._registered(
                payer,
                FactKind.COVERAGE,
                item.fact.coverage,
                (commitment.COVERAGE, item.salt, canonical.encode(item.fact)),
                f"facts.coverages[{index}]",
            )
        return tuple(item.fact for item in found) or None

    async def _authorizations(
        self, payer: str, details: Details
    ) -> tuple[tuple[Authorization, ...] | None, dict[str, int]]:
        wanted = {line.authorization for line in details.lines}
        found, units = [], {}
        for index, item in enumerate(self.facts().authorizations):
            if item.fact.authorization not in wanted:
                continue
            found.append(item)
            registration = await self._registered(
                payer,
                FactKind.AUTHORIZATION,
                item.fact.authorization,
                (commitment.AUTHORIZATION, item.salt, canonical.encode(item.fact)),
                f"facts.authorizations[{index}]",
            )
            units[item.fact.authorization] = registration.units_left
        return tuple(item.fact for item in found) or None, units

    async def _enrolment(self, payer: str, details: Details) -> Enrolment | None:
        for index, item in enumerate(self.facts().enrolments):
            if item.fact.provider_npi == details.provider_npi:
                await self._registered(
                    payer,
                    FactKind.ENROLMENT,
                    item.handle,
                    (commitment.ENROLMENT, item.salt, canonical.encode(item.fact)),
                    f"facts.enrolments[{index}]",
                )
                return item.fact
        return None

    async def _primary(self, filing: Filing) -> PrimaryFact | None:
        """The prior payer's claim, with its decision if the filer brought it along."""
        if not filing.coordinates:
            return None
        found = await store.CLAIMS.get(self._ctx, filing.coordinates)
        if found is None:
            return None
        shown = None
        for index, item in enumerate(self.facts().primaries):
            if item.adjudication.claim == found.claim:
                opening = (commitment.DECISION, item.salt, canonical.encode(item.adjudication))
                if found.decision is None or not commitment.opens(found.decision, *opening):
                    raise InvalidArgument(
                        f"facts.primaries[{index}]: not what the prior payer decided"
                    )
                shown = item.adjudication
        return PrimaryFact(found.claim, found.patient, found.payer, found.status, shown)

    async def _registered(
        self,
        payer: str,
        kind: FactKind,
        handle: str,
        opening: tuple[bytes, bytes, bytes],
        path: str,
    ) -> Registration:
        """The payer's registration of this fact. Raises InvalidArgument if it is not its word.

        Each place in the transient facts is opened once for each payer: two facts under one handle
        are two places.
        """
        if (payer, path) in self._opened:
            return self._opened[payer, path]
        held = await store.REGISTRATIONS.get(self._ctx, payer, kind.value, handle)
        if held is None:
            raise InvalidArgument(f"{path}: the payer has not registered it")
        if not commitment.opens(held.commitment, *opening):
            raise InvalidArgument(f"{path}: not what the payer registered")
        self._opened[payer, path] = held
        return held


async def _consent(ctx: Context, filing: Filing) -> ConsentFact:
    """What consent says to the payer's having this claim, now."""
    await registry.patient(ctx, filing.patient)
    request = AccessRequest(
        patient=filing.patient,
        actor=Actor(msp_id=filing.payer, role="claims"),
        purpose=consent_check.PURPOSE,
        data=(
            DataItem(
                id=filing.claim,
                resource_type=consent_check.RESOURCES[0],
                classes=consent_check.RESOURCES[:1],
                labels=filing.labels,
                authors=(f"org:{filing.provider}",) if filing.provider else None,
                custodian=filing.provider,
            ),
        ),
    )
    decision = await consent.decide(ctx, request)
    match = decision.match
    return ConsentFact(decision.verdict.value, match.path, match.consent_id, match.version)


async def _evidence(ctx: Context, filing: Filing, index: int) -> EvidenceFact:
    item = filing.evidence[index]
    try:
        record = await records.find(ctx, item.record, item.membership)
    except InvalidArgument as error:
        raise InvalidArgument(f"filing.evidence[{index}].{error.text}") from None
    if record is None:
        return EvidenceFact(item.record, item.version)
    return EvidenceFact(
        record=item.record,
        version=item.version,
        status=record.status.value,
        current_version=record.anchor.version,
        patient=record.anchor.patient,
        custodian=record.custodian,
        anchored_at=record.anchored_at,
    )


def _indexes(filing: Filing) -> range:
    return range(len(filing.evidence))
