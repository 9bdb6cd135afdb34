"""Several orderers on a channel: one leads, the others follow, and never do two lead."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from network.node.ordering.block_store import DiskFull
from network.node.ordering.participation import build_participation
from network.rules.blocks.block import open_block
from network.rules.ordering.leadership import Part
from tests.network.cluster import Cluster, running_cluster
from tests.network.consortium import CHANNEL, build_message
from tests.network.node.probes import at, build_seek, deliver, newest
from tests.network.updates import build_update, set_batch_size


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


async def describe(cluster: Cluster, number: int) -> dict[str, Any]:
    orderer = cluster.running[number]
    app = build_participation(orderer.registrar, orderer.connections)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://orderer"
    ) as client:
        found: dict[str, Any] = (await client.get(f"/participation/v1/channels/{CHANNEL}")).json()
    return found


def count_leaders(cluster: Cluster) -> int:
    return sum(cluster.chain(number).leads() for number in cluster.running)


async def test_any_orderer_takes_messages_and_serves_their_blocks(cluster: Cluster) -> None:
    for number in range(3):
        assert await cluster.send(number, b"1", b"2") == ["SUCCESS"] * 2
    await cluster.settle(4)
    height = await cluster.validate()
    async with cluster.connect(2) as channel:
        seek = build_seek(cluster.consortium.alice, at(0), newest())
        answers = await deliver(channel, seek)
    assert answers == [f"block {number}" for number in range(height)] + ["SUCCESS"]
    for number in range(3):
        info = await describe(cluster, number)
        assert (info["consensusRelation"], info["status"]) == ("consenter", "active")


async def test_messages_keep_their_order_and_a_refusal_ends_the_stream(cluster: Cluster) -> None:
    consortium = cluster.consortium
    good = [build_message(consortium.alice, b"%d" % number) for number in range(40)]
    bad = build_message(consortium.stranger)
    answers = await cluster.send_raw(1, [*good, bad, build_message(consortium.alice)])
    assert answers[:-1] == ["SUCCESS"] * 40
    assert answers[-1].startswith("FORBIDDEN")
    chain = cluster.chain(0)
    blocks = [open_block(await chain.get_block(number)) for number in range(1, chain.height)]
    assert [raw for block in blocks for raw in block.data.data] == good


async def test_the_leaders_refusal_passes_through(cluster: Cluster) -> None:
    """A follower that is behind admits by its older config; what the leader says counts."""
    chain, consortium = cluster.chain(0), cluster.consortium
    update = build_update(consortium, chain.config, set_batch_size, [consortium.orderer_admin])
    assert await cluster.send_raw(1, [update]) == ["SUCCESS"]
    await cluster.settle(2)
    (answer,) = await cluster.send_raw(1, [update])
    assert answer.startswith("BAD_REQUEST error applying config update")


async def test_without_the_leader_nothing_is_ordered_and_everything_is_served(
    cluster: Cluster,
) -> None:
    await cluster.send(1)
    await cluster.settle(2)
    await cluster.stop(0)
    (answer,) = await cluster.send(1)
    assert answer.startswith(f"SERVICE_UNAVAILABLE no Raft leader: {cluster.addresses[0]}")
    async with cluster.connect(1) as channel:
        seek = build_seek(cluster.consortium.alice, at(0), at(1))
        assert await deliver(channel, seek) == ["block 0", "block 1", "SUCCESS"]
    await cluster.start(0)
    async with asyncio.timeout(60):
        while await cluster.send(1) != ["SUCCESS"]:
            await asyncio.sleep(0.2)
    await cluster.settle(3)
    await cluster.validate()


async def test_a_follower_that_was_away_catches_up(cluster: Cluster) -> None:
    await cluster.stop(2)
    for _ in range(3):
        await cluster.send(1)
    await cluster.start(2)
    await cluster.settle(4)
    assert await cluster.validate() == 4


class TestLeaderChange:
    async def test_the_order_of_consenters_decides(self, cluster: Cluster) -> None:
        assert await cluster.list_consenters(1, 1, 0, 2) == ["SUCCESS"]
        await cluster.settle(2)
        parts = [cluster.chain(number).part for number in range(3)]
        assert parts == [Part.CONSENTER, Part.LEADER, Part.CONSENTER]
        for number in range(3):
            assert await cluster.send(number) == ["SUCCESS"]
        await cluster.settle(5)
        await cluster.validate()

    async def test_one_that_is_removed_follows(self, cluster: Cluster) -> None:
        assert await cluster.list_consenters(0, 1, 2) == ["SUCCESS"]
        await cluster.settle(2)
        assert await cluster.send(2) == ["SUCCESS"]
        await cluster.settle(3)
        info = await describe(cluster, 0)
        assert (info["consensusRelation"], info["status"]) == ("follower", "active")
        assert (await describe(cluster, 1))["consensusRelation"] == "consenter"

    async def test_its_last_block_is_had_from_another(self, cluster: Cluster) -> None:
        """The new leader was away when the old one handed over and left for good."""
        await cluster.stop(1)
        assert await cluster.list_consenters(0, 1, 2) == ["SUCCESS"]
        await cluster.settle(2)
        await cluster.stop(0)
        await cluster.start(1)
        async with asyncio.timeout(60):
            while await cluster.send(1) != ["SUCCESS"]:
                await asyncio.sleep(0.1)
        await cluster.settle(3)
        await cluster.validate()

    async def test_never_do_two_lead(self, cluster: Cluster) -> None:
        """Under load, leadership goes round; what was acknowledged is in the one chain."""
        acknowledged: set[bytes] = set()
        stopping = False

        async def load(number: int) -> None:
            counter = 0
            while not stopping:
                counter += 1
                raw = build_message(cluster.consortium.alice, b"%d %d" % (number, counter))
                if await cluster.send_raw(number, [raw]) == ["SUCCESS"]:
                    acknowledged.add(raw)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(load(number))
            for order in ((1, 2, 0), (2, 0, 1), (0, 1, 2)):
                before = cluster.chain(0).config.sequence
                async with asyncio.timeout(60):
                    while cluster.chain(order[0]).config.sequence == before:
                        if count_leaders(cluster) == 1:
                            await cluster.list_consenters(order[0], *order)
                        await asyncio.sleep(0.1)
                    while not all(
                        cluster.chain(number).config.sequence > before for number in range(3)
                    ):
                        assert count_leaders(cluster) <= 1
                        await asyncio.sleep(0.01)
                enough = len(acknowledged) + 4
                async with asyncio.timeout(60):
                    while len(acknowledged) < enough:
                        await asyncio.sleep(0.01)
            stopping = True
        await cluster.settle(cluster.chain(0).height)
        await cluster.validate()
        chain = cluster.chain(0)
        stored = {
            raw
            for number in range(chain.height)
            for raw in open_block(await chain.get_block(number)).data.data
        }
        assert len(acknowledged) > 10
        assert acknowledged <= stored


class TestJoining:
    async def test_late_with_a_later_config_block(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path, 3)
        try:
            for number in (0, 1):
                await cluster.start(number)
            for number in (0, 1):
                await cluster.running[number].registrar.join(cluster.build_genesis([0, 1]))
            assert await cluster.send(0) == ["SUCCESS"]
            assert await cluster.list_consenters(0, 0, 1, 2) == ["SUCCESS"]
            await cluster.send(0)
            await cluster.settle(4)
            late = await cluster.start(2)
            config_block = open_block(await cluster.chain(0).get_block(2))
            joined = await late.registrar.join(config_block)
            assert joined.is_onboarding
            info = await describe(cluster, 2)
            assert (info["consensusRelation"], info["status"]) == ("consenter", "onboarding")
            await cluster.settle(4)
            assert (await describe(cluster, 2))["status"] == "active"
            assert await cluster.send(2) == ["SUCCESS"]
            await cluster.settle(5)
            await cluster.validate()
            await cluster.stop(2)
            await cluster.start(2)
            assert cluster.chain(2).height == 5
        finally:
            for number in list(cluster.running):
                await cluster.stop(number)

    async def test_killed_in_the_middle_it_goes_on(self, cluster: Cluster) -> None:
        for _ in range(5):
            await cluster.send(0)
        config = cluster.chain(0).config
        update = build_update(
            cluster.consortium, config, set_batch_size, [cluster.consortium.orderer_admin]
        )
        await cluster.send_raw(0, [update])
        await cluster.settle(7)
        block = open_block(await cluster.chain(0).get_block(6))
        await cluster.running[2].registrar.remove(CHANNEL)
        for other in (0, 1):
            await cluster.stop(other)
        await cluster.running[2].registrar.join(block)
        await asyncio.sleep(0.2)
        await cluster.stop(2)
        again = await cluster.start(2)
        assert cluster.chain(2).is_onboarding
        assert again.registrar.get_serving(CHANNEL) is None
        async with cluster.connect(2) as channel:
            seek = build_seek(cluster.consortium.alice, at(0), at(1))
            assert await deliver(channel, seek) == ["NOT_FOUND"]
        await cluster.start(1)
        await cluster.settle(7)
        assert not cluster.chain(2).is_onboarding

    async def test_a_chain_that_does_not_lead_to_the_join_block_is_not_believed(
        self, cluster: Cluster
    ) -> None:
        config = cluster.chain(0).config
        admins = [cluster.consortium.orderer_admin]
        update = build_update(cluster.consortium, config, set_batch_size, admins)
        await cluster.send_raw(0, [update])
        await cluster.settle(2)
        forged = open_block(await cluster.chain(0).get_block(1))
        forged.header.previous_hash = bytes(32)
        await cluster.running[2].registrar.remove(CHANNEL)
        chain = await cluster.running[2].registrar.join(forged)
        async with asyncio.timeout(60):
            while not chain.failure:
                await asyncio.sleep(0.02)
        assert "does not lead to the config block 1" in chain.failure
        assert (await describe(cluster, 2))["status"] == "failed"

    async def test_a_leader_that_lost_its_disk_fetches_before_it_orders(
        self, cluster: Cluster
    ) -> None:
        for _ in range(3):
            await cluster.send(0)
        await cluster.settle(4)
        await cluster.running[0].registrar.remove(CHANNEL)
        await cluster.running[0].registrar.join(cluster.build_genesis())
        assert await cluster.send(0) == ["SUCCESS"]
        await cluster.settle(5)
        assert await cluster.validate() == 5

    async def test_alone_it_does_not_begin(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path, 3)
        try:
            await cluster.start(0)
            await cluster.running[0].registrar.join(cluster.build_genesis())
            async with asyncio.timeout(60):
                while not (await cluster.send(0))[0].startswith("SERVICE_UNAVAILABLE no Raft"):
                    await asyncio.sleep(0.05)
            await cluster.start(1)
            async with asyncio.timeout(60):
                while await cluster.send(0) != ["SUCCESS"]:
                    await asyncio.sleep(0.1)
        finally:
            for number in list(cluster.running):
                await cluster.stop(number)


async def test_two_chains_are_not_joined_into_one(cluster: Cluster, tmp_path: Path) -> None:
    """A leader whose disk was set back while the others were away makes other blocks: they see
    it and stop, instead of mixing the two."""
    await cluster.send(0)
    await cluster.settle(2)
    await cluster.stop(0)
    ledger, kept = tmp_path / "orderer0" / "ledger", tmp_path / "kept"
    shutil.copytree(ledger, kept)
    await cluster.start(0)
    await cluster.send(0)
    await cluster.settle(3)
    for number in range(3):
        await cluster.stop(number)
    shutil.rmtree(ledger)
    shutil.copytree(kept, ledger)
    await cluster.start(0)
    assert await cluster.send(0, b"other") == ["SUCCESS"]
    await cluster.start(1)
    assert await cluster.send(0) == ["SUCCESS"]
    chain = cluster.chain(1)
    async with asyncio.timeout(60):
        while not chain.failure:
            await asyncio.sleep(0.02)
    assert "does not follow this orderer's block 2" in chain.failure
    assert chain.height == 3


async def test_a_full_disk_is_outwaited(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = cluster.chain(0)
    append = chain._store.append

    async def refuse(block: Any, raw: bytes) -> None:
        raise DiskFull("database or disk is full")

    monkeypatch.setattr(chain._store, "append", refuse)
    (answer,) = await cluster.send(1)
    assert answer.startswith("SERVICE_UNAVAILABLE the orderer cannot store blocks")
    assert "disk is full" in chain.failure
    monkeypatch.setattr(chain._store, "append", append)
    async with asyncio.timeout(60):
        while await cluster.send(1) != ["SUCCESS"]:
            await asyncio.sleep(0.1)
    assert chain.failure == ""
    await cluster.settle(2)
    await cluster.validate()
