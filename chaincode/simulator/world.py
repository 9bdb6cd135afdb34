"""The committed ledger of a simulated channel: state, private data, history, events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from chaincode.shim.iterators import KeyModification

Version = tuple[int, int]
"""(block, transaction)."""

Space = tuple[str, str]
"""(namespace, collection); the collection is "" for public state."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed value with its metadata."""

    value: bytes
    version: Version
    metadata: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommittedEvent:
    """A chaincode event as a client receives it."""

    name: str
    payload: bytes
    tx_id: str
    block: int
    chaincode: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a transaction; None deletes."""

    value: bytes | None
    is_purge: bool = False


@dataclass(slots=True)
class ReadWriteSet:
    """What a simulation read and wrote, by space and key."""

    reads: dict[Space, dict[str, Version | None]] = field(default_factory=dict)
    writes: dict[Space, dict[str, Write]] = field(default_factory=dict)
    metadata_writes: dict[Space, dict[str, dict[str, bytes]]] = field(default_factory=dict)


class World:
    """Everything that is committed on one channel."""

    def __init__(self) -> None:
        self.spaces: dict[Space, dict[str, Entry]] = {}
        self.events: list[CommittedEvent] = []
        self.height = 0
        self._history: dict[tuple[str, str], list[KeyModification]] = {}

    def get(self, space: Space, key: str) -> Entry | None:
        """The committed entry of a key."""
        return self.spaces.get(space, {}).get(key)

    def scan(self, space: Space, start: str, end: str) -> Iterator[tuple[str, Entry]]:
        """Entries from start (included) to end (excluded, "" for none), in UTF-8 byte order."""
        entries = self.spaces.get(space, {})
        low, high = start.encode(), end.encode()
        for key in sorted(entries, key=str.encode):
            if key.encode() >= low and (not high or key.encode() < high):
                yield key, entries[key]

    def history(self, namespace: str, key: str) -> list[KeyModification]:
        """A key's changes, newest first."""
        return list(reversed(self._history.get((namespace, key), [])))

    def find_conflict(self, rwset: ReadWriteSet) -> bool:
        """True if something that was read has changed since (MVCC_READ_CONFLICT)."""
        for space, reads in rwset.reads.items():
            for key, version in reads.items():
                entry = self.get(space, key)
                if (entry.version if entry else None) != version:
                    return True
        return False

    def commit(self, rwset: ReadWriteSet, tx_id: str, timestamp: datetime) -> int:
        """Apply a transaction as a block of its own; its number."""
        block, self.height = self.height, self.height + 1
        version = (block, 0)
        for space, writes in rwset.writes.items():
            for key, write in writes.items():
                self._apply(space, key, write, version)
                if not space[1]:
                    self._note(space[0], key, write, tx_id, timestamp)
        for space, changes in rwset.metadata_writes.items():
            for key, metadata in changes.items():
                entry = self.get(space, key)
                if entry is not None:  # metadata of a key that does not exist is dropped
                    merged = {**entry.metadata, **metadata}
                    self.spaces[space][key] = Entry(entry.value, version, merged)
        return block

    def _apply(self, space: Space, key: str, write: Write, version: Version) -> None:
        entries = self.spaces.setdefault(space, {})
        if write.value is None:
            entries.pop(key, None)
        else:
            before = entries.get(key)
            entries[key] = Entry(write.value, version, before.metadata if before else {})

    def _note(
        self, namespace: str, key: str, write: Write, tx_id: str, timestamp: datetime
    ) -> None:
        change = KeyModification(tx_id, write.value or b"", timestamp, write.value is None)
        self._history.setdefault((namespace, key), []).append(change)
