"""The server over real gRPC, its peer's end scripted: talk, TLS, health, drain, dialling."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, chaincode_shim_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaincode.contract import Context, Contract, ContractChaincode, query, transaction
from chaincode.errors import ConfigurationError
from chaincode.shim.dialer import ChaincodeDialer
from chaincode.shim.handler import ChaincodeMessage
from chaincode.shim.metrics import Metrics
from chaincode.shim.response import open_response
from chaincode.shim.server import SERVICE, ChaincodeServer
from chaincode.shim.session import Capacity
from chaincode.shim.settings import ClientSettings, ServerSettings, load_client_tls, load_server_tls
from chaincode.shim.streams import MESSAGE_OPTIONS
from tests.chaincode.authority import Authority
from tests.chaincode.talk import Talk

cleaned: list[str] = []


class Probe(Contract, name="probe"):
    @transaction
    async def ReadThree(self, ctx: Context, key: str) -> str:
        values = [await ctx.stub.get_state(f"{key}-{number}") for number in range(3)]
        return " ".join((value or b"").decode() for value in values)

    @query
    async def Echo(self, ctx: Context, value: bytes) -> bytes:
        return value

    @query
    async def Hang(self, ctx: Context) -> None:
        try:
            await ctx.stub.get_state("k")
        finally:
            cleaned.append(ctx.tx_id)


def probe() -> ContractChaincode:
    return ContractChaincode([Probe()])


class Peer:
    """The peer's end of one stream."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def send(self, kind: int, payload: bytes = b"", tx: str = "") -> None:
        channel = "c" if tx else ""
        message = ChaincodeMessage(type=kind, payload=payload, txid=tx, channel_id=channel)
        await self.call.write(message)

    async def receive(self) -> Any:
        return await asyncio.wait_for(self.call.read(), 60)

    async def handshake(self) -> None:
        register = await self.receive()
        assert register.type == ChaincodeMessage.REGISTER
        assert chaincode_pb2.ChaincodeID.FromString(register.payload).name == "cc:1"
        await self.send(ChaincodeMessage.REGISTERED)
        await self.send(ChaincodeMessage.READY)

    async def invoke(self, tx: str, *args: bytes) -> None:
        payload = chaincode_pb2.ChaincodeInput(args=args).SerializeToString()
        await self.send(ChaincodeMessage.TRANSACTION, payload, tx)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[ChaincodeServer]:
    observer = settings.pop("observer", None)
    given = ServerSettings("cc:1", "127.0.0.1:0", **settings)
    server = ChaincodeServer(given, probe(), observer)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@asynccontextmanager
async def dialled(port: int, credentials: Any = None) -> AsyncIterator[Peer]:
    address = f"127.0.0.1:{port}"
    channel = (
        grpc.aio.secure_channel(address, credentials, options=MESSAGE_OPTIONS)
        if credentials
        else grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS)
    )
    async with channel:
        yield Peer(chaincode_shim_pb2_grpc.ChaincodeStub(channel).Connect())


async def test_hundreds_of_transactions_interleave_on_one_stream() -> None:
    async with serving() as server, dialled(server.port) as peer:
        await peer.handshake()
        count = 300
        for number in range(count):
            await peer.invoke(str(number), b"ReadThree", f"k{number}".encode())
        waiting: list[Any] = []
        done: dict[str, bytes] = {}
        shuffle = random.Random(7)
        outstanding = count
        while len(done) < count:
            while outstanding:
                message = await peer.receive()
                outstanding -= 1
                if message.type == ChaincodeMessage.COMPLETED:
                    done[message.txid] = open_response(message.payload).payload
                else:
                    waiting.append(message)
            shuffle.shuffle(waiting)
            for request in waiting:
                key = chaincode_shim_pb2.GetState.FromString(request.payload).key
                await peer.send(ChaincodeMessage.RESPONSE, key.encode(), request.txid)
                outstanding += 1
            waiting.clear()
        for number in range(count):
            assert done[str(number)].decode() == f"k{number}-0 k{number}-1 k{number}-2"


async def test_large_messages_pass_both_ways() -> None:
    async with serving() as server, dialled(server.port) as peer:
        await peer.handshake()
        value = b"x" * 30_000_000
        await peer.invoke("t", b"Echo", value)
        assert open_response((await peer.receive()).payload).payload == value


async def test_an_answer_too_large_for_a_peer_is_an_error_and_not_a_broken_stream() -> None:
    class Huge(Contract, name="huge"):
        @query
        async def Make(self, ctx: Context) -> bytes:
            return b"x" * (100 * 1024 * 1024)

    talk = Talk(Huge)
    talk.invoke("Make")
    assert (await talk.answered()).message.startswith("MessageTooLarge: ")


