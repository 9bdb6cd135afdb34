"""Addresses: which a network needs, which are taken, when somebody answers."""

import asyncio
import socket
from pathlib import Path

from network.engines.ports import Listener, get_taken, list_listeners, wait_until_answered
from network.topology.model import load_topology
from tests.network.engines.free_network import write_care


def test_every_server_of_the_example_is_listed(tmp_path: Path) -> None:
    listeners = list_listeners(load_topology(write_care(tmp_path)))
    purposes = [one.purpose for one in listeners]
    assert purposes.count("service") == 9  # an orderer, four peers, four CAs
    assert purposes.count("chaincode") == 4
    assert purposes.count("channel participation") == 1
    assert purposes.count("operations") == 9


def test_a_taken_address_is_told_with_its_node() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listener = Listener("peer0.hospital.example", "service", "127.0.0.1", port)
        assert get_taken([listener]) == [listener]
        assert str(listener) == f"127.0.0.1:{port} (peer0.hospital.example, service)"
    assert get_taken([listener]) == []


def test_an_address_of_another_machine_cannot_be_had() -> None:
    assert get_taken([Listener("n", "service", "192.0.2.1", 7051)])


async def test_waiting_ends_when_somebody_answers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listener = Listener("n", "service", "127.0.0.1", port)
    assert not await wait_until_answered(listener, timeout=0.1)
    waiting = asyncio.create_task(wait_until_answered(listener, timeout=60))
    await asyncio.sleep(0.1)
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", port)
    assert await waiting
    server.close()
