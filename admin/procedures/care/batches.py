"""Many records sealed and anchored at once: one Merkle root, one transaction, proofs on disk.

Each step is remembered before the next begins, so that an interrupted run is taken up where it
stopped: leaf by leaf while sealing, then the tree, then the transaction, which names a batch that
the ledger knows at most once.
"""

import csv
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from admin.errors import get_chaincode_answer, input_error
from admin.procedures.care.batchfiles import BatchFacts, BatchFolder, list_batches
from admin.procedures.care.batchsources import BatchEntry, EntrySource, digest_entries
from admin.procedures.care.records import Records
from admin.procedures.care.sealer import HANDLE_BYTES, Sealer, open_sealer
from admin.procedures.care.streaming import Progress, run_streaming
from admin.procedures.networks.health import Health
from chaincode.records import rules
from chaincode.records.model import AnchoredBatch, Batch
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings

FLUSH_EVERY = 512
"""Records after which what was sealed is remembered; an interruption repeats at most so many."""
NOT_FOUND = 404

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AnchoredRecords:
    """A batch on the ledger; `sealed` were sealed by this run, the rest by an earlier one.

    `handles` is the file that was written, empty where nothing was left to seal.
    """

    batch: str
    root: bytes
    size: int
    sealed: int
    transaction_id: str
    block_number: int
    handles: str


