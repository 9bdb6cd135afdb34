"""A stream cut into chunks of one size, and digests that see them from a thread of their own.

Everything here works in a handful of buffers, whatever the stream's length. `read_chunks` gives
out views of buffers that it uses again: a chunk is good until the second one after it is asked for.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Protocol, Self

_BUFFERS = 3
"""One chunk being given out, one read ahead, one that a digest may still be looking at."""
_SHORT = 32 * 1024
"""Bytes tried first: most records are shorter, and a whole chunk's buffer costs more than they."""


class Digest(Protocol):
    """What a content is fed to while it streams past: a hashlib object or a commitment."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes of the content."""


def read_chunks(source: BinaryIO, size: int) -> Iterator[tuple[int, memoryview, bool]]:
    """Yield (index, bytes, is last); an empty source is one empty last chunk."""
    first = min(_SHORT, size)
    begun = _fill(source, memoryview(bytearray(first)))
    if len(begun) < first:
        yield 0, begun, True
        return
    buffers = [memoryview(bytearray(size))]
    buffers[0][: len(begun)] = begun
    index = 0
    chunk = buffers[0][: len(begun) + len(_fill(source, buffers[0][len(begun) :]))]
    while len(chunk) == size:
        if len(buffers) < _BUFFERS:  # as they are needed
            buffers.append(memoryview(bytearray(size)))
        following = _fill(source, buffers[(index + 1) % _BUFFERS])
        if not following:
            break
        yield index, chunk, False
        chunk = following
        index += 1
    yield index, chunk, True


def _fill(source: BinaryIO, buffer: memoryview) -> memoryview:
    """Return the buffer's filled part, short only at the end: pipes give short reads."""
    readinto = getattr(source, "readinto", None)
    filled = 0
    while filled < len(buffer):
        if readinto is not None:
            count = readinto(buffer[filled:])
        else:
            block = source.read(len(buffer) - filled)
            count = len(block)
            buffer[filled : filled + count] = block
        if not count:
            break
        filled += count
    return buffer[:filled]


class Hashing:
    """Feeds chunks to digests beside the caller's own work, one chunk behind it at most.

    hashlib lets other threads run while it works, so that on two processors a digest costs no time
    beside encryption and writing. Use with `with`; at its end every chunk has been seen.
    """

    def __init__(self, digests: Iterable[Digest]) -> None:
        self._digests = tuple(digests)
        self._pool: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None

    def update(self, chunk: memoryview, *, last: bool = False) -> None:
        """The digests see this chunk next; the one before it they have seen when this returns."""
        self._settle()
        if not self._digests:
            return
        if last:  # no thread for a record of one chunk: most are
            self._feed(chunk)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "hashing")
        self._pending = self._pool.submit(self._feed, chunk)

    def _feed(self, chunk: memoryview) -> None:
        for digest in self._digests:
            digest.update(chunk)

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._settle()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
