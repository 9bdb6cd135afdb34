"""Chaincode packages as Fabric's lifecycle installs them, the same bytes each time.

A package is a gzipped tar of `metadata.json` and `code.tar.gz`
(core/chaincode/persistence/chaincode_package.go). File times are zero, so that every organisation
that packages the same thing gets the same package id.
"""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

LABEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")


@dataclass(frozen=True, slots=True)
class Connection:
    """How a peer reaches a chaincode that runs as a service (`connection.json` of type ccaas).

    Attributes:
        address: the chaincode server's `host:port`.
        dial_timeout: Go duration.
        root_cert: PEM the server's certificate must chain to; empty for plaintext.
        client_cert: the peer's PEM certificate where the server asks for one.
        client_key: its key.
    """

    address: str
    dial_timeout: str = "10s"
    root_cert: str = ""
    client_cert: str = ""
    client_key: str = ""

    def to_json(self) -> bytes:
        """The file's bytes."""
        fields: dict[str, object] = {
            "address": self.address,
            "dial_timeout": self.dial_timeout,
            "tls_required": bool(self.root_cert),
        }
        if self.root_cert:
            fields["root_cert"] = self.root_cert
            fields["client_auth_required"] = bool(self.client_cert)
        if self.client_cert:
            fields["client_cert"] = self.client_cert
            fields["client_key"] = self.client_key
        return json.dumps(fields, indent=2, sort_keys=True).encode()


def build_service_package(
    label: str, connection: Connection, indexes: Mapping[str, bytes] | None = None
) -> bytes:
    """A package for a chaincode that runs as a service.

    Args:
        label: the package's label.
        connection: how peers reach it.
        indexes: files of `META-INF/statedb/couchdb/indexes/` by name.

    Raises:
        ValueError: the label is not one Fabric takes.
    """
    files = {"connection.json": connection.to_json()}
    for name, content in (indexes or {}).items():
        files[f"META-INF/statedb/couchdb/indexes/{name}"] = content
    return build_package(label, "ccaas", files)


def build_package(label: str, kind: str, files: Mapping[str, bytes], path: str = "") -> bytes:
    """A package of any type, such as `ccaas`.

    Raises:
        ValueError: the label is not one Fabric takes.
    """
    if not LABEL.match(label):
        raise ValueError(f"{label!r} is no package label: letters, digits, '_', '.', '+', '-'")
    metadata = json.dumps({"path": path, "type": kind, "label": label}).encode()
    return _tar_gz({"metadata.json": metadata, "code.tar.gz": _tar_gz(files)})


def _tar_gz(files: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = 0o100644  # Fabric's packager writes the file type too
            archive.addfile(entry, io.BytesIO(files[name]))
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed:
        packed.write(raw.getvalue())
    return out.getvalue()
