"""One test for each defect D1–D24 found in the Python shim that Fabric teams have had so far.

Each says what went wrong there and holds that ours does not do it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, proposal_pb2

import chaincode
from chaincode.contract import Context, Contract, query, transaction
from chaincode.errors import ConfigurationError, Denied, InvalidKey
from chaincode.shim import compositekey, dialer, session
from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.response import Response
from chaincode.shim.settings import load_server_tls, read_server_address
from chaincode.simulator import Simulator
from protos.http2 import frames
from protos.http2 import server as http2
from protos.http2.connection import Connection
from tests.chaincode.talk import MODERN, NOW, Talk


class Probe(Contract, name="probe"):
    """Small transactions that each exercise one defect."""

    @transaction
    async def Get(self, ctx: Context, key: str) -> bytes | None:
        return await ctx.stub.get_state(key)

    @transaction
    async def Put(self, ctx: Context, key: str, value: str) -> None:
        await ctx.stub.put_state(key, value.encode())

    @transaction
    async def Delete(self, ctx: Context, key: str) -> None:
        await ctx.stub.del_state(key)

    @transaction
    async def Select(self, ctx: Context) -> int:
        return len(await ctx.stub.get_query_result("{}").collect())

    @transaction
    async def Emit(self, ctx: Context) -> None:
        ctx.set_event("first", b"1")
        ctx.set_event("last", b"2")

    @transaction
    async def Call(self, ctx: Context) -> str:
        answer = await ctx.stub.invoke_chaincode("other", ["f", b"\x00"], "elsewhere")
        return f"{answer.status}:{answer.payload.decode()}"

    @transaction
    async def Range(self, ctx: Context, start: str, end: str) -> int:
        return len(await ctx.stub.get_state_by_range(start, end).collect())

    @transaction
    async def Page(self, ctx: Context) -> dict[str, Any]:
        page = await ctx.stub.get_state_by_range_with_pagination("a", "b", 2, "mark")
        return {"bookmark": page.bookmark, "count": page.fetched_count, "size": len(page)}

    @transaction
    async def Crash(self, ctx: Context, secret: str) -> None:
        raise ZeroDivisionError(secret)

    @transaction
    async def Wait(self, ctx: Context) -> None:
        await ctx.stub.get_state("k")

    @transaction
    async def WriteThree(self, ctx: Context) -> None:
        ctx.stub.start_write_batch()
        for key in ("a", "b", "a"):
            await ctx.stub.put_state(key, key.encode())

    @query
    async def ReadTwo(self, ctx: Context) -> list[str | None]:
        values = await ctx.stub.get_multiple_states("a", "b")
        return [None if value is None else value.decode() for value in values]

    @query
    async def Raw(self, ctx: Context) -> bytes:
        return b"\xff\x00"

    @query
    async def Elsewhere(self, ctx: Context) -> list[datetime]:
        zone = timezone(timedelta(hours=2))
        return [datetime(2026, 1, 2, 5, 4, 5, tzinfo=zone)]

    @query
    async def Unannotated(self, ctx, key: str) -> str:  # type: ignore[no-untyped-def]
        return str(key)

    async def helper(self, ctx: Context) -> str:
        """Public, but no transaction."""
        return "not for clients"


@pytest.mark.parametrize("function", ["Get", "Put", "Delete", "Select"])
async def test_d1_an_error_of_the_peer_is_raised_not_returned(function: str) -> None:
    talk = Talk(Probe)
    args = {"Get": ["k"], "Put": ["k", "v"], "Delete": ["k"], "Select": []}[function]
    talk.invoke(function, *args)
    await talk.sent()
    talk.receive(ChaincodeMessage.ERROR, b"collection config not defined")
    assert await talk.answered() == Response(500, "PeerRefused: collection config not defined")


async def test_d2_the_last_event_travels_with_completed() -> None:
    talk = Talk(Probe)
    talk.invoke("Emit")
    event = (await talk.asked(ChaincodeMessage.COMPLETED)).chaincode_event
    assert (event.event_name, event.payload) == ("last", b"2")


async def test_d3_invoke_chaincode_sends_a_spec_and_reads_the_inner_message() -> None:
    talk = Talk(Probe)
    talk.invoke("Call")
    request = await talk.asked(ChaincodeMessage.INVOKE_CHAINCODE)
    spec = chaincode_pb2.ChaincodeSpec.FromString(request.payload)
    assert spec.chaincode_id.name == "other/elsewhere"
    assert list(spec.input.args) == [b"f", b"\x00"]
    inner = ChaincodeMessage(
        type=ChaincodeMessage.COMPLETED, payload=Response(404, "none", b"x").build()
    )
    talk.receive(ChaincodeMessage.RESPONSE, inner.SerializeToString())
    assert (await talk.answered()).payload == b"404:x"


async def test_d4_an_open_range_starts_after_the_composite_keys() -> None:
    talk = Talk(Probe)
    talk.invoke("Range", "", "")
    request = await talk.asked(ChaincodeMessage.GET_STATE_BY_RANGE)
    assert chaincode_shim_pb2.GetStateByRange.FromString(request.payload).startKey == "\x01"
    talk.invoke("Range", "\0a", "", tx="u")
    assert (await talk.answered()).message.startswith("InvalidKey: ")


async def test_d5_a_page_has_its_bookmark_and_count() -> None:
    talk = Talk(Probe)
    talk.invoke("Page")
    request = await talk.asked(ChaincodeMessage.GET_STATE_BY_RANGE)
    asked = chaincode_shim_pb2.GetStateByRange.FromString(request.payload)
    page = chaincode_shim_pb2.QueryMetadata.FromString(asked.metadata)
    assert (page.pageSize, page.bookmark) == (2, "mark")
    talk.receive(ChaincodeMessage.RESPONSE, query_response(["a", "b"], bookmark="c"))
    answer = json.loads((await talk.answered()).payload)
    assert answer == {"bookmark": "c", "count": 2, "size": 2}


def test_d6_tls_comes_from_the_environment_and_half_of_it_refuses(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="CHAINCODE_TLS_CERT is not set"):
        load_server_tls({"CHAINCODE_TLS_KEY": str(key)})
    with pytest.raises(ConfigurationError, match="CHAINCODE_TLS_KEY is not set"):
        load_server_tls({"CHAINCODE_TLS_DISABLED": "false"})
    missing = str(tmp_path / "none")
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_server_tls({"CHAINCODE_TLS_KEY": missing, "CHAINCODE_TLS_CERT": missing})


@pytest.mark.filterwarnings("error")
async def test_d7_an_exception_is_answered_at_once() -> None:
    talk = Talk(Probe)
    talk.invoke("Crash", "jane")
    answer = await talk.answered()
    assert answer == Response(500, "Internal: the chaincode failed with ZeroDivisionError")
    talk.receive(
        ChaincodeMessage.TRANSACTION,
        tx="u",
        proposal=chaincode_proposal_that_cannot_be_read(),
    )
    assert (await talk.answered()).message.startswith("InvalidArgument: the signed proposal")


async def test_d8_many_transactions_at_once_each_get_their_own_answers() -> None:
    talk = Talk(Probe)
    for number in range(200):
        talk.invoke("Get", f"k{number}", tx=str(number))
    asked = [await talk.asked(ChaincodeMessage.GET_STATE) for _ in range(200)]
    for request in reversed(asked):
        talk.receive(ChaincodeMessage.RESPONSE, request.payload, tx=request.txid)
    for _ in range(200):
        done = await talk.asked(ChaincodeMessage.COMPLETED)
        assert f"k{done.txid}".encode() in done.payload
    assert talk.silent()


def test_d9_composite_keys_cannot_alias() -> None:
    for bad in (["a\0b"], ["a\U0010ffff"], ["\ud800"]):
        with pytest.raises(InvalidKey):
            compositekey.create_composite_key("t", bad)
    with pytest.raises(InvalidKey, match="list of strings"):
        compositekey.create_composite_key("t", "ab")
    assert compositekey.create_composite_key("t", [""]) == "\0t\0\0"


async def test_d10_a_name_that_is_not_utf8_is_called_so() -> None:
    talk = Talk(Probe)
    talk.invoke(b"\xff\xfe")
    message = "InvalidArgument: the function's name is not valid UTF-8"
    assert await talk.answered() == Response(400, message)


def test_d11_the_largest_rune_is_one_character() -> None:
    assert len(compositekey.MAX_UNICODE_RUNE) == 1
    assert compositekey.MAX_UNICODE_RUNE.encode() == b"\xf4\x8f\xbf\xbf"


async def test_d12_no_local_clock_enters() -> None:
    sim = Simulator(Probe)
    seen: list[datetime] = []

    class Clock(Contract, name="clock"):
        @query
        async def Now(self, ctx: Context) -> None:
            seen.append(ctx.now)

    sim.deploy("clock", Clock)
    await sim.evaluate(sim.identity("A", "a"), "Now", chaincode="clock")
    assert seen == [sim.now]
    assert seen[0].tzinfo is UTC
    talk = Talk(Probe)
    talk.invoke("Get", "k")
    assert not (await talk.sent()).HasField("timestamp")


async def test_d13_the_streams_end_does_not_wait_for_answers_that_cannot_come() -> None:
    talk = Talk(Probe)
    talk.invoke("Wait")
    await talk.asked(ChaincodeMessage.GET_STATE)
    await asyncio.wait_for(talk.session.close(), 60)
    assert talk.silent()


async def test_d14_no_data_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    talk = Talk(Probe)
    talk.invoke("Put", "key-of-jane", "value-of-jane", transient={"t": b"transient-of-jane"})
    await talk.asked(ChaincodeMessage.PUT_STATE)
    talk.receive(ChaincodeMessage.ERROR, b"refused about jane")
    await talk.answered()
    talk.invoke("Crash", "crash-of-jane", tx="u")
    await talk.answered()
    await talk.session.drain(1)
    lines = [json.dumps(vars(record), default=str) for record in caplog.records]
    assert any('"txid": "u"' in line and '"channel": "c"' in line for line in lines)
    assert not [line for line in lines if "jane" in line]
    assert any(f"13:{digest(b'value-of-jane')}" in line for line in lines)


def test_d14_importing_leaves_the_root_logger_and_threads_alone() -> None:
    code = (
        "import logging, threading, chaincode.__main__\n"
        "assert logging.getLogger().handlers == []\n"
        "assert logging.getLogger().level == logging.WARNING\n"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


async def test_d15_attributes_are_read_and_assertions_raise() -> None:
    sim = Simulator(Probe)
    person = sim.identity("A", "jane", attributes={"role": "clinician"})
    seen = []

    class Who(Contract, name="who"):
        @query
        async def Am(self, ctx: Context) -> str:
            seen.append(ctx.client.get_attribute("role"))
            ctx.client.assert_attribute("role", "auditor")
            return "never"

    sim.deploy("who", Who)
    with pytest.raises(Denied, match="attribute role=auditor is missing"):
        await sim.evaluate(person, "Am", chaincode="who")
    assert seen == ["clinician"]


async def test_d16_only_what_is_declared_can_be_called() -> None:
    talk = Talk(Probe)
    for number, name in enumerate(("helper", "before", "after", "unknown", "__init__", "name")):
        talk.invoke(f"probe:{name}", tx=str(number))
        assert (await talk.answered()).message.startswith("UnknownTransaction: ")


async def test_d17_fabrics_metadata_query_is_answered_with_real_names() -> None:
    talk = Talk(Probe)
    talk.invoke("org.hyperledger.fabric:GetMetadata")
    document = json.loads((await talk.answered()).payload)
    transactions = document["contracts"]["probe"]["transactions"]
    put = next(entry for entry in transactions if entry["name"] == "Put")
    assert [parameter["name"] for parameter in put["parameters"]] == ["key", "value"]


async def test_d18_the_context_needs_no_annotation() -> None:
    talk = Talk(Probe)
    talk.invoke("Unannotated", "x")
    assert (await talk.answered()).payload == b"x"


def test_d19_limits_suit_a_peer() -> None:
    limit = 100 * 1024 * 1024
    assert limit == session.MAX_MESSAGE_BYTES
    assert dict(dialer.OPTIONS)["grpc.max_receive_message_length"] == limit
    assert dict(dialer.OPTIONS)["grpc.max_send_message_length"] == limit
    # A peer pings every 60 s, also without a stream: each is answered, and none held against it.
    sent: list[bytes] = []
    connection = Connection(lambda call: None, lambda: None, limit)
    connection.receive(frames.PREFACE)
    connection.take()
    for _ in range(1000):
        connection.receive(frames.build_frame(frames.PING, 0, 0, b"12345678"))
        sent.append(connection.take())
    assert set(sent) == {frames.build_frame(frames.PING, frames.ACK, 0, b"12345678")}
    assert http2.DEFAULT_PACE.silence == 60


async def test_d20_keepalive_is_echoed() -> None:
    talk = Talk(Probe)
    talk.receive(ChaincodeMessage.KEEPALIVE, tx="", channel="")
    await talk.asked(ChaincodeMessage.KEEPALIVE)


@pytest.mark.parametrize("ready", [MODERN, b""], ids=["3.1", "2.x"])
async def test_d21_batches_are_used_where_the_peer_offers_them(ready: bytes) -> None:
    talk = Talk(Probe, ready=ready)
    talk.invoke("WriteThree")
    if ready:
        request = await talk.asked(ChaincodeMessage.WRITE_BATCH_STATE)
        batch = chaincode_shim_pb2.WriteBatchState.FromString(request.payload)
        assert [(record.key, record.value) for record in batch.rec] == [("a", b"a"), ("b", b"b")]
        talk.receive(ChaincodeMessage.RESPONSE)
    else:
        for _ in range(3):
            await talk.asked(ChaincodeMessage.PUT_STATE)
            talk.receive(ChaincodeMessage.RESPONSE)
    assert (await talk.answered()).ok
    talk.invoke("ReadTwo", tx="u")
    if ready:
        await talk.asked(ChaincodeMessage.GET_STATE_MULTIPLE)
        result = chaincode_shim_pb2.GetStateMultipleResult(values=[b"", b"2"])
        talk.receive(ChaincodeMessage.RESPONSE, result.SerializeToString(), tx="u")
    else:
        for value in (b"", b"2"):
            await talk.asked(ChaincodeMessage.GET_STATE)
            talk.receive(ChaincodeMessage.RESPONSE, value, tx="u")
    assert (await talk.answered()).payload == b'[null,"2"]'


def test_d22_an_argument_wins_over_the_environment_and_no_loop_is_needed() -> None:
    env = {"CHAINCODE_SERVER_ADDRESS": "127.0.0.1:1"}
    assert read_server_address(env, "127.0.0.1:2") == "127.0.0.1:2"
    assert read_server_address(env) == "127.0.0.1:1"
    # SIGTERM and the health service: test_server.py


async def test_d23_results_keep_bytes_and_zones_and_extra_arguments_are_refused() -> None:
    talk = Talk(Probe)
    talk.invoke("Raw")
    assert (await talk.answered()).payload == b"\xff\x00"
    talk.invoke("Elsewhere", tx="u")
    assert (await talk.answered()).payload == b'["2026-01-02T03:04:05Z"]'
    assert datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC) == NOW
    talk.invoke("Get", "k", "surplus", tx="v")
    assert (await talk.answered()).message == "InvalidArgument: expected 1 argument, got 2: key"


def test_d24_every_module_imports_on_its_own() -> None:
    folder = Path(chaincode.__file__).parent
    code = "import importlib, sys; importlib.import_module('chaincode.' + sys.argv[1])"
    for module in ("contract", "shim.server", "shim.dialer", "simulator", "__main__"):
        subprocess.run([sys.executable, "-c", code, module], check=True, cwd=folder.parent)


def query_response(keys: list[str], *, bookmark: str) -> bytes:
    metadata = chaincode_shim_pb2.QueryResponseMetadata(
        fetched_records_count=len(keys), bookmark=bookmark
    )
    results = [kv_query_result_pb2.KV(key=key, value=b"v").SerializeToString() for key in keys]
    raw: bytes = chaincode_shim_pb2.QueryResponse(
        results=[chaincode_shim_pb2.QueryResultBytes(resultBytes=result) for result in results],
        metadata=metadata.SerializeToString(),
    ).SerializeToString()
    return raw


def chaincode_proposal_that_cannot_be_read() -> Any:
    return proposal_pb2.SignedProposal(proposal_bytes=b"\xff\xff")


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:8]
