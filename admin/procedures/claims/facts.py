"""What a payer states of coverages, providers and authorisations, and its table of rules.

A fact itself lies in the payer's own collection, with the salt; the ledger has a commitment to it.
Whoever decides for the payer takes the facts from there and sends them along, privately, and the
chaincode compares them with the commitments.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from admin.errors import get_chaincode_answer, input_error
from admin.fhir.reading import SourceFile
from admin.procedures.claims.cards import Cards, claims_folder
from admin.procedures.claims.keys import enrolment_handle
from admin.procedures.networks.health import Committed, Health
from chaincode import canonical, commitment
from chaincode.claims.details import (
    Authorization,
    Coverage,
    Details,
    Enrolment,
    Facts,
    OpenedAuthorization,
    OpenedCoverage,
    OpenedEnrolment,
    PolicyTable,
)
from chaincode.claims.model import FactKind, Registration, RegistrationRequest, TableLoad
from chaincode.claims.model import TableVersion as Table
from chaincode.errors import InvalidArgument
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings
from network.topology.safefiles import write_file

POLICY = "policy"
NOT_FOUND = 404
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Support:
    """What goes with claims to the checks: facts, and a table that is not on the ledger."""

    facts: Facts = field(default_factory=Facts)
    table: bytes = b""

    @property
    def transient(self) -> dict[str, bytes]:
        """The transient fields."""
        fields = {}
        if self.facts != Facts():
            fields["facts"] = canonical.encode(self.facts)
        if self.table:
            fields["table"] = self.table
        return fields


class PayerFacts:
    """States facts in the name of a payer, and looks them up."""

    def __init__(
        self, surroundings: Surroundings, profile: Profile, health: Health, key: bytes
    ) -> None:
        self._surroundings = surroundings
        self._profile = profile
        self._health = health
        self._key = key
        self._msp_id = profile.signer.msp_id
        self._known: dict[tuple[FactKind, str], bytes] = {}

    # -- stated ------------------------------------------------------

    def coverage_handle(self, *parts: str) -> str:
        """Return the handle of the coverage that these parts name outside; kept if it is new."""
        cards = Cards(self._surroundings, self._profile.organization, self._key)
        card = cards.find(("coverage", self._msp_id, *parts))
        cards.keep(card)
        return card.handle

    async def state_coverage(self, fact: Coverage) -> Committed[Registration]:
        """The payer is committed to a coverage."""
        opened = OpenedCoverage(_salt(), fact)
        return await self._state(FactKind.COVERAGE, fact.coverage, opened, commitment.COVERAGE)

    async def state_enrolment(self, fact: Enrolment) -> Committed[Registration]:
        """The payer is committed to a provider's enrolment and exclusions."""
        handle = enrolment_handle(self._key, self._msp_id, fact.provider_npi)
        opened = OpenedEnrolment(handle, _salt(), fact)
        return await self._state(FactKind.ENROLMENT, handle, opened, commitment.ENROLMENT)

    async def state_authorization(self, fact: Authorization) -> Committed[Registration]:
        """The payer is committed to a prior authorisation of so many units."""
        opened = OpenedAuthorization(_salt(), fact)
        return await self._state(
            FactKind.AUTHORIZATION,
            fact.authorization,
            opened,
            commitment.AUTHORIZATION,
            units=fact.units,
        )

    async def load_table(self, source: SourceFile, *, publish: bool) -> Committed[Table]:
        """The table in the file is in force: its content on the ledger, or its digest only.

        Raises FaultError: it is no table.
        """
        raw = _read_table(source)
        digest = hashlib.sha256(raw).digest()
        write_file(self._table_file(digest), raw)
        load = TableLoad(POLICY, digest, raw.decode() if publish else "")
        return await self._health.submit("claims:LoadTable", load, result=Table)

    async def _state(
        self,
        kind: FactKind,
        handle: str,
        opened: OpenedCoverage | OpenedEnrolment | OpenedAuthorization,
        tag: bytes,
        *,
        units: int = 0,
    ) -> Committed[Registration]:
        bound = commitment.commit(tag, opened.salt, canonical.encode(opened.fact))
        # Kept before it is stated: what the ledger is committed to can always be opened.
        await self._health.submit(
            "claims:KeepFact",
            kind.value,
            handle,
            result=type(None),
            transient={"fact": canonical.encode(opened)},
            organizations=(self._msp_id,),
        )
        request = RegistrationRequest(handle, bound, units)
        return await self._health.submit(_REGISTER[kind], request, result=Registration)

    # -- looked up ---------------------------------------------------

    async def support(self, claims: Iterable[Details]) -> Support:
        """Return what the payer has stated that concerns these claims."""
        listed = list(claims)
        coverages = {item.coverage for one in listed for item in one.insurance if item.coverage}
        lines = [line for one in listed for line in one.lines]
        authorizations = {line.authorization for line in lines if line.authorization}
        npis = {one.provider_npi for one in listed}
        enrolments = {enrolment_handle(self._key, self._msp_id, npi) for npi in npis}
        kinds = FactKind.COVERAGE, FactKind.AUTHORIZATION, FactKind.ENROLMENT
        return Support(
            Facts(
                await self._all(kinds[0], coverages, OpenedCoverage),
                await self._all(kinds[1], authorizations, OpenedAuthorization),
                await self._all(kinds[2], enrolments, OpenedEnrolment),
            ),
            await self._table(),
        )

    async def fact(self, kind: FactKind, handle: str) -> bytes:
        """Return the kept fact's JSON; empty if the payer stated none."""
        if (kind, handle) not in self._known:
            self._known[kind, handle] = await self._health.evaluate(
                "claims:Fact",
                kind.value,
                handle,
                result=bytes,
                organizations=(self._msp_id,),
            )
        return self._known[kind, handle]

    async def _all(self, kind: FactKind, handles: set[str], of: type[T]) -> tuple[T, ...]:
        found = [await self.fact(kind, handle) for handle in sorted(handles)]
        return tuple(canonical.decode(of, raw) for raw in found if raw)

    async def _table(self) -> bytes:
        held = await find_table(self._health, self._msp_id)
        if held is None or held.content:
            return b""
        file = self._table_file(held.digest)
        if not file.is_file():
            raise input_error(
                "the table of rules in force is not on this machine; the ledger has its digest",
                "load it here again: medfabric claim table FILE",
                str(file),
            )
        return file.read_bytes()

    def _table_file(self, digest: bytes) -> Path:
        folder = claims_folder(self._surroundings, self._profile.organization)
        return folder / "tables" / f"{digest.hex()}.json"


