"""A scripted peer in memory: see what the shim sends, answer as you like."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2

from chaincode.contract import Contract, ContractChaincode
from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.interface import Chaincode
from chaincode.shim.response import Response, open_response
from chaincode.shim.session import Capacity, Session

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODERN = chaincode_pb2.ChaincodeAdditionalParams(
    use_write_batch=True,
    max_size_write_batch=1000,
    use_get_multiple_keys=True,
    max_size_get_multiple_keys=1000,
).SerializeToString()


class Talk:
    """One session, its peer's end scripted by the test."""

    def __init__(
        self,
        chaincode: Chaincode | type[Contract],
        *,
        ready: bytes = b"",
        capacity: Capacity | None = None,
    ) -> None:
        if isinstance(chaincode, type):
            chaincode = ContractChaincode([chaincode()])
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self.session = Session("cc:1", chaincode, self._sent.put_nowait, capacity=capacity)
        self.session.start()
        self._sent.get_nowait()
        self.receive(ChaincodeMessage.REGISTERED, tx="", channel="")
        self.receive(ChaincodeMessage.READY, ready, tx="", channel="")

    def receive(
        self,
        kind: int,
        payload: bytes = b"",
        *,
        tx: str = "t",
        channel: str = "c",
        proposal: Any = None,
    ) -> None:
        """The peer sends a message."""
        self.session.receive(
            ChaincodeMessage(
                type=kind, payload=payload, txid=tx, channel_id=channel, proposal=proposal
            )
        )

    def invoke(
        self,
        function: str | bytes,
        *args: str | bytes,
        tx: str = "t",
        init: bool = False,
        creator: bytes = b"",
        transient: dict[str, bytes] | None = None,
    ) -> None:
        """The peer starts a transaction."""
        raw = [arg.encode() if isinstance(arg, str) else arg for arg in (function, *args)]
        self.receive(
            ChaincodeMessage.INIT if init else ChaincodeMessage.TRANSACTION,
            chaincode_pb2.ChaincodeInput(args=raw).SerializeToString(),
            tx=tx,
            proposal=build_signed_proposal(creator, transient or {}),
        )

    async def sent(self) -> Any:
        """The next message that the shim sends."""
        return await asyncio.wait_for(self._sent.get(), 60)

    async def asked(self, kind: int) -> Any:
        """The next message, which has to be of this kind."""
        message = await self.sent()
        assert message.type == kind, ChaincodeMessage.Type.Name(message.type)
        return message

    async def answered(self) -> Response:
        """The response in the next message, which has to be COMPLETED."""
        return open_response((await self.asked(ChaincodeMessage.COMPLETED)).payload)

    def silent(self) -> bool:
        """True if nothing was sent that was not looked at."""
        return self._sent.empty()


def build_signed_proposal(creator: bytes, transient: dict[str, bytes]) -> Any:
    """A `SignedProposal` with an invalid signature; the shim does not look at it."""
    channel_header = common_pb2.ChannelHeader(
        type=common_pb2.ENDORSER_TRANSACTION, channel_id="c", epoch=0
    )
    channel_header.timestamp.FromDatetime(NOW)
    header = common_pb2.Header(
        channel_header=channel_header.SerializeToString(),
        signature_header=common_pb2.SignatureHeader(
            creator=creator, nonce=b"n" * 24
        ).SerializeToString(),
    )
    payload = proposal_pb2.ChaincodeProposalPayload(TransientMap=transient)
    proposal = proposal_pb2.Proposal(
        header=header.SerializeToString(), payload=payload.SerializeToString()
    )
    return proposal_pb2.SignedProposal(
        proposal_bytes=proposal.SerializeToString(), signature=b"none"
    )
