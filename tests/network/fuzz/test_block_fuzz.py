"""Mutants of a block, handed to a peer: none is taken for the block that its orderer signed."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError

from network.node.ledger.channel import PeerChannel
from network.rules.blocks.block import InvalidBlock
from tests.network.consortium import Consortium
from tests.network.differential.naive_peer import NaivePeer
from tests.network.differential.wild_transactions import WildBlocks
from tests.network.fuzz.mutation import EXAMPLES, SEED, mutate

CONSORTIUM = Consortium()


async def test_no_mutant_of_a_block_is_committed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wild = WildBlocks(CONSORTIUM, SEED, survivable=True)
    naive = NaivePeer(wild.genesis)
    channel = await PeerChannel.create(tmp_path, wild.genesis, CONSORTIUM.peer.creator)
    chance = Random(f"{SEED} blocks")
    block = wild.setup()
    for _ in range(4):
        good = block.SerializeToString()
        for _ in range(EXAMPLES * 2):
            await offer(channel, mutate(good, chance), block)
        if channel.height == block.header.number:
            await channel.commit(block)
        naive.commit(block)
        block = wild.next_block(naive.state, 6)
    assert channel.failure == ""
    assert "Traceback" not in caplog.text
    await channel.close()


async def offer(channel: PeerChannel, raw: bytes, good: Any) -> None:
    """The mutant is refused, unless header and transactions are those that were signed."""
    try:
        mutant = common_pb2.Block.FromString(raw)
    except DecodeError:
        return
    height = channel.height
    try:
        await channel.commit(mutant)
    except InvalidBlock:
        assert channel.height == height
        return
    assert (mutant.header, mutant.data) == (good.header, good.data), raw.hex()
