"""Seek requests for the Deliver services of peers and orderers, and reading their answers."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.client.calls import translate
from network.client.errors import EventsError
from network.rules.envelope import (
    NONCE_BYTES,
    build_channel_header,
    build_payload,
    build_signature_header,
)
from network.rules.identity.identity import Signing

NEWEST = -1
FOREVER = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Seek:
    """Which blocks to deliver.

    Attributes:
        start: the first block, or `NEWEST`; None waits for the next block to be committed.
        stop: the last block, or `NEWEST`; `FOREVER` goes on.
        wait: whether to wait for blocks that do not exist yet.
    """

    start: int | None
    stop: int = FOREVER
    wait: bool = True


def seek_envelope(
    channel_id: str, seek: Seek, signer: Signing, *, tls_cert_hash: bytes = b""
) -> Any:
    """A signed `DELIVER_SEEK_INFO` envelope (internal/pkg/peer/blocksprovider)."""
    behavior = ab_pb2.SeekInfo.BLOCK_UNTIL_READY if seek.wait else ab_pb2.SeekInfo.FAIL_IF_NOT_READY
    info = ab_pb2.SeekInfo(
        start=_position(seek.start), stop=_position(seek.stop), behavior=behavior
    )
    header = build_channel_header(
        type=common_pb2.DELIVER_SEEK_INFO,
        channel_id=channel_id,
        timestamp=datetime.now(UTC),
        tls_cert_hash=tls_cert_hash,
    )
    payload = build_payload(
        header,
        build_signature_header(signer.creator, secrets.token_bytes(NONCE_BYTES)),
        info.SerializeToString(),
    )
    return common_pb2.Envelope(payload=payload, signature=signer.sign(payload))


async def open_deliver(call: Any, address: str) -> AsyncGenerator[Any, None]:
    """The blocks of a Deliver answer, of whichever form, until its closing SUCCESS.

    Args:
        call: the gRPC call; it is cancelled when the reader stops.
        address: the node's, for errors.

    Raises:
        EventsError: the stream broke, or ended with another status.
    """
    try:
        async for response in call:
            kind = response.WhichOneof("Type")
            if kind != "status":
                yield getattr(response, kind)
            elif response.status == common_pb2.SUCCESS:
                return
            else:
                raise _refused(response.status, address)
    except grpc.aio.AioRpcError as failure:
        raise translate(failure, EventsError, address) from failure
    finally:
        call.cancel()


async def once(message: Any) -> AsyncIterator[Any]:
    """A stream of one request."""
    yield message


def _position(number: int | None) -> Any:
    if number is None:
        return ab_pb2.SeekPosition(next_commit=ab_pb2.SeekNextCommit())
    if number == NEWEST:
        return ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())
    return ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=number))


def _refused(status: int, address: str) -> EventsError:
    canonical = {
        common_pb2.FORBIDDEN: "PERMISSION_DENIED",
        common_pb2.NOT_FOUND: "NOT_FOUND",
        common_pb2.SERVICE_UNAVAILABLE: "UNAVAILABLE",
    }.get(status, "FAILED_PRECONDITION")
    name = common_pb2.Status.Name(status)
    return EventsError(canonical, f"the node ended the stream with {name}", address=address)