async def test_a_protocol_violation_ends_the_stream_with_its_reason() -> None:
    async with serving() as server, dialled(server.port) as peer:
        await peer.receive()
        await peer.invoke("t", b"Echo", b"")
        error = await peer.receive()
        assert error.type == ChaincodeMessage.ERROR
        with pytest.raises(grpc.RpcError, match="TRANSACTION is not allowed in state created"):
            await peer.receive()
        assert await peer.call.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("how", ["cancel", "half-close"])
async def test_a_stream_that_ends_frees_what_its_transactions_hold(how: str) -> None:
    cleaned.clear()
    async with serving() as server:
        async with dialled(server.port) as peer:
            await peer.handshake()
            await peer.invoke("held", b"Hang")
            assert (await peer.receive()).type == ChaincodeMessage.GET_STATE
            if how == "cancel":
                peer.call.cancel()
            else:
                await peer.call.done_writing()
                assert await peer.receive() is grpc.aio.EOF
        for _ in range(3000):
            if cleaned:
                break
            await asyncio.sleep(0.02)
        assert cleaned == ["held"]
        async with dialled(server.port) as again:
            await again.handshake()
            await again.invoke("t", b"Echo", b"1")
            assert open_response((await again.receive()).payload).payload == b"1"


async def test_transactions_beyond_the_capacity_wait_and_then_are_refused() -> None:
    async with serving(capacity=Capacity(2, 1)) as server, dialled(server.port) as peer:
        await peer.handshake()
        for tx in ("a", "b", "waits", "refused"):
            await peer.invoke(tx, b"Hang")
        first = [await peer.receive() for _ in range(3)]
        refused = next(message for message in first if message.txid == "refused")
        assert open_response(refused.payload).status == 503
        assert {message.txid for message in first} == {"a", "b", "refused"}
        await peer.send(ChaincodeMessage.RESPONSE, b"", "a")
        following = {(await peer.receive()).txid for _ in range(2)}
        assert following == {"a", "waits"}


async def test_stopping_lets_transactions_end_and_says_so_to_health_checks() -> None:
    async with serving() as server, dialled(server.port) as peer:
        await peer.handshake()
        await peer.invoke("t", b"Hang")
        await peer.receive()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            assert (await health.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
            stopping = asyncio.create_task(server.stop(60))
            await asyncio.sleep(0.1)
            status = (await health.Check(request)).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert not stopping.done()
            await peer.send(ChaincodeMessage.RESPONSE, b"", "t")
            assert (await peer.receive()).type == ChaincodeMessage.COMPLETED
            assert await stopping is True


async def test_a_last_answer_reaches_a_peer_that_reads_it_after_the_server_has_gone() -> None:
    async with serving() as server, dialled(server.port) as peer:
        await peer.handshake()
        await peer.invoke("t", b"Hang")
        await peer.receive()
        stopping = asyncio.create_task(server.stop(60))
        await peer.send(ChaincodeMessage.RESPONSE, b"", "t")
        assert await stopping is True
        await asyncio.sleep(0.1)
        assert (await peer.receive()).type == ChaincodeMessage.COMPLETED


async def test_a_second_server_on_the_port_is_refused() -> None:
    async with serving() as server:
        other = ChaincodeServer(ServerSettings("cc:1", f"127.0.0.1:{server.port}"), probe())
        with pytest.raises(ConfigurationError, match="the port is in use"):
            await other.start()


async def test_metrics_count_transactions() -> None:
    metrics = Metrics()
    async with serving(observer=metrics) as server, dialled(server.port) as peer:
        await peer.handshake()
        await peer.invoke("t", b"Echo", b"1")
        await peer.receive()
        await peer.invoke("u", b"Nothing")
        await peer.receive()
        await asyncio.sleep(0.05)
    count = metrics.registry.get_sample_value
    labels = {"channel": "c"}
    assert count("chaincode_transactions_total", labels | {"status": "200"}) == 1
    assert count("chaincode_transactions_total", labels | {"status": "404"}) == 1
    assert count("chaincode_transaction_seconds_count", labels) == 2
    assert count("chaincode_transactions_running") == 0


# --- TLS ------------------------------------------------------------------------------------------


async def test_tls_and_mutual_tls_from_files(tmp_path: Path) -> None:
    servers, peers = Authority(tmp_path, "servers"), Authority(tmp_path, "peers")
    key, certificate = servers.issue("chaincode")
    env = {"CHAINCODE_TLS_KEY": str(key), "CHAINCODE_TLS_CERT": str(certificate)}
    roots = servers.path.read_bytes()
    async with (
        serving(tls=load_server_tls(env)) as server,
        dialled(server.port, grpc.ssl_channel_credentials(roots)) as peer,
    ):
        await peer.handshake()
    mutual = load_server_tls(env | {"CHAINCODE_CLIENT_CA_CERT": str(peers.path)})
    assert mutual is not None
    assert b"PRIVATE" not in repr(mutual).encode()
    async with serving(tls=mutual) as server:
        peer_key, peer_certificate = (path.read_bytes() for path in peers.issue("peer"))
        good = grpc.ssl_channel_credentials(roots, peer_key, peer_certificate)
        async with dialled(server.port, good) as peer:
            await peer.handshake()
        stranger_key, stranger = (path.read_bytes() for path in servers.issue("stranger"))
        for credentials in (
            grpc.ssl_channel_credentials(roots),
            grpc.ssl_channel_credentials(roots, stranger_key, stranger),
        ):
            async with dialled(server.port, credentials) as peer:
                with pytest.raises(grpc.RpcError):
                    await peer.handshake()


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "servers")
    key, _ = authority.issue("one")
    _, certificate = authority.issue("two")
    env = {"CHAINCODE_TLS_KEY": str(key), "CHAINCODE_TLS_CERT": str(certificate)}
    with pytest.raises(ConfigurationError, match="does not belong to"):
        load_server_tls(env)
    env["CHAINCODE_TLS_CERT"] = str(key)
    with pytest.raises(ConfigurationError, match="no PEM certificate"):
        load_server_tls(env)
    assert load_server_tls(env | {"CHAINCODE_TLS_DISABLED": "true"}) is None
    with pytest.raises(ConfigurationError, match="must be true or false"):
        load_server_tls({"CHAINCODE_TLS_DISABLED": "perhaps"})


