"""Anchoring an access log, batch by batch, and proving its events.

A log is a file with one event a line, to which lines are added. What is anchored goes on where the
last batch ended; that earlier lines are still what they were is checked first. A file that begins
anew (rotation) goes on in the same log.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from admin.errors import input_error
from admin.locks import hold_alone
from admin.procedures.audit.logarchive import KeptBatch, LogArchive
from admin.procedures.audit.logproofs import (
    SECRET_SIZE,
    LogEventProof,
    derive_salt,
    hash_event,
)
from admin.procedures.networks.health import Health
from chaincode import merkle
from chaincode.audit.model import LogAnchor, LogBatch, LogBatchPage, LogState, LogStatePage
from chaincode.table import PageRequest
from network.client.channel import get_block_of
from network.client.peer import PeerClient
from network.client.profile import Profile, Surroundings

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AnchoredLog:
    """One batch that is now on the ledger."""

    log: str
    first: int
    last: int
    lines: tuple[int, int]
    root: bytes
    transaction_id: str
    block_number: int


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a file, without its line feed; where it stands (from 1), and where it ends."""

    number: int
    event: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file was read: its inode, a line, and the byte after it."""

    inode: int
    line: int
    end: int


def archive_folder(surroundings: Surroundings, profile: Profile) -> Path:
    """Return where an organisation keeps what proves its logs."""
    return surroundings.folder / "logs" / profile.organization.name


def read_lines(file: Path, after: int = 0, start: Cursor | None = None) -> Iterator[Line]:
    """Yield the file's finished, non-empty lines after line number `after`, or after a cursor."""
    with file.open("rb") as source:
        number, end = (start.line, start.end) if start else (0, 0)
        source.seek(end)
        for raw in source:
            number, end = number + 1, end + len(raw)
            # The last line may still be being written: it is finished once it has its line feed.
            if number > after and raw.endswith(b"\n") and raw.strip():
                yield Line(number, raw[:-1], end)


