"""A batch of anchors on disk: what is needed to anchor it, and to prove any record of it later.

`batches/<batch>/` holds

- `leaves.ndjson`: the leaves in order, one a line, byte for byte what the tree hashes;
- `offsets.bin`: where each line begins, 8 bytes a leaf (little endian);
- `tree.bin`: the Merkle tree's hashes level by level, leaves first: 64 bytes a leaf, from which
  every proof is read in O(log n), where a million single proofs would take ten times as much;
- `batch.json`: the batch's own facts, written last at each stage.

Handles and digests only, as on the ledger. Leaves are appended while records are sealed; what was
cut off by an interruption is dropped when the batch is opened again.
"""

import mmap
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import byteorder

from admin.errors import input_error
from chaincode import canonical, merkle
from chaincode.records.model import Anchor, Membership
from network.topology.safefiles import write_file

FORMAT = "medfabric-batch/1"
HASH = merkle.HASH_SIZE


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What is known of a batch; root and place are empty until they are there.

    `sources` is the digest of the list of sources, by which an interrupted run is found again.
    """

    batch: str
    sources: bytes
    size: int = 0
    root: bytes = b""
    transaction_id: str = ""
    block_number: int = 0
    previous: str = ""
    format: str = FORMAT

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

    def cut(self, count: int) -> list[str]:
        """Keep `count` leaves; returns the records of those that were dropped."""
        if not self.leaves.exists():
            return []
        with self.leaves.open("rb+") as file:
            for _ in range(count):
                file.readline()
            end = file.tell()
            dropped = [canonical.decode(Anchor, line[:-1]).record for line in file]
            file.truncate(end)
        return dropped

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
        if not self.leaves.is_file() or not self.leaves.stat().st_size:
            return None
        with self.leaves.open("rb") as file, _mapped(file.fileno()) as content:
            at = content.find(f'"record":"{record}"'.encode())
            if at < 0:
                return None
            begin = content.rfind(b"\n", 0, at) + 1
        return self._index_of(begin)

    def membership(self, index: int) -> Membership:
        """Return the proof that the leaf at `index` is in the batch."""
        facts = self.facts
        with self.leaves.open("rb") as file:
            file.seek(self._offset(index))
            anchor = canonical.decode(Anchor, file.readline()[:-1])
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

    def _index_of(self, offset: int) -> int:
        low, high = 0, (self.folder / "offsets.bin").stat().st_size // 8
        while low < high:
            middle = (low + high) // 2
            if self._offset(middle) < offset:
                low = middle + 1
            else:
                high = middle
        return low


def write_leaves(file: Path, leaves: Iterable[bytes]) -> None:
    """The leaves are appended to the file, one a line."""
    with file.open("ab", buffering=1 << 20) as target:
        for leaf in leaves:
            target.write(leaf + b"\n")


def list_batches(folder: Path) -> list[BatchFolder]:
    """Return the batches in an organisation's folder, by name."""
    return [BatchFolder(file.parent) for file in sorted(folder.glob("*/batch.json"))]


def find_in_batches(folder: Path, record: str) -> tuple[BatchFacts, Membership] | None:
    """Return the anchored batch that holds the record, and its proof; None if none does."""
    for batch in list_batches(folder):
        facts = batch.facts
        if facts.anchored and (index := batch.find(record)) is not None:
            return facts, batch.membership(index)
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


def _mapped(handle: int) -> mmap.mmap:
    return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
