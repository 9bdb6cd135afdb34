"""Our ledger and a naive peer that shares no code with it judge the same random blocks alike.

DIFFERENTIAL_BLOCKS makes it longer (blocks of up to 25 transactions; 12 a chain).
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.peer import transaction_pb2

from network.node.ledger.ledger import Ledger
from network.node.ledger.store import StoreError
from network.rules.blocks.block import open_block
from network.rules.state.rangequery import RangeSummary
from network.rules.state.rwset import open_metadata
from network.rules.state.snapshot import Version
from network.rules.validation.commit_hash import get_commit_hash
from tests.network.consortium import Consortium
from tests.network.differential.naive_peer import NaivePeer, summarize
from tests.network.differential.wild_transactions import WildBlocks
from tests.network.node.ledger.test_faults import SmallDisk

CONSORTIUM = Consortium()
BLOCKS_A_CHAIN = 12
CHAINS = max(4, int(os.environ.get("DIFFERENTIAL_BLOCKS", "0")) // BLOCKS_A_CHAIN)
FIRST_SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + CHAINS)
PROVOKED: Counter[str] = Counter()


@pytest.mark.parametrize("seed", SEEDS)
async def test_codes_and_state_are_those_of_a_naive_peer(seed: int, tmp_path: Path) -> None:
    wild = WildBlocks(CONSORTIUM, seed)
    naive = NaivePeer(wild.genesis)
    ledger = await Ledger.create(tmp_path, wild.genesis, identity=b"")
    block = wild.setup()
    for _ in range(BLOCKS_A_CHAIN):
        wanted = naive.commit(block)
        committed = await ledger.commit(block)
        assert _names(committed.codes) == _names(wanted), f"block {block.header.number}"
        _compare_states(ledger, naive, f"after block {block.header.number}")
        PROVOKED.update(_names(wanted))
        block = wild.next_block(naive.state, wild.random.randint(1, 25))
    await ledger.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_blocks_committed_together_are_judged_as_one_by_one(
    seed: int, tmp_path: Path
) -> None:
    """Checked ahead and written in one transaction, on a disk that is full now and then."""
    wild = WildBlocks(CONSORTIUM, seed + 10_000)
    naive = NaivePeer(wild.genesis)
    blocks, wanted = [wild.setup()], []
    for _ in range(2 * BLOCKS_A_CHAIN):
        wanted.append(naive.commit(blocks[-1]))
        blocks.append(wild.next_block(naive.state, wild.random.randint(1, 12)))
    wanted.append(naive.commit(blocks[-1]))
    ledger = await Ledger.create(tmp_path, wild.genesis, identity=b"")
    disk = SmallDisk(ledger._store._connection)
    together = 0
    while ledger.height <= len(blocks):
        waiting = blocks[ledger.height - 1 :][: wild.random.randint(1, 8)]
        checked = [await ledger.check(block) for block in waiting]
        if wild.random.random() < 0.4:
            disk.fill(wild.random.randint(0, 8))
        height = ledger.height
        try:
            committed = await ledger.commit_together(checked)
        except StoreError:
            assert ledger.height == height, "all or nothing"
            disk.free()
            continue
        disk.free()
        together = max(together, len(committed))
        assert ledger.height == height + len(committed)
        for one in committed:
            assert _names(one.codes) == _names(wanted[one.number - 1]), f"block {one.number}"
    _compare_states(ledger, naive, "in the end")
    assert together > 1
    hashes = [get_commit_hash(open_block(await ledger.get_block(n))) for n in range(ledger.height)]
    await ledger.close()
    alone = await Ledger.create(tmp_path / "alone", wild.genesis, identity=b"")
    for block in blocks:
        await alone.commit(block)
        assert alone.commit_hash == hashes[block.header.number], f"block {block.header.number}"
    await alone.close()


def test_the_mix_provokes_every_kind_of_verdict() -> None:
    """Runs after the chains above; otherwise a mix that is always valid would prove nothing."""
    if not PROVOKED:
        pytest.skip("no chain was judged in this run")
    assert set(PROVOKED) >= {
        "VALID", "MVCC_READ_CONFLICT", "PHANTOM_READ_CONFLICT", "ENDORSEMENT_POLICY_FAILURE",
        "DUPLICATE_TXID", "BAD_CREATOR_SIGNATURE", "BAD_PROPOSAL_TXID", "BAD_COMMON_HEADER",
        "BAD_PAYLOAD", "BAD_RWSET", "ILLEGAL_WRITESET", "INVALID_CHAINCODE",
        "INVALID_ENDORSER_TRANSACTION", "INVALID_OTHER_REASON", "UNSUPPORTED_TX_PAYLOAD",
    }, PROVOKED  # fmt: skip


@pytest.mark.parametrize("degree", [2, 3, 50])
def test_the_naive_tree_is_the_one_that_iterators_build(degree: int) -> None:
    for size in [*range(60), 103, 2651, 2652, 2653]:
        rows = [(f"{at:05}", (1, at)) for at in range(size)]
        built = RangeSummary(degree)
        for key, version in rows:
            built.add(key, Version(*version))
        _, hashes = built.finish()
        wanted = (0, []) if hashes is None else (built.max_level, hashes)
        assert summarize(rows, degree) == wanted, size


def _names(codes: Any) -> list[str]:
    return [transaction_pb2.TxValidationCode.Name(code) for code in codes]


def _compare_states(ledger: Ledger, naive: NaivePeer, when: str) -> None:
    wanted = {
        at: (stored.value, stored.version, dict(stored.metadata))
        for at, stored in naive.state.items()
    }
    found: dict[Any, Any] = {}
    with ledger.snapshot() as snapshot:
        for namespace in {at[0] for at in wanted} | {"maj", "any", "ghost", "other"}:
            for key, value in snapshot.range(namespace, "", ""):
                found[namespace, "", key] = value
        hashed = "SELECT namespace, collection, key_hash FROM hashes"
        for namespace, collection, key_hash in snapshot.select(hashed, ()):
            at = (namespace, collection, key_hash)
            found[at] = snapshot.get_private_hash(*at)
    told = {
        at: (one.value, tuple(one.version), open_metadata(one.metadata))
        for at, one in found.items()
    }
    assert told == wanted, when
