"""The block stream that orderer and peer serve: seek, judge, wait, send (common/deliver).

`Deliver.serve` carries one gRPC stream: each request is an Envelope with a SeekInfo, each answer
a block or a final status, after SUCCESS the next request is read. What is sent for a block, and
which policy a reader must satisfy, is the caller's (`BlockFormat`): the orderer sends blocks to
/Channel/Readers, the peer blocks, filtered blocks or blocks with private data under its ACLs.

One block at a time is read and written, and writing waits for the reader, so a slow reader costs
one block of memory. A reader at the tip sleeps until the ledger grows.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from fabric_protos.common import common_pb2

from network.node.serving.grpc_server import get_tls_cert_hash
from network.node.serving.logs import one_line
from network.node.serving.metrics import CollectorRegistry, Counter
from network.rules.blocks.block import is_config_block
from network.rules.blocks.seek import (
    Content,
    Seek,
    SeekRefused,
    open_seek,
    open_seek_envelope,
    resolve_range,
)
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import SignedData, parse_message
from network.rules.identity.identity import read_expiry
from network.rules.policy.evaluation import PolicyUnsatisfied
from network.rules.wire import encode_field, encode_varint

logger = logging.getLogger("common.deliver")


class DeliverSource(Protocol):
    """One channel's blocks, as a node keeps them."""

    @property
    def config(self) -> ChannelConfig:
        """The newest config; policies are judged anew when its sequence changes."""

    @property
    def height(self) -> int:
        """How many blocks there are."""

    async def get_block(self, number: int) -> bytes:
        """Block bytes, `number` below the height; raises LookupError when it is not kept."""

    async def wait_for(self, number: int) -> None:
        """Return when block `number` exists, or when `failure` says that it cannot come."""

    @property
    def failure(self) -> str:
        """Why no more blocks can come at the moment; empty while all is well."""


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """What one method of a deliver service sends, and to whom.

    `policy_path` names the policy that a reader must satisfy under a config. `build_block` makes
    the response bytes for block bytes, given the request's signature (a peer chooses by it whose
    private data goes along). `data_type` is its name in the metrics.
    """

    policy_path: Callable[[ChannelConfig], str]
    build_block: Callable[[bytes, DeliverSource, SignedData], Awaitable[bytes]]
    data_type: str = "block"


