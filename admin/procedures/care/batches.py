"""Many records sealed and anchored at once: one Merkle root, one transaction, proofs on disk.

Each step is remembered before the next begins, so that an interrupted run is taken up where it
stopped: leaf by leaf while sealing, then the tree, then the transaction, which names a batch that
the ledger knows at most once. The handles of a batch's records follow from its seed: what a killed
run sealed and could not note any more is sealed over, so that no file is left that no leaf names.
"""

import contextlib
import csv
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from admin.errors import FaultError, get_chaincode_answer, input_error
from admin.exchange.place import batches_folder, store_url
from admin.procedures.care.batchfiles import BatchFacts, BatchFolder, list_batches
from admin.procedures.care.batchsealing import (
    SealingPlace,
    choose_jobs,
    cut_portions,
    seal_portions,
)
from admin.procedures.care.batchsources import FINGERPRINT, BatchEntry, Entries
from admin.procedures.care.records import Records
from admin.procedures.care.sealer import HANDLE_BYTES, open_sealer
from admin.procedures.care.streaming import Progress, run_streaming
from admin.procedures.networks.health import Health
from chaincode.records.model import AnchoredBatch, Batch
from network.client.errors import EvaluateError
from network.client.profile import Profile, Surroundings

FLUSH_EVERY = 4096
"""Records after which what was sealed outlives a power failure."""
SEED_BYTES = 32
NOT_FOUND = 404

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AnchoredRecords:
    """A batch on the ledger; `sealed` were sealed by this run, the rest by an earlier one."""

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
        entries: Entries,
        handles: Path,
        *,
        previous: str = "",
        jobs: int = 0,
        say: Say,
        progress: Progress,
    ) -> AnchoredRecords:
        """Every entry is sealed, and all of them are anchored in one transaction.

        Args:
            entries: what to seal, in the order of the tree.
            handles: the file that tells which source became which record (CSV, mode 0600); it is
                there once all are sealed.
            previous: an earlier batch of this organisation whose leaves come first in this one, so
                that both are shown to be one growing log.
            jobs: processes to seal in; 0 leaves it to us.
            say: told each stage.
            progress: told how many entries are sealed.

        Raises:
            FaultError: an entry is not valid; what was sealed before it stays and is not repeated.
        """
        with _whole_csv(handles) as names:
            folder, done = self._find_or_begin(entries, previous)
            facts = folder.facts
            if facts.anchored:
                for index, entry in enumerate(entries):
                    names.writerow((entry.name, facts.record(index)))
                sealed = 0
            else:
                place = await self._sealing_place()
                say("sealing" if not done else f"sealing on after {done} records")
                sealed = await run_streaming(
                    lambda tell: self._seal(
                        folder, entries, done, place, jobs or choose_jobs(len(entries)), names, tell
                    ),
                    progress,
                )
        if not facts.anchored:
            say("building the tree")
            facts = await run_streaming(lambda tell: _build(folder, facts))
            self._keep_retention(entries, facts)
            say("anchoring")
            facts = await self._submit(folder, facts)
        return AnchoredRecords(
            batch=facts.batch,
            root=facts.root,
            size=facts.size,
            sealed=sealed,
            transaction_id=facts.transaction_id,
            block_number=facts.block_number,
            handles=str(handles),
        )

    def list(self) -> list[BatchFacts]:
        """Return the organisation's batches here, finished or not."""
        return [folder.facts for folder in list_batches(self._folder)]

    # -- which batch ---------------------------------------------------

    def _find_or_begin(self, entries: Entries, previous: str) -> tuple[BatchFolder, int]:
        """Return the batch of these sources, and how many of them are sealed.

        One that is anchored is theirs as long as none of them has changed since.
        """
        for folder in list_batches(self._folder):
            facts = folder.facts
            if (facts.sources, facts.previous) != (entries.digest, previous) or not facts.seed:
                continue
            same = _count_same(entries, folder.fingerprints())
            if not facts.anchored:
                return folder, self._settle(folder, facts, same)
            if same == len(entries):
                return folder, same
        return self._begin(entries, previous), 0

    def _begin(self, entries: Entries, previous: str) -> BatchFolder:
        batch = secrets.token_hex(HANDLE_BYTES)
        folder = BatchFolder(self._folder / batch)
        if previous:
            self._take_over(folder, previous)
        seed = secrets.token_bytes(SEED_BYTES)
        folder.keep(BatchFacts(batch, entries.digest, previous=previous, seed=seed))
        return folder

    def _take_over(self, folder: BatchFolder, previous: str) -> None:
        source = BatchFolder(self._folder / previous)
        if not source.facts.anchored:
            raise input_error("the previous batch is not anchored", "finish it first", previous)
        folder.folder.mkdir(parents=True, mode=0o700)
        with source.leaves.open("rb") as old, folder.leaves.open("wb") as new:
            while block := old.read(1 << 20):
                new.write(block)

    def _first_own(self, facts: BatchFacts) -> int:
        return BatchFolder(self._folder / facts.previous).facts.size if facts.previous else 0

    def _settle(self, folder: BatchFolder, facts: BatchFacts, same: int) -> int:
        """Return how many entries are sealed: noted whole, from sources that are still the same.

        Of the last ones, which a power failure may have taken, the sealed files are looked at.
        """
        begun = self._first_own(facts)
        done = min(folder.trim() - begun, same)
        store = self.records.store
        if not store.durable_at_once:
            first = max(done - FLUSH_EVERY, 0)
            for index, anchor in enumerate(folder.read_leaves(begun + first), first):
                if index >= done or not store.holds(anchor.record, 1, anchor.size):
                    done = min(done, index)
                    break
        for record in folder.cut(begun, done):
            store.erase(record, 1)  # nobody was told its handle
        return done

    # -- sealing -------------------------------------------------------

    async def _sealing_place(self) -> SealingPlace:
        sealer = await open_sealer(self.surroundings, self.profile, self.health, self.records.store)
        return SealingPlace(
            self.surroundings.file,
            self.profile.identity,
            store_url(self.surroundings, self.profile.organization),
            sealer.keys,
        )

    def _seal(
        self,
        folder: BatchFolder,
        entries: Entries,
        done: int,
        place: SealingPlace,
        jobs: int,
        names: Any,
        tell: Progress,
    ) -> int:
        """Seal what is not sealed yet; returns how many were."""
        facts, store, count = folder.facts, self.records.store, done

        def work() -> Iterator[tuple[BatchEntry, str]]:
            for index, entry in enumerate(entries):
                record = facts.record(index)
                names.writerow((entry.name, record))
                if index >= done:
                    yield entry, record

        portions = seal_portions(place, cut_portions(work()), jobs, lambda: tell(count))
        with folder.appending() as target, contextlib.closing(portions):
            for sealed in portions:
                marks = [entry.fingerprint for entry in sealed.portion.entries]
                target.add(sealed.leaves, marks[: len(sealed.leaves)])
                before, count = count, count + len(sealed.leaves)
                tell(count)
                if sealed.fault is not None:
                    raise FaultError(sealed.fault)
                if count // FLUSH_EVERY != before // FLUSH_EVERY:
                    store.flush()
        store.flush()
        if count != len(entries):
            raise input_error(
                "the sources changed while they were being sealed", "run it again", entries.source
            )
        return count - done

    def _keep_retention(self, entries: Entries, facts: BatchFacts) -> None:
        until = entries.defaults.options.retain_until
        if until is not None:
            records = (facts.record(index) for index in range(len(entries)))
            self.records.retention.keep_all(records, until)

    # -- anchoring -----------------------------------------------------

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
        return batches_folder(self.surroundings, self.profile.organization)


def _build(folder: BatchFolder, facts: BatchFacts) -> BatchFacts:
    tree = folder.build_tree()
    facts = replace(facts, size=len(tree), root=tree.root)
    folder.keep(facts)
    return facts


def _count_same(entries: Entries, fingerprints: bytes) -> int:
    """Return how many entries, from the first on, are what they were when they were sealed."""
    same = 0
    for index, entry in enumerate(entries):
        at = index * FINGERPRINT
        if fingerprints[at : at + FINGERPRINT] != entry.fingerprint:
            break
        same += 1
    return same


@contextlib.contextmanager
def _whole_csv(file: Path) -> Iterator[Any]:
    """Write a CSV of sources and records, mode 0600; it is there once this ends well."""
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", newline="", encoding="utf-8") as told:
            names = csv.writer(told, lineterminator="\n")
            names.writerow(("source", "record"))
            yield names
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
