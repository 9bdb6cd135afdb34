"""Random blocks, from honest to forged, before a real peer: our codes and commit hashes are its.

The blocks of `tests.network.differential` are put into our orderer's ledger, a real peer joins and
takes them all; then our ledger and the naive peer judge the same blocks. What a real peer does not
survive (it panics, or waits for ever) is left out of these blocks; our ledger is shown it in
`tests/network/differential`. DIFFERENTIAL_BLOCKS makes it longer, DIFFERENTIAL_SEED another run.
"""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.peer import events_pb2, transaction_pb2

from network.node.ledger.ledger import Ledger
from network.node.ordering.block_store import BlockStore
from network.rules.blocks.block import open_block
from network.rules.validation.commit_hash import get_commit_hash, get_validation_codes
from tests.conformance.test_real_peer_on_our_orderer import PATIENCE, Site, wait_until
from tests.fabric_binaries import fabric_binary
from tests.network.consortium import CHANNEL, Consortium
from tests.network.differential.naive_peer import NaivePeer
from tests.network.differential.wild_transactions import WildBlocks
from tests.network.node.probes import at, build_seek
from tests.ports import free_ports

BLOCKS = int(os.environ.get("DIFFERENTIAL_BLOCKS", "40"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))


def test_a_real_peer_finds_what_ours_finds(tmp_path: Path) -> None:
    fabric_binary("peer")
    orderer_port, peer_port, *ports = free_ports(5)
    consortium = Consortium(address=f"127.0.0.1:{orderer_port}")
    wild = WildBlocks(consortium, SEED, survivable=True)
    naive = NaivePeer(wild.genesis)
    blocks, wanted = [wild.genesis, wild.setup()], []
    for _ in range(BLOCKS):
        wanted.append(naive.commit(blocks[-1]))
        blocks.append(wild.next_block(naive.state, wild.random.randint(1, 25)))
    wanted.append(naive.commit(blocks[-1]))

    site = Site(tmp_path, consortium, orderer_port, peer_port, tuple(ports))
    site.write_peer()
    (tmp_path / "genesis.block").write_bytes(wild.genesis.SerializeToString())
    asyncio.run(store(tmp_path / "orderer" / "ledger", blocks))
    with site.orderer(), site.peer():
        site.run_peer("channel", "join", "-b", str(tmp_path / "genesis.block"))
        last = f"Committed block [{len(blocks) - 1}]".encode()
        wait_until(lambda: last in (tmp_path / "peer.log").read_bytes(), PATIENCE + BLOCKS)
        recorded = fetch(site, len(blocks))

    found = asyncio.run(commit(tmp_path / "ours", blocks))
    told: Counter[str] = Counter()
    for number in range(1, len(blocks)):
        real = recorded[number]
        names = _names(get_validation_codes(real))
        told.update(names)
        assert names == _names(wanted[number - 1]), f"block {number}: the naive peer"
        assert names == _names(get_validation_codes(found[number])), f"block {number}: our ledger"
        assert get_commit_hash(real) == get_commit_hash(found[number]), f"block {number}"
    count = sum(told.values())
    sys.stdout.write(f"\n{count} transactions, {len(blocks)} blocks: {dict(told.most_common())}\n")


async def store(folder: Path, blocks: list[Any]) -> None:
    """Put the blocks where our orderer finds them."""
    chain = await BlockStore.create(folder, CHANNEL, blocks[0].SerializeToString())
    for block in blocks[1:]:
        await chain.append(block, block.SerializeToString())
    await chain.close()


async def commit(folder: Path, blocks: list[Any]) -> list[Any]:
    """The blocks as our ledger records them."""
    ledger = await Ledger.create(folder, blocks[0], identity=b"")
    for block in blocks[1:]:
        await ledger.commit(block)
    found = [open_block(await ledger.get_block(number)) for number in range(len(blocks))]
    await ledger.close()
    return found


def fetch(site: Site, height: int) -> list[Any]:
    """The blocks that the real peer has, with what it recorded in them."""
    credentials = grpc.ssl_channel_credentials(site.consortium.org1.tls_root)
    seek = build_seek(site.consortium.alice, at(0), at(height - 1))
    found = []
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(f"127.0.0.1:{site.peer_port}", credentials, options) as channel:
        call = channel.stream_stream("/protos.Deliver/Deliver")
        for raw in call(iter([seek]), timeout=PATIENCE):
            answer = events_pb2.DeliverResponse.FromString(raw)
            if answer.WhichOneof("Type") == "status":
                assert answer.status == common_pb2.SUCCESS
                break
            found.append(answer.block)
    return found


def _names(codes: Any) -> list[str]:
    return [transaction_pb2.TxValidationCode.Name(code) for code in codes]
