"""The simulated peer: people submit and evaluate, chaincodes answer over the real handler."""

from __future__ import annotations

import asyncio
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2
from google.protobuf.message import DecodeError

from chaincode import canonical
from chaincode.arguments import build_result
from chaincode.contract import Contract, ContractChaincode
from chaincode.errors import Conflict, read_contract_error
from chaincode.handler import ChaincodeMessage
from chaincode.response import Chaincode, Response, open_response
from chaincode.session import Session
from chaincode.simulator.people import Person, Registrar
from chaincode.simulator.simulation import Collection, Refused, Simulation
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
        self._links: dict[str, _PeerLink] = {}
        self._nonce = 0
        self.deploy(name, *chaincode)

    def deploy(self, name: str, *chaincode: Chaincode | Contract | type[Contract]) -> None:
        """Make a (further) chaincode callable under this name, also from other chaincodes."""
        self._links[name] = _PeerLink(self, name, _as_chaincode(chaincode, name))

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

    def link(self, chaincode: str) -> _PeerLink | None:
        """The stream to a chaincode, None if it is not deployed."""
        return self._links.get(chaincode)

    def _propose(
        self,
        who: Person,
        function: str | None,
        args: tuple[Any, ...],
        transient: Mapping[str, bytes],
        chaincode: str,
    ) -> _Proposal:
        self._nonce += 1
        nonce = hashlib.sha256(f"nonce {self._nonce}".encode()).digest()[:24]
        tx_id = hashlib.sha256(nonce + who.creator).hexdigest()
        raw_args = [build_argument(arg) for arg in args]
        return _Proposal(
            who=who,
            chaincode=chaincode or self.name,
            channel=self.channel,
            tx_id=tx_id,
            is_init=function is None,
            args=raw_args if function is None else [function.encode(), *raw_args],
            timestamp=self.now,
            signed=_build_proposal(who, nonce, tx_id, self.channel, self.now, transient),
        )

    async def _execute(self, proposal: _Proposal) -> _Outcome:
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

    def _commit(self, proposal: _Proposal, outcome: _Outcome) -> Result:
        rwset = outcome.simulation.rwset
        if self.world.find_conflict(rwset):
            raise Conflict("MVCC_READ_CONFLICT: a key that was read has changed since")
        block = self.world.commit(rwset, proposal.tx_id, proposal.timestamp)
        event = self._build_event(proposal, outcome, block)
        if event is not None:
            self.world.events.append(event)
        return Result(outcome.response.payload, proposal.tx_id, event, rwset, block)

    def _build_event(
        self, proposal: _Proposal, outcome: _Outcome, block: int
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
class _Proposal:
    who: Person
    chaincode: str
    channel: str
    tx_id: str
    is_init: bool
    args: list[bytes]
    timestamp: datetime
    signed: Any


@dataclass(frozen=True, slots=True)
class _Outcome:
    response: Response
    event: Any
    simulation: Simulation


class _PeerLink:
    """The peer's end of the stream to one chaincode."""

    def __init__(self, simulator: Simulator, name: str, chaincode: Chaincode) -> None:
        self._simulator = simulator
        self._name = name
        self._chaincode = chaincode
        self._session: Session | None = None
        self._running: dict[str, tuple[_Proposal, Simulation, asyncio.Future[Any]]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def execute(self, proposal: _Proposal, args: list[bytes], simulation: Simulation) -> Any:
        """The chaincode's COMPLETED or ERROR message."""
        if proposal.tx_id in self._running:
            raise Refused(f"txid: {proposal.tx_id}({proposal.channel}) exists")
        session = self._session or self._connect()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._running[proposal.tx_id] = (proposal, simulation, answer)
        kind = ChaincodeMessage.INIT if proposal.is_init else ChaincodeMessage.TRANSACTION
        try:
            session.receive(
                ChaincodeMessage(
                    type=kind,
                    payload=chaincode_pb2.ChaincodeInput(args=args).SerializeToString(),
                    txid=proposal.tx_id,
                    channel_id=proposal.channel,
                    proposal=proposal.signed,
                )
            )
            return await answer
        finally:
            del self._running[proposal.tx_id]

    async def close(self) -> None:
        """End the stream."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connect(self) -> Session:
        payload = self._simulator.ready_payload
        session = Session(self._name, self._chaincode, self._receive)
        session.start()
        session.receive(ChaincodeMessage(type=ChaincodeMessage.REGISTERED))
        session.receive(ChaincodeMessage(type=ChaincodeMessage.READY, payload=payload))
        self._session = session
        return session

    def _receive(self, message: Any) -> None:
        # Through bytes and back, so that what cannot travel fails here and not on a network.
        copy = ChaincodeMessage.FromString(message.SerializeToString())
        asyncio.get_running_loop().call_soon(self._handle, copy)

    def _handle(self, message: Any) -> None:
        running = self._running.get(message.txid)
        if running is None:
            return
        proposal, simulation, answer = running
        if message.type in (ChaincodeMessage.COMPLETED, ChaincodeMessage.ERROR):
            if not answer.done():
                answer.set_result(message)
        elif message.type == ChaincodeMessage.INVOKE_CHAINCODE:
            call = asyncio.ensure_future(self._call_chaincode(message, proposal, simulation))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        else:
            try:
                payload = simulation.answer(self._name, message.type, message.payload)
                self._reply(message, payload)
            except (Refused, DecodeError) as error:
                self._reply(message, str(error).encode(), refused=True)

    async def _call_chaincode(
        self, message: Any, proposal: _Proposal, simulation: Simulation
    ) -> None:
        spec = chaincode_pb2.ChaincodeSpec.FromString(message.payload)
        name, _, channel = spec.chaincode_id.name.partition("/")
        prefix = f"INVOKE_CHAINCODE failed: transaction ID: {proposal.tx_id}: "
        link = self._simulator.link(name)
        try:
            if channel not in ("", proposal.channel):
                raise Refused(f"failed to find ledger for channel: {channel}")
            if link is None:
                raise Refused(f"execute failed: chaincode {name} not found")
            answer = await link.execute(proposal, list(spec.input.args), simulation)
        except Refused as error:
            self._reply(message, (prefix + str(error)).encode(), refused=True)
            return
        self._reply(message, answer.SerializeToString())

    def _reply(self, request: Any, payload: bytes, *, refused: bool = False) -> None:
        if self._session is None:
            return
        self._session.receive(
            ChaincodeMessage(
                type=ChaincodeMessage.ERROR if refused else ChaincodeMessage.RESPONSE,
                payload=payload,
                txid=request.txid,
                channel_id=request.channel_id,
            )
        )


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


def _build_proposal(
    who: Person,
    nonce: bytes,
    tx_id: str,
    channel: str,
    now: datetime,
    transient: Mapping[str, bytes],
) -> Any:
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.ENDORSER_TRANSACTION, channel_id=channel, tx_id=tx_id
    )
    channel_header.timestamp.FromDatetime(now)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(),
        signature_header=common_pb2.SignatureHeader(
            creator=who.creator, nonce=nonce
        ).SerializeToString(),
    )
    payload = proposal_pb2.ChaincodeProposalPayload(TransientMap=dict(transient))
    raw = proposal_pb2.Proposal(
        header=header.SerializeToString(), payload=payload.SerializeToString()
    ).SerializeToString()
    return proposal_pb2.SignedProposal(proposal_bytes=raw, signature=who.sign(raw))
