"""What an orderer asks other orderers for: blocks, and how many there are."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2, ab_pb2_grpc

from network.node.serving.connections import Connections
from network.rules.blocks.seek import NEWEST, Content, build_seek
from network.rules.channel.config import OrdererEndpoint
from network.rules.envelope import (
    NONCE_BYTES,
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
)
from network.rules.identity.identity import Signer

# Seconds for an orderer to say how many blocks it has.
PATIENCE = 2.0


class Unavailable(Exception):
    """The orderer asked gives no (more) blocks now; the text says which one and why."""


class BlockRequests:
    """Asks in the name of one orderer."""

    def __init__(
        self, signer: Signer, connections: Connections, client_certificate: bytes = b""
    ) -> None:
        """`client_certificate` (PEM): what `connections` show and requests are bound to."""
        self._signer = signer
        self._connections = connections
        self._tls_cert_hash = _hash_certificate(client_certificate)

    async def read_blocks(
        self, source: OrdererEndpoint, channel_id: str, start: int, *, follows: bool
    ) -> AsyncIterator[Any]:
        """Yield blocks (common.Block) from number `start` on: for ever, or up to the newest.

        Nothing about them is checked. Raises Unavailable, always in the end where `follows`.
        """
        seek = build_seek(start, follows=follows)
        answers = self._ask(source, channel_id, seek, timeout=None)
        async with aclosing(answers):  # type: ignore[type-var]
            async for answer in answers:
                if answer.WhichOneof("Type") == "block":
                    yield answer.block
                elif follows or answer.status not in (common_pb2.SUCCESS, common_pb2.NOT_FOUND):
                    name = common_pb2.Status.Name(answer.status)
                    raise Unavailable(f"orderer {source.address} answered {name}")
                else:
                    return

    async def get_height(self, source: OrdererEndpoint, channel_id: str) -> int | None:
        """How many blocks it has of the channel, 0 if it has not joined; None if it is silent."""
        seek = build_seek(NEWEST, follows=False, content=Content.HEADER_WITH_SIG)
        try:
            answers = self._ask(source, channel_id, seek, timeout=PATIENCE)
            async with aclosing(answers):  # type: ignore[type-var]
                async for answer in answers:
                    if answer.WhichOneof("Type") == "block":
                        return int(answer.block.header.number) + 1
                    return 0 if answer.status == common_pb2.NOT_FOUND else None
        except Unavailable:
            pass
        return None

    async def _ask(
        self, source: OrdererEndpoint, channel_id: str, seek: bytes, timeout: float | None
    ) -> AsyncIterator[Any]:
        """Yield DeliverResponses; raises Unavailable when the stream ends or breaks."""
        connection = self._connections.get(source.address, source.tls_roots)
        request = common_pb2.Envelope.FromString(self._sign(channel_id, seek))
        stub = ab_pb2_grpc.AtomicBroadcastStub(connection)
        stream = stub.Deliver(_send_and_stay(request), timeout=timeout)
        try:
            while isinstance(answer := await stream.read(), ab_pb2.DeliverResponse):
                yield answer
        except grpc.aio.AioRpcError as error:
            raise Unavailable(
                f"orderer {source.address}: {error.code().name} {error.details()}"
            ) from None
        finally:
            stream.cancel()
        raise Unavailable(f"orderer {source.address} ended the stream")

    def _sign(self, channel_id: str, seek: bytes) -> bytes:
        header = build_channel_header(
            type=common_pb2.DELIVER_SEEK_INFO,
            channel_id=channel_id,
            timestamp=datetime.now(UTC),
            tls_cert_hash=self._tls_cert_hash,
        )
        nonce = secrets.token_bytes(NONCE_BYTES)
        payload = build_payload(header, build_signature_header(self._signer.creator, nonce), seek)
        return build_envelope(payload, self._signer.sign(payload))


async def _send_and_stay(request: Any) -> AsyncIterator[Any]:
    yield request
    # The stream stays open for sending, or the orderer would take it for finished.
    await asyncio.get_running_loop().create_future()


def _hash_certificate(pem: bytes) -> bytes:
    if not pem:
        return b""
    return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()
