"""Fabric's samples as their programs: found, built, and shown our network as their test network.

The samples come from FABRIC_SAMPLES, the folder of a checkout, and run unmodified: `npm ci`,
`npx tsc` and `go build` are done there if they were not. Whatever is missing skips the test, with
the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network.client.lifecycle import Collection
from tests.conformance.samples_network import MEMBERS, SamplesNetwork

BUILDING = 900
"""Seconds in which packages are installed or a program is built."""


def find_samples() -> Path:
    """The checkout; skips where there is none or Node.js is missing."""
    named = os.environ.get("FABRIC_SAMPLES")
    if not named:
        pytest.skip("FABRIC_SAMPLES does not name a checkout of Fabric's samples")
    samples = Path(named)
    if not (samples / "asset-transfer-basic").is_dir():
        pytest.skip(f"{samples} (FABRIC_SAMPLES) is no checkout of Fabric's samples")
    need_node()
    return samples


def need_node() -> None:
    """Skips where Node.js is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not on the PATH")


def build(folder: Path) -> Path:
    """What is in the folder can run: its packages are installed and it is compiled."""
    locked = any((folder / name).exists() for name in ("package-lock.json", "npm-shrinkwrap.json"))
    install = ["npm", "ci" if locked else "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    steps = []
    if not (folder / "node_modules").is_dir():
        steps.append(install)
    if (folder / "tsconfig.json").exists() and not (folder / "dist").is_dir():
        steps.append(["npx", "tsc"])
    for step in steps:
        _step(step, folder, folder / "dist" if "tsc" in step else None)
    return folder


def build_native(folder: Path, package: str) -> None:
    """The package's part in C is compiled."""
    if not any((folder / "node_modules" / package).glob("build/Release/*.node")):
        _step(["npm", "rebuild", package], folder)


def build_go(folder: Path, *flags: str) -> Path:
    """The program of a Go application, named as `go build` names it, after its module."""
    module = re.search(r"^module (\S+)$", (folder / "go.mod").read_text(), re.MULTILINE)
    assert module is not None
    program = folder / module[1].rpartition("/")[2]
    if not program.is_file():
        if shutil.which("go") is None:
            pytest.skip(f"{program} is not built, and Go is not on the PATH")
        _step(["go", "build", *flags, "."], folder)
    return program


def _step(step: Sequence[str], folder: Path, made: Path | None = None) -> None:
    done = subprocess.run(
        step, cwd=folder, capture_output=True, text=True, check=False, timeout=BUILDING
    )
    # The compiler writes what it complains about, too, and the samples live with that.
    if done.returncode and not (made is not None and made.is_dir()):
        pytest.skip(f"{' '.join(step)} in {folder} failed: {done.stderr.strip()[-300:]}")


@contextmanager
def linked(samples: Path, network: SamplesNetwork) -> Iterator[None]:
    """The samples find the network's keys where they look for those of their test network.

    What is linked is a copy, in which the users' certificates are called `cert.pem`, as where the
    test network has a CA, and in which the samples' own script has written connection profiles.
    """
    place = samples / "test-network" / "organizations"
    copy = network.logs / "organizations"
    shutil.copytree(network.organizations, copy)
    for certificate in copy.glob("*/*/users/*/msp/signcerts/*.pem"):
        certificate.rename(certificate.with_name("cert.pem"))
    links = [place / folder.name for folder in copy.iterdir()]
    for link in links:
        if link.exists() and not link.is_symlink():
            pytest.skip(f"{link} belongs to a test network: take it down first")
    for link in links:
        link.unlink(missing_ok=True)
        link.symlink_to(copy / link.name)
    try:
        if (place / "ccp-generate.sh").exists():
            _step(["bash", "organizations/ccp-generate.sh"], place.parent)
        yield
    finally:
        for link in links:
            link.unlink()


def read_collections(file: Path) -> list[Collection]:
    """The collections in a file as `peer lifecycle chaincode` reads them."""
    described: list[Mapping[str, Any]] = json.loads(file.read_text())
    return [
        Collection(
            name=one["name"],
            members=tuple(sorted({msp for msp in MEMBERS if f"'{msp}.member'" in one["policy"]})),
            required_peers=one["requiredPeerCount"],
            maximum_peers=one["maxPeerCount"],
            block_to_live=one["blockToLive"],
            member_only_read=one["memberOnlyRead"],
            member_only_write=one["memberOnlyWrite"],
            endorsement=one["endorsementPolicy"]["signaturePolicy"],
        )
        for one in described
    ]
