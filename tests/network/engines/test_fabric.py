"""The engine of real Fabric before any node runs: programs, settings, builder, refusals."""

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from network.client.package import Connection, build_service_package
from network.client.profile import Surroundings, load_surroundings
from network.engines import processplan
from network.engines.choice import open_engine
from network.engines.engine import EngineError
from network.engines.fabricprograms import write_builder
from network.engines.local import LocalEngine
from network.topology.values import NodeKind
from tests.network.engines.free_network import write_care

Programs = Callable[[str], Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Makes a FABRIC_BIN whose programs tell a version, and nothing else."""

    def make(version: str) -> Path:
        folder = tmp_path / f"bin {version}"
        folder.mkdir()
        for name in ("peer", "orderer"):
            (folder / name).write_text(f"#!/bin/sh\necho '{name}:'\necho ' Version: {version}'\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("FABRIC_BIN", str(folder))
        return folder

    return make


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return load_surroundings(write_fabric(tmp_path))


def write_fabric(folder: Path, more: str = "") -> Path:
    file = write_care(folder)
    text = file.read_text()
    assert "engine: embedded " in text
    file.write_text(text.replace("engine: embedded ", f"engine: fabric{more} "))
    return file


def open_local(surroundings: Surroundings) -> LocalEngine:
    engine = open_engine(surroundings)
    assert isinstance(engine, LocalEngine)
    return engine


async def test_without_fabrics_programs_nothing_is_written(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FABRIC_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = open_engine(surroundings)
    with pytest.raises(EngineError, match="peer and orderer, not found on PATH") as caught:
        await engine.up(lambda text: None, timeout=1)
    assert "FABRIC_BIN" in caught.value.remedy
    assert not surroundings.folder.exists()
    # What needs no program still works.
    assert {one.state for one in await engine.status()} == {"stopped"}


def test_a_folder_without_the_programs_is_named(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(tmp_path))
    with pytest.raises(EngineError, match=f"Fabric's peer, not found in {tmp_path}"):
        open_engine(surroundings).validate()


@pytest.mark.parametrize("version", ["v3.1.5", "3.2.0", "latest"])
def test_a_version_that_will_do(
    programs: Programs, surroundings: Surroundings, version: str
) -> None:
    programs(version)
    open_engine(surroundings).validate()


def test_an_older_fabric_is_refused(programs: Programs, surroundings: Surroundings) -> None:
    programs("v2.5.16")
    with pytest.raises(
        EngineError, match=r"peer is 2\.5, the network file says fabricVersion: 3\.1"
    ):
        open_engine(surroundings).validate()


def test_a_program_of_the_same_name_is_refused(
    programs: Programs, surroundings: Surroundings
) -> None:
    (programs("v3.1.5") / "orderer").write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(EngineError, match="does not tell its version"):
        open_engine(surroundings).validate()


def test_nodes_run_fabrics_programs_and_cas_ours(
    programs: Programs, surroundings: Surroundings
) -> None:
    folder, engine = programs("v3.1.5"), open_local(surroundings)
    made = {node.kind: engine.make_process(node) for node in surroundings.topology.nodes()}
    peer, orderer, ca = (made[kind] for kind in (NodeKind.PEER, NodeKind.ORDERER, NodeKind.CA))
    assert (peer.program, peer.arguments) == (str(folder / "peer"), ("node", "start"))
    assert (orderer.program, orderer.arguments) == (str(folder / "orderer"), ())
    assert (ca.program, ca.module, ca.arguments) == ("", "network.node", ("ca",))
    core = yaml.safe_load((Path(peer.folder) / "core.yaml").read_text())
    assert core["ledger"]["state"]["stateDatabase"] == "goleveldb"
    (builder,) = core["chaincode"]["externalBuilders"]
    assert builder["path"] == str(engine.layout.builder)
    scripts = sorted(path.name for path in (engine.layout.builder / "bin").iterdir())
    assert scripts == ["build", "detect", "release"]


def test_programs_are_found_where_they_were(
    programs: Programs, surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, engine = programs("v3.1.5"), open_local(surroundings)
    peer = surroundings.nodes(NodeKind.PEER)[0]
    engine.layout.run.mkdir(parents=True)
    order = processplan.Order((engine.make_process(peer),))
    processplan.save_order(engine.layout.run, order)
    monkeypatch.delenv("FABRIC_BIN")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine.make_process(peer).program == str(folder / "peer")


def test_the_builder_takes_chaincode_as_a_service(tmp_path: Path) -> None:
    write_builder(tmp_path / "builder")
    raw = build_service_package("care_1", Connection("127.0.0.1:9999"), {"x.json": b"{}"})
    source, metadata, output = (tmp_path / name for name in ("source", "metadata", "output"))
    for folder in (source, metadata, output):
        folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(raw)) as package:
        (metadata / "metadata.json").write_bytes(_read(package, "metadata.json"))
        code = _read(package, "code.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(code)) as inner:
        inner.extractall(source, filter="data")
    scripts = tmp_path / "builder" / "bin"
    subprocess.run([scripts / "detect", source, metadata], check=True)
    subprocess.run([scripts / "build", source, metadata, output], check=True)
    released = tmp_path / "released"
    subprocess.run([scripts / "release", output, released], check=True)
    assert (released / "chaincode/server/connection.json").read_text() == (
        source / "connection.json"
    ).read_text()
    assert (released / "statedb/couchdb/indexes/x.json").read_text() == "{}"
    (metadata / "metadata.json").write_text('{"type": "golang", "label": "ccaas"}')
    assert subprocess.run([scripts / "detect", source, metadata], check=False).returncode == 1


def _read(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    assert file is not None
    return file.read()


def test_an_ipv6_address_is_refused(programs: Programs, tmp_path: Path) -> None:
    programs("v3.1.5")
    file = write_fabric(tmp_path, '\nhost: "::1"')
    with pytest.raises(EngineError, match=r"cannot serve at an IPv6 address, \[::1\]"):
        open_engine(load_surroundings(file)).validate()


def test_another_runtime_is_not_there_yet(tmp_path: Path) -> None:
    file = write_fabric(tmp_path, "\nruntime: compose")
    with pytest.raises(EngineError, match="runtime 'compose' is not available yet"):
        open_engine(load_surroundings(file))


@pytest.mark.parametrize("kept", ["embedded", ""])
async def test_another_engines_ledgers_are_left_alone(
    programs: Programs, surroundings: Surroundings, kept: str
) -> None:
    programs("v3.1.5")
    engine = open_local(surroundings)
    (surroundings.folder / "nodes").mkdir(parents=True)
    if kept:  # networks of earlier versions did not say whose they are
        engine.layout.keep_engine(kept)
    with pytest.raises(
        EngineError, match=r"engine: embedded, and network\.yaml says engine: fabric"
    ):
        await engine.up(lambda text: None, timeout=1)
    assert os.listdir(surroundings.folder / "nodes") == []
