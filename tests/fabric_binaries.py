"""Where tests find Hyperledger Fabric's own programs; without them they skip and say why.

Put Fabric's ``bin`` folder into the environment variable FABRIC_BIN or on PATH. The programs are
the judge of what we write: they are never part of the project.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def find_fabric_binary(name: str) -> Path | None:
    """Return the program's path, or None when it is not on this machine."""
    folder = os.environ.get("FABRIC_BIN")
    if folder:
        path = Path(folder) / name
        return path if path.is_file() and os.access(path, os.X_OK) else None
    found = shutil.which(name)
    return Path(found) if found else None


def fabric_binary(name: str) -> Path:
    """Return the program's path; skips the test when it is not on this machine."""
    path = find_fabric_binary(name)
    if path is None:
        pytest.skip(f"Fabric's {name} is not here: set FABRIC_BIN to its folder or put it on PATH")
    return path


def run_fabric(name: str, *arguments: str | Path, **environment: str) -> str:
    """Run the program to its end and return what it printed; fails the test if it fails."""
    program = fabric_binary(name)
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{name} {arguments[0]} failed:\n{done.stdout}{done.stderr}"
    return done.stdout