class Deliver:
    """The deliver service over a node's channels."""

    def __init__(
        self,
        get_source: Callable[[str], DeliverSource | None],
        *,
        time_window: float = 900.0,
        binds_tls: bool = False,
        checks_expiry: bool = True,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """`time_window` in seconds; `binds_tls` where client certificates are required."""
        registry = registry or CollectorRegistry()
        self._opened = Counter(
            "deliver_streams_opened", "The number of GRPC streams that have been opened for the "
            "deliver service.", (), registry,
        )  # fmt: skip
        self._closed = Counter(
            "deliver_streams_closed", "The number of GRPC streams that have been closed for the "
            "deliver service.", (), registry,
        )  # fmt: skip
        self._sent = Counter(
            "deliver_blocks_sent", "The number of blocks sent by the deliver service.",
            ("channel", "data_type"), registry,
        )  # fmt: skip
        self._get_source = get_source
        self._time_window = time_window
        self._binds_tls = binds_tls
        self._checks_expiry = checks_expiry

    async def serve(
        self, requests: AsyncIterator[bytes], context: Any, form: BlockFormat
    ) -> AsyncIterator[bytes]:
        """Yield response bytes for each request until the client leaves or one fails."""
        self._opened.add()
        try:
            async for response in self._serve_all(requests, context, form):
                yield response
        finally:
            self._closed.add()

    async def _serve_all(
        self, requests: AsyncIterator[bytes], context: Any, form: BlockFormat
    ) -> AsyncIterator[bytes]:
        async for raw in requests:
            try:
                async for response in self._serve_one(raw, context, form):
                    yield response
            except SeekRefused as refusal:
                logger.info(
                    "Ending deliver to %s with %s: %s",
                    context.peer(), common_pb2.Status.Name(refusal.status), one_line(refusal),
                )  # fmt: skip
                yield build_status_response(refusal.status)
                return
            except Exception:
                # A block that cannot be read, or a fault of ours: it ends this stream alone.
                logger.exception("Deliver to %s met a fault", context.peer())
                yield build_status_response(common_pb2.INTERNAL_SERVER_ERROR)
                return
            yield build_status_response(common_pb2.SUCCESS)

    async def _serve_one(self, raw: bytes, context: Any, form: BlockFormat) -> AsyncIterator[bytes]:
        now = datetime.now(UTC)
        client_hash = (lambda: get_tls_cert_hash(context)) if self._binds_tls else None
        envelope = open_seek_envelope(raw, now, self._time_window, client_hash)
        source = self._get_source(envelope.channel_header.channel_id)
        if source is None:
            raise SeekRefused(
                common_pb2.NOT_FOUND, f"channel {envelope.channel_header.channel_id} not found"
            )
        seek = open_seek(envelope)
        _validate_ready(seek, source)
        session = _Session(seek, source, form, self._checks_expiry)
        session.validate()
        wanted = resolve_range(seek, source.height)
        number = wanted.first
        while True:
            await _wait_for_block(seek, source, number)
            try:
                block = await source.get_block(number)
            except LookupError as error:
                raise SeekRefused(common_pb2.NOT_FOUND, str(error)) from error
            session.validate()
            if seek.content is Content.HEADER_WITH_SIG:
                block = _strip_data(block)
            yield await form.build_block(block, source, seek.envelope.signed_data)
            self._sent.add(seek.channel_id, form.data_type)
            if number == wanted.last:
                return
            number += 1


class _Session:
    """A reader's right to go on: the policy under each new config, the certificate's end."""

    def __init__(
        self, seek: Seek, source: DeliverSource, form: BlockFormat, checks_expiry: bool
    ) -> None:
        self._signed = seek.envelope.signed_data
        self._channel_id = seek.channel_id
        self._source = source
        self._form = form
        self._judged: int | None = None
        self._ends = read_expiry(self._signed.identity) if checks_expiry else None

    def validate(self) -> None:
        """Raises SeekRefused FORBIDDEN when the reader may not read (any more)."""
        if self._ends is not None and datetime.now(UTC) > self._ends:
            raise SeekRefused(common_pb2.FORBIDDEN, "deliver client identity expired")
        config = self._source.config
        if config.sequence == self._judged:
            return
        try:
            config.policies.get(self._form.policy_path(config)).evaluate([self._signed])
        except PolicyUnsatisfied as error:
            raise SeekRefused(
                common_pb2.FORBIDDEN,
                f"[channel: {self._channel_id}] client is not authorized: {error}",
            ) from error
        self._judged = config.sequence


async def _wait_for_block(seek: Seek, source: DeliverSource, number: int) -> None:
    if number < source.height:
        return
    if seek.fails_if_not_ready:
        raise SeekRefused(
            common_pb2.NOT_FOUND, f"block {number} not found, height is {source.height}"
        )
    await source.wait_for(number)
    if number >= source.height:
        raise SeekRefused(common_pb2.SERVICE_UNAVAILABLE, source.failure)


def _validate_ready(seek: Seek, source: DeliverSource) -> None:
    if source.failure and not seek.is_best_effort:
        raise SeekRefused(common_pb2.SERVICE_UNAVAILABLE, source.failure)


async def send_block(block: bytes, source: DeliverSource, reader: SignedData) -> bytes:
    """The `build_block` of a plain Deliver, of orderer and peer alike.

    The block goes from disk to wire without being parsed and serialised again.
    """
    return encode_field(2, block)


def build_status_response(status: int) -> bytes:
    """DeliverResponse bytes with a status; the orderer's and the peer's are the same."""
    return bytes((0x08,)) + encode_varint(status)


def _strip_data(raw: bytes) -> bytes:
    block = parse_message(common_pb2.Block, raw)
    if is_config_block(block):
        return raw
    stripped: bytes = common_pb2.Block(
        header=block.header, metadata=block.metadata
    ).SerializeToString()
    return stripped
