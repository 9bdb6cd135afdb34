"""A batch of anchors on disk: what is needed to anchor it, and to prove any record of it later.

`batches/<batch>/` holds

- `leaves.ndjson`: the leaves in order, one a line, byte for byte what the tree hashes;
- `sources.bin`: the fingerprint of what each leaf was sealed from, 8 bytes a leaf;
- `offsets.bin`: where each line begins, 8 bytes a leaf (little endian);
- `tree.bin`: the Merkle tree's hashes level by level, leaves first: 64 bytes a leaf, from which
  every proof is read in O(log n), where a million single proofs would take ten times as much;
- `batch.json`: the batch's own facts, written last at each stage;
- `records.bin`: which leaf is which record's, 8 bytes a leaf; made when it is first asked for.

Handles and digests only, as on the ledger. Leaves are appended while records are sealed; what was
cut off by an interruption is dropped when the batch is opened again.
"""

import hmac
import os
import re
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from sys import byteorder
from typing import BinaryIO

from admin.errors import input_error
from admin.procedures.care.batchsources import FINGERPRINT
from admin.procedures.care.sealer import HANDLE_BYTES
from chaincode import canonical, merkle
from chaincode.records.model import Anchor, Membership
from network.topology.safefiles import write_file

FORMAT = "medfabric-batch/1"
HASH = merkle.HASH_SIZE
_RECORD = b'"record":"'
_HANDLE = re.compile("[0-9a-f]{8,}")


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What is known of a batch; root and place are empty until they are there.

    `sources` is the digest of the list of sources, by which an interrupted run is found again. From
    `seed` come the handles of its records, so that a run that goes on knows those of the one before
    it: what that one sealed and had no time to note is sealed over.
    """

    batch: str
    sources: bytes
    size: int = 0
    root: bytes = b""
    transaction_id: str = ""
    block_number: int = 0
    previous: str = ""
    format: str = FORMAT
    seed: bytes = b""

    def record(self, index: int) -> str:
        """Return the handle of the batch's own record of this index; nobody guesses it."""
        mac = hmac.digest(self.seed, index.to_bytes(8, "big"), "sha256")
        return mac[:HANDLE_BYTES].hex()

    @property
    def anchored(self) -> bool:
        """Whether it is on the ledger."""
        return bool(self.transaction_id)


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """One batch's folder."""

    folder: Path

    @property
    def facts(self) -> BatchFacts:
        """The batch's facts. Raises FaultError if the folder holds none."""
        file = self.folder / "batch.json"
        if not file.is_file():
            raise input_error("the folder holds no batch", "", str(self.folder))
        return canonical.decode(BatchFacts, file.read_bytes(), "batch.json")

    def keep(self, facts: BatchFacts) -> None:
        """These are the batch's facts from now on."""
        write_file(self.folder / "batch.json", canonical.encode(facts))

    @property
    def leaves(self) -> Path:
        """The file of leaves."""
        return self.folder / "leaves.ndjson"

    @contextmanager
    def appending(self) -> Iterator["LeafWriter"]:
        """Write further leaves; what was written is there when this ends, however it ends."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.leaves.open("ab") as leaves, self._sources.open("ab") as sources:
            yield LeafWriter(leaves, sources)

    def fingerprints(self) -> bytes:
        """Return the fingerprints of what the batch's own leaves were sealed from, in order."""
        return self._sources.read_bytes() if self._sources.exists() else b""

    def read_leaves(self, first: int) -> Iterator[Anchor]:
        """Yield the anchors from an index on."""
        if not self.leaves.exists():
            return
        with self.leaves.open("rb") as file:
            for line in islice(file, first, None):
                yield canonical.decode(Anchor, line[:-1])

    def trim(self) -> int:
        """Drop what an interruption cut off; returns how many whole leaves there are."""
        if not self.leaves.exists():
            return 0
        with self.leaves.open("rb+") as file:
            count, end = 0, 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                count, end = count + 1, end + len(line)
            file.truncate(end)
        return count

    def cut(self, begun: int, own: int) -> list[str]:
        """Keep the `begun` leaves of an earlier batch and `own` after them.

        Returns the records of those that were dropped.
        """
        if self._sources.exists():
            os.truncate(self._sources, min(own * FINGERPRINT, self._sources.stat().st_size))
        if not self.leaves.exists():
            return []
        with self.leaves.open("rb+") as file:
            for _ in range(begun + own):
                file.readline()
            end = file.tell()
            dropped = [canonical.decode(Anchor, line[:-1]).record for line in file]
            file.truncate(end)
        return dropped

    @property
    def _sources(self) -> Path:
        return self.folder / "sources.bin"

    def build_tree(self) -> merkle.Tree:
        """Hash every leaf, write tree and offsets, and return the tree."""
        offsets = array("Q")
        tree = merkle.Tree(self._hash_leaves(offsets))
        if byteorder == "big":
            offsets.byteswap()
        write_file(self.folder / "offsets.bin", offsets.tobytes())
        write_file(self.folder / "tree.bin", b"".join(tree.levels))
        return tree

    def _hash_leaves(self, offsets: "array[int]") -> Iterator[bytes]:
        hash_leaf, at = merkle.hash_leaf, 0
        with self.leaves.open("rb", buffering=1 << 20) as file:
            for line in file:
                offsets.append(at)
                at += len(line)
                yield hash_leaf(line[:-1])

    def find(self, record: str) -> int | None:
        """Return the index of a record's leaf, None if the batch does not hold it."""
        if not _HANDLE.fullmatch(record):
            return None
        file = self.folder / "records.bin"
        if not file.is_file():
            self._write_index(file)
        wanted = _prefix(record.encode())
        with file.open("rb") as content:
            entries = file.stat().st_size // 8
            for number in range(_lowest(content, entries, wanted << 32), entries):
                prefix, index = divmod(_word(content, number), 1 << 32)
                if prefix != wanted:
                    break
                if self._anchor(index).record == record:
                    return index
        return None

    def _write_index(self, file: Path) -> None:
        """Each word is the beginning of a record's handle, 32 bits, before its leaf's index."""
        words = array("Q")
        with self.leaves.open("rb", buffering=1 << 20) as leaves:
            for index, line in enumerate(leaves):
                at = line.index(_RECORD) + len(_RECORD)
                words.append(_prefix(line[at : at + 8]) << 32 | index)
        words = array("Q", sorted(words))
        if byteorder == "big":
            words.byteswap()
        # Whoever asks first writes it, and two may at once.
        partial = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
        partial.write_bytes(words)
        partial.replace(file)

    def membership(self, index: int) -> Membership:
        """Return the proof that the leaf at `index` is in the batch."""
        facts = self.facts
        anchor = self._anchor(index)
        starts = _level_starts(facts.size)
        with (self.folder / "tree.bin").open("rb") as tree:
            proof = []
            for level, number in merkle.inclusion_nodes(index, facts.size):
                tree.seek((starts[level] + number) * HASH)
                proof.append(tree.read(HASH))
        return Membership(facts.batch, index, anchor, tuple(proof))

    def _offset(self, index: int) -> int:
        with (self.folder / "offsets.bin").open("rb") as file:
            file.seek(index * 8)
            return int.from_bytes(file.read(8), "little")

    def _anchor(self, index: int) -> Anchor:
        with self.leaves.open("rb") as file:
            file.seek(self._offset(index))
            return canonical.decode(Anchor, file.readline()[:-1])