class Logs:
    """Acts on one organisation's logs."""

    def __init__(self, surroundings: Surroundings, profile: Profile, health: Health) -> None:
        self._profile = profile
        self._health = health
        self._folder = archive_folder(surroundings, profile)
        self._cursor: Cursor | None = None

    async def anchor(
        self, file: Path, log: str, *, size: int, tell: Callable[[AnchoredLog], None]
    ) -> int:
        """All finished lines that are not anchored yet are; answers how many events that were.

        Raises:
            FaultError: a line that was anchored before has changed, or the archive is not this
                log's.
        """
        archive = LogArchive(self._folder, log)
        with hold_alone(archive.folder / ".lock", "another process anchors this log"):
            return await self._anchor(file, archive, size, tell)

    async def _anchor(
        self, file: Path, archive: LogArchive, size: int, tell: Callable[[AnchoredLog], None]
    ) -> int:
        await self._settle(archive)
        start = self._find_cursor(file)
        after = 0 if start else self._find_start(file, archive)
        done, pending = 0, _Pending(size)
        for line in read_lines(file, after, start):
            pending.add(line)
            if pending.full:
                tell(await self._submit(archive, pending, file))
                done, pending = done + size, _Pending(size)
        if pending.lines:
            tell(await self._submit(archive, pending, file))
            done += len(pending.lines)
        return done

    async def follow(
        self,
        file: Path,
        log: str,
        *,
        size: int,
        every: float,
        tell: Callable[[AnchoredLog], None],
        sleep: Sleep,
    ) -> None:
        """Anchor lines as they come, every so many seconds. Ends only by being cancelled."""
        seen: tuple[int, int] | None = None
        while True:
            now = _measure(file)
            if now != seen:
                seen = now
                await self.anchor(file, log, size=size, tell=tell)
            await sleep(every)

    async def prove(self, event: bytes, log: str, sequence: int = 0) -> tuple[LogEventProof, bytes]:
        """Return the proof of an event, and the block that anchors its batch.

        Raises:
            FaultError: the event is in no anchored batch of this archive.
        """
        archive = LogArchive(self._folder, log)
        newest = archive.last()
        if newest is not None and not newest.tx_id:
            with hold_alone(archive.folder / ".lock", "another process anchors this log"):
                await self._settle(archive)
        found = archive.find(event, sequence)
        if found is None:
            raise input_error(
                "this event is in no anchored batch of the log",
                "it was changed, is not anchored yet, or belongs to another log; "
                "see: medfabric audit log list",
                log,
            )
        batch, number = found
        tree = merkle.Tree(archive.leaves(batch))
        async with PeerClient(self._profile.endpoint, self._profile.signer) as peer:
            block = await get_block_of(peer, self._health.channel_id, batch.tx_id)
        proof = LogEventProof(
            channel=self._health.channel_id,
            msp_id=self._profile.signer.msp_id,
            log=log,
            first=batch.first,
            sequence=number,
            salt=derive_salt(batch.secret, number),
            path=tuple(tree.build_inclusion_proof(number - batch.first)),
            block_number=block.header.number,
            transaction_id=batch.tx_id,
        )
        return proof, block.SerializeToString()

    async def states(self, msp_id: str = "") -> list[LogState]:
        """Where an organisation's logs stand: its own unless another is named."""
        states: list[LogState] = []
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "audit:ListLogs",
                msp_id or self._profile.signer.msp_id,
                PageRequest(1000, bookmark),
                result=LogStatePage,
            )
            states += page.logs
            bookmark = page.bookmark
            if not bookmark:
                return states

    def _find_cursor(self, file: Path) -> Cursor | None:
        """Where this run stopped reading, if the file only grew since."""
        inode, size = _measure(file)
        cursor = self._cursor
        return cursor if cursor and cursor.inode == inode and cursor.end <= size else None

    async def _submit(self, archive: LogArchive, pending: "_Pending", file: Path) -> AnchoredLog:
        newest = archive.last()
        batch, leaves = pending.seal(archive.log, newest.last + 1 if newest else 1)
        archive.add(batch, leaves)
        done = await self._health.submit(
            "audit:AnchorLog",
            LogBatch(batch.log, batch.first, batch.last, batch.root),
            result=LogAnchor,
        )
        archive.confirm(batch, done.transaction_id)
        self._cursor = Cursor(_measure(file)[0], batch.line_last, pending.lines[-1].end)
        return AnchoredLog(
            batch.log,
            batch.first,
            batch.last,
            (batch.line_first, batch.line_last),
            batch.root,
            done.transaction_id,
            done.block_number,
        )

    async def _settle(self, archive: LogArchive) -> None:
        """The archive and the ledger agree: a batch whose answer was lost is confirmed or gone."""
        state = await self._health.evaluate(
            "audit:GetLog", self._profile.signer.msp_id, archive.log, result=LogState
        )
        newest = archive.last()
        if newest is not None and not newest.tx_id:
            anchor = await self._find_anchor(archive.log, newest)
            if anchor is not None:
                newest = archive.confirm(newest, anchor.tx_id)
            else:
                archive.discard(newest)
                newest = archive.last()
        if state.last != (newest.last if newest else 0):
            raise input_error(
                f"the ledger has {state.last} events of log {archive.log}, this archive "
                f"{newest.last if newest else 0}",
                "go on where the log was anchored before, or choose another --log name",
                str(archive.folder),
            )

    async def _find_anchor(self, log: str, batch: KeptBatch) -> LogAnchor | None:
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                "audit:ListLogBatches",
                self._profile.signer.msp_id,
                log,
                PageRequest(1000, bookmark),
                result=LogBatchPage,
            )
            for anchor in page.batches:
                if (anchor.batch.first, anchor.batch.root) == (batch.first, batch.root):
                    return anchor
            bookmark = page.bookmark
            if not bookmark:
                return None

    def _find_start(self, file: Path, archive: LogArchive) -> int:
        """The last line of the file that is anchored already: 0 for a new or rotated file."""
        batches = archive.batches()
        newest = batches[-1] if batches else None
        if newest is None:
            return 0
        ends = {newest.line_first: newest.first, newest.line_last: newest.last}
        seen = {line.number: line for line in read_lines(file) if line.number in ends}
        if all(
            number in seen and _is_leaf(archive, newest, sequence, seen[number].event)
            for number, sequence in ends.items()
        ):
            return newest.line_last
        if self._begins_like(file, archive, batches):
            raise input_error(
                f"line {newest.line_last} is not what was anchored: the log was changed or cut",
                "restore it; what stands on the ledger shows what it was",
                str(file),
            )
        return 0  # the log was rotated: this file is its continuation

    def _begins_like(self, file: Path, archive: LogArchive, batches: list[KeptBatch]) -> bool:
        """Whether the file's first line is that of the file which was anchored last."""
        first = next(read_lines(file), None)
        if first is None:
            return False
        begun = next((b for b in reversed(batches) if b.line_first == first.number), None)
        return begun is not None and _is_leaf(archive, begun, begun.first, first.event)


def _measure(file: Path) -> tuple[int, int]:
    """The file's inode and size."""
    stat = file.stat()
    return stat.st_ino, stat.st_size


def _is_leaf(archive: LogArchive, batch: KeptBatch, sequence: int, event: bytes) -> bool:
    expected = archive.leaf(batch, sequence)
    return hash_event(derive_salt(batch.secret, sequence), event) == expected


class _Pending:
    """Lines that will be one batch."""

    def __init__(self, size: int) -> None:
        self.lines: list[Line] = []
        self._size = size

    @property
    def full(self) -> bool:
        return len(self.lines) >= self._size

    def add(self, line: Line) -> None:
        self.lines.append(line)

    def seal(self, log: str, first: int) -> tuple[KeptBatch, bytes]:
        """Return the batch with a fresh secret, and its leaves."""
        secret = secrets.token_bytes(SECRET_SIZE)
        leaves = [
            hash_event(derive_salt(secret, number), line.event)
            for number, line in enumerate(self.lines, first)
        ]
        batch = KeptBatch(
            log=log,
            first=first,
            last=first + len(leaves) - 1,
            root=merkle.compute_root(leaves),
            secret=secret,
            line_first=self.lines[0].number,
            line_last=self.lines[-1].number,
        )
        return batch, b"".join(leaves)
