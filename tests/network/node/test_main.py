"""The program itself: one line and exit code 1 where it cannot start, 0 after SIGTERM."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.network.consortium import Consortium


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "network.node", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("gossip",)])
def test_an_unknown_role_is_told_the_usage(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: python -m network.node orderer | peer | ca\n"


def test_a_missing_configuration_is_one_line(tmp_path: Path) -> None:
    done = run("orderer", FABRIC_CFG_PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("orderer: Error reading configuration: orderer.yaml not found")


def test_a_bad_log_specification_is_one_line(tmp_path: Path) -> None:
    done = run("orderer", FABRIC_CFG_PATH=str(tmp_path), FABRIC_LOGGING_SPEC="loud")
    assert done.returncode == 1
    assert done.stderr == ("orderer: invalid logging specification 'loud': bad segment 'loud'\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success(tmp_path: Path, number: int) -> None:
    environment = Consortium().write_orderer(tmp_path)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "network.node", "orderer"],
            env=os.environ | environment,
            stderr=output,
        )
    while "Beginning to serve requests" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(120) == 0
    assert "Traceback" not in log.read_text()
