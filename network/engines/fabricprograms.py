"""Fabric's own programs on this machine: where, of which version, and the builder a peer needs.

Found as Fabric's samples find them: in the folder that the environment variable FABRIC_BIN names,
or on PATH.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from network.engines.engine import EngineError
from network.engines.processes import write_whole
from network.topology.values import NodeKind

FOLDER_VARIABLE = "FABRIC_BIN"
REMEDY = (
    "install Hyperledger Fabric's programs and put their folder into FABRIC_BIN or on PATH, or set "
    "engine: embedded in the network file"
)
PATIENCE = 20.0  # seconds for a program to tell its version

# An external builder for chaincode as a service: the peer gets connection.json and the indexes
# out of the package and dials the address there (Fabric: docs, "Chaincode as an external service").
BUILDER = {
    "detect": """#!/bin/sh
grep -q '"type" *: *"ccaas"' "$2/metadata.json"
""",
    "build": """#!/bin/sh
set -e
cp "$1/connection.json" "$3/"
[ ! -d "$1/META-INF" ] || cp -R "$1/META-INF" "$3/"
""",
    "release": """#!/bin/sh
set -e
mkdir -p "$2/chaincode/server"
cp "$1/connection.json" "$2/chaincode/server/"
[ ! -d "$1/META-INF" ] || cp -R "$1/META-INF/." "$2/"
""",
}


@dataclass(frozen=True, slots=True)
class FabricPrograms:
    """The programs that nodes run.

    Attributes:
        peer: Fabric's `peer`.
        orderer: Fabric's `orderer`.
    """

    peer: Path
    orderer: Path

    def of(self, kind: NodeKind) -> Path:
        """The program of a peer or of an orderer."""
        return self.peer if kind is NodeKind.PEER else self.orderer


def find_programs(last: Path | None = None) -> FabricPrograms:
    """The programs of this machine.

    Args:
        last: the folder they were in when they were last started, tried after the others.

    Raises:
        EngineError: one is missing.
    """
    named = os.environ.get(FOLDER_VARIABLE, "")
    if named:
        return FabricPrograms(_in_folder(Path(named), "peer"), _in_folder(Path(named), "orderer"))
    found = {name: shutil.which(name) for name in ("peer", "orderer")}
    missing = [name for name, path in found.items() if path is None]
    if missing and last is not None and last.is_dir():
        return FabricPrograms(_in_folder(last, "peer"), _in_folder(last, "orderer"))
    if missing:
        raise EngineError(
            f"engine: fabric needs Fabric's {' and '.join(missing)}, not found on PATH", REMEDY
        )
    return FabricPrograms(*(Path(str(path)).resolve() for path in found.values()))


def _in_folder(folder: Path, name: str) -> Path:
    path = folder.resolve() / name
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise EngineError(f"engine: fabric needs Fabric's {name}, not found in {folder}", REMEDY)
    return path


def validate_version(program: Path, wanted: str) -> None:
    """The program is of that version (`3.1`) or newer; raises `EngineError`.

    A program that was built without a version is taken at its word.
    """
    try:
        told = subprocess.run(
            [str(program), "version"],
            env={"PATH": os.environ.get("PATH", "")},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        reason = getattr(failure, "strerror", "") or "it does not answer"
        raise EngineError(f"{program} cannot be run: {reason}", REMEDY) from None
    if "Version:" not in told.stdout:
        raise EngineError(f"{program} does not tell its version as Fabric's programs do", REMEDY)
    found = re.search(r"Version: v?(\d+)\.(\d+)", told.stdout)
    if found and (int(found[1]), int(found[2])) < tuple(map(int, wanted.split("."))):
        raise EngineError(
            f"{program} is {found[1]}.{found[2]}, the network file says fabricVersion: {wanted}",
            f'set fabricVersion: "{found[1]}.{found[2]}" in the network file before the channels '
            "are made, or put newer programs into FABRIC_BIN",
        )


def write_builder(folder: Path) -> None:
    """The folder is an external builder for chaincode as a service, and nothing else."""
    scripts = folder / "bin"
    scripts.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in BUILDER.items():
        path = scripts / name
        if not path.exists() or path.read_text() != text:
            write_whole(path, text, 0o700)
