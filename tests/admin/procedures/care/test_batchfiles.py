"""A batch on disk: its proofs are the tree's, interruptions are cut off, tampering shows."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admin.procedures.care.batchfiles import (
    BatchFacts,
    BatchFolder,
    find_membership,
    write_leaves,
)
from chaincode import merkle
from chaincode.errors import InvalidArgument
from chaincode.records import rules
from chaincode.records.model import Anchor, AnchoredBatch, Membership

PATIENT = "0123456789abcdef" * 2


def handle(number: int) -> str:
    return hashlib.sha256(number.to_bytes(4, "big")).hexdigest()[:32]


def anchors(count: int) -> Iterator[Anchor]:
    for number in range(count):
        digest = hashlib.sha256(b"x" + number.to_bytes(4, "big")).digest()
        yield Anchor(handle(number), PATIENT, digest, number + 1, digest, labels=("N",))


def built(folder: Path, count: int) -> BatchFolder:
    batch = BatchFolder(folder / ("b" * 32))
    batch.folder.mkdir(parents=True)
    write_leaves(batch.leaves, map(rules.leaf_bytes, anchors(count)))
    tree = batch.build_tree()
    batch.keep(BatchFacts("b" * 32, b"s" * 32, len(tree), tree.root, "t" * 64, 7))
    return batch


def ledger_has(facts: BatchFacts) -> AnchoredBatch:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return AnchoredBatch(facts.batch, facts.root, facts.size, "Org", "user", now, "tx")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 33, 100])
def test_every_record_is_found_and_proven(tmp_path: Path, count: int) -> None:
    batch = built(tmp_path, count)
    facts = batch.facts
    tree = merkle.Tree(merkle.hash_leaf(rules.leaf_bytes(a)) for a in anchors(count))
    assert facts.root == tree.root
    for number, anchor in enumerate(anchors(count)):
        assert batch.find(anchor.record) == number
        membership = batch.membership(number)
        assert membership == Membership(
            facts.batch, number, anchor, tuple(tree.build_inclusion_proof(number))
        )
        rules.validate_membership(membership, ledger_has(facts))
    for other in ("f" * 32, handle(0)[:8] + "0" * 24, "", "Jane Doe", "ab_c" * 8, "AB" * 16):
        assert batch.find(other) is None
    # Two hashes a leaf and its offset, whatever the depth of the tree.
    size = (batch.folder / "tree.bin").stat().st_size + (
        batch.folder / "offsets.bin"
    ).stat().st_size
    assert size <= (64 + 8) * count + 32 * count.bit_length()


def test_a_membership_with_anything_changed_is_refused(tmp_path: Path) -> None:
    batch = built(tmp_path, 20)
    anchored = ledger_has(batch.facts)
    found = batch.membership(13)
    anchor = found.anchor
    changed = [
        replace(found, index=12),
        replace(found, index=20),
        replace(found, index=-1),
        replace(found, proof=found.proof[:-1]),
        replace(found, proof=(*found.proof, found.proof[0])),
        replace(found, proof=found.proof[::-1]),
        replace(found, proof=()),
        replace(found, anchor=replace(anchor, size=anchor.size + 1)),
        replace(found, anchor=replace(anchor, labels=None)),
        replace(found, anchor=replace(anchor, labels=("R",))),
        replace(found, anchor=replace(anchor, record=handle(12))),
        replace(found, anchor=replace(anchor, patient="f" * 32)),
        replace(found, anchor=replace(anchor, version=2)),
        replace(found, anchor=replace(anchor, canonical=anchor.commitment)),
    ]
    for number in range(len(found.proof)):
        for bit in (0, 100, 255):
            flipped = bytearray(found.proof[number])
            flipped[bit // 8] ^= 1 << bit % 8
            proof = [*found.proof]
            proof[number] = bytes(flipped)
            changed.append(replace(found, proof=tuple(proof)))
    for one in changed:
        with pytest.raises(InvalidArgument):
            rules.validate_membership(one, anchored)


def test_a_half_written_leaf_is_dropped(tmp_path: Path) -> None:
    batch = BatchFolder(tmp_path)
    assert batch.trim() == 0
    write_leaves(batch.leaves, map(rules.leaf_bytes, anchors(3)))
    whole = batch.leaves.read_bytes()
    batch.leaves.write_bytes(whole + b'{"classes":[],"comm')
    assert batch.trim() == 3
    assert batch.leaves.read_bytes() == whole
    assert batch.cut(0, 1) == [handle(1), handle(2)]
    assert batch.trim() == 1


def test_fingerprints_are_cut_with_their_leaves(tmp_path: Path) -> None:
    batch = BatchFolder(tmp_path / "b")
    leaves = [rules.leaf_bytes(anchor) for anchor in anchors(5)]
    marks = [bytes([n]) * 8 for n in range(3)]
    with batch.appending() as writer:
        writer.add(leaves[2:4], marks[:2])
        writer.add(leaves[4:], marks[2:])
    assert batch.fingerprints() == b"".join(marks)
    assert [one.record for one in batch.read_leaves(1)] == [handle(3), handle(4)]
    assert batch.cut(1, 1) == [handle(4)]
    assert batch.fingerprints() == marks[0]
    assert batch.trim() == 2


def test_handles_follow_from_the_seed_and_from_nothing_else(tmp_path: Path) -> None:
    facts = BatchFacts("b" * 32, b"s" * 32, seed=b"1" * 32)
    found = {facts.record(index) for index in range(1000)}
    assert len(found) == 1000
    assert all(len(bytes.fromhex(record)) == 16 for record in found)
    again = replace(facts, batch="c" * 32, sources=b"t" * 32, size=9)
    assert again.record(7) == facts.record(7)
    assert replace(facts, seed=b"2" * 32).record(7) != facts.record(7)


def test_only_an_anchored_batch_proves_anything(tmp_path: Path) -> None:
    batch = built(tmp_path, 5)
    found = find_membership(tmp_path, handle(4))
    assert found is not None
    assert found.index == 4
    batch.keep(replace(batch.facts, transaction_id=""))
    assert find_membership(tmp_path, handle(4)) is None
    assert find_membership(tmp_path / "none", handle(4)) is None
