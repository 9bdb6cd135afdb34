"""What the discovery service tells, to whom, and what it refuses."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import pytest
import pytest_asyncio
from fabric_protos.discovery import protocol_pb2, protocol_pb2_grpc
from fabric_protos.gossip import message_pb2
from fabric_protos.peer.proposal_response_pb2 import ChaincodeCall, ChaincodeInterest

from network.rules.peers.discovery import compute_pki_id
from network.rules.policy.dsl import parse_policy
from tests.simulator import CHANNEL, Client, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

Query: TypeAlias = Any  # protocol_pb2.Query: the wheel has no types


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    folder = tmp_path_factory.mktemp("discovery")
    async with running_network(folder, {"Alpha": 2, "Beta": 1}) as running:
        await running.deploy(
            Definition(version="1.5", policy="OutOf(2,'AlphaMSP.peer','BetaMSP.peer')")
        )
        yield running


async def ask(client: Client, *queries: Query) -> list[protocol_pb2.QueryResult]:
    request = protocol_pb2.Request(queries=queries)
    request.authentication.client_identity = client.signer.creator
    return await send(client, request.SerializeToString())


async def send(client: Client, payload: bytes) -> list[protocol_pb2.QueryResult]:
    signed = protocol_pb2.SignedRequest(payload=payload, signature=client.signer.sign(payload))
    stub = protocol_pb2_grpc.DiscoveryStub(client.channel)
    return list((await stub.Discover(signed)).results)


def peers_query(*calls: ChaincodeCall) -> Query:
    query = protocol_pb2.Query(channel=CHANNEL, peer_query=protocol_pb2.PeerMembershipQuery())
    if calls:
        query.peer_query.filter.chaincodes.extend(calls)
    return query


def chaincode_query(*interests: ChaincodeInterest) -> Query:
    return protocol_pb2.Query(
        channel=CHANNEL, cc_query=protocol_pb2.ChaincodeQuery(interests=interests)
    )


def interest(name: str, **options: object) -> ChaincodeInterest:
    return ChaincodeInterest(chaincodes=[ChaincodeCall(name=name, **options)])


async def test_peers_are_gossip_messages(network: Network) -> None:
    [result] = await ask(network.client("Alpha"), peers_query())
    found = result.members.peers_by_org
    assert {org: len(peers.peers) for org, peers in found.items()} == {"AlphaMSP": 2, "BetaMSP": 1}
    peer = found["BetaMSP"].peers[0]
    alive = message_pb2.GossipMessage.FromString(peer.membership_info.payload).alive_msg
    assert alive.membership.endpoint == f"127.0.0.1:{network.node('peer0.beta.example').port}"
    pki_id = compute_pki_id("BetaMSP", peer.identity)
    state = message_pb2.GossipMessage.FromString(peer.state_info.payload).state_info
    assert alive.membership.pki_id == state.pki_id == pki_id
    assert state.channel_MAC == hashlib.sha256(pki_id + CHANNEL.encode()).digest()
    assert (
        state.properties.ledger_height
        == network.peers["peer0.beta.example"].channels.joined[0].height
    )
    [chaincode] = state.properties.chaincodes
    assert (chaincode.name, chaincode.version) == ("demo", "1.5")


async def test_peers_of_a_chaincode(network: Network) -> None:
    client = network.client("Alpha")
    [found, unknown] = await ask(
        client, peers_query(ChaincodeCall(name="demo")), peers_query(ChaincodeCall(name="other"))
    )
    assert set(found.members.peers_by_org) == {"AlphaMSP", "BetaMSP"}
    assert unknown.error.content == "No metadata was found for chaincode other in channel care"


async def test_the_policies_of_keys_count(network: Network) -> None:
    client = network.client("Alpha")
    key_policy = parse_policy("OR('BetaMSP.peer')")
    [plain, narrowed] = await ask(
        client,
        chaincode_query(interest("demo")),
        chaincode_query(
            interest("demo", key_policies=[key_policy], disregard_namespace_policy=True)
        ),
    )
    [descriptor] = plain.cc_query_res.content
    assert [dict(one.quantities_by_group) for one in descriptor.layouts] == [{"G0": 1, "G1": 1}]
    [descriptor] = narrowed.cc_query_res.content
    assert [dict(one.quantities_by_group) for one in descriptor.layouts] == [{"G0": 1}]
    assert len(descriptor.endorsers_by_groups["G0"].peers) == 1


async def test_queries_that_ask_for_nothing(network: Network) -> None:
    results = await ask(
        network.client("Alpha"),
        chaincode_query(),
        chaincode_query(ChaincodeInterest()),
        chaincode_query(interest("")),
        protocol_pb2.Query(channel=CHANNEL),
        protocol_pb2.Query(channel=CHANNEL, local_peers=protocol_pb2.LocalPeerQuery()),
    )
    assert [result.error.content for result in results] == [
        "chaincode query must have at least one chaincode interest",
        "chaincode interest must contain at least one chaincode",
        "chaincode name in interest cannot be empty",
        "unknown or missing request type",
        "unknown or missing request type",
    ]


async def test_who_may_ask(network: Network) -> None:
    config = protocol_pb2.Query(channel=CHANNEL, config_query=protocol_pb2.ConfigQuery())
    nowhere = protocol_pb2.Query(channel="nowhere", config_query=protocol_pb2.ConfigQuery())
    local = protocol_pb2.Query(local_peers=protocol_pb2.LocalPeerQuery())
    alpha = network.client("Alpha")
    [known, unknown, refused] = await ask(alpha, config, nowhere, local)
    assert set(known.config_result.orderers) == {"OfficeMSP"}
    assert unknown.error.content == refused.error.content == "access denied"
    [peers] = await ask(network.admin("peer0.alpha.example"), local)
    assert set(peers.members.peers_by_org) == {"AlphaMSP", "BetaMSP"}
    assert not peers.members.peers_by_org["AlphaMSP"].peers[0].HasField("state_info")
    stranger = Client(network.client("Beta").signer, alpha.channel)
    [refused] = await ask(stranger, local)
    assert refused.error.content == "access denied"


async def test_a_forged_signature_is_denied(network: Network) -> None:
    alpha, beta = network.client("Alpha"), network.client("Beta")
    request = protocol_pb2.Request(
        queries=[protocol_pb2.Query(channel=CHANNEL, config_query=protocol_pb2.ConfigQuery())]
    )
    request.authentication.client_identity = beta.signer.creator
    [refused] = await send(alpha, request.SerializeToString())
    assert refused.error.content == "access denied"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "access denied, no authentication info in request"),
        (b"\x0a\x00", "access denied, client identity wasn't supplied"),
        (b"\xff", "failed parsing request"),
    ],
)
async def test_requests_without_a_sender(network: Network, payload: bytes, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(network.client("Alpha"), payload)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert text in str(caught.value.details())