async def find_table(health: Health, payer: str) -> Table | None:
    """Return the payer's table in force, None if it loaded none."""
    try:
        return await health.evaluate("claims:Table", payer, result=Table)
    except EvaluateError as failure:
        answer = get_chaincode_answer(failure)
        if answer is None or answer[0] != NOT_FOUND:
            raise
        return None


def read_facts(source: SourceFile) -> Facts:
    """Return the facts that a payer handed out in a file. Raises FaultError."""
    try:
        return canonical.decode(Facts, source.raw, "facts")
    except InvalidArgument as error:
        raise input_error(
            f"no facts of a payer: {error.text}",
            "the payer writes the file with: medfabric claim coverage … -o FILE",
            source.name,
        ) from None


def _read_table(source: SourceFile) -> bytes:
    try:
        canonical.decode(PolicyTable, source.raw, "table")
    except InvalidArgument as error:
        raise input_error(
            f"no table of rules: {error.text}", "correct the field", source.name
        ) from None
    return source.raw


def _salt() -> bytes:
    return secrets.token_bytes(commitment.SALT_SIZE)


_REGISTER = {
    FactKind.COVERAGE: "claims:RegisterCoverage",
    FactKind.AUTHORIZATION: "claims:Authorize",
    FactKind.ENROLMENT: "claims:RegisterProvider",
}
