"""The synchronous twin gives the same answers, in a thread without an event loop."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from network.client import CommitError
from network.client.blocking import Gateway
from tests.network.client.gateway_double import GatewayDouble, make_events, make_signer, serving


@pytest.fixture
def double() -> Iterator[GatewayDouble]:
    """A double that listens in a thread of its own."""
    made = GatewayDouble(events=[make_events(1, ("t1", "Granted", b""))])
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with serving(made):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield made
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_calls_block_until_their_answer(double: GatewayDouble) -> None:
    before = threading.active_count()
    with Gateway.connect(endpoint=double.address, signer=make_signer()) as gateway:
        network = gateway.network("care")
        contract = network.contract("health", "consent")
        assert contract.evaluate("Get", "c1") == b"done"
        assert contract.submit("Grant", "c1").successful
        transaction = contract.proposal("Grant").endorse()
        commit = transaction.submit()
        assert commit.transaction_id == transaction.transaction_id
        assert commit.status().block_number == 7
        stream = network.chaincode_events("health", start_block=0)
        assert [event.name for event in stream] == ["Granted"]
        double.codes = [11]
        with pytest.raises(CommitError):
            contract.submit("Grant", "c1")
    assert threading.active_count() <= before  # none of the gateway's is left


def test_a_stream_can_be_left_early(double: GatewayDouble) -> None:
    with Gateway.connect(endpoint=double.address, signer=make_signer()) as gateway:
        stream = gateway.network("care").chaincode_events("health", start_block=0)
        assert next(stream).name == "Granted"
        stream.close()
