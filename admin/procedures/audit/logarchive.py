"""What an organisation keeps of its anchored logs: secrets and leaves, never the events.

`<folder>/<log>/<first>.json` tells of a batch and holds its secret; `<first>.leaves` its leaf
hashes, 32 bytes each. A batch is written before it is submitted, so that one whose answer was lost
is known again from the ledger. Whoever loses the secret can prove none of its events any more.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from admin.errors import input_error
from admin.procedures.audit.logproofs import derive_salt, hash_event
from chaincode import canonical, merkle
from chaincode.errors import InvalidArgument
from network.topology.safefiles import write_file

HASH = merkle.HASH_SIZE


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """A batch as it is kept.

    `line_first` and `line_last` are where it stood in the file that was anchored, counted from 1;
    an empty `tx_id` means that nobody knows yet whether it came to the ledger.
    """

    log: str
    first: int
    last: int
    root: bytes
    secret: bytes
    line_first: int
    line_last: int
    tx_id: str = ""

    @property
    def size(self) -> int:
        """How many events it holds."""
        return self.last - self.first + 1


class LogArchive:
    """One log's batches in a folder."""

    def __init__(self, folder: Path, log: str) -> None:
        self.folder = folder / log
        self.log = log

    def batches(self) -> list[KeptBatch]:
        """All batches, oldest first. Raises FaultError for a file that is none."""
        return [self._read(path) for path in sorted(self.folder.glob("*.json"))]

    def last(self) -> KeptBatch | None:
        """The newest batch."""
        paths = sorted(self.folder.glob("*.json"))
        return self._read(paths[-1]) if paths else None

    def add(self, batch: KeptBatch, leaves: bytes) -> None:
        """The batch is kept, its transaction still unknown."""
        write_file(self._path(batch, "leaves"), leaves, secret=True)
        write_file(self._path(batch, "json"), canonical.encode(batch), secret=True)

    def confirm(self, batch: KeptBatch, tx_id: str) -> KeptBatch:
        """The batch is on the ledger in this transaction."""
        confirmed = replace(batch, tx_id=tx_id)
        write_file(self._path(batch, "json"), canonical.encode(confirmed), secret=True)
        return confirmed

    def discard(self, batch: KeptBatch) -> None:
        """A batch that never came to the ledger is kept no longer."""
        self._path(batch, "json").unlink(missing_ok=True)
        self._path(batch, "leaves").unlink(missing_ok=True)

    def leaf(self, batch: KeptBatch, sequence: int) -> bytes:
        """One leaf hash of the batch."""
        with self._path(batch, "leaves").open("rb") as file:
            file.seek((sequence - batch.first) * HASH)
            return file.read(HASH)

    def leaves(self, batch: KeptBatch) -> list[bytes]:
        """All leaf hashes of the batch. Raises FaultError: they are not those of its root."""
        raw = self._path(batch, "leaves").read_bytes()
        found = [raw[at : at + HASH] for at in range(0, len(raw), HASH)]
        if len(found) != batch.size or merkle.compute_root(found) != batch.root:
            raise input_error(
                "the leaves are not those of the anchored root: the archive was changed",
                "restore it from a copy",
                str(self._path(batch, "leaves")),
            )
        return found

    def find(self, event: bytes, sequence: int = 0) -> tuple[KeptBatch, int] | None:
        """The batch and sequence number of an event; a number says which of several alike."""
        for batch in reversed(self.batches()):
            if sequence and not batch.first <= sequence <= batch.last:
                continue
            for number, leaf in self._numbered(batch, sequence):
                if hash_event(derive_salt(batch.secret, number), event) == leaf:
                    return batch, number
        return None

    def _numbered(self, batch: KeptBatch, sequence: int) -> Iterator[tuple[int, bytes]]:
        if sequence:
            yield sequence, self.leaf(batch, sequence)
            return
        yield from enumerate(self.leaves(batch), batch.first)

    def _path(self, batch: KeptBatch, kind: str) -> Path:
        return self.folder / f"{batch.first:016d}.{kind}"

    def _read(self, path: Path) -> KeptBatch:
        try:
            return canonical.decode(KeptBatch, path.read_bytes())
        except InvalidArgument as error:
            raise input_error(
                f"this is no batch of the archive: {error}", "restore it from a copy", str(path)
            ) from None


def format_proof(value: object) -> str:
    """Return the text of a proof file: indented JSON."""
    return json.dumps(canonical.to_wire(value), indent=2) + "\n"
