"""An orderer as a client calls it: `orderer.AtomicBroadcast`."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Self

import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2_grpc

from network.client.calls import translate
from network.client.endpoint import Connection, Endpoint
from network.client.errors import NodeError, SubmitError
from network.client.seek import Seek, once, open_deliver, seek_envelope
from network.rules.identity.identity import Signing


@dataclass(slots=True)
class OrdererClient:
    """One orderer, called on behalf of one identity. An async context manager.

    Attributes:
        endpoint: where the orderer listens.
        signer: who calls.
        timeout: seconds a broadcast may take.
    """

    endpoint: Endpoint
    signer: Signing
    timeout: float = 30.0
    _connection: Connection = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._connection = Connection(self.endpoint)

    async def broadcast(self, envelope: Any) -> None:
        """The orderer has accepted the signed envelope (`common.Envelope`).

        Raises:
            SubmitError: it refused, with its status and reason.
            NodeError: it could not be reached.
        """
        stub = ab_pb2_grpc.AtomicBroadcastStub(self._connection.open())
        call = stub.Broadcast(once(envelope), timeout=self.timeout)
        try:
            async for response in call:
                if response.status != common_pb2.SUCCESS:
                    name = common_pb2.Status.Name(response.status)
                    message = f"the orderer answered {name}: {response.info}"
                    raise SubmitError("ABORTED", message, address=self.endpoint.address)
                return
        except grpc.aio.AioRpcError as failure:
            raise translate(failure, NodeError, self.endpoint.address) from failure
        finally:
            call.cancel()
        raise NodeError(
            "UNAVAILABLE", "the orderer closed without an answer", address=self.endpoint.address
        )

    async def blocks(self, channel_id: str, seek: Seek) -> AsyncIterator[Any]:
        """The blocks asked for (`common.Block`).

        Raises:
            EventsError: the stream broke or the orderer refused.
        """
        envelope = seek_envelope(
            channel_id, seek, self.signer, tls_cert_hash=self.endpoint.tls_cert_hash
        )
        call = ab_pb2_grpc.AtomicBroadcastStub(self._connection.open()).Deliver(once(envelope))
        async with aclosing(open_deliver(call, self.endpoint.address)) as found:
            async for block in found:
                yield block

    async def close(self) -> None:
        """The connection is closed."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
