"""A chaincode that calls every method of the stub and says what came of it."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from chaincode.contract import Context, Contract, ContractChaincode, query, transaction
from chaincode.errors import Conflict, PeerError
from chaincode.shim.iterators import Page
from chaincode.shim.statebased import KeyEndorsementPolicy, RoleType, open_key_endorsement_policy
from chaincode.shim.stub import Stub


class StubContract(Contract, name="stub"):
    """Every stub call behind a transaction."""

    @transaction
    async def Put(self, ctx: Context, key: str, value: str) -> None:
        await ctx.stub.put_state(key, value.encode())
        ctx.set_event("First", b"lost")
        ctx.set_event("Put", {"size": len(value)})

    @transaction
    async def PutMany(self, ctx: Context, prefix: str, count: int, batch: bool) -> int:
        if batch:
            ctx.stub.start_write_batch()
        for number in range(count):
            await ctx.stub.put_state(f"{prefix}{number:05d}", str(number).encode())
        await ctx.stub.finish_write_batch()
        return count

    @transaction
    async def BatchOfAll(self, ctx: Context, collection: str) -> None:
        """Each kind of write in one batch, which goes out at the transaction's end."""
        stub = ctx.stub
        stub.start_write_batch()
        await stub.put_state("batched", b"1")
        await stub.put_state("batched", b"2")
        await stub.del_state("gone")
        await stub.put_private_data(collection, "batched", b"private")
        await stub.set_state_validation_parameter("batched", _policy("Org1MSP"))
        await stub.purge_private_data(collection, "purged")

    @transaction
    async def PutComposite(self, ctx: Context, kind: str, attributes: list[str]) -> str:
        key = ctx.stub.create_composite_key(kind, attributes)
        assert ctx.stub.split_composite_key(key) == (kind, attributes)
        await ctx.stub.put_state(key, b"composite")
        return key.encode().hex()

    @transaction
    async def Delete(self, ctx: Context, key: str) -> None:
        await ctx.stub.del_state(key)

    @transaction
    async def ReadOwnWrite(self, ctx: Context, key: str) -> str:
        before = await ctx.stub.get_state(key)
        await ctx.stub.put_state(key, b"own")
        return "unseen" if await ctx.stub.get_state(key) == before else "seen"

    @query
    async def Get(self, ctx: Context, key: str) -> bytes | None:
        return await ctx.stub.get_state(key)

    @query
    async def GetMany(self, ctx: Context, keys: list[str]) -> list[str | None]:
        values = await ctx.stub.get_multiple_states(*keys)
        return [None if value is None else value.decode() for value in values]

    @query
    async def Range(self, ctx: Context, start: str, end: str) -> dict[str, Any]:
        keys = [entry.key async for entry in ctx.stub.get_state_by_range(start, end)]
        return _listing(keys)

    @query
    async def RangeOfOne(self, ctx: Context, start: str, end: str) -> int:
        """Break out of a long iteration again and again, then iterate to the end."""
        for _ in range(5):
            async for entry in ctx.stub.get_state_by_range(start, end):
                assert entry.key >= start
                break
        async with ctx.stub.get_state_by_range(start, end) as entries:
            async for _ in entries:
                break
        return len(await ctx.stub.get_state_by_range(start, end).collect())

    @query
    async def RangePage(
        self, ctx: Context, start: str, end: str, size: int, bookmark: str
    ) -> dict[str, Any]:
        page = await ctx.stub.get_state_by_range_with_pagination(start, end, size, bookmark)
        return _page(page)

    @query
    async def Partial(self, ctx: Context, kind: str, attributes: list[str]) -> list[list[str]]:
        found = ctx.stub.get_state_by_partial_composite_key(kind, attributes)
        return [ctx.stub.split_composite_key(entry.key)[1] async for entry in found]

    @query
    async def PartialPage(self, ctx: Context, kind: str, size: int) -> dict[str, Any]:
        stub = ctx.stub
        return _page(
            await stub.get_state_by_partial_composite_key_with_pagination(kind, [], size, "")
        )

    @query
    async def AllComposite(self, ctx: Context, size: int) -> dict[str, Any]:
        return _page(await ctx.stub.get_all_states_composite_key_with_pagination(size))

    @query
    async def Walk(self, ctx: Context, method: str, size: int) -> dict[str, Any]:
        """Every page of a paged method, from bookmark to bookmark, and the same in one go."""
        stub = ctx.stub
        if method == "range":
            whole = stub.get_state_by_range("walk", "walk~")
        else:
            whole = stub.get_state_by_partial_composite_key("walk", ["a"])
        counts: list[int] = []
        keys: list[str] = []
        bookmark = ""
        while not counts or bookmark:
            if method == "range":
                page = await stub.get_state_by_range_with_pagination(
                    "walk", "walk~", size, bookmark
                )
            elif method == "partial":
                page = await stub.get_state_by_partial_composite_key_with_pagination(
                    "walk", ["a"], size, bookmark
                )
            else:
                page = await stub.get_all_states_composite_key_with_pagination(size, bookmark)
            entries = [entry.key for entry in page]
            assert len(entries) == page.fetched_count
            counts.append(page.fetched_count)
            keys += [key for key in entries if method != "all" or key.startswith("\0walk\0a\0")]
            bookmark = page.bookmark
        expected = [entry.key async for entry in whole]
        return {"counts": counts, "same": keys == expected, "keys": len(keys)}

    @transaction
    async def PutWalk(self, ctx: Context, count: int) -> None:
        """Simple and composite keys for `Walk`."""
        for number in range(count):
            await ctx.stub.put_state(f"walk{number:03d}", b"w")
            for kind in ("a", "b"):
                key = ctx.stub.create_composite_key("walk", [kind, f"{number:03d}"])
                await ctx.stub.put_state(key, b"w")

    @query
    async def Rich(self, ctx: Context) -> str:
        """LevelDB cannot; the peer's refusal has to come through, page or not."""
        try:
            await ctx.stub.get_query_result('{"selector":{}}').collect()
        except PeerError as first:
            try:
                await ctx.stub.get_query_result_with_pagination('{"selector":{}}', 5)
            except PeerError as second:
                return f"{first.text} | {second.text}"
        return "no error"

    @query
    async def History(self, ctx: Context, key: str) -> list[str]:
        changes = ctx.stub.get_history_for_key(key)
        return [
            "deleted" if change.is_delete else change.value.decode()
            async for change in changes
            if change.tx_id and change.timestamp <= ctx.now
        ]

    @transaction
    async def SetPolicy(self, ctx: Context, key: str, msp_ids: list[str]) -> None:
        await ctx.stub.set_state_validation_parameter(key, _policy(*msp_ids))

    @query
    async def GetPolicy(self, ctx: Context, key: str) -> list[str]:
        policy = await ctx.stub.get_state_validation_parameter(key)
        return open_key_endorsement_policy(policy).list_orgs()

    @transaction
    async def PutPrivate(self, ctx: Context, collection: str, key: str) -> None:
        await ctx.stub.put_private_data(collection, key, ctx.transient["value"])

    @transaction
    async def PutPrivateMany(self, ctx: Context, collection: str, count: int) -> None:
        stub = ctx.stub
        for number in range(count):
            await stub.put_private_data(collection, f"p{number:05d}", ctx.transient["value"])
            key = stub.create_composite_key("private", [str(number)])
            await stub.put_private_data(collection, key, ctx.transient["value"])

    @transaction
    async def DeletePrivate(self, ctx: Context, collection: str, key: str) -> None:
        await ctx.stub.del_private_data(collection, key)

    @transaction
    async def PurgePrivate(self, ctx: Context, collection: str, key: str) -> None:
        await ctx.stub.purge_private_data(collection, key)

    @transaction
    async def SetPrivatePolicy(self, ctx: Context, collection: str, key: str) -> None:
        policy = _policy("Org1MSP")
        await ctx.stub.set_private_data_validation_parameter(collection, key, policy)

    @query
    async def Private(self, ctx: Context, collection: str, key: str) -> dict[str, Any]:
        stub = ctx.stub
        value = await stub.get_private_data(collection, key)
        many = await stub.get_multiple_private_data(collection, key, "missing")
        digest = await stub.get_private_data_hash(collection, key)
        policy = await stub.get_private_data_validation_parameter(collection, key)
        return {
            "value": value and value.decode(),
            "many": [entry and entry.decode() for entry in many],
            "hashMatches": bool(value) and hashlib.sha256(value or b"").digest() == digest,
            "policy": open_key_endorsement_policy(policy).list_orgs(),
        }

    @query
    async def PrivateHash(self, ctx: Context, collection: str, key: str) -> bytes | None:
        digest = await ctx.stub.get_private_data_hash(collection, key)
        return digest and digest.hex().encode()

    @query
    async def PrivateRange(self, ctx: Context, collection: str) -> dict[str, Any]:
        stub = ctx.stub
        simple = [e.key async for e in stub.get_private_data_by_range(collection, "", "")]
        found = stub.get_private_data_by_partial_composite_key(collection, "private", [])
        return {"simple": _listing(simple), "composite": len(await found.collect())}

    @query
    async def PrivateRich(self, ctx: Context, collection: str) -> str:
        try:
            await ctx.stub.get_private_data_query_result(collection, '{"selector":{}}').collect()
        except PeerError as error:
            return error.text
        return "no error"

    @transaction
    async def PageThenPut(self, ctx: Context) -> str:
        await ctx.stub.get_state_by_range_with_pagination("a", "z", 2)
        try:
            await ctx.stub.put_state("never", b"x")
        except PeerError as error:
            return error.text
        return "no error"

    @query
    async def About(self, ctx: Context) -> dict[str, Any]:
        """What the stub says of the invocation."""
        stub: Stub = ctx.stub
        return {
            "args": len(stub.get_args()),
            "stringArgs": stub.get_string_args(),
            "function": stub.get_function_and_parameters()[0],
            "slice": stub.get_args_slice().decode(),
            "txId": stub.get_tx_id(),
            "channel": stub.get_channel_id(),
            "binding": len(stub.get_binding()),
            "decorations": len(stub.get_decorations()),
            "signature": len(stub.get_signed_proposal().signature) > 0,
            "creator": len(stub.get_creator()) > 0,
            "transient": sorted(stub.get_transient()),
            "timestamp": stub.get_tx_timestamp(),
            "mspId": ctx.client.msp_id,
            "id": ctx.client.id,
            "ous": list(ctx.client.ous),
        }

    @query
    async def Parallel(self, ctx: Context, keys: list[str]) -> list[str | None]:
        """Requests of one transaction at once: they take their turns."""
        values = await asyncio.gather(*(ctx.stub.get_state(key) for key in keys))
        return [None if value is None else value.decode() for value in values]

    @transaction
    async def CallOther(
        self, ctx: Context, chaincode: str, channel: str, args: list[str]
    ) -> dict[str, Any]:
        answer = await ctx.stub.invoke_chaincode(chaincode, args, channel)
        payload = answer.payload.decode("utf-8", "replace")
        return {"status": answer.status, "message": answer.message, "payload": payload}

    @transaction
    async def Increment(self, ctx: Context, key: str) -> int:
        value = int(await ctx.stub.get_state(key) or b"0") + 1
        await ctx.stub.put_state(key, str(value).encode())
        return value

    @transaction
    async def Count(self, ctx: Context, key: str, seeds: list[str]) -> int:
        """Add one, and read the seeds at once: each holds its own name, unless mixed up."""
        read = (ctx.stub.get_state(seed) for seed in seeds)
        before, *values = await asyncio.gather(ctx.stub.get_state(key), *read)
        if values != [seed.encode() for seed in seeds]:
            raise Conflict("answers were mixed up")
        value = int(before or b"0") + 1
        await ctx.stub.put_state(key, str(value).encode())
        return value

    @query
    async def Large(self, ctx: Context, size: int) -> bytes:
        return b"x" * size

    @transaction
    async def Refuse(self, ctx: Context, text: str) -> None:
        raise Conflict(text)

    @transaction
    async def Fail(self, ctx: Context, text: str) -> None:
        raise KeyError(text)

    @query
    async def Slow(self, ctx: Context, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "done"


def _policy(*msp_ids: str) -> bytes:
    policy = KeyEndorsementPolicy()
    policy.add_orgs(RoleType.PEER, *msp_ids)
    return policy.build()


def _listing(keys: list[str]) -> dict[str, Any]:
    composite = sum(key.startswith("\0") for key in keys)
    ends = [keys[0], keys[-1]] if keys else []
    return {
        "count": len(keys),
        "ends": ends,
        "sorted": keys == sorted(keys),
        "composite": composite,
    }


def _page(page: Page) -> dict[str, Any]:
    keys = [entry.key for entry in page]
    return {"keys": keys, "bookmark": page.bookmark, "count": page.fetched_count}


def chaincode() -> ContractChaincode:
    """What `python -m chaincode --chaincode tests.conformance.stub_contract:chaincode` serves."""
    return ContractChaincode([StubContract()], title="stub")
