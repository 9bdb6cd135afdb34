"""Streams of events and blocks: positions, checkpoints, going on after a break."""

from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from network.client import Checkpoint, EventsError
from network.client.errors import ProfileError
from tests.network.client.gateway_double import (
    GatewayDouble,
    Refusal,
    connect,
    make_block,
    make_events,
    serving,
)

STORY = [
    make_events(3, ("t1", "Granted", b'{"id":"c1"}'), ("t2", "Anchored", b"")),
    make_events(5, ("t3", "Revoked", b"")),
]


async def collect(stream: Any, limit: int) -> list[str]:
    names: list[str] = []
    async with aclosing(stream) as events:
        async for event in events:
            names.append(event.name)
            if len(names) == limit:
                break
    return names


async def test_events_tell_where_they_stand() -> None:
    async with serving(GatewayDouble(events=STORY)) as double, connect(double) as gateway:
        found = [e async for e in gateway.network("care").chaincode_events("health", start_block=0)]
    assert [(e.name, e.block_number, e.transaction_id) for e in found] == [
        ("Granted", 3, "t1"),
        ("Anchored", 3, "t2"),
        ("Revoked", 5, "t3"),
    ]
    assert found[0].json() == {"id": "c1"}
    assert found[1].json() is None


async def test_a_checkpoint_resumes_after_the_last_handled_event(tmp_path: Path) -> None:
    file = tmp_path / "here" / "checkpoint.json"
    async with serving(GatewayDouble(events=STORY)) as double, connect(double) as gateway:
        network = gateway.network("care")

        def listen() -> Any:
            return network.chaincode_events("health", start_block=0, checkpoint=file)

        # The second event was received and not handled to the end: it comes again.
        assert await collect(listen(), 2) == ["Granted", "Anchored"]
        assert file.read_text() == '{"blockNumber": "3", "transactionId": "t1"}'
        assert await collect(listen(), 2) == ["Anchored", "Revoked"]
        assert [e.name async for e in listen()] == ["Revoked"]
        assert [e.name async for e in listen()] == []


async def test_a_stream_goes_on_when_the_gateway_was_away() -> None:
    away = Refusal(grpc.StatusCode.UNAVAILABLE, "restarting")
    double = GatewayDouble(events=STORY, refusals={"ChaincodeEvents": [away]})
    async with serving(double), connect(double) as gateway:
        network = gateway.network("care")
        stream = network.chaincode_events("health", start_block=4, reconnect=True)
        assert [event.name async for event in stream] == ["Revoked"]
        double.refusals["ChaincodeEvents"] = [away]
        with pytest.raises(EventsError, match="restarting"):
            await collect(network.chaincode_events("health"), 1)


async def test_blocks_come_in_order_and_checkpoint(tmp_path: Path) -> None:
    double = GatewayDouble(blocks=[make_block(number) for number in range(5)])
    file = tmp_path / "blocks.json"
    async with serving(double), connect(double) as gateway:
        network = gateway.network("care")
        stream = network.block_events(start_block=1, stop_block=2, checkpoint=file)
        assert [block.header.number async for block in stream] == [1, 2]
        stream = network.block_events(start_block=1, stop_block=4, checkpoint=file)
        assert [block.header.number async for block in stream] == [3, 4]


@pytest.mark.parametrize("text", ["not json", "[]", '{"blockNumber": "x"}', "{}"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "checkpoint.json"
    file.write_text(text)
    with pytest.raises(ProfileError, match="not a checkpoint"):
        _ = Checkpoint(file).position


def test_fabrics_own_checkpoint_file_is_read(tmp_path: Path) -> None:
    """The form of fabric-gateway's FileCheckpointer."""
    file = tmp_path / "checkpoint.json"
    file.write_text('{"blockNumber":"12","transactionId":"abc"}')
    position = Checkpoint(file).position
    assert position is not None
    assert (position.block_number, position.transaction_id) == (12, "abc")
    file.write_text("")
    assert Checkpoint(file).position is None
