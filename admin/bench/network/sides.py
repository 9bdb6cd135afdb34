"""A network that exists already, as a file tells: where its gateway is, who calls, what runs here.

    label: fabric
    endpoint: 127.0.0.1:7051
    serverName: peer0.org1.example.com
    tlsRoot: crypto/…/tls/ca.crt
    mspId: Org1MSP
    cert: crypto/…/signcerts/cert.pem
    key: crypto/…/keystore/priv_sk
    channel: mychannel
    chaincode: gobench
    processes: {peer0.org1: 4711, peer0.org2: 4712, orderer: 4713, gobench: 4714}
    peers: [peer0.org1, peer0.org2]

Paths are relative to the file; `serverName`, `processes` and `peers` may be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from admin.bench.generators import Caller, Target
from admin.bench.network.course import Side
from network.client import Endpoint

_NEEDED = ("label", "endpoint", "tlsRoot", "mspId", "cert", "key", "channel", "chaincode")
_KNOWN = {*_NEEDED, "serverName", "processes", "peers"}


class BadSide(ValueError):
    """The file does not describe a network; the text says what is wrong."""


def load_side(file: Path) -> Side:
    """The network that the file describes.

    Raises:
        BadSide: something is missing or of a wrong kind.
        OSError: the file, or one that it names, cannot be read.
    """
    try:
        told: Any = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSide(f"not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(told, dict):
        raise BadSide("not a mapping of names to values")
    for name in _NEEDED:
        if not isinstance(told.get(name), str):
            raise BadSide(f"{name}: a text is missing")
    unknown = sorted(set(told) - _KNOWN)
    if unknown:
        raise BadSide(f"{unknown[0]}: there is no such name")
    processes = told.get("processes") or {}
    if not isinstance(processes, dict) or not all(
        isinstance(pid, int) for pid in processes.values()
    ):
        raise BadSide("processes: names and process ids are wanted")
    peers = tuple(told.get("peers") or ())
    missing = [name for name in peers if name not in processes]
    if missing:
        raise BadSide(f"peers: {missing[0]} is not among the processes")
    folder = file.parent
    caller = Caller(told["mspId"], certificate=folder / told["cert"], key=folder / told["key"])
    try:
        caller.open()
    except ValueError as error:
        raise BadSide(f"cert, key: {error}") from None
    root = (folder / told["tlsRoot"]).read_bytes()
    endpoint = Endpoint(told["endpoint"], root, told.get("serverName"))
    target = Target(told["label"], endpoint, told["channel"], told["chaincode"], caller)
    return Side(target, processes, peers)
