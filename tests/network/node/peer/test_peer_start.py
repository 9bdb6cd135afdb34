"""How a peer starts, what it refuses to start with, and how it guards itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.peer import peer_pb2_grpc, proposal_pb2

from network.node.peer.peer import Peer
from network.node.peer.settings import read_limits
from network.node.serving.limits import ConcurrencyLimits
from network.node.serving.logs import LogSpec
from network.node.serving.settings import Settings, SettingsError
from tests.network.node.scripted_chaincode import GATES, Gate
from tests.simulator import Network, running_network

pytestmark = pytest.mark.network


async def test_client_certificates_are_asked_for_and_follow_the_channel(tmp_path: Path) -> None:
    """Each peer knows its own organisation's root; the others' come with the channel."""
    async with running_network(
        tmp_path, CORE_PEER_TLS_CLIENTAUTHREQUIRED="true", CORE_PEER_TLS_CLIENTROOTCAS_FILES=""
    ) as network:
        await network.deploy()
        await network.client("Alpha").submit("put", "k", "v")
        await network.settle()
        assert await network.client("Beta", peer="peer0.alpha.example").evaluate("get", "k") == b"v"
        node = network.node("peer0.alpha.example")
        roots = (network.folders.node_tls(node) / "ca.crt").read_bytes()
        address = f"127.0.0.1:{node.port}"
        async with grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await peer_pb2_grpc.EndorserStub(channel).ProcessProposal(
                    proposal_pb2.SignedProposal(), timeout=60
                )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_operations_tell_health_and_version(tmp_path: Path) -> None:
    async with running_network(
        tmp_path, {"Alpha": 1}, CORE_METRICS_PROVIDER="prometheus"
    ) as network:
        port = network.peers["peer0.alpha.example"].operations_port
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/healthz")).json()["status"] == "OK"
            metrics = (await client.get("/metrics")).text
            assert 'ledger_blockchain_height{channel="care"} 1.0' in metrics


async def test_garbage_stops_nothing(tmp_path: Path) -> None:
    async with running_network(tmp_path, {"Alpha": 1}) as network:
        client = network.client("Alpha")
        calls: list[Any] = [
            lambda raw: client.endorser.ProcessProposal(
                proposal_pb2.SignedProposal(proposal_bytes=raw, signature=raw)
            ),
            lambda raw: client.gateway.Evaluate(
                gateway_pb2.EvaluateRequest(
                    proposed_transaction=proposal_pb2.SignedProposal(proposal_bytes=raw)
                )
            ),
            lambda raw: client.gateway.Endorse(
                gateway_pb2.EndorseRequest(
                    proposed_transaction=proposal_pb2.SignedProposal(proposal_bytes=raw)
                )
            ),
            lambda raw: client.gateway.Submit(gateway_pb2.SubmitRequest(channel_id=str(raw))),
            lambda raw: client.gateway.CommitStatus(
                gateway_pb2.SignedCommitStatusRequest(request=raw)
            ),
        ]
        for raw in (b"", b"\xff" * 9, b"\x0a\x02\x0a\x00", client.propose("get")[0].proposal_bytes):
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(raw)
                assert "Unexpected" not in (caught.value.details() or "")
        await network.deploy()
        assert await client.evaluate("echo", "alive") == b"alive"


async def test_calls_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    async with running_network(
        tmp_path, {"Alpha": 1}, CORE_PEER_LIMITS_CONCURRENCY_GATEWAYSERVICE="2"
    ) as network:
        await network.deploy()
        client = network.client("Alpha")
        gate = GATES[b"limit"] = Gate()
        busy = [asyncio.ensure_future(client.evaluate("pass_gate", "limit")) for _ in range(2)]
        async with asyncio.timeout(60):
            while gate.waiting < 2:
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.evaluate("echo", "third")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == (
            "too many requests for /gateway.Gateway, exceeding concurrency limit (2)"
        )
        gate.opened.set()
        assert await asyncio.gather(*busy) == [b"passed", b"passed"]
        assert await client.evaluate("echo", "fourth") == b"fourth"


def test_only_named_services_are_limited() -> None:
    limits = ConcurrencyLimits({"gateway.Gateway": 0, "protos.Deliver": 3})
    assert limits._limits == {"protos.Deliver": 3}


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"CORE_PEER_MSPCONFIGPATH": "/nowhere"}, "peer.mspConfigPath"),
        ({"CORE_PEER_ADDRESS": "nowhere"}, "peer.address must be host:port, not 'nowhere'"),
        ({"CORE_PEER_TLS_KEY_FILE": "/nowhere"}, "peer.tls.key.file"),
        ({"CORE_CHAINCODE_EXECUTETIMEOUT": "soon"}, "chaincode.executetimeout"),
    ],
)
async def test_what_it_cannot_start_with_is_named(
    tmp_path: Path, environment: dict[str, str], text: str
) -> None:
    async with running_network(tmp_path, {"Alpha": 1}) as network:
        with pytest.raises(SettingsError, match=text):
            build_peer(network, environment)


def build_peer(network: Network, environment: dict[str, str]) -> Peer:
    """Another peer with the first one's settings, but for some."""
    settings = network.peers["peer0.alpha.example"]._settings
    values = {**settings._environment, **environment}
    return Peer(Settings("core", {}, values, None), LogSpec())


async def test_without_a_gateway(tmp_path: Path) -> None:
    async with running_network(
        tmp_path, {"Alpha": 1}, CORE_PEER_GATEWAY_ENABLED="false"
    ) as network:
        stub = gateway_pb2_grpc.GatewayStub(network.client("Alpha").channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Evaluate(gateway_pb2.EvaluateRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_memory_for_calls_is_set_as_everything_is() -> None:
    usual = read_limits(Settings("core", {}))
    assert (usual.max_held_connection, usual.max_held_total) == (256 << 20, 512 << 20)
    environment = {"CORE_PEER_LIMITS_MEMORY_CONNECTION": "8 MB"}
    section = {"peer": {"limits": {"memory": {"connection": "1 GB", "total": "64m"}}}}
    limits = read_limits(Settings("core", section, environment, None))
    assert (limits.max_held_connection, limits.max_held_total) == (8 << 20, 64 << 20)
    with pytest.raises(SettingsError, match=r"peer\.limits\.memory\.total must be a size"):
        read_limits(Settings("core", {"peer": {"limits": {"memory": {"total": "much"}}}}))
