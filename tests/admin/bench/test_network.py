"""`medfabric bench network`: its figures' arithmetic, its files and its picture; one short run."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from admin.bench.keys import SMALL, fill, measure
from admin.bench.network.course import Point, Step, summarize_step
from admin.bench.network.plot import build_plot
from admin.bench.network.sides import BadSide, load_side
from admin.bench.statistics import Latency, Round
from admin.bench.workload import Mode
from admin.cli.root import cli
from tests.network.consortium import make_org

SVG = "{http://www.w3.org/2000/svg}"


def make_round(rate: float, p50: float, **errors: int) -> Round:
    return Round(int(rate), rate, Latency(p50=p50, p95=2 * p50), errors, client_load=0.5)


def make_point(network: str, in_flight: int, rate: float, p50: float) -> Point:
    return Point(network, "submit", in_flight, rate, p50, 2 * p50, 0.005, 0.001, 0, {})


def test_a_step_is_the_median_of_its_rounds() -> None:
    rounds = [
        (make_round(100, 0.1), 0.004),
        (make_round(50, 0.3, MVCC=2), None),
        (make_round(200, 0.2, MVCC=1), 0.006),
    ]
    point = summarize_step("ours", Step(Mode.SUBMIT, 10), rounds)
    assert (point.rate, point.p50, point.p95) == (100, 0.2, 0.4)
    assert point.cpu == pytest.approx(0.005)
    assert point.client_cpu == pytest.approx(0.005)
    assert (point.failed, point.errors) == (3, {"MVCC": 3})
    assert summarize_step("ours", Step(Mode.SUBMIT, 1), rounds[1:2]).cpu is None


def test_the_plot_has_every_network_and_level() -> None:
    points = [
        make_point("ours & co", 1, 20.0, 0.02),
        make_point("ours & co", 100, 180.0, 0.5),
        make_point("other", 1, 2.0, 0.5),
        make_point("other", 100, 250.0, 0.4),
    ]
    root = ElementTree.fromstring(build_plot(points, "a <title>"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "ours & co" in texts
    assert texts.count("100") >= 2
    lines = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [2] * 4
    places = [tuple(map(float, place.split(","))) for line in lines for place in line]
    assert all(0 <= x <= 720 and 0 <= y <= 420 for x, y in places)
    assert ElementTree.fromstring(build_plot([], "nothing")) is not None


def describe(folder: Path) -> dict[str, object]:
    org = make_org("Org1MSP")
    certificate, key = org.enrol_tls("user")
    for name, content in {"cert": certificate, "key": key, "root": org.tls_root}.items():
        (folder / name).write_bytes(content)
    return {
        "label": "fabric", "endpoint": "127.0.0.1:7051", "tlsRoot": "root", "mspId": "Org1MSP",
        "cert": "cert", "key": "key", "channel": "care", "chaincode": "bench",
        "processes": {"peer0": 4711, "orderer": 4712}, "peers": ["peer0"],
    }  # fmt: skip


def test_another_network_is_told_by_a_file(tmp_path: Path) -> None:
    file = tmp_path / "side.yaml"
    told = describe(tmp_path)
    file.write_text(yaml.safe_dump(told))
    side = load_side(file)
    assert (side.target.label, side.target.channel, side.peers) == ("fabric", "care", ("peer0",))
    assert side.processes == {"peer0": 4711, "orderer": 4712}
    for changes, text in (
        ({"channel": None}, "channel: a text is missing"),
        ({"colour": "red"}, "colour: there is no such name"),
        ({"processes": {"peer0": "x"}}, "processes: names and process ids"),
        ({"peers": ["peer9"]}, "peers: peer9 is not among"),
        ({"key": "root"}, "cert, key:"),
    ):
        file.write_text(yaml.safe_dump(told | changes))
        with pytest.raises(BadSide, match=text):
            load_side(file)
    file.write_text("[1, 2")
    with pytest.raises(BadSide, match="not YAML"):
        load_side(file)


@pytest.mark.parametrize("levels", ["", "x", "10,1", "0", "1,1"])
def test_levels_that_make_no_sense(levels: str) -> None:
    result = CliRunner().invoke(cli, ["bench", "network", "--levels", levels])
    assert result.exit_code == 2
    assert "--levels" in result.output


def test_reads_of_a_filled_ledger(tmp_path: Path) -> None:
    small = fill(tmp_path / "small", SMALL, lambda text: None)
    large = fill(tmp_path / "large", 30_000, lambda text: None)
    assert large.height == 3
    readings = list(measure(small, large, 30_000))
    assert [one.kind for one in readings] == [
        "a key", "a key that is not there", "100 keys in order",
    ]  # fmt: skip
    assert all(one.ratio > 0 and one.large.p95 > 0 for one in readings)
    with large.snapshot() as snapshot:
        assert sum(1 for _ in snapshot.range("bench", "", "")) == 30_000
    small.close()
    large.close()


@pytest.mark.network
def test_a_short_run(tmp_path: Path) -> None:
    plot = tmp_path / "plot.svg"
    arguments = ["--json", "bench", "network", "--levels", "1,5", "--rounds", "1"]
    arguments += ["--duration", "1", "--warm-up", "0.5", "--plot", str(plot)]
    result = CliRunner().invoke(cli, [*arguments, "--folder", str(tmp_path / "net")])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    told = told.get("result", told)
    assert told["ready"] > 0
    assert len(told["memory"]["medfabric"]) == 2
    assert [(one["mode"], one["inFlight"]) for one in told["points"]] == [
        ("submit", 1), ("submit", 5), ("endorse", 5), ("evaluate", 5),
    ]  # fmt: skip
    assert all(one["rate"] > 0 and one["failed"] == 0 and one["cpu"] > 0 for one in told["points"])
    assert ElementTree.parse(plot).getroot().tag == f"{SVG}svg"
