"""The embedded engine before any node runs: what it plans, refuses and leaves alone."""

import socket
from pathlib import Path

import pytest

from network.client.profile import load_surroundings
from network.engines.choice import open_engine
from network.engines.engine import Engine, EngineError, PortsTakenError
from tests.network.engines.free_network import write_care


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return open_engine(load_surroundings(write_care(tmp_path)))


def test_the_plan_names_everything(engine: Engine) -> None:
    steps = engine.plan()
    assert "make keys and certificates of GeneralHospital" in steps
    assert "make the genesis block of channel care" in steps
    assert "start chaincode.payer.example" in steps
    assert len(steps) == 5 + 1 + 13


async def test_a_taken_port_is_told_before_anything_is_written(engine: Engine) -> None:
    node = next(iter(engine.surroundings.topology.nodes()))
    with socket.create_server((node.host, node.port)), pytest.raises(PortsTakenError) as caught:
        await engine.up(lambda text: None, timeout=1)
    assert f"{node.address} ({node.fqdn}, service)" in str(caught.value)
    assert not engine.surroundings.folder.exists()


async def test_a_network_that_is_down_is_told_so(engine: Engine) -> None:
    assert {one.state for one in await engine.status()} == {"stopped"}
    assert await engine.down(lambda text: None) is False
    engine.wipe()


def test_names_can_be_shortened_while_unique(engine: Engine) -> None:
    assert engine.log("orderer0").parent.name == "orderer0.consortium.example"
    with pytest.raises(EngineError, match="several") as caught:
        engine.log("peer0")
    assert "peer0.payer.example" in caught.value.remedy
    with pytest.raises(EngineError, match="no node"):
        engine.log("peer9")
