"""Examine what a network needs, and say what is wrong and what to do about it."""

import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from admin.procedures.networks.certificates import (
    WARNING,
    CertificateFile,
    list_certificates,
)
from network.client.profile import Surroundings
from network.engines.choice import open_engine
from network.engines.engine import EngineError, NodeStatus, PortsTakenError

ENOUGH_DISK = 1 << 30  # bytes; a small network with its ledgers
OLDEST_CLOCK = datetime(2025, 1, 1, tzinfo=UTC)  # a clock before this was never set


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what.
        ok: whether it is as it should be.
        text: what was found.
        remedy: what to do, empty when it is well.
    """

    subject: str
    ok: bool
    text: str
    remedy: str = ""


async def examine(surroundings: Surroundings) -> list[Finding]:
    """Everything that can be known from here, the file first."""
    topology = surroundings.topology
    findings = [
        Finding(
            "network file",
            True,
            f"{topology.name}: {len(topology.organizations)} organisations, "
            f"{len(list(topology.nodes()))} nodes, {len(topology.channels)} channels",
        ),
        _versions(),
        _disk(surroundings.folder),
        _certificates(surroundings.folder),
        _permissions(surroundings.folder),
        _clock(surroundings.folder),
    ]
    try:
        engine = open_engine(surroundings)
    except EngineError as failure:
        return [*findings, Finding("engine", False, str(failure), failure.remedy)]
    try:
        engine.validate()
        findings.append(Finding("ports", True, "all free, or ours"))
    except PortsTakenError as failure:
        findings += [
            Finding("ports", False, f"{text} is in use", failure.remedy) for text in failure.details
        ]
    except EngineError as failure:
        findings.append(Finding("engine", False, str(failure), failure.remedy))
    return findings + list(_nodes(await engine.status()))


def _versions() -> Finding:
    names = ("grpcio", "protobuf", "cryptography", "hyperledger-fabric-protos")
    try:
        told = ", ".join(f"{name} {version(name)}" for name in names)
    except PackageNotFoundError as failure:
        return Finding("versions", False, f"{failure.name} is not installed", "run: make dev")
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding("versions", True, f"Python {python}, {told}")


def _disk(folder: Path) -> Finding:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GB free at {place}"
    remedy = "make room; a ledger that cannot be written stops its peer"
    return Finding("disk", free >= ENOUGH_DISK, text, "" if free >= ENOUGH_DISK else remedy)


def _certificates(folder: Path) -> Finding:
    found = list_certificates(folder)
    if not found:
        return Finding("certificates", True, "none yet; 'network up' makes them")
    first = found[0]
    ended = [one for one in found if one.days_left < 0]
    if ended:
        text = f"{len(ended)} have expired, first {first.subject} on {first.expires:%Y-%m-%d}"
        return Finding("certificates", False, text, _tell_renewal(first))
    text = f"{len(found)}; the first to end is {first.subject} on {first.expires:%Y-%m-%d}"
    soon = first.days_left < WARNING.days
    remedy = _tell_renewal(first) if soon else ""
    return Finding("certificates", not soon, text, remedy)


def _tell_renewal(certificate: CertificateFile) -> str:
    """How a certificate of that use is renewed."""
    parts = Path(certificate.file).parts
    if certificate.use in ("ca", "tls-ca"):
        return (
            "a CA's end ends all it has certified: add a new CA certificate beside it to the "
            "organisation's msp folder, then: medfabric network apply"
        )
    if "users" in parts:
        user, _, domain = parts[parts.index("users") + 1].partition("@")
        return f"renew it: medfabric identity renew {domain}/{user}"
    return f"renew it: medfabric network renew {certificate.subject}"


def _permissions(folder: Path) -> Finding:
    keys = [*folder.rglob("*_sk"), *folder.rglob("*.key")]
    open_ones = [key for key in keys if key.stat().st_mode & 0o077]
    if open_ones:
        text = f"{len(open_ones)} can be read by others, first {open_ones[0]}"
        return Finding("private keys", False, text, f"run: chmod 600 {open_ones[0]}")
    return Finding("private keys", True, f"{len(keys)}, all readable by their owner only")


def _clock(folder: Path) -> Finding:
    """The clock runs, and is not behind what was written before."""
    now = datetime.now(UTC)
    # Wall clock and monotonic clock over the same moment: a clock being slewed shows here.
    begin = time.time() - time.monotonic()
    time.sleep(0.05)
    drift = abs(time.time() - time.monotonic() - begin)
    newest = max((path.stat().st_mtime for path in folder.glob("nodes/*/node.log")), default=0.0)
    remedy = "set this machine's clock; nodes refuse requests that are 15 minutes off"
    if now < OLDEST_CLOCK or newest > now.timestamp() + 60:
        return Finding("clock", False, f"{now:%Y-%m-%d %H:%M} UTC is in the past", remedy)
    if drift > 0.02:
        return Finding("clock", False, f"it jumped by {drift * 1000:.0f} ms just now", remedy)
    return Finding("clock", True, f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _nodes(statuses: Iterable[NodeStatus]) -> Iterable[Finding]:
    listed = list(statuses)
    if all(node.state == "stopped" for node in listed):
        yield Finding("nodes", True, "the network is down")
        return
    for node in listed:
        ok = node.state == "running" and node.healthy is not False
        remedy = "" if ok else f"see its log: medfabric network logs {node.name}"
        text = node.state + (f", {node.note}" if node.note else "")
        yield Finding(f"node {node.name}", ok, text, remedy)
