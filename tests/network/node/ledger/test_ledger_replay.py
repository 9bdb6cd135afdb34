"""Our ledger replays what a real peer recorded: same codes, same commit hashes, same bytes."""

from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2

from network.node.ledger.ledger import Ledger
from network.rules.validation.commit_hash import COMMIT_HASH, TRANSACTIONS_FILTER, get_commit_hash
from network.rules.validation.commit_hash import get_validation_codes as codes_of
from tests.network.rules.vectors import read_chain

VECTORS = Path(__file__).parents[3] / "vectors" / "ledger"


def read_ledger(name: str) -> list[Any]:
    files = sorted((VECTORS / name).glob("*.block"))
    assert files, f"no vectors in {VECTORS / name}"
    return [common_pb2.Block.FromString(file.read_bytes()) for file in files]


def as_ordered(block: Any) -> Any:
    """Return the block as the orderer delivered it: without what the peer wrote into it."""
    bare = common_pb2.Block.FromString(block.SerializeToString())
    bare.metadata.metadata[TRANSACTIONS_FILTER] = b""
    bare.metadata.metadata[COMMIT_HASH] = b""
    return bare


async def replay(folder: Path, blocks: list[Any]) -> Ledger:
    ledger = await Ledger.create(folder, blocks[0], identity=b"")
    assert await ledger.get_block(0) == blocks[0].SerializeToString()
    for block in blocks[1:]:
        committed = await ledger.commit(as_ordered(block))
        where = f"block {block.header.number}"
        assert list(committed.codes) == list(codes_of(block)), where
        assert ledger.commit_hash == get_commit_hash(block), where
        assert committed.raw == block.SerializeToString(), where
    return ledger


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.iterdir() if path.is_dir()))
async def test_replay_gives_the_bytes_of_the_real_peer(name: str, tmp_path: Path) -> None:
    blocks = read_ledger(name)
    ledger = await replay(tmp_path / "ledger", blocks)
    assert ledger.height == len(blocks)
    await ledger.close()


async def test_config_block_is_applied_and_hashes_agree(tmp_path: Path) -> None:
    ledger = await replay(tmp_path / "ledger", read_chain("peer"))
    assert ledger.config.sequence == 1
    assert ledger.config.batch.max_messages == 25
    await ledger.close()


async def test_replay_continues_after_reopening(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    ledger = await replay(tmp_path / "ledger", blocks[:20])
    await ledger.close()
    again = await Ledger.open(tmp_path / "ledger", identity=b"")
    for block in blocks[20:]:
        committed = await again.commit(as_ordered(block))
        assert committed.raw == block.SerializeToString()
    assert again.commit_hash == get_commit_hash(blocks[-1])
    await again.close()
