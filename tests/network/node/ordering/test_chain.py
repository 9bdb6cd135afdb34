"""Ordering: what shares a block, what is acknowledged when, and what stops a chain."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2

from network.node.ordering import intake, pace
from network.node.ordering.block_store import BlockStore, StoreError
from network.node.ordering.chain import Chain, Node
from network.rules.blocks.block import (
    is_config_block,
    last_config_index,
    open_block,
    validate_block,
)
from network.rules.channel.spec import DEFAULT_BATCH
from network.rules.ordering.admission import Refused, open_message
from tests.network.consortium import CHANNEL, Consortium, build_message
from tests.network.updates import build_update, set_batch_size, set_maintenance

MAX_MESSAGES = 10
OpenChain = Callable[..., Any]


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    # No test ends by BatchTimeout unless it says so.
    return Consortium(batch=replace(DEFAULT_BATCH, max_messages=MAX_MESSAGES, timeout=3600.0))


@pytest.fixture
async def chain(consortium: Consortium, tmp_path: Path) -> AsyncIterator[Chain]:
    genesis = consortium.build_genesis().SerializeToString()
    store = await BlockStore.create(tmp_path, CHANNEL, genesis)
    opened = await open_chain(store, consortium)
    yield opened
    await opened.close()


async def open_chain(store: BlockStore, consortium: Consortium) -> Chain:
    return await Chain.open(store, Node(consortium.orderer_signer, consortium.orderer_tls[0]))


def submit(chain: Chain, consortium: Consortium, data: bytes = b"data") -> asyncio.Future[int]:
    return chain.submit(open_message(build_message(consortium.alice, data)))


async def read_chain(chain: Chain) -> list[Any]:
    return [open_block(await chain.get_block(number)) for number in range(chain.height)]


async def get_sizes(chain: Chain) -> list[int]:
    return [len(block.data.data) for block in await read_chain(chain)]


async def validate_chain(chain: Chain) -> None:
    """Every block is one that a peer takes."""
    blocks = await read_chain(chain)
    policy = chain.config.policies.get("/Channel/Orderer/BlockValidation")
    for previous, block in zip([None, *blocks], blocks, strict=False):
        validate_block(block, previous, policy)


def set_pace(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    for name in ("PACE", "LONGEST", "LULL"):
        monkeypatch.setattr(pace, name, seconds)


async def test_a_lone_message_is_a_block_at_once(chain: Chain, consortium: Consortium) -> None:
    async with asyncio.timeout(60):
        assert await submit(chain, consortium) == 1
    assert chain.height == 2
    await validate_chain(chain)


async def test_a_burst_is_cut_by_count(chain: Chain, consortium: Consortium) -> None:
    waiting = [submit(chain, consortium, b"%d" % number) for number in range(25)]
    numbers = await asyncio.gather(*waiting)
    assert numbers == [1] * 10 + [2] * 10 + [3] * 5
    assert await get_sizes(chain) == [1, 10, 10, 5]
    await validate_chain(chain)


async def test_messages_keep_their_order(chain: Chain, consortium: Consortium) -> None:
    raws = [build_message(consortium.alice, b"%d" % number) for number in range(25)]
    await asyncio.gather(*(chain.submit(open_message(raw)) for raw in raws))
    blocks = await read_chain(chain)
    assert [raw for block in blocks[1:] for raw in block.data.data] == raws


async def test_a_trickle_shares_blocks(
    chain: Chain, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_pace(monkeypatch, 3600)
    await submit(chain, consortium)
    waiting = []
    for _ in range(MAX_MESSAGES):
        waiting.append(submit(chain, consortium))
        await asyncio.sleep(0.01)
    assert await asyncio.gather(*waiting) == [2] * MAX_MESSAGES


async def test_a_lull_ends_the_wait_for_more(
    chain: Chain, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_pace(monkeypatch, 3600)
    monkeypatch.setattr(pace, "LULL", 0.05)
    await submit(chain, consortium)
    async with asyncio.timeout(60):
        waiting = [submit(chain, consortium) for _ in range(3)]
        assert await asyncio.gather(*waiting) == [2] * 3


async def test_batch_timeout_bounds_what_pace_would_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_pace(monkeypatch, 3600)
    brisk = Consortium(batch=replace(DEFAULT_BATCH, max_messages=MAX_MESSAGES, timeout=0.2))
    store = await BlockStore.create(tmp_path, CHANNEL, brisk.build_genesis().SerializeToString())
    chain = await open_chain(store, brisk)
    await submit(chain, brisk)
    async with asyncio.timeout(60):
        await submit(chain, brisk)
    await chain.close()


class TestConfig:
    async def test_an_update_is_alone_in_its_block_and_in_force_after(
        self, chain: Chain, consortium: Consortium
    ) -> None:
        update = build_update(consortium, chain.config, set_batch_size, [consortium.orderer_admin])
        before = submit(chain, consortium)
        changed = chain.submit(open_message(update))
        after = [submit(chain, consortium) for _ in range(8)]
        assert await before == 1
        assert await changed == 2
        assert await asyncio.gather(*after) == [3] * 7 + [4]
        blocks = await read_chain(chain)
        assert [is_config_block(block) for block in blocks] == [True, False, True, False, False]
        assert [last_config_index(block) for block in blocks] == [0, 0, 2, 2, 2]
        assert chain.config.sequence == 1
        await validate_chain(chain)

    async def test_it_survives_a_restart(
        self, chain: Chain, consortium: Consortium, tmp_path: Path
    ) -> None:
        update = build_update(consortium, chain.config, set_batch_size, [consortium.orderer_admin])
        await chain.submit(open_message(update))
        await submit(chain, consortium)
        await chain.close()
        again = await open_chain(await BlockStore.open(tmp_path, CHANNEL), consortium)
        assert (again.height, again.config.sequence, again.last_config) == (3, 1, 1)
        await submit(again, consortium)
        await validate_chain(again)
        await again.close()

    async def test_the_second_of_two_equal_updates_is_refused_when_its_turn_comes(
        self, chain: Chain, consortium: Consortium
    ) -> None:
        update = build_update(consortium, chain.config, set_batch_size, [consortium.orderer_admin])
        first, second = (chain.submit(open_message(update)) for _ in range(2))
        assert await first == 1
        with pytest.raises(Refused, match="but key is at version 1"):
            await second
        assert chain.height == 2

    async def test_what_waited_is_judged_by_the_new_config(
        self, chain: Chain, consortium: Consortium
    ) -> None:
        update = build_update(consortium, chain.config, set_maintenance, [consortium.orderer_admin])
        changed = chain.submit(open_message(update))
        late = submit(chain, consortium)
        await changed
        with pytest.raises(Refused, match="maintenance mode"):
            await late


class TestTrouble:
    async def test_too_much_waiting_is_refused(
        self, chain: Chain, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "MAX_WAITING", 3)
        waiting = [submit(chain, consortium) for _ in range(3)]
        with pytest.raises(Refused, match="try again later") as caught:
            submit(chain, consortium)
        assert caught.value.status == common_pb2.SERVICE_UNAVAILABLE
        await asyncio.gather(*waiting)
        await submit(chain, consortium)

    async def test_too_many_bytes_waiting_are_refused(
        self, chain: Chain, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake, "MAX_WAITING_BYTES", 5000)
        waiting = submit(chain, consortium, bytes(4000))
        with pytest.raises(Refused, match="try again later"):
            submit(chain, consortium, bytes(4000))
        await waiting

    async def test_a_disk_that_refuses_stops_the_intake_and_loses_nothing(
        self, chain: Chain, consortium: Consortium, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        await submit(chain, consortium)

        async def refuse(block: Any, raw: bytes) -> None:
            raise StoreError("database or disk is full")

        monkeypatch.setattr(chain._store, "append", refuse)
        waiting = [submit(chain, consortium) for _ in range(MAX_MESSAGES * 2 + 1)]
        reading = asyncio.create_task(chain.wait_for(2))
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, Refused)
            assert outcome.status == common_pb2.SERVICE_UNAVAILABLE
            assert "disk is full" in outcome.info
        with pytest.raises(Refused, match="disk is full"):
            submit(chain, consortium)
        await asyncio.wait_for(reading, 60)
        assert chain.height == 2
        assert "disk is full" in chain.failure
        assert await chain.get_block(1)

    async def test_closing_orders_what_was_taken(
        self, chain: Chain, consortium: Consortium, tmp_path: Path
    ) -> None:
        waiting = [submit(chain, consortium) for _ in range(25)]
        await chain.close()
        assert await asyncio.gather(*waiting) == [1] * 10 + [2] * 10 + [3] * 5
        with pytest.raises(Refused, match="stopping"):
            submit(chain, consortium)
        again = await BlockStore.open(tmp_path, CHANNEL)
        assert again.height == 4
        await again.close()

    async def test_an_orderer_that_does_not_lead_orders_nothing(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        genesis = consortium.build_genesis().SerializeToString()
        store = await BlockStore.create(tmp_path, CHANNEL, genesis)
        other = consortium.orderer.enrol_tls("other")[0]
        chain = await Chain.open(store, Node(consortium.orderer_signer, other))
        with pytest.raises(Refused, match=r"its first consenter, 127\.0\.0\.1:7050, does"):
            submit(chain, consortium)
        await chain.close()
