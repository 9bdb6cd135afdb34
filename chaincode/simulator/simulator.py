"""The simulated peer: people submit and evaluate, chaincodes answer over the real handler."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from fabric_protos.peer import chaincode_pb2

from chaincode import canonical
from chaincode.arguments import build_result
from chaincode.contract import Contract, ContractChaincode
from chaincode.errors import Conflict, read_contract_error
from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.interface import Chaincode
from chaincode.shim.response import Response, open_response
from chaincode.simulator.link import PeerLink, Proposal, build_proposal
from chaincode.simulator.people import Person, Registrar
from chaincode.simulator.simulation import Collection, Simulation
from chaincode.simulator.world import CommittedEvent, ReadWriteSet, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a submitted or evaluated transaction came to."""

    payload: bytes
    tx_id: str
    event: CommittedEvent | None
    rwset: ReadWriteSet
    block: int | None
    """The block it was committed in, None for `evaluate`."""

    @property
    def text(self) -> str:
        """The payload as text."""
        return self.payload.decode()

    def value(self, kind: type[T]) -> T:
        """The payload read as a value of type `kind`."""
        return canonical.decode(kind, self.payload)

    def json(self) -> Any:
        """The payload as a JSON value."""
        return canonical.parse_json(self.payload)


class Simulator:
    """One channel on one peer in memory."""

    def __init__(
        self,
        *chaincode: Chaincode | Contract | type[Contract],
        name: str = "health",
        channel: str = "care",
        now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        collections: Mapping[str, Collection] | None = None,
        batching: bool = True,
    ) -> None:
        """`chaincode`: one chaincode, or the contracts of one. `collections` None accepts every
        collection from everyone; `batching` False behaves like a 2.x peer."""
        self.name = name
        self.channel = channel
        self.now = now
        self.world = World()
        self._collections = collections
        self._batching = batching
        self._registrars: dict[str, Registrar] = {}
        self._people: dict[tuple[Any, ...], Person] = {}
        self._links: dict[str, PeerLink] = {}
        self._nonce = 0
        self.deploy(name, *chaincode)

    def deploy(self, name: str, *chaincode: Chaincode | Contract | type[Contract]) -> None:
        """Make a (further) chaincode callable under this name, also from other chaincodes."""
        self._links[name] = PeerLink(self, name, _as_chaincode(chaincode, name))

    def identity(
        self,
        msp_id: str,
        name: str,
        *,
        ou: str | tuple[str, ...] = "client",
        attributes: Mapping[str, str] | None = None,
    ) -> Person:
        """A person with a real certificate; the same arguments give the same person."""
        ous = (ou,) if isinstance(ou, str) else ou
        key = (msp_id, name, ous, tuple(sorted((attributes or {}).items())))
        if key not in self._people:
            registrar = self._registrars.setdefault(msp_id, Registrar(msp_id))
            self._people[key] = registrar.enroll(name, ous, attributes or {})
        return self._people[key]

    def advance(self, **amount: float) -> datetime:
        """Move the clock on (`days=1`, `seconds=30`, …); the new time."""
        self.now += timedelta(**amount)
        return self.now

    async def submit(
        self,
        who: Person,
        function: str,
        *args: Any,
        transient: Mapping[str, bytes] | None = None,
        chaincode: str = "",
    ) -> Result:
        """Run a transaction and commit it. Raises the contract's ContractError, or Conflict."""
        proposal = self._propose(who, function, args, transient or {}, chaincode)
        outcome = await self._execute(proposal)
        return self._commit(proposal, outcome)

    async def evaluate(
        self,
        who: Person,
        function: str,
        *args: Any,
        transient: Mapping[str, bytes] | None = None,
        chaincode: str = "",
    ) -> Result:
        """Run a transaction and keep nothing. Raises the contract's ContractError."""
        proposal = self._propose(who, function, args, transient or {}, chaincode)
        outcome = await self._execute(proposal)
        event = self._build_event(proposal, outcome, self.world.height)
        rwset = outcome.simulation.rwset
        return Result(outcome.response.payload, proposal.tx_id, event, rwset, None)

    async def init(self, who: Person, *args: Any, chaincode: str = "") -> Result:
        """Run INIT, as a first invocation with `--isInit` does, and commit it."""
        proposal = self._propose(who, None, args, {}, chaincode)
        return self._commit(proposal, await self._execute(proposal))

    @property
    def state(self) -> dict[str, bytes]:
        """A copy of the public state."""
        entries = self.world.spaces.get((self.name, ""), {})
        return {key: entry.value for key, entry in entries.items()}

    @property
    def private(self) -> dict[str, dict[str, bytes]]:
        """A copy of the private data, by collection."""
        return {
            collection: {key: entry.value for key, entry in entries.items()}
            for (namespace, collection), entries in self.world.spaces.items()
            if namespace == self.name and collection
        }

    @property
    def events(self) -> list[CommittedEvent]:
        """All committed events, oldest first."""
        return self.world.events

    async def close(self) -> None:
        """End the chaincodes' streams; running transactions are cancelled."""
        for link in self._links.values():
            await link.close()

    def link(self, chaincode: str) -> PeerLink | None:
        """The stream to a chaincode, None if it is not deployed."""
        return self._links.get(chaincode)

    def _propose(
        self,
        who: Person,
        function: str | None,
        args: tuple[Any, ...],
        transient: Mapping[str, bytes],
        chaincode: str,
    ) -> Proposal:
        self._nonce += 1
        nonce = hashlib.sha256(f"nonce {self._nonce}".encode()).digest()[:24]
        tx_id = hashlib.sha256(nonce + who.creator).hexdigest()
        raw_args = [build_argument(arg) for arg in args]
        return Proposal(
            who=who,
            chaincode=chaincode or self.name,
            channel=self.channel,
            tx_id=tx_id,
            is_init=function is None,
            args=raw_args if function is None else [function.encode(), *raw_args],
            timestamp=self.now,
            signed=build_proposal(who, nonce, tx_id, self.channel, self.now, transient),
        )

    async def _execute(self, proposal: Proposal) -> _Outcome:
        link = self.link(proposal.chaincode)
        if link is None:
            raise KeyError(f"chaincode {proposal.chaincode} is not deployed on the simulator")
        simulation = Simulation(
            self.world,
            proposal.tx_id,
            proposal.who.msp_id,
            self._collections,
            is_init=proposal.is_init,
        )
        answer = await link.execute(proposal, proposal.args, simulation)
        if answer.type == ChaincodeMessage.ERROR:
            text = answer.payload.decode("utf-8", "replace")
            raise read_contract_error(500, text)
        response = open_response(answer.payload)
        if not response.ok:
            raise read_contract_error(response.status, response.message)
        event = answer.chaincode_event if answer.HasField("chaincode_event") else None
        return _Outcome(response, event, simulation)

    def _commit(self, proposal: Proposal, outcome: _Outcome) -> Result:
        rwset = outcome.simulation.rwset
        if self.world.find_conflict(rwset):
            raise Conflict("MVCC_READ_CONFLICT: a key that was read has changed since")
        block = self.world.commit(rwset, proposal.tx_id, proposal.timestamp)
        event = self._build_event(proposal, outcome, block)
        if event is not None:
            self.world.events.append(event)
        return Result(outcome.response.payload, proposal.tx_id, event, rwset, block)

    def _build_event(
        self, proposal: Proposal, outcome: _Outcome, block: int
    ) -> CommittedEvent | None:
        event = outcome.event
        if event is None:
            return None
        return CommittedEvent(
            event.event_name, event.payload, proposal.tx_id, block, proposal.chaincode
        )

    @property
    def ready_payload(self) -> bytes:
        """The payload of READY: what a 3.1 peer offers by default, or nothing."""
        if not self._batching:
            return b""
        raw: bytes = chaincode_pb2.ChaincodeAdditionalParams(
            use_write_batch=True,
            max_size_write_batch=1000,
            use_get_multiple_keys=True,
            max_size_get_multiple_keys=1000,
        ).SerializeToString()
        return raw


@dataclass(frozen=True, slots=True)
class _Outcome:
    response: Response
    event: Any
    simulation: Simulation


def build_argument(value: Any) -> bytes:
    """The bytes that a client would send for this Python value."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, datetime | date | Decimal):
        value = canonical.to_wire(value)
    return build_result(value)


def _as_chaincode(given: tuple[Chaincode | Contract | type[Contract], ...], name: str) -> Chaincode:
    if len(given) == 1 and not isinstance(given[0], Contract | type):
        return given[0]
    contracts = [entry() if isinstance(entry, type) else entry for entry in given]
    return ContractChaincode(
        [entry for entry in contracts if isinstance(entry, Contract)], title=name
    )
