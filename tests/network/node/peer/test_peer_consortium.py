"""Several peers an organisation: how they find one another, and what private data needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest
import pytest_asyncio
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2, events_pb2_grpc, transaction_pb2

from network.rules.envelope import (
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
)
from network.rules.policy.dsl import parse_policy
from tests.simulator import CHANNEL, Client, Collection, Definition, Network, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

PEERS = {"Alpha": 2, "Beta": 1, "Gamma": 1}
COLLECTIONS = [
    Collection("pair", ["Alpha", "Beta"], required=1),
    Collection("many", ["Alpha", "Beta"], required=3),
    Collection("beta", ["Beta"]),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    folder = tmp_path_factory.mktemp("consortium")
    settings = {
        "CORE_CHAINCODE_EXECUTETIMEOUT": "1s",
        "CORE_PEER_GOSSIP_PVTDATA_RECONCILESLEEPINTERVAL": "200ms",
    }
    async with running_network(folder, PEERS, **settings) as running:
        await running.deploy(
            Definition(policy="OR('AlphaMSP.peer','BetaMSP.peer')", collections=COLLECTIONS)
        )
        yield running


def height(network: Network, fqdn: str) -> int:
    return network.peers[fqdn].channels.joined[0].height


async def deliver(
    client: Client, method: str, start: int, stop: int
) -> list[events_pb2.DeliverResponse]:
    """What one of the deliver methods sends for a range of blocks, the status last."""
    position = ab_pb2.SeekPosition
    seek = ab_pb2.SeekInfo(
        start=position(specified=ab_pb2.SeekSpecified(number=start)),
        stop=position(specified=ab_pb2.SeekSpecified(number=stop)),
    )

    header = build_channel_header(
        type=common_pb2.DELIVER_SEEK_INFO, channel_id=CHANNEL, timestamp=datetime.now(UTC)
    )
    payload = build_payload(
        header, build_signature_header(client.signer.creator, b"n"), seek.SerializeToString()
    )
    envelope = common_pb2.Envelope.FromString(build_envelope(payload, client.signer.sign(payload)))
    stream = getattr(events_pb2_grpc.DeliverStub(client.channel), method)()
    await stream.write(envelope)
    found: list[events_pb2.DeliverResponse] = []
    while not found or found[-1].WhichOneof("Type") != "status":
        found.append(await asyncio.wait_for(stream.read(), 60))
    stream.cancel()
    return found


async def test_every_peer_knows_every_other_and_its_chaincodes(network: Network) -> None:
    for peer in network.peers.values():
        members = peer.membership.members(CHANNEL)
        assert len(members) == sum(PEERS.values())
        assert all(member.chaincodes == {"demo": "1"} for member in members)


async def test_a_peer_that_leaves_is_forgotten_at_once(network: Network) -> None:
    gamma = network.peers["peer0.gamma.example"].membership
    gamma._pace = replace(gamma._pace, expiry=3600)  # its silence tells nothing
    for known in gamma._known[CHANNEL].values():
        known.expires += 3600
    await network.stop_peer("peer1.alpha.example")
    async with asyncio.timeout(60):
        while len(gamma.members(CHANNEL)) > 3:
            await asyncio.sleep(0.02)
    await network.start_peer("peer1.alpha.example")
    await network.settle()


async def test_the_required_peers_have_private_data_before_the_endorsement(
    network: Network,
) -> None:
    client = network.client("Alpha")
    envelope, tx_id = await client.endorse("private_put", "pair", "k", transient={"value": b"v"})
    holders = [
        fqdn
        for fqdn, peer in network.peers.items()
        if await peer.channels.joined[0].get_transient(tx_id)
    ]
    assert "peer0.alpha.example" in holders
    assert len(holders) >= 2
    assert "peer0.gamma.example" not in holders
    await client.send(envelope, tx_id)
    assert (await client.status(tx_id)).result == transaction_pb2.VALID
    await network.settle()
    for fqdn in ("peer0.alpha.example", "peer1.alpha.example"):
        at = network.client("Alpha", peer=fqdn)
        assert (await at.process("private_get", "pair", "k")).response.payload == b"v"


async def test_too_few_members_fail_the_endorsement(network: Network) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await network.client("Alpha").endorse("private_put", "many", "k", transient={"value": b"v"})
    assert caught.value.code() is grpc.StatusCode.ABORTED
    reply = await network.client("Alpha").process(
        "private_put", "many", "k", transient={"value": b"v"}
    )
    assert reply.response.message == (
        "error in simulation: could not build private data dissemination plan for chaincode demo "
        "and collection many: required to disseminate to at least 3 peers, but know of only 2 "
        "eligible peers"
    )


async def test_private_data_missed_while_away_comes_later(network: Network) -> None:
    client = network.client("Alpha")
    await network.stop_peer("peer0.beta.example")
    await client.submit("private_put", "pair", "late", transient={"value": b"found"})
    await network.start_peer("peer0.beta.example")
    await network.settle()
    beta = network.client("Beta")
    async with asyncio.timeout(60):
        while True:
            reply = await beta.process("private_get", "pair", "late")
            if reply.response.payload == b"found":
                break
            await asyncio.sleep(0.1)


async def test_the_gateway_tries_another_peer_of_its_organisation(network: Network) -> None:
    """The peer that was asked first is gone without having said good-bye."""
    client = network.client("Alpha")
    ahead = network.peers["peer0.alpha.example"].membership
    gone = next(m for m in ahead.members(CHANNEL) if m.endorser.msp_id == "BetaMSP")
    await network.stop_peer("peer0.beta.example")
    for known in ahead._known[CHANNEL].values():
        known.suspected = False
    assert gone.endorser.peer_id in {m.endorser.peer_id for m in ahead.members(CHANNEL)}
    await client.submit("put", "resilient", "1")
    await network.start_peer("peer0.beta.example")
    await network.settle()


async def test_key_level_policies_decide_who_endorses(network: Network) -> None:
    client = network.client("Alpha")
    policy = parse_policy("AND('AlphaMSP.peer','GammaMSP.peer')").SerializeToString()
    await client.submit("put", "guarded", "1")
    await client.submit("key_policy", "guarded", policy)
    await client.submit("put", "guarded", "2")  # the gateway asks Gamma, too
    await client.submit(
        "put",
        "guarded",
        "3",
        orgs=["AlphaMSP"],
        code=transaction_pb2.ENDORSEMENT_POLICY_FAILURE,
    )
    assert await client.evaluate("get", "guarded") == b"2"


async def test_a_slow_chaincode_times_out_and_stays_usable(network: Network) -> None:
    client = network.client("Gamma")
    reply = await client.process("sleep", "3")
    assert reply.response.status == 500
    assert reply.response.message.endswith(
        "error sending: timeout expired while executing transaction"
    )
    assert await client.evaluate("echo", "well") == b"well"


async def test_blocks_filtered_blocks_and_private_data_are_delivered(network: Network) -> None:
    client = network.client("Alpha")
    status = await client.submit("private_put", "pair", "shown", transient={"value": b"v"})
    number = status.block_number
    block, end = await deliver(client, "Deliver", number, number)
    assert block.block.header.number == number
    assert end.status == common_pb2.SUCCESS
    filtered, _ = await deliver(client, "DeliverFiltered", number, number)
    (transaction,) = filtered.filtered_block.filtered_transactions
    assert transaction.tx_validation_code == transaction_pb2.VALID
    private, _ = await deliver(client, "DeliverWithPrivateData", number, number)
    assert len(private.block_and_private_data.private_data_map) == 1
    nobody = await deliver(network.client("Gamma"), "DeliverWithPrivateData", number, number)
    assert not nobody[0].block_and_private_data.private_data_map


async def test_an_upgrade_that_must_be_initialised(network: Network) -> None:
    await network.deploy(
        Definition(
            version="2",
            sequence=2,
            policy="OR('AlphaMSP.peer','BetaMSP.peer')",
            collections=COLLECTIONS,
            init_required=True,
        ),
        install=False,
    )
    client = network.client("Alpha")
    reply = await client.process("get", "guarded")
    assert reply.response.message.endswith(
        "invalid invocation: chaincode 'demo' has not been initialized for this version, must "
        "call as init first"
    )
    await client.submit("nothing", is_init=True)
    await network.settle()
    assert await client.evaluate("get", "guarded") == b"2"
    reply = await client.process("nothing", is_init=True)
    assert reply.response.message.endswith(
        "chaincode 'demo' is already initialized but called as init"
    )


async def test_all_ledgers_are_equal_in_the_end(network: Network) -> None:
    await network.settle()
    tips = {
        fqdn: (
            await network.client(network.node(fqdn).organization.name, peer=fqdn).process(
                "GetChainInfo", CHANNEL, chaincode="qscc"
            )
        ).response.payload
        for fqdn in network.peers
    }
    assert len(set(tips.values())) == 1
    hashes = {peer.channels.joined[0].ledger.commit_hash for peer in network.peers.values()}
    assert len(hashes) == 1
