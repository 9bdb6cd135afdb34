"""Makes a ledger's snapshot as Fabric does: a folder of files named and hashed in its metadata.

`export_snapshot` writes what the ledger holds at its last block into a temporary folder under
`<root>/temp` and renames it to `<root>/completed/<channel>/<block>`, so that a snapshot is there
whole or not at all. The caller sees to it that no block is committed meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from fabric_protos.common import common_pb2

from network.node.ledger.sqlite_origin import list_former_collections, read_origin
from network.node.ledger.sqlite_snapshot import connect
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.snapshots import form
from network.rules.snapshots.collections import END_KEY, FIRST_KEY, list_collections
from network.rules.snapshots.form import CollectionsEntry, Record
from network.rules.snapshots.metadata import ADDITIONAL, SIGNABLE, SnapshotMetadata
from network.rules.state.snapshot import Version
from network.rules.wire import encode_bytes, encode_varint

_MODE = 0o444
_PATIENCE = 1000
"""Rows between two looks at whether to stop."""


class ExportStopped(Exception):
    """The peer is stopping; the snapshot will be made when it starts again."""


def get_snapshot_folder(root: Path, channel_id: str, block: int) -> Path:
    """Where the snapshot of a channel at a block is, once it is made."""
    return root / "completed" / channel_id / str(block)


def export_snapshot(
    database: Path, root: Path, is_stopping: Callable[[], bool] = lambda: False
) -> Path:
    """The snapshot of the ledger in `database` stands in the folder returned.

    Raises:
        ExportStopped: `is_stopping` said so.
        OSError, sqlite3.Error: it cannot be read or written; nothing is left.
    """
    with closing(connect(database, readonly=True)) as connection:
        connection.execute("BEGIN")
        return _Export(connection, root, is_stopping).run()


class _Export:
    def __init__(
        self, connection: sqlite3.Connection, root: Path, is_stopping: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._root = root
        self._is_stopping = is_stopping
        self._facts = dict(connection.execute("SELECT name, value FROM facts"))
        self._files: dict[str, bytes] = {}

    def run(self) -> Path:
        channel_id, block = str(self._facts["channel"]), int(self._facts["height"]) - 1
        final = get_snapshot_folder(self._root, channel_id, block)
        temporary = self._make_temporary(f"{channel_id}-{block}-")
        try:
            self._write_txids(temporary)
            self._write_config_history(temporary)
            self._write_state(temporary, form.PUBLIC_STATE, self._public_state())
            self._write_state(temporary, form.PRIVATE_HASHES, self._private_hashes())
            self._write_metadata(temporary, channel_id, block)
            _sync_folder(temporary)
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(final.parent)
        return final

    def _make_temporary(self, prefix: str) -> Path:
        folder = self._root / "temp"
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{prefix}*"):  # by a peer that was killed
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))

    def _write_txids(self, folder: Path) -> None:
        rows = self._rows(
            "SELECT DISTINCT tx_id FROM transactions"
            " ORDER BY length(CAST(tx_id AS BLOB)), CAST(tx_id AS BLOB)"
        )
        count = self._write(folder, form.TXIDS, (encode_bytes(tx.encode()) for (tx,) in rows))
        self._write_counted(folder, form.TXIDS, encode_varint(count), count)

    def _write_config_history(self, folder: Path) -> None:
        pairs = sorted(map(form.encode_collections, self._list_collections()))
        entries = (encode_bytes(key) + encode_bytes(value) for key, value in pairs)
        count = self._write(folder, form.CONFIG_HISTORY, entries)
        self._write_counted(folder, form.CONFIG_HISTORY, encode_varint(count), count)

    def _list_collections(self) -> list[CollectionsEntry]:
        writes = self._rows(
            "SELECT key, block, value FROM history WHERE namespace = ? AND key >= ? AND key < ?"
            " ORDER BY key, block, tx",
            (LIFECYCLE, FIRST_KEY.encode(), END_KEY.encode()),
        )
        return list_collections(
            ((key.decode(), block, value) for key, block, value in writes),
            list_former_collections(self._connection),
        )

    def _write_state(self, folder: Path, name: str, records: Iterator[tuple[str, Record]]) -> None:
        rows: list[tuple[str, int]] = []

        def encode() -> Iterator[bytes]:
            for namespace, record in records:
                if not rows or rows[-1][0] != namespace:
                    rows.append((namespace, 0))
                rows[-1] = (namespace, rows[-1][1] + 1)
                yield encode_bytes(form.encode_record(record))

        count = self._write(folder, name, encode())
        self._write_counted(folder, name, form.encode_namespaces(rows), count)

    def _public_state(self) -> Iterator[tuple[str, Record]]:
        for namespace, key, value, metadata, block, tx in self._rows(
            "SELECT namespace, key, value, metadata, block, tx FROM state ORDER BY namespace, key"
        ):
            yield namespace, Record(key, value, metadata, Version(block, tx))

    def _private_hashes(self) -> Iterator[tuple[str, Record]]:
        places = self._connection.execute("SELECT DISTINCT namespace, collection FROM hashes")
        for joined, at in sorted((form.hashed_namespace(*at), at) for at in places.fetchall()):
            for key, value, metadata, block, tx in self._rows(
                "SELECT key_hash, value_hash, metadata, block, tx FROM hashes"
                " WHERE namespace = ? AND collection = ? ORDER BY key_hash",
                at,
            ):
                yield joined, Record(key, value, metadata, Version(block, tx))

    def _write_metadata(self, folder: Path, channel_id: str, block: int) -> None:
        last_hash, previous_hash = self._read_hashes(block)
        metadata = SnapshotMetadata(
            channel_id=channel_id,
            last_block=block,
            last_hash=last_hash,
            previous_hash=previous_hash,
            files=self._files,
            commit_hash=self._facts["commit_hash"],
        )
        for name, content in (
            (SIGNABLE, metadata.build_signable()),
            (ADDITIONAL, metadata.build_additional()),
        ):
            with _create(folder / name) as file:
                file.write(content)

    def _read_hashes(self, block: int) -> tuple[bytes, bytes]:
        row = self._connection.execute(
            "SELECT hash, raw FROM blocks WHERE number = ?", (block,)
        ).fetchone()
        if row is None:
            origin = read_origin(self._connection)
            return origin.last_hash, origin.previous_hash
        return row[0], common_pb2.Block.FromString(row[1]).header.previous_hash

    def _write(self, folder: Path, name: str, entries: Iterator[bytes]) -> int:
        """The data file holds the entries; how many. Without any there is no file."""
        count, digest = 0, sha256()
        first = next(entries, None)
        if first is None:
            return 0
        with _create(folder / f"{name}.data") as file:
            for part in (bytes([form.FORMAT]), first):
                file.write(part)
                digest.update(part)
            count = 1
            for entry in entries:
                file.write(entry)
                digest.update(entry)
                count += 1
        self._files[f"{name}.data"] = digest.digest()
        return count

    def _write_counted(self, folder: Path, name: str, content: bytes, count: int) -> None:
        if count:
            content = bytes([form.FORMAT]) + content
            with _create(folder / f"{name}.metadata") as file:
                file.write(content)
            self._files[f"{name}.metadata"] = sha256(content).digest()

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> Iterator[Any]:
        for index, row in enumerate(self._connection.execute(statement, values)):
            if index % _PATIENCE == 0 and self._is_stopping():
                raise ExportStopped
            yield row


@contextmanager
def _create(path: Path) -> Iterator[BinaryIO]:
    """A new read-only file; it is on disk afterwards."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(handle, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
