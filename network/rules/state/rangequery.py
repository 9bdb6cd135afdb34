"""Summaries of range reads: raw up to 50 results, a tree of hashes beyond.

A simulation sums up what an iterator returned; validation sums up the same range again and
compares. The tree is Fabric's own (not RFC 6962): 51 items make a node, the rest folds up at the
end. Source: rwsetutil/query_results_helper.go, validation/rangequery_validator.go.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2

from network.rules.state.rwset import version_of
from network.rules.state.snapshot import Version

MAX_DEGREE = 50
_MIN_DEGREE = 2


class RangeSummary:
    """Sums up the results of one range read in the order in which they are returned."""

    def __init__(self, max_degree: int = MAX_DEGREE) -> None:
        self._max_degree = max_degree
        self._pending: list[Any] = []
        self._levels: dict[int, list[bytes]] = {}
        self.max_level = 1

    def add(self, key: str, version: Version | None) -> None:
        """Take in the next result."""
        self._pending.append(build_read(key, version))
        if len(self._pending) > self._max_degree:
            self._flush()

    @property
    def top_hashes(self) -> list[bytes]:
        """The hashes at the highest level so far."""
        return self._levels.get(self.max_level, [])

    def finish(self) -> tuple[list[Any], list[bytes] | None]:
        """Return (raw reads, None), or ([], hashes of the highest level) once hashing began."""
        if self.max_level == 1 and not self._levels.get(1):
            return self._pending, None
        if self._pending:
            self._flush()
        for level in range(1, self.max_level):
            hashes = self._levels.pop(level, [])
            if hashes:
                # A single hash moves up as it is; only several are hashed together.
                folded = hashes[0] if len(hashes) == 1 else _combine(hashes)
                self._levels.setdefault(level + 1, []).append(folded)
        if len(self.top_hashes) > self._max_degree:
            combined = _combine(self._levels.pop(self.max_level))
            self.max_level += 1
            self._levels[self.max_level] = [combined]
        return [], self.top_hashes

    def _flush(self) -> None:
        reads = kv_rwset_pb2.QueryReads(kv_reads=self._pending)
        self._pending = []
        level, node = 1, sha256(reads.SerializeToString()).digest()
        while True:
            hashes = self._levels.setdefault(level, [])
            hashes.append(node)
            self.max_level = max(self.max_level, level)
            if len(hashes) <= self._max_degree:
                return
            node = _combine(self._levels.pop(level))
            level += 1


def build_read(key: str, version: Version | None) -> Any:
    """Return a KVRead; its version is absent for a missing key, empty for (0, 0)."""
    read = kv_rwset_pb2.KVRead(key=key)
    if version is not None:
        read.version.SetInParent()
        read.version.block_num, read.version.tx_num = version
    return read


def fill_summary(info: Any, summary: RangeSummary) -> None:
    """Put the summary into a RangeQueryInfo; without results its oneof stays unset."""
    reads, hashes = summary.finish()
    if hashes is not None:
        merkle = info.reads_merkle_hashes
        merkle.max_degree = MAX_DEGREE
        merkle.max_level = summary.max_level
        merkle.max_level_hashes.extend(hashes)
    elif reads:
        info.raw_reads.kv_reads.extend(reads)


def check_range(info: Any, results: Iterator[tuple[str, Version]]) -> bool:
    """Return whether `results`, the range read again, are what `info` recorded."""
    if info.WhichOneof("reads_info") == "reads_merkle_hashes":
        return _check_hashes(info.reads_merkle_hashes, results)
    return _check_raw(info.raw_reads.kv_reads, results)


def _check_raw(reads: Any, results: Iterator[tuple[str, Version]]) -> bool:
    for read in reads:
        # A raw read without version makes a real peer panic; here it equals nothing.
        if next(results, None) != (read.key, version_of(read)):
            return False
    return next(results, None) is None


def _check_hashes(expected: Any, results: Iterator[tuple[str, Version]]) -> bool:
    if expected.max_degree < _MIN_DEGREE:
        # A real peer cannot build such a tree and stops; nothing honest records it.
        return False
    summary = RangeSummary(expected.max_degree)
    for key, version in results:
        summary.add(key, version)
        # Give up at the first node that differs instead of reading a long range to its end.
        if summary.max_level < expected.max_level:
            continue
        seen, wanted = summary.top_hashes, expected.max_level_hashes
        if len(seen) > len(wanted) or seen != list(wanted[: len(seen)]):
            return False
    _, hashes = summary.finish()
    return (
        hashes is not None
        and summary.max_level == expected.max_level
        and hashes == list(expected.max_level_hashes)
    )


def _combine(hashes: list[bytes]) -> bytes:
    return sha256(b"".join(hashes)).digest()
