"""Claims made ready to be sent: parties, room, handle, evidence and commitment; nothing is sent.

Who files decides what a claim becomes: a provider files its own with a payer, in the room that they
share; a payer enters what reached it otherwise, in a shared room with a member or in its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from admin.errors import FaultError, get_chaincode_answer, input_error, refused_error
from admin.procedures.claims.cards import Card, Cards
from admin.procedures.claims.coordinating import carry_over, coordinate
from admin.procedures.claims.files import MAX_PROBLEMS, join_problems
from admin.procedures.claims.keys import open_key
from admin.procedures.claims.sources import ClaimSource, Naming, read_details
from admin.procedures.networks.health import Health
from chaincode import canonical, commitment
from chaincode.claims.details import (
    Details,
    Facts,
    SealedAdjudication,
    SealedDetails,
)
from chaincode.claims.fhir import prior_claim
from chaincode.claims.model import Claim, Evidence, Filing, Room
from chaincode.claims.states import Status
from chaincode.records.model import Record
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings
from network.topology.values import Organization, Role

CHUNK = 100
"""Claims in one transaction; a batch may have 1,000, but a smaller one loses less to a conflict."""
NOT_FOUND = 404
RECALLED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Primary:
    """A claim that a prior payer decided, with that decision as the payer committed to it."""

    claim: Claim
    decision: SealedAdjudication


@dataclass(frozen=True, slots=True)
class FilingOptions:
    """What is said of all claims of a submission.

    Attributes:
        naming: which handles stand for what.
        payer: the payer's name or MSP id, "" for what each claim says.
        provider: the billing organisation's, if a payer files.
        labels: security labels, None for what each claim says.
        facts: what the payer handed out, if a provider files.
        coordinates: the claim that a prior payer decided, if the payer comes after it.
        ask_first: run the checks at one's own peer and send no claim that fails at the gate.
        chunk: claims in one transaction.
        skip_faulty: leave out the claims that do not say enough, and send the others.
    """

    naming: Naming
    payer: str = ""
    provider: str = ""
    labels: tuple[str, ...] | None = None
    facts: Facts = field(default_factory=Facts)
    coordinates: Primary | None = None
    ask_first: bool = True
    chunk: int = CHUNK
    skip_faulty: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claim ready to be sent; `held` is how it stands, if exactly this was sent before."""

    where: str
    filing: Filing
    sealed: SealedDetails
    card: Card
    held: Claim | None = None


