"""The load generator against a gateway that answers as it is told."""

import os
import subprocess
import sys

import grpc
import pytest

from admin.bench.load import Supply, run_load
from admin.bench.process import read_own_cpu, read_usage
from admin.bench.workload import Mode, Workload
from network.rules.proposal import open_proposal
from tests.network.client.gateway_double import GatewayDouble, Refusal, connect, serving


def workload(mode: Mode, **more: object) -> Workload:
    values: dict[str, object] = {"count": 12, "concurrency": 4}
    return Workload(
        mode=mode,
        function="ReadWrite",
        arguments=("{key}", "{value}"),
        size=100,
        **(values | more),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("mode", "calls"),
    [
        (Mode.EVALUATE, {"Evaluate"}),
        (Mode.ENDORSE, {"Endorse"}),
        (Mode.SUBMIT, {"Endorse", "Submit", "CommitStatus"}),
    ],
)
async def test_a_count_of_transactions_goes_through_its_stages(mode: Mode, calls: set[str]) -> None:
    async with serving(GatewayDouble()) as double, connect(double) as gateway:
        supply = Supply(gateway.network("care").contract("bench"), workload(mode), "s")
        supply.prepare(5)
        found = await run_load(supply)
    assert len(found.latencies) == 12
    assert found.errors == {}
    assert found.unprepared == 7
    assert {name for name, _ in double.requests} == calls
    requests = double.seen("Evaluate" if mode is Mode.EVALUATE else "Endorse")
    opened = [open_proposal(request.proposed_transaction.proposal_bytes) for request in requests]
    assert {one.chaincode_name for one in opened} == {"bench"}
    assert {one.args[0] for one in opened} == {b"ReadWrite"}
    assert len({one.args[1] for one in opened}) == 12
    assert {len(one.args[2]) for one in opened} == {100}


async def test_failures_are_counted_by_kind_and_stop_nobody() -> None:
    double = GatewayDouble(
        codes=[11, 0],
        refusals={
            "Endorse": [Refusal(grpc.StatusCode.ABORTED, "no")] * 3,
            "Submit": [Refusal(grpc.StatusCode.UNAVAILABLE, "no")],
        },
    )
    async with serving(double), connect(double) as gateway:
        contract = gateway.network("care").contract("bench")
        found = await run_load(Supply(contract, workload(Mode.SUBMIT), "s"))
    assert found.errors == {
        "endorse ABORTED": 3,
        "submit UNAVAILABLE": 1,
        "MVCC_READ_CONFLICT": 1,
    }
    assert len(found.latencies) == 7


async def test_a_window_counts_what_ends_in_it() -> None:
    async with serving(GatewayDouble()) as double, connect(double) as gateway:
        load = workload(Mode.EVALUATE, count=None, seconds=0.3, lead=0.2)
        found = await run_load(Supply(gateway.network("care").contract("bench"), load, "s"))
    assert 0.3 <= found.seconds < 5
    assert found.latencies
    assert found.outside > 0
    assert len(double.requests) == len(found.latencies) + found.outside
    assert found.client_cpu > 0


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="only Linux tells")
def test_a_process_is_watched() -> None:
    busy = "x = 0\nwhile x < 3_000_000: x += 1\nprint('done', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = read_usage(process.pid)
        process.communicate("\n")
    assert found is not None
    assert found.cpu > 0.01
    assert found.memory > 1_000_000
    assert read_usage(2**22 + 1) is None
    assert read_own_cpu() > 0
