"""The snapshots that a ledger owes: asked for by block, made when that block is the last one.

While a snapshot is made no block is committed, so that it shows exactly its block; everything else
goes on. Requests are kept in a file beside the ledger and survive a restart; one whose snapshot was
interrupted is made when the peer starts again. Texts and order of checks are Fabric's
(core/ledger/kvledger/snapshot_mgmt.go).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from network.node.ledger.snapshot_export import (
    ExportStopped,
    export_snapshot,
    get_snapshot_folder,
)
from network.node.ledger.store import StoreError
from network.topology.safefiles import write_file

logger = logging.getLogger("kvledger")

REQUESTS = "snapshot-requests"


class SnapshotRefused(Exception):
    """The request cannot be taken or taken back; the text is Fabric's."""


class SnapshotRequests:
    """One ledger's requests. Every method may be called from any thread."""

    def __init__(self, database: Path, channel_id: str, get_height: Callable[[], int]) -> None:
        """`enable` must follow before a request can be taken; `get_height` counts blocks."""
        self._database = database
        self._channel_id = channel_id
        self._get_height = get_height
        self._file = database.with_name(REQUESTS)
        self._root: Path | None = None
        self._condition = threading.Condition()
        self._pending: set[int] = set()
        self._committing: int | None = None
        self._making: int | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def enable(self, root: Path) -> None:
        """Snapshots are made below `root`; those that a restart interrupted are made now.

        Raises:
            StoreError: the requests kept cannot be read.
        """
        with self._condition:
            self._root = root
            self._pending = self._load()
            last = self._get_height() - 1
            # By a peer that was killed between a snapshot's last step and its request's.
            for block in sorted(self._pending):
                if block <= last and self._exists(block):
                    self._forget(block)
            if last == min(self._pending, default=None):
                self._start(last)

    def submit(self, block: int) -> None:
        """A snapshot will be made at the block; 0 stands for the last one.

        Raises:
            SnapshotRefused: that block is past, or its snapshot was made or asked for already.
            OSError: the request cannot be kept.
        """
        with self._condition:
            if self._root is None:
                raise SnapshotRefused("this ledger makes no snapshots")
            last = self._get_height() - 1
            least = last if self._committing is None else self._committing
            block = block or least
            if block < least:
                raise SnapshotRefused(
                    f"requested snapshot for block number {block} cannot be less than the last"
                    f" committed block number {least}"
                )
            if block == last and self._exists(block):
                raise SnapshotRefused(f"snapshot already generated for block number {block}")
            if block in self._pending:
                raise SnapshotRefused(f"duplicate snapshot request for block number {block}")
            self._keep(self._pending | {block})
            if block == last:
                self._start(block)

    def cancel(self, block: int) -> None:
        """No snapshot will be made at the block.

        Raises:
            SnapshotRefused: it is being made, or was not asked for.
            OSError: this cannot be kept.
        """
        with self._condition:
            if self._making == block:
                raise SnapshotRefused(
                    "cannot cancel the snapshot request because it is under processing"
                )
            if block not in self._pending:
                raise SnapshotRefused(f"no snapshot request exists for block number {block}")
            self._keep(self._pending - {block})

    @property
    def pending(self) -> list[int]:
        """The blocks at which snapshots will be or are being made, in order."""
        with self._condition:
            return sorted(self._pending)

    @contextmanager
    def committing(self, first: int, last: int) -> Iterator[int]:
        """Blocks are committed together inside: after the snapshot that is being made.

        Yields up to which block they may go, at most `last`: the next one at which a snapshot is
        due. What is asked for meanwhile is no earlier than that.
        """
        with self._condition:
            if self._making is not None:
                logger.info(
                    "[%s] Block [%d] waits for the snapshot at block [%d]",
                    self._channel_id, first, self._making,
                )  # fmt: skip
            self._committing = first
            self._condition.wait_for(lambda: self._making is None)
            self._committing = min((b for b in self._pending if first <= b <= last), default=last)
        try:
            yield self._committing
        finally:
            with self._condition:
                self._committing = None
                newest = self._get_height() - 1
                if newest >= first and newest in self._pending:
                    self._start(newest)

    def close(self) -> None:
        """A snapshot being made is given up; its request is kept."""
        with self._condition:
            self._stopping = True
            thread = self._thread
        if thread is not None:
            thread.join()

    # --- inside the lock ------------------------------------------------------------------------

    def _start(self, block: int) -> None:
        if self._stopping:
            return
        self._making = block
        self._thread = threading.Thread(target=self._make, args=(block,), name="snapshot")
        self._thread.start()

    def _exists(self, block: int) -> bool:
        assert self._root is not None
        return get_snapshot_folder(self._root, self._channel_id, block).exists()

    def _load(self) -> set[int]:
        try:
            return {int(line) for line in self._file.read_text().split()}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{self._file}: the requested snapshots cannot be read: {error}. Remove the file;"
                " snapshots that are still wanted must be requested again."
            ) from error

    def _keep(self, pending: set[int]) -> None:
        write_file(self._file, "".join(f"{block}\n" for block in sorted(pending)).encode())
        self._pending = pending

    # --- in a thread of its own -----------------------------------------------------------------

    def _make(self, block: int) -> None:
        assert self._root is not None
        done = True
        try:
            logger.info("[%s] Generating snapshot at block [%d]", self._channel_id, block)
            folder = export_snapshot(self._database, self._root, lambda: self._stopping)
            logger.info("[%s] Generated snapshot in %s", self._channel_id, folder)
        except ExportStopped:
            done = False
        except Exception:
            # As in Fabric: the request is gone, the ledger goes on.
            logger.exception("[%s] Failed to generate snapshot at [%d]", self._channel_id, block)
        finally:
            with self._condition:
                self._making = None
                if done:
                    self._forget(block)
                self._condition.notify_all()

    def _forget(self, block: int) -> None:
        try:
            self._keep(self._pending - {block})
        except OSError:
            logger.exception("[%s] Failed to delete the snapshot request", self._channel_id)
