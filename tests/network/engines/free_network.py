"""The example consortium on ports that are free now."""

import re
from importlib.resources import files
from pathlib import Path

from network.engines.ports import list_listeners
from network.topology.model import parse_topology
from tests.ports import free_ports


def write_care(folder: Path) -> Path:
    """`network.yaml` in the folder: the shipped example with every port replaced by a free one."""
    text = files("network.topology").joinpath("examples").joinpath("care.yaml").read_text()
    ports = sorted({int(port) for port in re.findall(r"port: (\d+)", text)})
    free = iter(free_ports(len(ports) * 4))
    text = re.sub(r"port: (\d+)", lambda found: f"port: {next(free)}", text)
    text = re.sub(
        r"\{name: peer0, port: (\d+)\}",
        lambda found: f"{{name: peer0, port: {found[1]}, operationsPort: {next(free)}}}",
        text,
    )
    text = re.sub(
        r"\{name: orderer0, port: (\d+)\}",
        lambda found: (
            f"{{name: orderer0, port: {found[1]}, adminPort: {next(free)}, "
            f"operationsPort: {next(free)}}}"
        ),
        text,
    )
    text = re.sub(
        r"ca: \{port: (\d+)\}",
        lambda found: (
            f"ca: {{port: {found[1]}, operationsPort: {next(free)}}}, "
            f"chaincode: {{port: {next(free)}}}"
        ),
        text,
    )
    file = folder / "network.yaml"
    file.write_text(text)
    listeners = list_listeners(parse_topology(text))
    assert len({one.port for one in listeners}) == len(listeners)
    return file