def test_a_peers_mislabelled_key_is_read(tmp_path: Path) -> None:
    """A peer hands its chaincode PKCS#8 labelled "EC PRIVATE KEY" (`tlsgen/key.go`)."""
    authority = Authority(tmp_path, "peers")
    key, certificate = authority.issue("chaincode")
    right = key.read_bytes()
    key.write_bytes(right.replace(b"PRIVATE KEY", b"EC PRIVATE KEY"))
    env = {
        "CORE_PEER_TLS_ENABLED": "true",
        "CORE_PEER_TLS_ROOTCERT_FILE": str(authority.path),
        "CORE_TLS_CLIENT_KEY_FILE": str(key),
        "CORE_TLS_CLIENT_CERT_FILE": str(certificate),
    }
    tls = load_client_tls(env)
    assert tls is not None
    assert tls.key == right
    del env["CORE_TLS_CLIENT_CERT_FILE"]
    with pytest.raises(ConfigurationError, match="half configured"):
        load_client_tls(env)
    assert load_client_tls({}) is None


# --- dialling -------------------------------------------------------------------------------------


class Support(chaincode_shim_pb2_grpc.ChaincodeSupportServicer):  # type: ignore[misc]
    """A peer that a chaincode dials; breaks the first stream after the handshake."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.streams = 0

    async def Register(self, request_iterator: Any, context: Any) -> None:
        self.streams += 1
        peer = Peer(context)
        await peer.handshake()
        if self.streams == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        await peer.invoke("t", b"Echo", b"hello")
        self.answers.put_nowait((await peer.receive()).payload)
        await asyncio.sleep(30)


async def test_a_dialling_chaincode_registers_and_dials_again() -> None:
    support = Support()
    peer = grpc.aio.server()
    chaincode_shim_pb2_grpc.add_ChaincodeSupportServicer_to_server(support, peer)
    port = peer.add_insecure_port("127.0.0.1:0")
    await peer.start()
    dialer = ChaincodeDialer(ClientSettings("cc:1", f"127.0.0.1:{port}"), probe())
    running = asyncio.create_task(dialer.run())
    answer = await asyncio.wait_for(support.answers.get(), 60)
    assert open_response(answer).payload == b"hello"
    assert support.streams == 2
    assert await dialer.stop(1) is True
    await asyncio.wait_for(running, 60)
    await peer.stop(0)


# --- the program ----------------------------------------------------------------------------------


def run_program(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaincode", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(__file__).parents[3],
        env={"PATH": os.environ["PATH"], **env},
    )


def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    address = {"CHAINCODE_SERVER_ADDRESS": "127.0.0.1:0", "CHAINCODE_ID": "cc:1"}
    for done, text in (
        (run_program(), "chaincode id is not set"),
        (run_program(CHAINCODE_ID="cc:1"), "the address is not set"),
        (run_program("--address", "nowhere", CHAINCODE_ID="x"), "is not host:port"),
        (run_program(**address, CHAINCODE_TLS_DISABLED="false"), "CHAINCODE_TLS_KEY is not set"),
        (run_program("--chaincode", "nothing:here", **address), "No module named"),
    ):
        assert done.returncode == 2
        assert text in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stdout == ""


def test_sigterm_ends_the_program_with_0() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "chaincode", "--log-format", "text"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"CHAINCODE_SERVER_ADDRESS": "127.0.0.1:0", "CHAINCODE_ID": "cc:1"},
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "serving" in line
    assert "tls=off" in line
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert "stopped" in process.stderr.read()
    process.stderr.close()
