"""A whole network in one process: what clients of a peer's services see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import transaction_pb2
from google.rpc import status_pb2

from tests.simulator import Collection, Definition, Network, event_names, running_network

pytestmark = [pytest.mark.network, pytest.mark.asyncio(loop_scope="module")]

SHARED = Collection("shared", ["Alpha", "Beta"])
SECRET = Collection("secret", ["Alpha"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    async with running_network(tmp_path_factory.mktemp("network")) as running:
        await running.deploy(Definition(collections=[SHARED, SECRET]))
        yield running


def details_of(error: grpc.aio.AioRpcError) -> list[gateway_pb2.ErrorDetail]:
    """The ErrorDetails in the trailing metadata."""
    found = []
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            assert (status.code, status.message) == (error.code().value[0], error.details())
            for packed in status.details:
                detail = gateway_pb2.ErrorDetail()
                assert packed.Unpack(detail)
                found.append(detail)
    return found


async def test_a_submitted_value_is_read_at_every_peer(network: Network) -> None:
    status = await network.client("Alpha").submit("put", "fruit", "pear")
    assert await network.client("Alpha").evaluate("get", "fruit") == b"pear"
    await network.settle()
    assert status.block_number < network.peers["peer0.beta.example"].channels.joined[0].height
    assert await network.client("Beta").evaluate("get", "fruit") == b"pear"


async def test_the_chaincode_is_told_what_the_peer_can_do(network: Network) -> None:
    await network.client("Alpha").evaluate("nothing")
    features = network.chaincode.features[-1]
    assert (features.use_write_batch, features.use_get_multiple_keys) == (True, True)
    assert (features.max_size_write_batch, features.max_size_get_multiple_keys) == (1000, 1000)


async def test_batches_and_multiple_reads(network: Network) -> None:
    client = network.client("Alpha")
    await client.submit("batch", "m1", "a", "m2", "b", "m3", "c")
    assert await client.evaluate("get_many", "m3", "m1", "none") == b"c,a,"
    await client.submit("batch", "m1", "", "m2", "z")
    assert await client.evaluate("get_many", "m1", "m2") == b",z"


async def test_ranges_pages_and_history(network: Network) -> None:
    client = network.client("Alpha")
    keys = [f"r{number:03}" for number in range(120)]
    await client.submit("batch", *(part for key in keys for part in (key, "x")))
    assert (await client.evaluate("scan", "r", "s")).decode().split(",") == keys
    first, _, bookmark = (await client.evaluate("page", "r", "s", "50", "")).decode().partition("|")
    assert first.split(",") == keys[:50]
    assert bookmark == keys[50]
    second = (await client.evaluate("page", "r", "s", "50", bookmark)).decode()
    assert second.startswith(keys[50])
    await client.submit("put", "r000", "y")
    assert await client.evaluate("history", "r000") == b"y,x"


async def test_private_data_reaches_members_and_only_members(network: Network) -> None:
    alpha, beta = network.client("Alpha"), network.client("Beta")
    for collection in ("shared", "secret"):
        await alpha.submit(
            "private_put",
            collection,
            "k",
            transient={"value": b"confidential"},
            orgs=["AlphaMSP", "BetaMSP"],
        )
    await network.settle()
    assert await alpha.evaluate("private_get", "secret", "k") == b"confidential"
    assert await beta.evaluate("private_get", "shared", "k", orgs=["BetaMSP"]) == b"confidential"
    assert len(await beta.evaluate("private_hash", "secret", "k", orgs=["BetaMSP"])) == 32
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await beta.evaluate("private_get", "secret", "k", orgs=["BetaMSP"])
    assert "does not have read access permission" in caught.value.details()


async def test_transient_data_is_not_sent_beyond_the_members(network: Network) -> None:
    client = network.client("Alpha")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.endorse("private_put", "secret", "k2", transient={"value": b"x"})
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == (
        "requires endorsement from organisation(s) that are not in the distribution policy of the "
        "private data collection(s): [secret]; retry specifying trusted endorsing organizations to "
        "protect transient data"
    )


async def test_a_chaincodes_refusal_has_its_text_and_details(network: Network) -> None:
    client = network.client("Alpha")
    address = network.peers["peer0.alpha.example"].membership.endpoint
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("fail", "404", "no such patient")
    text = "chaincode response 404, no such patient"
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == f"evaluate call to endorser returned error: {text}"
    assert details_of(caught.value) == [
        gateway_pb2.ErrorDetail(address=address, msp_id="AlphaMSP", message=text)
    ]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.endorse("fail", "500", "no")
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert (
        caught.value.details()
        == "failed to endorse transaction, see attached details for more info"
    )
    assert [detail.message for detail in details_of(caught.value)] == ["chaincode response 500, no"]


async def test_different_answers_are_a_mismatch(network: Network) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await network.client("Alpha").endorse("who")
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert [(d.msp_id, d.message) for d in details_of(caught.value)] == [
        ("BetaMSP", "ProposalResponsePayloads do not match")
    ]


async def test_unknown_names_are_refused(network: Network) -> None:
    client = network.client("Alpha")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("get", "x", chaincode="missing")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert (
        caught.value.details() == "no peers available to evaluate chaincode missing in channel care"
    )
    reply = await client.process("get", "x", channel_id="nowhere")
    assert (reply.response.status, reply.response.message) == (500, "channel 'nowhere' not found")
    reply = await client.process("get", "x", chaincode="missing")
    assert reply.response.message == (
        "make sure the chaincode missing has been successfully defined on channel care and try "
        "again: chaincode missing not found"
    )
    client.channel_id = "nowhere"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.status("00")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "Failed to get policy manager for channel [nowhere]"


async def test_conflicting_transactions_in_one_block(network: Network) -> None:
    client = network.client("Alpha")
    await client.submit("put", "sum", "1")
    await network.settle()
    both = await asyncio.gather(*(client.endorse("add", "sum", "1") for _ in range(2)))
    for envelope, tx_id in both:
        await client.send(envelope, tx_id)
    codes = [(await client.status(tx_id)).result for _, tx_id in both]
    assert sorted(codes) == [transaction_pb2.VALID, transaction_pb2.MVCC_READ_CONFLICT]
    assert await client.evaluate("get", "sum") == b"2"


async def test_one_organisations_endorsement_is_not_enough(network: Network) -> None:
    await network.client("Alpha").submit(
        "put", "weak", "1", orgs=["AlphaMSP"], code=transaction_pb2.ENDORSEMENT_POLICY_FAILURE
    )


async def test_a_committed_transaction_is_not_endorsed_again(network: Network) -> None:
    client = network.client("Alpha")
    signed, tx_id = client.propose("put", "once", "1")
    request = gateway_pb2.EndorseRequest(transaction_id=tx_id, proposed_transaction=signed)
    envelope = (await client.gateway.Endorse(request)).prepared_transaction
    envelope.signature = client.signer.sign(envelope.payload)
    await client.send(envelope, tx_id)
    await client.status(tx_id)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.endorser.ProcessProposal(signed)
    assert caught.value.code() is grpc.StatusCode.UNKNOWN
    assert caught.value.details() == (
        f"duplicate transaction found [{tx_id}]. Creator [{client.signer.creator.hex()}]"
    )


async def test_events_come_once_each_from_where_they_are_asked(network: Network) -> None:
    client = network.client("Alpha")
    stream = client.events()
    waiting = asyncio.ensure_future(anext(aiter(stream)))
    await asyncio.sleep(0.1)
    first = await client.submit("emit", "admitted", "1")
    live = await asyncio.wait_for(waiting, 60)
    assert (live.block_number, event_names(live)) == (first.block_number, ["admitted"])
    assert live.events[0].payload == b"1"
    assert live.events[0].chaincode_id == "demo"
    await client.submit("emit", "discharged", "2")
    replay = aiter(client.events(after=live.events[0].tx_id))
    assert event_names(await asyncio.wait_for(anext(replay), 60)) == ["discharged"]
    again = aiter(client.events(start=first.block_number))
    assert event_names(await asyncio.wait_for(anext(again), 60)) == ["admitted"]


async def test_a_chaincode_calls_another_and_itself_not(network: Network) -> None:
    client = network.client("Alpha")
    await client.submit("put", "called", "yes")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("call", "demo", "get", "called")
    assert "(care) exists" in caught.value.details()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("call", "qscc", "GetChainInfo", "care")
    assert "Rejecting invoke of QSCC from another chaincode" in caught.value.details()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("call", "missing", "get", "called")
    assert "chaincode missing not found" in caught.value.details()


async def test_many_transactions_at_once(network: Network) -> None:
    client = network.client("Alpha")
    await asyncio.gather(*(client.submit("put", f"many{n}", str(n)) for n in range(60)))
    await network.settle()
    values = await network.client("Beta").evaluate("get_many", *(f"many{n}" for n in range(60)))
    assert values == ",".join(str(n) for n in range(60)).encode()


async def test_a_lost_chaincode_comes_back(network: Network) -> None:
    client = network.client("Alpha")
    assert await client.evaluate("echo", "before") == b"before"
    await network.chaincode.stop()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.evaluate("echo", "gone", orgs=["AlphaMSP"])
    assert caught.value.code() is grpc.StatusCode.ABORTED
    await network.chaincode.start(f"127.0.0.1:{network.chaincode_port}")
    assert await client.evaluate("echo", "after") == b"after"


async def test_a_restarted_peer_has_everything_and_catches_up(network: Network) -> None:
    client = network.client("Alpha")
    await client.submit("put", "kept", "1")
    await network.stop_peer("peer0.beta.example")
    await client.submit(
        "put", "missed", "2", orgs=["AlphaMSP"], code=transaction_pb2.ENDORSEMENT_POLICY_FAILURE
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.endorse("put", "x", "y")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await network.start_peer("peer0.beta.example")
    await network.settle()
    beta = network.client("Beta")
    assert await beta.evaluate("get", "kept") == b"1"
    await client.submit("put", "again", "3")
