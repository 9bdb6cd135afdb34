"""Someone writes a contract on a running network: save, call, break, mend, give back."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.admin.command import medfabric
from tests.network.engines.free_network import write_care

pytestmark = pytest.mark.network
CONTRACT = """
from chaincode.contract import Context, Contract, ContractChaincode, query, transaction

class Notes(Contract, name="notes"):
    @query
    async def Read(self, ctx: Context, key: str) -> str:
        return "VERSION" + (await ctx.stub.get_state(key) or b"").decode()

    @transaction
    async def Write(self, ctx: Context, key: str, text: str) -> None:
        await ctx.stub.put_state(key, text.encode())

chaincode = ContractChaincode([Notes()])
"""


class Loop:
    """`medfabric chaincode dev notes:chaincode --json` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.news: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self.save("one ")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "admin.cli", "chaincode", "dev", "notes:chaincode"),
                *("--network", str(folder / "network.yaml"), "--json"),
            ],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=(folder / "dev.err").open("wb"),
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def save(self, version: str) -> None:
        (self.folder / "notes.py").write_text(CONTRACT.replace("VERSION", version))

    def expect(self, event: str) -> dict[str, Any]:
        """The next news of this kind."""
        while True:
            told: dict[str, Any] = json.loads(self._lines.get(timeout=120))["result"]
            self.news.append(told)
            if told["event"] == event:
                return told

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("care")
    file = write_care(made)
    assert medfabric("network", "up", "--network", str(file)).code == 0
    yield made
    medfabric("network", "down", "--wipe", "--yes", "--network", str(file))


def call(folder: Path, *arguments: str) -> Any:
    options = ("--network", str(folder / "network.yaml"), "--as", "GeneralHospital/Admin", "--json")
    ran = medfabric("chaincode", *arguments, *options)
    assert ran.code == 0, ran.err + ran.out
    return ran.json["result"]


def test_a_saved_contract_is_called_next(folder: Path) -> None:
    before = call(folder, "query", "directory:ListOrganizations")
    loop = Loop(folder)
    try:
        assert loop.expect("serving")["version"] == 1
        call(folder, "invoke", "notes:Write", "k", "jane doe")
        assert call(folder, "query", "notes:Read", "k") == "one jane doe"

        loop.save("two ")
        assert loop.expect("serving")["version"] == 2
        assert call(folder, "query", "notes:Read", "k") == "two jane doe"
        call(folder, "invoke", "notes:Write", "k", "john roe")  # every organisation endorses

        (loop.folder / "notes.py").write_text("def broken(:\n")
        broken = loop.expect("broken")
        assert broken["problem"] == "notes.py:1: SyntaxError: invalid syntax"
        assert broken["stillServing"] is True
        assert call(folder, "query", "notes:Read", "k") == "two john roe"

        loop.save("three ")
        loop.expect("serving")
        assert call(folder, "query", "notes:Read", "k") == "three john roe"
    finally:
        loop.process.send_signal(signal.SIGINT)
        assert loop.process.wait(120) == 0
    assert call(folder, "query", "directory:ListOrganizations") == before
    ended = [news for news in loop.news if news["event"] == "ended"]
    assert {news["status"] for news in ended} == {200}
    assert all(len(news["txId"]) == 64 for news in ended)
    told = json.dumps(loop.news) + (folder / "dev.err").read_text()
    assert not any(text in told for text in ("jane", "john", "Read", "Write", "Traceback"))


def test_a_killed_loop_is_mended_by_up(folder: Path) -> None:
    loop = Loop(folder)
    loop.expect("serving")
    loop.process.kill()
    loop.process.wait(120)
    deadline = time.monotonic() + 120  # the server's process sees the end of its orders
    while (ran := medfabric("network", "up", "--network", str(folder / "network.yaml"))).code:
        assert time.monotonic() < deadline, ran.err
        time.sleep(0.5)
    assert call(folder, "query", "directory:ListOrganizations")


def test_only_one_loop_at_a_time(folder: Path) -> None:
    loop = Loop(folder)
    try:
        loop.expect("serving")
        options = ("--network", str(folder / "network.yaml"))
        ran = subprocess.run(
            [sys.executable, "-m", "admin.cli", "chaincode", "dev", "notes:chaincode", *options],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode != 0
        assert "is not run by this network just now" in ran.stderr
    finally:
        loop.process.send_signal(signal.SIGTERM)
        assert loop.process.wait(120) == 0