class LeafWriter:
    """Appends leaves to a batch with the fingerprints of what they were sealed from."""

    def __init__(self, leaves: BinaryIO, sources: BinaryIO) -> None:
        self._leaves = leaves
        self._sources = sources

    def add(self, leaves: Sequence[bytes], fingerprints: Sequence[bytes]) -> None:
        """These leaves are in the files; a kill does not lose them, a power failure may."""
        self._leaves.write(b"".join(leaf + b"\n" for leaf in leaves))
        self._leaves.flush()
        self._sources.write(b"".join(fingerprints))
        self._sources.flush()


def write_leaves(file: Path, leaves: Iterable[bytes]) -> None:
    """The leaves are appended to the file, one a line."""
    with file.open("ab", buffering=1 << 20) as target:
        for leaf in leaves:
            target.write(leaf + b"\n")


def list_batches(folder: Path) -> list[BatchFolder]:
    """Return the batches in an organisation's folder, by name."""
    return [BatchFolder(file.parent) for file in sorted(folder.glob("*/batch.json"))]


def find_membership(folder: Path, record: str) -> Membership | None:
    """Return the proof that an anchored batch holds the record; None if none does."""
    for batch in list_batches(folder):
        if batch.facts.anchored and (index := batch.find(record)) is not None:
            return batch.membership(index)
    return None


def _level_starts(size: int) -> list[int]:
    """Return the number of the first node of each level in the tree's file."""
    starts, at = [], 0
    while True:
        starts.append(at)
        if size <= 1:
            return starts
        at += size
        size = (size + 1) // 2


def _prefix(handle: bytes) -> int:
    return int(handle[:8], 16)


def _word(file: BinaryIO, number: int) -> int:
    file.seek(number * 8)
    return int.from_bytes(file.read(8), "little")


def _lowest(file: BinaryIO, count: int, wanted: int) -> int:
    """Return the number of the first word that is not below `wanted`."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if _word(file, middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low
