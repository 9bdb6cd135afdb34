"""The chaincode install package: a gzipped tar of `metadata.json` and `code.tar.gz`.

Its id is `label:sha256`, over the whole file. Chaincode runs as a service here, so of the code only
`connection.json` matters, and the indexes beside it. Sources: core/chaincode/persistence and
ccaas_builder in Fabric.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from network.rules.duration import parse_duration

MAX_UNPACKED = 200 * 1024 * 1024
"""Bytes; a package that unpacks to more is refused."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_TEMPLATE = re.compile(r"\{\{\s*\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
DIAL_TIMEOUT = 3.0


class BadPackage(ValueError):
    """The package cannot be installed; the text says why."""


@dataclass(frozen=True, slots=True)
class ChaincodePackage:
    """An opened install package."""

    label: str
    type: str
    package_id: str
    code: bytes = field(repr=False)
    """code.tar.gz as packed."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a chaincode server listens and how to speak to it (connection.json)."""

    address: str
    dial_timeout: float = DIAL_TIMEOUT
    """Seconds."""
    tls_required: bool = False
    root_certificate: bytes = field(default=b"", repr=False)
    client_key: bytes = field(default=b"", repr=False)
    client_certificate: bytes = field(default=b"", repr=False)


def compute_package_id(label: str, raw: bytes) -> str:
    """The package's id: its label and the hash of the whole file."""
    return f"{label}:{hashlib.sha256(raw).hexdigest()}"


def open_package(raw: bytes) -> ChaincodePackage:
    """The package in `raw`.

    Raises:
        BadPackage: it is not one, or its label may not be used.
    """
    files = _open_tar(raw)
    if "code.tar.gz" not in files:
        raise BadPackage("did not find a code package inside the package")
    if "metadata.json" not in files:
        raise BadPackage("did not find any package metadata (missing metadata.json)")
    metadata = _open_json(files["metadata.json"], "metadata.json")
    label, kind = str(metadata.get("label", "")), str(metadata.get("type", ""))
    if not _LABEL.fullmatch(label):
        raise BadPackage(
            f"invalid label '{label}'. Label must be non-empty, can only consist of "
            "alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
        )
    return ChaincodePackage(label, kind, compute_package_id(label, raw), files["code.tar.gz"])


def open_connection(package: ChaincodePackage, variables: Mapping[str, str]) -> Connection:
    """Where the package says its chaincode listens, `{{.name}}` replaced from `variables`.

    Raises:
        BadPackage: it is no chaincode-as-a-service package, or its connection.json is unusable.
    """
    if package.type.lower() != "ccaas":
        raise BadPackage(
            f"chaincode type should be ccaas, it is {package.type}: this peer starts no "
            "chaincode of its own; package a connection.json instead"
        )
    files = _open_tar(package.code)
    if "connection.json" not in files:
        raise BadPackage("connection.json not found in the code package")
    values = _open_json(files["connection.json"], "connection.json")
    texts = {
        name: _fill(str(values.get(name) or ""), variables)
        for name in ("address", "dial_timeout", "root_cert", "client_key", "client_cert")
    }
    if not texts["address"]:
        raise BadPackage("chaincode address not provided")
    timeout = _read_duration(texts["dial_timeout"])
    if not values.get("tls_required"):
        return Connection(texts["address"], timeout)
    mutual = bool(values.get("client_auth_required"))
    if mutual and not texts["client_key"]:
        raise BadPackage("chaincode tls key not provided")
    if mutual and not texts["client_cert"]:
        raise BadPackage("chaincode tls cert not provided")
    if not texts["root_cert"]:
        raise BadPackage("chaincode tls root cert not provided")
    return Connection(
        address=texts["address"],
        dial_timeout=timeout,
        tls_required=True,
        root_certificate=texts["root_cert"].encode(),
        client_key=texts["client_key"].encode() if mutual else b"",
        client_certificate=texts["client_cert"].encode() if mutual else b"",
    )


def get_indexes(package: ChaincodePackage) -> dict[str, bytes]:
    """The index definitions that the package brings: path under META-INF/statedb → JSON bytes."""
    prefix = "META-INF/statedb/"
    return {
        name.removeprefix(prefix): content
        for name, content in _open_tar(package.code).items()
        if name.startswith(prefix) and name.endswith(".json")
    }


def _open_tar(raw: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MAX_UNPACKED
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r|gz") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if not member.isfile():
                    raise BadPackage(f"tar entry {member.name} is not a regular file")
                left -= member.size
                if left < 0:
                    raise BadPackage(f"the package unpacks to more than {MAX_UNPACKED} bytes")
                content = archive.extractfile(member)
                files[member.name.removeprefix("./")] = content.read() if content else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BadPackage(f"error reading as gzip stream: {error}") from error
    return files


def _open_json(raw: bytes, name: str) -> dict[str, Any]:
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise BadPackage(f"could not unmarshal {name} as json") from error
    if not isinstance(values, dict):
        raise BadPackage(f"could not unmarshal {name} as json: not an object")
    return values


def _fill(text: str, variables: Mapping[str, str]) -> str:
    """Go's `{{.name}}` alone is honoured; a missing name is an error, as with missingkey=error."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise BadPackage(
                f"connection.json asks for '{match[1]}', which "
                "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG does not define"
            )
        return str(variables[match[1]])

    return _TEMPLATE.sub(replace, text)


def _read_duration(text: str) -> float:
    if not text:
        return DIAL_TIMEOUT
    try:
        seconds = parse_duration(text) / 1e9
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise BadPackage(f"dial_timeout '{text}' is not a duration such as 10s")
    return seconds
