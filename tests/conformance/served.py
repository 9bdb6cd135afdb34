"""Our chaincode server as a process beside a real peer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conformance.real_fabric import Package

ROOT = Path(__file__).resolve().parents[2]
ANYONE = "OR('Org1MSP.peer','Org2MSP.peer')"
"""The endorsement policy under which one peer of either organisation is enough."""
STUB_CONTRACT = "tests.conformance.stub_contract:chaincode"


class Served:
    """A chaincode server process.

    `options` are flags of `python -m chaincode`; `cwd` is where it finds its modules.
    """

    def __init__(
        self,
        package: Package,
        folder: Path,
        *options: str,
        place: str = STUB_CONTRACT,
        cwd: Path = ROOT,
        **env: str,
    ) -> None:
        self.log = folder / f"{package.name}.server.log"
        self._cwd = cwd
        self._command = [*(sys.executable, "-m", "chaincode"), *options, "--chaincode", place]
        self._env = os.environ | {
            "PYTHONPATH": str(ROOT),
            "CHAINCODE_SERVER_ADDRESS": package.address,
            "CHAINCODE_ID": package.package_id,
            **env,
        }
        self.process = self._spawn()

    def restart(self) -> None:
        """Let it drain and start it again."""
        self.stop()
        self.process = self._spawn()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self) -> None:
        """End it at once and start it again."""
        self.process.kill()
        self.process.wait(10)
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command, cwd=self._cwd, env=self._env, stdout=log, stderr=log
            )
