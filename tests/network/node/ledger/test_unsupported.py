"""A channel that asks for rules nobody here knows: the ledger stops at that block and says why."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from network.client.configuration import propose
from network.node.ledger.channel import PeerChannel
from network.node.ledger.ledger import LedgerHalted
from network.rules.blocks.block import build_block, header_hash, sign_block
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configedit import edit_config, set_capabilities
from network.rules.ordering.admission import open_message, propose_config
from tests.network.consortium import Consortium, build_message, now


def build_chain(consortium: Consortium, capability: str) -> list[Any]:
    """Genesis, a configuration that requires the capability, a block after it."""
    genesis = consortium.build_genesis()
    config = ChannelConfig.from_block(genesis)
    change = set_capabilities("application", ["V2_5", capability])
    proposal = propose(config, edit_config(config.config, [change]))
    for admin in (consortium.admin1, consortium.org2.enrol("Admin@org2", "admin")):
        proposal = proposal.sign(admin)
    sent = proposal.for_broadcast(consortium.alice).SerializeToString()
    signer = consortium.orderer_signer
    # Fabric's orderer does not look at the application's capabilities.
    proposed = propose_config(open_message(sent), config, signer, b"n" * 24, now())
    chain = [genesis]
    for number, raw in enumerate((proposed.admitted.raw, build_message(consortium.alice)), 1):
        block = build_block(number, header_hash(chain[-1].header), [raw])
        sign_block(block, 1, signer, b"n" * 24)
        chain.append(block)
    return chain


async def stream(blocks: list[Any]) -> AsyncIterator[Any]:
    for block in blocks:
        yield block


async def test_it_stops_after_the_block_that_says_so(tmp_path: Path) -> None:
    genesis, config, after = build_chain(Consortium(), "V9_9")
    channel = await PeerChannel.create(tmp_path, genesis, b"")
    assert channel.failure == ""
    with pytest.raises(LedgerHalted, match="V9_9 is required but not supported"):
        await channel.commit_all(stream([config, after]))
    assert channel.height == 2
    assert "V9_9" in channel.failure
    await channel.close()
    again = await PeerChannel.open(tmp_path, b"")
    assert "V9_9" in again.failure
    with pytest.raises(LedgerHalted):
        await again.commit_all(stream([after]))
    await again.close()


async def test_what_is_known_goes_on(tmp_path: Path) -> None:
    genesis, config, after = build_chain(Consortium(), "V2_0")
    channel = await PeerChannel.create(tmp_path, genesis, b"")
    await channel.commit_all(stream([config, after]))
    assert (channel.height, channel.failure) == (3, "")
    await channel.close()
