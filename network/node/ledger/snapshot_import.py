"""Makes a ledger from a snapshot, a peer's of Fabric or one of ours.

First every file is compared with the hashes in the metadata, then all goes into a new database.
Values of private keys are in no snapshot: they are recorded as missing, with the hashes that they
must have, and asked of other members. Source: core/ledger/kvledger/snapshot.go fn
CreateFromSnapshot and what it calls.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from fabric_protos.common import configtx_pb2
from google.protobuf.message import DecodeError

from network.node.ledger.sqlite_origin import Origin, write_origin
from network.node.ledger.sqlite_snapshot import connect
from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import StoreError
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtree import InvalidConfigTree, validate_channel_id
from network.rules.identity.identity import open_serialized_identity
from network.rules.lifecycle.collections import is_member
from network.rules.lifecycle.definitions import get_definition
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.snapshots import form
from network.rules.snapshots.eligibility import EligibilityHistory
from network.rules.snapshots.form import CollectionsEntry, MalformedSnapshot, Read, Record
from network.rules.snapshots.metadata import (
    ADDITIONAL,
    SIGNABLE,
    SnapshotMetadata,
    build_mismatch,
    open_metadata,
)
from network.rules.validation.privatedata import CollectionRules
from network.rules.validation.verdicts import CONFIG_KEY

_BATCH = 10_000
_NOT_VALIDATED = 254
"""The code of a transaction of which nothing but its id is known."""


class ImportStopped(Exception):
    """The peer is stopping."""


def load_metadata(snapshot: Path) -> SnapshotMetadata:
    """What the snapshot in a folder says of itself; the other files are not looked at.

    Raises:
        MalformedSnapshot: it cannot be read; the text is Fabric's where Fabric has one.
    """
    try:
        signable = (snapshot / SIGNABLE).read_bytes()
        additional = (snapshot / ADDITIONAL).read_bytes()
    except OSError as error:
        raise MalformedSnapshot(
            f"error while loading metadata: open {error.filename}: {error.strerror}"
        ) from error
    return open_metadata(signable, additional)


def verify_snapshot(snapshot: Path) -> SnapshotMetadata:
    """Its metadata; every file it names has the hash that stands there.

    Raises:
        MalformedSnapshot: with the file that has not.
    """
    metadata = load_metadata(snapshot)
    for name, expected in metadata.files.items():
        if Path(name).name != name:
            raise MalformedSnapshot(f"error while verifying snapshot: {name!r} is no file's name")
        actual = _hash_file(snapshot / name)
        if actual != expected:
            text = build_mismatch(name, expected.hex(), actual.hex())
            raise MalformedSnapshot(f"error while verifying snapshot: {text}")
    try:
        validate_channel_id(metadata.channel_id)
    except InvalidConfigTree as error:
        raise MalformedSnapshot(str(error)) from error
    return metadata


def import_snapshot(
    folder: Path, snapshot: Path, identity: bytes, is_stopping: Callable[[], bool] = lambda: False
) -> None:
    """A ledger in `folder` begins where the snapshot ends.

    `identity` is the peer's SerializedIdentity, which decides what private data is missing.

    Raises:
        MalformedSnapshot: the snapshot is not what it says, or cannot be read.
        StoreError: there is a ledger already, or the folder cannot be written.
        ImportStopped: `is_stopping` said so.
        network.rules.channel.config.InvalidConfig: its configuration cannot be used.
    """
    metadata = verify_snapshot(snapshot)
    store = SqliteStore.create(folder, metadata.channel_id)
    path = store.path
    store.close()
    try:
        with closing(connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            _Import(connection, snapshot, metadata, identity, is_stopping).run()
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{path}: the snapshot cannot be taken over: {error}") from error


class _Import:
    def __init__(
        self,
        connection: sqlite3.Connection,
        snapshot: Path,
        metadata: SnapshotMetadata,
        identity: bytes,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._is_stopping = is_stopping
        self._connection = connection
        self._snapshot = snapshot
        self._metadata = metadata
        self._identity = identity

    def run(self) -> None:
        self._import_txids()
        collections = self._import_collections()
        self._import_public_state()
        config, config_block = self._read_config()
        self._import_hashes(collections, config)
        self._write_facts(config_block)

    def _import_txids(self) -> None:
        last = self._metadata.last_block
        with self._open(form.TXIDS) as files:
            if files is None:
                return
            count = form.open_number(files.metadata)
            self._insert(
                "INSERT INTO transactions VALUES (?, ?, ?, ?, x'')",
                (
                    (form.open_text(files.data), last, index, _NOT_VALIDATED)
                    for index in range(count)
                ),
            )

    def _import_collections(self) -> list[CollectionsEntry]:
        with self._open(form.CONFIG_HISTORY) as files:
            if files is None:
                return []
            count = form.open_number(files.metadata)
            entries = [
                form.open_collections(form.open_bytes(files.data), form.open_bytes(files.data))
                for _ in range(count)
            ]
        self._insert(
            "INSERT INTO former_collections VALUES (?, ?, ?)",
            ((entry.chaincode, entry.block, entry.package) for entry in entries),
        )
        return entries

    def _import_public_state(self) -> None:
        self._insert(
            "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
            (
                (namespace, record.key, record.value, record.metadata, *record.version)
                for namespace, record in self._records(form.PUBLIC_STATE)
            ),
        )

    def _import_hashes(
        self, collections: Iterable[CollectionsEntry], config: ChannelConfig
    ) -> None:
        def belongs(envelope: Any) -> bool:
            return is_member(envelope, self._identity, config.msps)

        msp_id, _ = open_serialized_identity(self._identity)
        history = EligibilityHistory(collections, msp_id, belongs)
        state = _Lifecycle(self._connection)
        rules = CollectionRules(cache(lambda name: get_definition(state, name)), belongs)
        batch: list[_Hashed] = []
        for joined, record in self._records(form.PRIVATE_HASHES):
            namespace, collection = form.open_hashed_namespace(joined)
            block = record.version.block
            batch.append(
                _Hashed(
                    namespace,
                    collection,
                    record,
                    history.is_eligible(namespace, collection, block),
                    rules.expires(namespace, collection, block),
                )
            )
            if len(batch) >= _BATCH:
                self._insert_hashes(batch)
                batch.clear()
        self._insert_hashes(batch)

    def _insert_hashes(self, batch: list[_Hashed]) -> None:
        self._connection.executemany(
            "INSERT INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    *(one.namespace, one.collection, one.record.key, one.record.value),
                    *(one.record.metadata, *one.record.version),
                )
                for one in batch
            ),
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO missing VALUES (?, ?, ?, ?, x'', ?)",
            (
                (*one.record.version, one.namespace, one.collection, one.expires)
                for one in batch
                if one.is_eligible
            ),
        )
        self._connection.executemany(
            "INSERT INTO expected_hashes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    *(*one.record.version, one.namespace, one.collection),
                    *(one.record.key, one.record.value, one.expires),
                )
                for one in batch
                if one.is_eligible
            ),
        )
        self._connection.executemany(
            "INSERT INTO expiry VALUES (?, ?, ?, ?, ?, ?)",
            (
                (one.expires, one.namespace, one.collection, one.record.key, *one.record.version)
                for one in batch
                if one.expires is not None
            ),
        )

    def _read_config(self) -> tuple[ChannelConfig, int]:
        row = self._connection.execute(
            "SELECT value, block FROM state WHERE namespace = '' AND key = ?",
            (CONFIG_KEY.encode(),),
        ).fetchone()
        if row is None:
            raise MalformedSnapshot("the snapshot holds no channel configuration")
        return build_config(self._metadata.channel_id, row[0]), row[1]

    def _write_facts(self, config_block: int) -> None:
        metadata = self._metadata
        self._connection.executemany(
            "UPDATE facts SET value = ? WHERE name = ?",
            (
                (metadata.last_block + 1, "height"),
                (config_block, "last_config"),
                (metadata.commit_hash, "commit_hash"),
            ),
        )
        write_origin(
            self._connection,
            Origin(metadata.last_block, metadata.last_hash, metadata.previous_hash),
        )

    def _records(self, name: str) -> Iterator[tuple[str, Record]]:
        with self._open(name) as files:
            if files is None:
                return
            for namespace, count in form.open_namespaces(files.metadata):
                for index in range(count):
                    if index % _BATCH == 0 and self._is_stopping():
                        raise ImportStopped
                    record = form.open_record(form.open_bytes(files.data))
                    if record.version.block > self._metadata.last_block:
                        raise MalformedSnapshot(f"{name}.data: a record is newer than the snapshot")
                    yield namespace, record

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        try:
            self._connection.executemany(statement, rows)
        except sqlite3.IntegrityError as error:
            raise MalformedSnapshot("an entry stands in a file twice") from error

    def _open(self, name: str) -> _Pair:
        return _Pair(self._snapshot, name, present=f"{name}.data" in self._metadata.files)


@dataclass(frozen=True, slots=True)
class _Hashed:
    namespace: str
    collection: str
    record: Record
    is_eligible: bool
    expires: int | None


@dataclass(frozen=True, slots=True)
class _Files:
    data: Read
    metadata: Read


class _Pair:
    """A data file and its metadata, open after their first bytes; None where there are none.

    What the metadata does not vouch for is not read, even if it lies there. At the end nothing may
    be left in either.
    """

    def __init__(self, snapshot: Path, name: str, *, present: bool) -> None:
        self._paths = [snapshot / f"{name}.data", snapshot / f"{name}.metadata"]
        self._present = present
        self._open: list[BinaryIO] = []

    def __enter__(self) -> _Files | None:
        if not self._present:
            return None
        self._open = [path.open("rb") for path in self._paths]
        for file in self._open:
            form.open_format(file.read)
        return _Files(self._open[0].read, self._open[1].read)

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        try:
            if kind is None and any(file.read(1) for file in self._open):
                raise MalformedSnapshot(f"{self._paths[0].stem}: there is more than is counted")
        finally:
            for file in self._open:
                file.close()


class _Lifecycle:
    """The `_lifecycle` namespace as taken over (network.rules.lifecycle.definitions)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> bytes | None:
        row = self._connection.execute(
            "SELECT value FROM state WHERE namespace = ? AND key = ?", (LIFECYCLE, key.encode())
        ).fetchone()
        return row[0] if row else None


def build_config(channel_id: str, stored: bytes) -> ChannelConfig:
    """The configuration in a ConfigEnvelope as state holds it.

    Raises:
        network.rules.channel.config.InvalidConfig: it cannot be used.
        MalformedSnapshot: it cannot be read.
    """
    try:
        envelope = configtx_pb2.ConfigEnvelope.FromString(stored)
    except DecodeError as error:
        raise MalformedSnapshot("the channel configuration in state cannot be read") from error
    return ChannelConfig.from_config(channel_id, envelope.config)


def _hash_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise MalformedSnapshot(
            f"error while verifying snapshot: open {path}: {error.strerror}"
        ) from error
