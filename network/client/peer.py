"""A peer as an administrator calls it: proposals to `protos.Endorser`, blocks from `Deliver`.

Most callers want `network.client.channel` or `network.client.lifecycle`, which are written on
this. The gateway (`network.client.gateway`) is for applications.
"""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import grpc.aio
from fabric_protos.peer import (
    events_pb2_grpc,
    peer_pb2_grpc,
    proposal_pb2,
    snapshot_pb2,
    snapshot_pb2_grpc,
)

from network.client.calls import translate
from network.client.endpoint import Connection, Endpoint
from network.client.errors import NodeError, ProposalRefusedError
from network.client.seek import Seek, once, open_deliver, seek_envelope
from network.rules.envelope import NONCE_BYTES
from network.rules.identity.identity import Signing
from network.rules.proposal import build_proposal


@dataclass(slots=True)
class PeerClient:
    """One peer, called on behalf of one identity. An async context manager.

    Attributes:
        endpoint: where the peer listens.
        signer: who calls.
        timeout: seconds a call may take unless told otherwise.
    """

    endpoint: Endpoint
    signer: Signing
    timeout: float = 30.0
    _connection: Connection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._connection = Connection(self.endpoint)

    async def query(
        self,
        chaincode: str,
        arguments: Sequence[bytes],
        *,
        channel_id: str = "",
        timeout: float | None = None,
    ) -> bytes:
        """The response payload of a proposal that this peer alone answers.

        Args:
            chaincode: the (system) chaincode.
            arguments: function first.
            channel_id: empty for proposals outside any channel, which local members may make.
            timeout: seconds.

        Raises:
            ProposalRefusedError: the peer answered with a status outside 200 to 399.
            NodeError: the call failed.
        """
        response = await self.propose(chaincode, arguments, channel_id=channel_id, timeout=timeout)
        return bytes(response.response.payload)

    async def propose(
        self,
        chaincode: str,
        arguments: Sequence[bytes],
        *,
        channel_id: str = "",
        timeout: float | None = None,
    ) -> Any:
        """The whole `protos.ProposalResponse`; raises as `query`."""
        built = build_proposal(
            channel_id=channel_id,
            chaincode=chaincode,
            args=list(arguments),
            creator=self.signer.creator,
            nonce=secrets.token_bytes(NONCE_BYTES),
            timestamp=datetime.now(UTC),
            tls_cert_hash=self.endpoint.tls_cert_hash,
        )
        signed = proposal_pb2.SignedProposal(
            proposal_bytes=built.raw, signature=self.signer.sign(built.raw)
        )
        stub = peer_pb2_grpc.EndorserStub(self._connection.open())
        deadline = self.timeout if timeout is None else timeout
        try:
            response = await stub.ProcessProposal(signed, timeout=deadline)
        except grpc.aio.AioRpcError as failure:
            raise translate(failure, NodeError, self.endpoint.address, built.tx_id) from failure
        # As the peer command: 200 to 399 is good, the rest is the chaincode's refusal.
        if not 200 <= response.response.status < 400:
            raise ProposalRefusedError(
                response.response.status, response.response.message, address=self.endpoint.address
            )
        return response

    async def blocks(
        self, channel_id: str, seek: Seek, *, method: str = "Deliver"
    ) -> AsyncIterator[Any]:
        """The blocks asked for, from one of the peer's Deliver methods.

        Raises:
            EventsError: the stream broke or the peer refused.
        """
        envelope = seek_envelope(
            channel_id, seek, self.signer, tls_cert_hash=self.endpoint.tls_cert_hash
        )
        call = getattr(events_pb2_grpc.DeliverStub(self._connection.open()), method)(once(envelope))
        async with aclosing(open_deliver(call, self.endpoint.address)) as found:
            async for block in found:
                yield block

    async def ask_snapshots(self, method: str, request: Any) -> Any:
        """The answer of `protos.Snapshot` to a SnapshotRequest or SnapshotQuery.

        The request's signature header is filled in here. `network.client.snapshots` has the calls.

        Raises:
            NodeError: the peer refused, or the call failed.
        """
        request.signature_header.creator = self.signer.creator
        request.signature_header.nonce = secrets.token_bytes(NONCE_BYTES)
        raw = request.SerializeToString()
        signed = snapshot_pb2.SignedSnapshotRequest(request=raw, signature=self.signer.sign(raw))
        call = getattr(snapshot_pb2_grpc.SnapshotStub(self._connection.open()), method)
        try:
            return await call(signed, timeout=self.timeout)
        except grpc.aio.AioRpcError as failure:
            raise translate(failure, NodeError, self.endpoint.address) from failure

    async def close(self) -> None:
        """The connection is closed."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
