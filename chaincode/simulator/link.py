"""The peer's end of the stream to one chaincode."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2
from google.protobuf.message import DecodeError

from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.interface import Chaincode
from chaincode.shim.session import Session
from chaincode.simulator.people import Person
from chaincode.simulator.simulation import Refused, Simulation


class Switchboard(Protocol):
    """What a link needs of its simulator."""

    @property
    def ready_payload(self) -> bytes:
        """The payload of READY."""
        ...

    def link(self, chaincode: str) -> PeerLink | None:
        """The stream to another chaincode."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person proposes."""

    who: Person
    chaincode: str
    channel: str
    tx_id: str
    is_init: bool
    args: list[bytes]
    timestamp: datetime
    signed: Any


class PeerLink:
    """The peer's end of the stream to one chaincode."""

    def __init__(self, simulator: Switchboard, name: str, chaincode: Chaincode) -> None:
        self._simulator = simulator
        self._name = name
        self._chaincode = chaincode
        self._session: Session | None = None
        self._running: dict[str, tuple[Proposal, Simulation, asyncio.Future[Any]]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def execute(self, proposal: Proposal, args: list[bytes], simulation: Simulation) -> Any:
        """The chaincode's COMPLETED or ERROR message. Raises Refused for an id that runs."""
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
        self, message: Any, proposal: Proposal, simulation: Simulation
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


def build_proposal(
    who: Person,
    nonce: bytes,
    tx_id: str,
    channel: str,
    now: datetime,
    transient: Mapping[str, bytes],
) -> Any:
    """A signed proposal of an endorser transaction."""
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
