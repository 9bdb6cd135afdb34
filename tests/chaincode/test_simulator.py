"""The simulator runs a contract as a peer would, without a network."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime

import pytest

from chaincode.access import anyone, attribute, role, rule
from chaincode.contract import Context, Contract, query, transaction
from chaincode.errors import (
    Conflict,
    ContractError,
    Denied,
    InvalidArgument,
    NotFound,
    PeerError,
    UnknownTransaction,
    WriteInQuery,
)
from chaincode.simulator import Collection, Simulator


@dataclass(frozen=True, slots=True)
class Asset:
    asset_id: str
    owner: str
    size: int = 1
    created_at: datetime | None = None


class AssetContract(Contract, name="assets"):
    """Assets that someone owns."""

    @transaction(access=role("clinician") | attribute("admin", "true"))
    async def Create(self, ctx: Context, asset: Asset) -> Asset:
        if await ctx.stub.get_state(asset.asset_id) is not None:
            raise Conflict("the asset exists already")
        created = Asset(asset.asset_id, ctx.client.msp_id, asset.size, ctx.now)
        from chaincode.canonical import encode

        await ctx.stub.put_state(asset.asset_id, encode(created))
        ctx.set_event("AssetCreated", {"assetId": asset.asset_id})
        return created

    @query
    async def Get(self, ctx: Context, asset_id: str) -> bytes:
        value = await ctx.stub.get_state(asset_id)
        if value is None:
            raise NotFound("there is no such asset")
        return value

    @query
    async def Sneak(self, ctx: Context) -> None:
        await ctx.stub.put_state("a", b"b")

    @transaction
    async def Touch(self, ctx: Context, key: str, times: int) -> int:
        before = int(await ctx.stub.get_state(key) or b"0")
        await asyncio.sleep(0)
        await ctx.stub.put_state(key, str(before + times).encode())
        return before + times

    @transaction
    async def Fill(self, ctx: Context, count: int) -> None:
        ctx.stub.start_write_batch()
        for number in range(count):
            await ctx.stub.put_state(f"k{number:04d}", json.dumps({"n": number}).encode())

    @query
    async def Keys(self, ctx: Context, start: str, end: str) -> list[str]:
        return [entry.key async for entry in ctx.stub.get_state_by_range(start, end)]

    @query
    async def PageOf(self, ctx: Context, size: int, bookmark: str) -> dict[str, object]:
        page = await ctx.stub.get_state_by_range_with_pagination("k", "l", size, bookmark)
        keys = [entry.key for entry in page]
        return {"keys": keys, "bookmark": page.bookmark, "count": page.fetched_count}

    @query
    async def Find(self, ctx: Context, selector: dict[str, object]) -> list[str]:
        text = json.dumps({"selector": selector, "sort": [{"n": "desc"}]})
        return [entry.key async for entry in ctx.stub.get_query_result(text)]

    @query
    async def History(self, ctx: Context, key: str) -> list[str]:
        changes = ctx.stub.get_history_for_key(key)
        return [change.value.decode() async for change in changes]

    @transaction
    async def Hide(self, ctx: Context, collection: str) -> None:
        await ctx.stub.put_private_data(collection, "k", ctx.transient["value"])

    @query
    async def Seek(self, ctx: Context, collection: str) -> bytes | None:
        return await ctx.stub.get_private_data(collection, "k")

    @query
    async def Digest(self, ctx: Context, collection: str) -> bytes | None:
        return await ctx.stub.get_private_data_hash(collection, "k")

    @transaction
    async def PageThenWrite(self, ctx: Context) -> None:
        await ctx.stub.get_state_by_range_with_pagination("a", "b", 5)
        await ctx.stub.put_state("a", b"b")

    @transaction
    async def Forward(self, ctx: Context, chaincode: str, function: str, key: str) -> bytes:
        response = await ctx.stub.invoke_chaincode(chaincode, [function, key, "5"])
        return f"{response.status} {response.message} {response.payload.decode()}".encode()


@pytest.fixture
def sim() -> Simulator:
    return Simulator(AssetContract)


async def test_submit_commits_state_and_event(sim: Simulator) -> None:
    alice = sim.identity("GeneralHospitalMSP", "alice", attributes={"role": "clinician"})
    result = await sim.submit(alice, "assets:Create", Asset("a1", "nobody"))
    assert result.value(Asset) == Asset("a1", "GeneralHospitalMSP", 1, sim.now)
    assert sim.state["a1"] == result.payload
    assert [(event.name, event.payload) for event in sim.events] == [
        ("AssetCreated", b'{"assetId":"a1"}')
    ]
    assert (await sim.evaluate(alice, "assets:Get", "a1")).payload == result.payload


async def test_refusals_are_the_contracts_errors(sim: Simulator) -> None:
    alice = sim.identity("GeneralHospitalMSP", "alice", attributes={"role": "clinician"})
    bob = sim.identity("OtherMSP", "bob")
    with pytest.raises(Denied, match=r"attribute role=clinician is missing; or attribute admin"):
        await sim.submit(bob, "assets:Create", Asset("a1", "x"))
    with pytest.raises(NotFound):
        await sim.evaluate(bob, "assets:Get", "a1")
    with pytest.raises(InvalidArgument, match=r"asset\.size: expected an integer, got string"):
        await sim.submit(alice, "assets:Create", b'{"assetId":"a","owner":"b","size":"1"}')
    with pytest.raises(InvalidArgument, match=r"expected 2 arguments, got 1: key, times"):
        await sim.submit(alice, "assets:Touch", "a")
    with pytest.raises(InvalidArgument, match=r"times: expected an integer"):
        await sim.submit(alice, "assets:Touch", "a", "many")
    with pytest.raises(UnknownTransaction, match=r"did you mean Create\?"):
        await sim.submit(alice, "assets:Creat", "a")
    with pytest.raises(UnknownTransaction, match=r"did you mean assets\?"):
        await sim.submit(alice, "asset:Create", "a")
    with pytest.raises(WriteInQuery):
        await sim.evaluate(alice, "assets:Sneak")
    assert sim.state == {}


async def test_a_read_that_was_overtaken_is_a_conflict(sim: Simulator) -> None:
    bob = sim.identity("OtherMSP", "bob")
    results = await asyncio.gather(
        *(sim.submit(bob, "assets:Touch", "n", 1) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(result, Conflict) for result in results) == 2
    assert sim.state["n"] == b"1"


@pytest.mark.parametrize("batching", [True, False])
async def test_ranges_pages_queries_and_history(batching: bool) -> None:
    sim = Simulator(AssetContract, batching=batching)
    bob = sim.identity("OtherMSP", "bob")
    await sim.submit(bob, "Fill", 250)
    assert len((await sim.evaluate(bob, "Keys", "", "")).json()) == 250
    assert (await sim.evaluate(bob, "Keys", "k0248", "")).json() == ["k0248", "k0249"]
    seen: list[str] = []
    bookmark = ""
    while True:
        page = (await sim.evaluate(bob, "PageOf", 120, bookmark)).json()
        assert page["count"] == len(page["keys"])
        seen += page["keys"]
        bookmark = page["bookmark"]
        if not bookmark:
            break
    assert seen == [f"k{number:04d}" for number in range(250)]
    found = (await sim.evaluate(bob, "Find", {"n": {"$lt": 3}})).json()
    assert found == ["k0002", "k0001", "k0000"]
    await sim.submit(bob, "Touch", "n", 1)
    await sim.submit(bob, "Touch", "n", 1)
    assert (await sim.evaluate(bob, "History", "n")).json() == ["2", "1"]


async def test_writes_after_a_paginated_query_are_refused(sim: Simulator) -> None:
    bob = sim.identity("OtherMSP", "bob")
    with pytest.raises(PeerError, match="already performed a paginated query"):
        await sim.submit(bob, "PageThenWrite")


async def test_private_data_stays_with_the_members() -> None:
    sim = Simulator(AssetContract, collections={"c": Collection(frozenset({"AMSP"}))})
    alice, bob = sim.identity("AMSP", "alice"), sim.identity("BMSP", "bob")
    await sim.submit(alice, "Hide", "c", transient={"value": b"secret"})
    assert sim.private == {"c": {"k": b"secret"}}
    assert (await sim.evaluate(alice, "Seek", "c")).payload == b"secret"
    with pytest.raises(PeerError, match="does not have read access permission"):
        await sim.evaluate(bob, "Seek", "c")
    assert len((await sim.evaluate(bob, "Digest", "c")).payload) == 32
    with pytest.raises(PeerError, match=r"collection \[d\] not defined"):
        await sim.submit(alice, "Hide", "d", transient={"value": b"secret"})


async def test_one_chaincode_calls_another(sim: Simulator) -> None:
    sim.deploy("other", AssetContract)
    bob = sim.identity("OtherMSP", "bob")
    result = await sim.submit(bob, "Forward", "other", "Touch", "x")
    assert result.text == "200  5"
    assert sim.world.spaces["other", ""]["x"].value == b"5"
    refused = await sim.submit(bob, "Forward", "other", "Nope", "x")
    assert refused.text.startswith("404 UnknownTransaction: ")
    with pytest.raises(PeerError, match="not found"):
        await sim.submit(bob, "Forward", "missing", "Touch", "x")


async def test_a_rule_may_read_arguments_and_ledger() -> None:
    async def owns(ctx: Context, arguments: object) -> bool | str:
        assert isinstance(arguments, dict)
        return await ctx.stub.get_state(arguments["key"]) == b"mine" or "ownership of the key"

    class Guarded(Contract, name="guarded"):
        @transaction(access=anyone() & rule("owner", owns))
        async def Use(self, ctx: Context, key: str) -> str:
            return "used"

        @transaction
        async def Take(self, ctx: Context, key: str) -> None:
            await ctx.stub.put_state(key, b"mine")

    sim = Simulator(Guarded)
    bob = sim.identity("OtherMSP", "bob")
    with pytest.raises(Denied, match="ownership of the key"):
        await sim.submit(bob, "Use", "k")
    await sim.submit(bob, "Take", "k")
    assert (await sim.submit(bob, "Use", "k")).text == "used"


async def test_an_unforeseen_exception_is_answered_without_its_text() -> None:
    class Broken(Contract, name="broken"):
        @transaction
        async def Fail(self, ctx: Context, secret: str) -> None:
            raise KeyError(secret)

    sim = Simulator(Broken)
    with pytest.raises(ContractError) as caught:
        await sim.submit(sim.identity("AMSP", "a"), "Fail", "jane doe")
    assert caught.value.status == 500
    assert "KeyError" in caught.value.text
    assert "jane" not in caught.value.message