class Preparation:
    """Prepares claims in the name of one identity."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        self._surroundings = surroundings
        self._profile = profile
        self._health = health
        self._msp_id = profile.signer.msp_id
        self._recalled: dict[str, Claim | None] = {}
        self._versions: dict[str, int] = {}

    @cached_property
    def _cards(self) -> Cards:
        return Cards(self._surroundings, self._profile.organization, open_key(self._surroundings))

    def payer_named(self, name: str) -> Organization:
        """The payer of this name or MSP id. Raises FaultError: there is none."""
        return self._organization(name, "payer")

    def keep(self, one: Prepared) -> None:
        """The claim's handle and salt are on disk: to be called before it is sent."""
        self._cards.keep(one.card)

    async def prepare_all(
        self,
        sources: Sequence[ClaimSource],
        options: FilingOptions,
        left_out: dict[str, FaultError] | None = None,
    ) -> list[Prepared]:
        """Return all claims ready to be sent.

        Those that are not go to `left_out`, by place. Without one, raises FaultError for them all.
        """
        found: dict[str, Prepared] = {}
        problems: list[FaultError] = []
        await self._recall(sources, options)
        for source in sources:
            try:
                one = await self.prepare(source, options)
                if one.card.name in found:
                    raise input_error(
                        f"the same claim number as {found[one.card.name].where}",
                        "send each claim once",
                        source.where,
                    )
                found[one.card.name] = one
            except FaultError as failure:
                if left_out is not None:
                    left_out[source.where] = failure
                    continue
                problems.append(failure)
                if len(problems) >= MAX_PROBLEMS:
                    break
        if problems:
            raise join_problems(problems)
        return list(found.values())

    async def _recall(self, sources: Sequence[ClaimSource], options: FilingOptions) -> None:
        """How the claims of known cards stand is read, many in one request.

        So an interrupted submission of thousands is found where it stopped within seconds.
        """
        handles = []
        for source in sources:
            try:
                card = self._cards.find(self._name(source, self._payer(source, options)))
            except FaultError:
                continue  # told when the claim is prepared
            if card.known:
                handles.append(card.handle)
        for start in range(0, len(handles), RECALLED_AT_ONCE):
            asked = handles[start : start + RECALLED_AT_ONCE]
            found = await self._health.evaluate("claims:GetMany", asked, result=dict[str, Claim])
            self._recalled.update({handle: found.get(handle) for handle in asked})

    def _name(self, source: ClaimSource, payer: Organization) -> tuple[str, ...]:
        return (self._msp_id, payer.msp_id, *source.number)

    async def prepare(
        self,
        source: ClaimSource,
        options: FilingOptions,
        *,
        replaces: Claim | None = None,
    ) -> Prepared:
        """Return one claim ready to be sent; `replaces` is the earlier one that it corrects."""
        payer = self._payer(source, options)
        patient = options.naming.patient_of(source)

        def make(handle: str) -> Details:
            details = read_details(source, options.naming, handle, patient)
            if options.coordinates is None:
                return details
            return coordinate(details, options.coordinates.decision.adjudication, source.where)

        if replaces is None and prior_claim(source.resource):
            raise input_error(
                "the claim says that it replaces an earlier one",
                "send it with: medfabric claim replace CLAIM FILE",
                source.where,
            )
        labels = options.labels if options.labels is not None else source.labels or None
        number = self._name(source, payer)
        name = number if replaces is None else (*number, "replaces", replaces.claim)
        return await self._prepare(
            source.where, name, make, payer, replace(options, labels=labels), replaces
        )

    async def prepare_forward(
        self,
        primary: Primary,
        details: Details,
        coverage: str,
        options: FilingOptions,
        *,
        replaces: Claim | None = None,
    ) -> Prepared:
        """Return what a payer decided, ready to be sent to the next one on this coverage.

        `details` are those of the first payer's claim. The same decision gives the same claim,
        another one gives another.
        """
        where = f"claim {primary.claim.claim[:8]}"
        payer = self._organization(options.payer, "payer")
        decision = primary.decision.adjudication

        def make(handle: str) -> Details:
            return carry_over(details, decision, handle, coverage)

        version = str(primary.claim.decision_version)
        number = (self._msp_id, payer.msp_id, "forwards", primary.claim.claim, version)
        return await self._prepare(
            where, number, make, payer, replace(options, coordinates=primary), replaces
        )

    async def _prepare(
        self,
        where: str,
        name: tuple[str, ...],
        make: Callable[[str], Details],
        payer: Organization,
        options: FilingOptions,
        replaces: Claim | None,
    ) -> Prepared:
        """The claim that is called so, with details that are made for its handle."""
        provider = self._provider(options)
        card, held = await self._card(name)
        details = make(card.handle)
        sealed = SealedDetails(card.salt, details)
        bound = commitment.commit(commitment.CLAIM, sealed.salt, canonical.encode(sealed.details))
        if held is not None and held.commitment != bound:
            raise input_error(
                f"this claim number was sent before with other content (claim {held.claim[:8]}, "
                f"{held.status.value})",
                f"to correct it: medfabric claim replace {held.claim[:8]} FILE",
                where,
            )
        filing = Filing(
            claim=card.handle,
            patient=details.patient,
            payer=payer.msp_id,
            commitment=bound,
            provider=provider.msp_id if provider else "",
            room=self._room(payer, provider),
            evidence=await self._evidence(sealed.details),
            labels=options.labels,
            replaces=replaces.claim if replaces else "",
            coordinates=options.coordinates.claim.claim if options.coordinates else "",
        )
        return Prepared(where, filing, sealed, card, held)

    async def _card(self, parts: Sequence[str]) -> tuple[Card, Claim | None]:
        """The card of a claim, and the claim if it is live; what was rejected is sent as new."""
        card = self._cards.find(parts)
        if not card.known:
            return card, None
        held = await self._recalled_or_found(card.handle)
        if held is not None and held.status is Status.REJECTED:
            return self._cards.renewed(card.name), None
        return card, held

    async def _recalled_or_found(self, claim: str) -> Claim | None:
        if claim in self._recalled:
            return self._recalled.pop(claim)
        return await self._find(claim)

    async def _find(self, claim: str) -> Claim | None:
        try:
            return await self._health.evaluate("claims:Get", claim, result=Claim)
        except EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != NOT_FOUND:
                raise
            return None

    async def _evidence(self, details: Details) -> tuple[Evidence, ...]:
        handles = dict.fromkeys(item.record for item in details.supporting if item.record)
        return tuple([Evidence(handle, await self._version(handle)) for handle in handles])

    async def _version(self, record: str) -> int:
        """The record's newest version; 1 if it is not anchored, which the gate then says."""
        if record not in self._versions:
            self._versions[record] = await self._read_version(record)
        return self._versions[record]

    async def _read_version(self, record: str) -> int:
        try:
            held = await self._health.evaluate("records:Get", record, result=Record)
        except EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != NOT_FOUND:
                raise
            return 1
        return held.anchor.version

    def _payer(self, source: ClaimSource, options: FilingOptions) -> Organization:
        named = options.payer or source.payer
        named = named or options.naming.handles.get(source.payer_reference, "")
        own = self._profile.organization
        if not named and own.role is Role.PAYER:
            return own
        if not named:
            raise input_error(
                "the claim names no insurer of the consortium",
                "give --payer NAME, insurer.identifier with system urn:medfabric:org, or its "
                "Organization/… in --handles",
                source.where,
            )
        return self._organization(named, "payer")

    def _provider(self, options: FilingOptions) -> Organization | None:
        own = self._profile.organization
        if own.role is not Role.PAYER:
            return own
        if options.coordinates is not None and options.coordinates.claim.provider:
            return self._organization(options.coordinates.claim.provider, "provider")
        return self._organization(options.provider, "provider") if options.provider else None

    def _organization(self, named: str, what: str) -> Organization:
        for one in self._surroundings.topology.organizations:
            if named in (one.name, one.msp_id):
                return one
        raise input_error(
            f"the network has no {what} {named!r}", "see: medfabric org list, or the network file"
        )

    def _room(self, payer: Organization, provider: Organization | None) -> Room:
        """The parties' shared room; a payer's own where they share none."""
        own = self._profile.organization
        # A payer that forwards to another one is the filer; else the provider is.
        filer = own if own.role is Role.PAYER and own.name != payer.name else provider
        if filer is not None and filer.name != payer.name:
            name = f"claims-{filer.name}-{payer.name}"
            channel = self._surroundings.topology.channel(self._health.channel_id)
            defined = {c.name for one in channel.chaincodes for c in one.collections}
            if name in defined:
                return Room.SHARED
            if filer.name == own.name:
                raise refused_error(
                    f"{filer.name} and {payer.name} share no private collection",
                    f"add the collection {name} to the channel in the network file",
                )
        return Room.OWN
