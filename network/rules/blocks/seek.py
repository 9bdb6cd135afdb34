"""Which blocks a Deliver request asks for (common/deliver/deliver.go, blockledger/fileledger).

Pure: the ledger's height comes in, the first and last block number come out. The statuses are
Fabric's: a request is refused with one (`SeekRefused`) and a served one ends with SUCCESS.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.rules.envelope import (
    MalformedMessage,
    OpenedEnvelope,
    open_envelope,
    parse_message,
)

MAX_NUMBER = 2**64 - 1
NEWEST = -1
"""As a start: the newest block, whatever its number."""

HashOfClient = Callable[[], bytes]


class SeekRefused(ValueError):
    """A Deliver request that ends with `status` (common.Status); the text is for the log."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Content(Enum):
    """What is sent of a block: all, or the header and its signatures (config blocks always all)."""

    BLOCK = 0
    HEADER_WITH_SIG = 1


@dataclass(frozen=True, slots=True)
class Seek:
    """A readable Deliver request."""

    envelope: OpenedEnvelope
    info: Any  # ab_pb2.SeekInfo

    @property
    def channel_id(self) -> str:
        """The channel whose blocks are asked for."""
        return str(self.envelope.channel_header.channel_id)

    @property
    def fails_if_not_ready(self) -> bool:
        """Whether a block that does not exist yet ends the request instead of being waited for."""
        return bool(self.info.behavior == ab_pb2.SeekInfo.FAIL_IF_NOT_READY)

    @property
    def is_best_effort(self) -> bool:
        """Whether blocks are wanted even while the orderer cannot order."""
        return bool(self.info.error_response == ab_pb2.SeekInfo.BEST_EFFORT)

    @property
    def content(self) -> Content:
        """What is sent of each block."""
        wants_header = self.info.content_type == ab_pb2.SeekInfo.HEADER_WITH_SIG
        return Content.HEADER_WITH_SIG if wants_header else Content.BLOCK


@dataclass(frozen=True, slots=True)
class BlockRange:
    """Block numbers from `first`; `last` may never come (2^64-1 stands for "for ever")."""

    first: int
    last: int


def open_seek_envelope(
    raw: bytes, now: datetime, window: float, client_hash: HashOfClient | None
) -> OpenedEnvelope:
    """The envelope of a Deliver request, fresh and bound to its connection.

    `window` is how many seconds its timestamp may differ from `now`, either way. `client_hash`
    gives the hash of the TLS certificate the client showed; None where none is required and so
    nothing is bound (common/deliver/binding.go). The header's type is not checked, as in Fabric.

    Raises:
        SeekRefused: BAD_REQUEST.
    """
    try:
        envelope = open_envelope(raw)
    except MalformedMessage as error:
        raise SeekRefused(common_pb2.BAD_REQUEST, str(error)) from None
    header = envelope.channel_header
    if not header.HasField("timestamp"):
        raise SeekRefused(
            common_pb2.BAD_REQUEST, "channel header in envelope must contain timestamp"
        )
    moment = header.timestamp.seconds + header.timestamp.nanos / 1e9
    if abs(now.timestamp() - moment) > window:
        raise SeekRefused(
            common_pb2.BAD_REQUEST,
            f"envelope timestamp is more than {window:g}s apart from current server time",
        )
    if client_hash is not None:
        _validate_binding(header.tls_cert_hash, client_hash())
    return envelope


def _validate_binding(claimed: bytes, actual: bytes) -> None:
    if not claimed:
        raise SeekRefused(common_pb2.BAD_REQUEST, "client didn't include its TLS cert hash")
    if not actual:
        raise SeekRefused(common_pb2.BAD_REQUEST, "client didn't send a TLS certificate")
    if claimed != actual:
        raise SeekRefused(
            common_pb2.BAD_REQUEST, "claimed TLS cert hash differs from the connection's"
        )


def open_seek(envelope: OpenedEnvelope) -> Seek:
    """The SeekInfo in `envelope`. `resolve_range` asks for its start and stop.

    Raises:
        SeekRefused: BAD_REQUEST.
    """
    try:
        return Seek(envelope, parse_message(ab_pb2.SeekInfo, envelope.data))
    except MalformedMessage as error:
        raise SeekRefused(common_pb2.BAD_REQUEST, str(error)) from None


def build_seek(start: int, *, follows: bool, content: Content = Content.BLOCK) -> bytes:
    """SeekInfo bytes that ask for the blocks from number `start` on: for ever, or as far as there
    are any now. NEWEST as `start` asks for the newest block alone."""
    position = ab_pb2.SeekPosition
    newest = position(newest=ab_pb2.SeekNewest())
    last = position(specified=ab_pb2.SeekSpecified(number=MAX_NUMBER)) if follows else newest
    first = position(specified=ab_pb2.SeekSpecified(number=max(start, 0)))
    behavior = ab_pb2.SeekInfo.SeekBehavior.Value(
        "BLOCK_UNTIL_READY" if follows else "FAIL_IF_NOT_READY"
    )
    info = ab_pb2.SeekInfo(
        start=newest if start == NEWEST else first,
        stop=last,
        behavior=behavior,
        # Blocks that exist are wanted whether or not the orderer can make more.
        error_response=ab_pb2.SeekInfo.STRICT if follows else ab_pb2.SeekInfo.BEST_EFFORT,
        content_type=content.value,
    )
    raw: bytes = info.SerializeToString()
    return raw


def resolve_range(seek: Seek, height: int) -> BlockRange:
    """The block numbers that `seek` asks of a ledger of `height` blocks.

    Newest as a stop is the newest block *now*. A stop at the next commit is never reached from
    above block 0, as in Fabric.

    Raises:
        SeekRefused: BAD_REQUEST without start or stop, or with a stop before the start;
            NOT_FOUND for a start beyond the next block.
    """
    info = seek.info
    if not info.HasField("start") or not info.HasField("stop"):
        raise SeekRefused(common_pb2.BAD_REQUEST, "seekInfo with missing start or stop")
    first = _resolve_start(info.start, height)
    kind = info.stop.WhichOneof("Type")
    last = 0
    if kind == "oldest":
        last = first or 0
    elif kind == "newest":
        # Start and stop at newest is one block, even if another comes meanwhile.
        last = (first or 0) if info.start == info.stop else height - 1
    elif kind == "specified":
        last = info.stop.specified.number
        if last < (first or 0):
            raise SeekRefused(
                common_pb2.BAD_REQUEST, f"start number {first} greater than stop number {last}"
            )
    if first is None:
        raise SeekRefused(common_pb2.NOT_FOUND, f"start is beyond the ledger's height {height}")
    return BlockRange(first, last)


def _resolve_start(start: Any, height: int) -> int | None:
    kind = start.WhichOneof("Type")
    if kind == "oldest":
        return 0
    if kind == "newest":
        return height - 1
    if kind == "next_commit":
        return height
    if kind == "specified" and start.specified.number <= height:
        return int(start.specified.number)
    return None
