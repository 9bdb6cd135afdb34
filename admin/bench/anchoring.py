"""How fast prepared records are anchored in batches, and how proofs behave as batches grow."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from admin.procedures.care.batchfiles import BatchFacts, BatchFolder, write_leaves
from chaincode.records import rules
from chaincode.records.model import Anchor, AnchoredBatch, Batch

PROOFS = 20
PREPARED = 50_000
"""Anchors that are held at a time: a batch of ten millions is not."""

Submit = Callable[[Batch], AnchoredBatch]


@dataclass(frozen=True, slots=True)
class Anchoring:
    """One batch of a size.

    Attributes:
        records: how many.
        leaves: seconds to build and write the leaves.
        tree: seconds to hash them, build the tree and write it with its offsets.
        submitted: seconds until the root was committed; None without a network.
        rate: records a second over all of these.
        cpu_rate: records a second of this process's processor time, the transaction left out.
        disk: bytes of the batch's folder.
        find: seconds to find a record's leaf, the mean of some.
        prove: seconds to read its proof, the mean.
        verify: seconds to verify it, the mean.
    """

    records: int
    leaves: float
    tree: float
    submitted: float | None
    rate: float
    cpu_rate: float
    disk: int
    find: float
    prove: float
    verify: float


def run_anchoring(folder: Path, records: int, submit: Submit | None = None) -> Anchoring:
    """Return what a batch of so many records took; its folder is the caller's to delete."""
    batch = os.urandom(16).hex()
    place = BatchFolder(folder / batch)
    place.folder.mkdir(parents=True)
    leaves, cpu = _write(place, records)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    tree = place.build_tree()
    facts = BatchFacts(batch, b"\0" * 32, len(tree), tree.root, "-" * 64)
    place.keep(facts)
    built, cpu = time.perf_counter(), cpu + time.process_time() - begun_cpu
    anchored = submit(Batch(batch, tree.root, len(tree))) if submit is not None else None
    done = time.perf_counter()
    del tree
    find, prove, verify = _prove(place, anchored or _offline(facts), records)
    return Anchoring(
        records=records,
        leaves=leaves,
        tree=built - begun,
        submitted=None if submit is None else done - built,
        rate=records / (leaves + done - begun),
        cpu_rate=records / cpu,
        disk=sum(file.stat().st_size for file in place.folder.iterdir()),
        find=find,
        prove=prove,
        verify=verify,
    )


def _write(place: BatchFolder, records: int) -> tuple[float, float]:
    """Write the leaves; returns the seconds it took, on the wall and of the processor.

    The making of synthetic anchors is left out.
    """
    spent = cpu = 0.0
    anchors = _anchors(records)
    while prepared := list(islice(anchors, PREPARED)):
        begun, begun_cpu = time.perf_counter(), time.process_time()
        write_leaves(place.leaves, map(rules.leaf_bytes, prepared))
        spent += time.perf_counter() - begun
        cpu += time.process_time() - begun_cpu
    return spent, cpu


def _anchors(count: int) -> Iterator[Anchor]:
    """Anchors as a hospital's own: FHIR resources with labels, a commitment and a canonical one."""
    patient = os.urandom(16).hex()
    for number in range(count):
        digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
        yield Anchor(
            record=digest[:16].hex(),
            patient=patient,
            commitment=digest,
            canonical=digest,
            size=4096 + number,
            locator=digest,
            resource_types=("Observation",),
            labels=("N",),
        )


def _prove(place: BatchFolder, anchored: AnchoredBatch, records: int) -> tuple[float, float, float]:
    spent = [0.0, 0.0, 0.0]
    for number in range(PROOFS):
        wanted = records * (2 * number + 1) // (2 * PROOFS)
        record = hashlib.sha256(wanted.to_bytes(8, "big")).digest()[:16].hex()
        begun = time.perf_counter()
        index = place.find(record)
        found = time.perf_counter()
        assert index == wanted
        membership = place.membership(index)
        proven = time.perf_counter()
        rules.validate_membership(membership, anchored)
        for at, seconds in enumerate((found - begun, proven - found, time.perf_counter() - proven)):
            spent[at] += seconds / PROOFS
    return spent[0], spent[1], spent[2]


def _offline(facts: BatchFacts) -> AnchoredBatch:
    now = datetime.now(UTC)
    return AnchoredBatch(facts.batch, facts.root, facts.size, "", "", now, "")