@dataclass(frozen=True, slots=True)
class Batches:
    """Anchors many records of one organisation at once."""

    surroundings: Surroundings
    profile: Profile
    health: Health
    records: Records

    async def anchor(
        self,
        entries: Sequence[BatchEntry],
        handles: Path,
        *,
        previous: str = "",
        say: Say,
        progress: Progress,
    ) -> AnchoredRecords:
        """Every entry is sealed, and all of them are anchored in one transaction.

        Args:
            entries: what to seal, in the order of the tree.
            handles: the file that tells which source became which record (CSV, mode 0600).
            previous: an earlier batch of this organisation whose leaves come first in this one, so
                that both are shown to be one growing log.
            say: told each stage.
            progress: told how many entries are sealed.

        Raises:
            FaultError: an entry is not valid; what was sealed before it stays and is not repeated.
        """
        folder = self._find_or_begin(digest_entries(entries, previous), previous)
        facts = folder.facts
        begun = self._first_own(folder, facts)
        done, sealed = folder.trim(), 0
        if not facts.anchored:
            sealer = await open_sealer(
                self.surroundings, self.profile, self.health, self.records.store
            )
            say("sealing" if done <= begun else f"sealing on after {done - begun} records")
            sealed = await run_streaming(
                lambda tell: self._seal(folder, sealer, entries, handles, begun, tell), progress
            )
            say("building the tree")
            facts = await run_streaming(lambda tell: _build(folder, facts))
            say("anchoring")
            facts = await self._submit(folder, facts)
        return AnchoredRecords(
            batch=facts.batch,
            root=facts.root,
            size=facts.size,
            sealed=sealed,
            transaction_id=facts.transaction_id,
            block_number=facts.block_number,
            handles=str(handles) if sealed else "",
        )

    def list(self) -> list[BatchFacts]:
        """Return the organisation's batches here, finished or not."""
        return [folder.facts for folder in list_batches(self._folder)]

    def _find_or_begin(self, sources: bytes, previous: str) -> BatchFolder:
        for known in list_batches(self._folder):
            if known.facts.sources == sources:
                return known
        batch = secrets.token_hex(HANDLE_BYTES)
        folder = BatchFolder(self._folder / batch)
        if previous:
            self._take_over(folder, previous)
        folder.keep(BatchFacts(batch, sources, previous=previous))
        return folder

    def _take_over(self, folder: BatchFolder, previous: str) -> None:
        source = BatchFolder(self._folder / previous)
        if not source.facts.anchored:
            raise input_error("the previous batch is not anchored", "finish it first", previous)
        folder.folder.mkdir(parents=True, mode=0o700)
        with source.leaves.open("rb") as old, folder.leaves.open("wb") as new:
            while block := old.read(1 << 20):
                new.write(block)

    def _first_own(self, folder: BatchFolder, facts: BatchFacts) -> int:
        return BatchFolder(self._folder / facts.previous).facts.size if facts.previous else 0

    def _seal(
        self,
        folder: BatchFolder,
        sealer: Sealer,
        entries: Sequence[BatchEntry],
        handles: Path,
        begun: int,
        tell: Progress,
    ) -> int:
        """Seal what is not sealed yet; returns how many were."""
        done = self._settle(folder, handles, begun)
        with ExitStack() as stack:
            leaves = stack.enter_context(folder.leaves.open("ab"))
            told = stack.enter_context(open(handles, "a", newline="", encoding="utf-8"))
            handles.chmod(0o600)
            names = csv.writer(told, lineterminator="\n")
            if not done:
                names.writerow(("source", "record"))
            source = stack.enter_context(EntrySource())
            for index in range(done, len(entries)):
                entry = entries[index]
                with source.open(entry) as content:
                    sealed = sealer.seal(content, entry.options, durable=False)
                leaves.write(rules.leaf_bytes(sealed.anchor) + b"\n")
                names.writerow((entry.name, sealed.record))
                if (index + 1) % FLUSH_EVERY == 0:
                    told.flush()
                    leaves.flush()
                tell(index + 1)
        self.records.store.flush()
        return len(entries) - done

    def _settle(self, folder: BatchFolder, handles: Path, begun: int) -> int:
        """Return how many entries are sealed, once leaves and handles agree on it.

        They are written one after the other, so that a killed run may leave a few more of one.
        """
        leaves = folder.trim() - begun
        rows = _count_rows(handles)
        if rows is None and leaves > 0:
            raise input_error(
                "the file of handles does not go with what was sealed before",
                "give the same --handles as the run that was interrupted",
                str(handles),
            )
        done = min(leaves, rows or 0)
        for record in folder.cut(begun + done):
            self.records.store.erase(record, 1)  # nobody was told its handle
        if rows is not None and rows > done:
            _cut_rows(handles, done)
        return done

    async def _submit(self, folder: BatchFolder, facts: BatchFacts) -> BatchFacts:
        anchored = await self._find_anchored(facts)
        if anchored is None:
            consistency: tuple[bytes, ...] = ()
            if facts.previous:
                size = BatchFolder(self._folder / facts.previous).facts.size
                consistency = tuple(folder.build_tree().build_consistency_proof(size))
            batch = Batch(facts.batch, facts.root, facts.size, facts.previous, consistency)
            done = await self.health.submit("records:AnchorBatch", batch, result=AnchoredBatch)
            facts = replace(
                facts, transaction_id=done.transaction_id, block_number=done.block_number
            )
        else:
            facts = replace(facts, transaction_id=anchored.tx_id)
        folder.keep(facts)
        return facts

    async def _find_anchored(self, facts: BatchFacts) -> AnchoredBatch | None:
        """The batch if the ledger has it: an earlier run may have ended before it knew."""
        try:
            found = await self.health.evaluate(
                "records:GetBatch", facts.batch, result=AnchoredBatch
            )
        except EvaluateError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != NOT_FOUND:
                raise
            return None
        if found.root != facts.root:
            raise input_error("the ledger has this batch with another root", "", facts.batch)
        return found

    @property
    def _folder(self) -> Path:
        return self.records.folder / "batches"


def _build(folder: BatchFolder, facts: BatchFacts) -> BatchFacts:
    tree = folder.build_tree()
    facts = replace(facts, size=len(tree), root=tree.root)
    folder.keep(facts)
    return facts


def _count_rows(handles: Path) -> int | None:
    """Return the rows below the heading, None if there is no file or nothing in it."""
    if not handles.exists() or not handles.stat().st_size:
        return None
    with open(handles, newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _cut_rows(handles: Path, count: int) -> None:
    with open(handles, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[: count + 1]
    with open(handles, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
