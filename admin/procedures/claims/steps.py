"""A claim's way after it was filed: pended, decided, paid, appealed, voided.

In the shared room a step is one transaction with its private part in a transient field. In the
payer's own room it is two: the private part is staged at the payer's own peer first, and the public
step carries only what staging answered (see docs/adr/0004).
"""

import asyncio
import random
import secrets
from dataclasses import dataclass
from datetime import date

from admin.errors import get_chaincode_answer, input_error
from admin.procedures.claims.claims import Claims
from admin.procedures.claims.facts import PayerFacts, Support
from admin.procedures.claims.keys import open_key
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical, commitment
from chaincode.claims.decision import MOVED_ON
from chaincode.claims.details import (
    Adjudication,
    ClaimFile,
    DecisionInput,
    Details,
    Information,
    LineDecision,
    Remittance,
    SealedAdjudication,
    SealedInformation,
    SealedRemittance,
)
from chaincode.claims.model import (
    Change,
    Claim,
    Notice,
    PrivateKind,
    Reason,
    Room,
    StagedCommitment,
)
from network.client.errors import GatewayError
from network.client.profile import Profile, Surroundings

TRUE, FALSE = "true", "false"
STAGINGS = 6
"""How often a decision is staged anew before somebody has to look."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """How a claim is decided: by the rules if there are no lines."""

    lines: tuple[LineDecision, ...] = ()
    accept_deferred: bool = False


class ClaimSteps:
    """Takes the steps of one claim in the name of one identity."""

    def __init__(
        self, surroundings: Surroundings, profile: Profile, health: Health, claim: Claim
    ) -> None:
        self.claims = Claims(surroundings, profile, health)
        self._surroundings = surroundings
        self._profile = profile
        self._health = health
        self._claim = claim
        self._msp_id = profile.signer.msp_id

    async def pend(self, reasons: tuple[Reason, ...], text: str = "") -> Committed[Claim]:
        """The payer waits for what the reasons name."""
        return await self._tell("claims:Pend", text, reasons=reasons)

    async def supply(self, text: str = "", records: tuple[str, ...] = ()) -> Committed[Claim]:
        """The filer has supplied what was asked for."""
        return await self._tell("claims:Supply", text, records)

    async def appeal(self, text: str = "", records: tuple[str, ...] = ()) -> Committed[Claim]:
        """The filer contests a refusal."""
        return await self._tell("claims:Appeal", text, records)

    async def void(self) -> Committed[Claim]:
        """The filer has taken the claim back."""
        return await self._health.submit("claims:Void", self._change(), result=Claim)

    async def confirm(self) -> Committed[Claim]:
        """The later payer stays with its claim, although what it rests on has changed."""
        return await self._health.submit("claims:Confirm", self._change(), result=Claim)

    async def reconcile(self) -> Committed[Claim]:
        """The filer has matched the payment with the claim."""
        return await self._health.submit("claims:Reconcile", self._change(), result=Claim)

    async def adjudicate(self, deciding: Deciding) -> Committed[Claim]:
        """The payer has decided, by the rules or by hand."""
        return await self._decide("claims:Adjudicate", deciding)

    async def uphold(self, text: str = "") -> Committed[Claim]:
        """The payer stays with its refusal."""
        return await self._tell("claims:DecideAppeal", text, after=(TRUE,))

    async def overturn(self, deciding: Deciding) -> Committed[Claim]:
        """The payer decides an appeal anew."""
        return await self._decide("claims:DecideAppeal", deciding, FALSE)

    async def pay(self, trace: str, paid_on: date) -> Committed[Claim]:
        """The payer has paid exactly what it decided."""
        made = await self.decision()
        remittance = Remittance(self._claim.claim, made.currency, made.paid, trace, paid_on)
        sealed = SealedRemittance(_salt(), remittance)
        return await self._with_private(
            "claims:Pay", PrivateKind.REMITTANCE, canonical.encode(sealed)
        )

    async def details(self) -> Details:
        """Return the claim's private part. Raises FaultError: this peer has none."""
        file = await self.claims.details(self._claim.claim)
        if file.details is None:
            raise input_error(
                "the claim's details are not at this peer",
                "act as one of its parties; a claim rejected at the gate has none",
            )
        return file.details.details

    async def decision(self) -> Adjudication:
        """Return the newest decision with its amounts. Raises FaultError: there is none."""
        file: ClaimFile = await self.claims.details(self._claim.claim)
        if not file.decisions:
            raise input_error(
                f"the claim is {self._claim.status.value} and not decided yet",
                f"decide it: medfabric claim adjudicate {self._claim.claim[:8]}",
            )
        return file.decisions[-1].adjudication

    # -- how a step is taken -----------------------------------------

    async def _decide(self, transaction: str, deciding: Deciding, *after: str) -> Committed[Claim]:
        support = await self._support()
        wanted = DecisionInput(_salt(), deciding.lines, deciding.accept_deferred)
        transient = {**support.transient, "decision": canonical.encode(wanted)}
        accumulates = any(one.fact.accumulates for one in support.facts.coverages)
        if self._claim.room is Room.SHARED and not accumulates:
            return await self._health.submit(
                transaction, self._change(), *after, result=Claim, transient=transient
            )
        transient["fingerprintKey"] = open_key(self._surroundings)
        for attempt in range(STAGINGS):
            try:
                return await self._decide_staged(transaction, transient, *after)
            except GatewayError as failure:
                # Another claim of the member was decided between: what is left has changed.
                answer = get_chaincode_answer(failure)
                if answer is None or MOVED_ON not in answer[1] or attempt + 1 == STAGINGS:
                    raise
                await asyncio.sleep(random.uniform(0.05, 0.25) * 2**attempt)  # noqa: S311
        raise AssertionError("unreachable")

    async def _decide_staged(
        self, transaction: str, transient: dict[str, bytes], *after: str
    ) -> Committed[Claim]:
        """The decision is made at the payer's own peer, and then put on the claim."""
        staged = await self._health.submit(
            "claims:StageDecision",
            self._change(),
            result=Notice,
            transient=transient,
            organizations=(self._msp_id,),
        )
        public: dict[str, bytes] = {}
        if self._claim.room is Room.SHARED:
            sealed = await self._health.evaluate(
                "claims:StagedDecision",
                self._claim.claim,
                canonical.encode(self._claim.version),
                result=SealedAdjudication,
                organizations=(self._msp_id,),
            )
            public = {"sealed": canonical.encode(sealed)}
        return await self._health.submit(
            transaction, self._change(), *after, staged.value, result=Claim, transient=public
        )

    async def _tell(
        self,
        transaction: str,
        text: str,
        records: tuple[str, ...] = (),
        *,
        reasons: tuple[Reason, ...] = (),
        after: tuple[str, ...] = (),
    ) -> Committed[Claim]:
        raw = b""
        if text or records:
            information = Information(self._claim.claim, text, records)
            raw = canonical.encode(SealedInformation(_salt(), information))
        return await self._with_private(transaction, PrivateKind.INFORMATION, raw, reasons, after)

    async def _with_private(
        self,
        transaction: str,
        kind: PrivateKind,
        raw: bytes,
        reasons: tuple[Reason, ...] = (),
        after: tuple[str, ...] = (),
    ) -> Committed[Claim]:
        transient = {kind.value: raw} if raw else {}
        bound = None
        if raw and self._claim.room is Room.OWN:
            staged = await self._health.submit(
                "claims:StagePrivate",
                self._change(),
                kind.value,
                result=StagedCommitment,
                transient=transient,
                organizations=(self._msp_id,),
            )
            bound, transient = staged.value.commitment, {}
        return await self._health.submit(
            transaction,
            self._change(reasons, bound),
            *after,
            result=Claim,
            transient=transient,
        )

    async def _support(self) -> Support:
        facts = PayerFacts(
            self._surroundings, self._profile, self._health, open_key(self._surroundings)
        )
        return await facts.support([await self.details()])

    def _change(self, reasons: tuple[Reason, ...] = (), bound: bytes | None = None) -> Change:
        return Change(self._claim.claim, self._claim.version, reasons, bound)


def _salt() -> bytes:
    return secrets.token_bytes(commitment.SALT_SIZE)
