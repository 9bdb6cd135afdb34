"""How a chaincode server is told what to do: environment variables as Fabric's samples name them,
overridden by command-line flags. Whatever is half said is refused here, before anything listens.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from chaincode.errors import ConfigurationError
from chaincode.shim.session import DEFAULT_CAPACITY, Capacity

Environment = Mapping[str, str]

DEFAULT_GRACE_SECONDS = 30.0
"""How long SIGTERM waits for running transactions; a peer waits as long (`core.yaml`)."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """PEM bytes; with `client_roots` a peer has to show a certificate of theirs (mutual TLS)."""

    key: bytes = field(repr=False)
    certificate: bytes
    client_roots: bytes | None = None


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM bytes for dialling a peer; key and certificate may be absent."""

    roots: bytes
    key: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A chaincode as a service: peers dial it.

    With `share_port` it listens beside another server on the same port, which it will replace.
    `renew_tls` loads the TLS files again for a new connection; without it they are read once.
    """

    chaincode_id: str
    address: str
    tls: ServerTls | None = None
    capacity: Capacity = DEFAULT_CAPACITY
    grace: float = DEFAULT_GRACE_SECONDS
    share_port: bool = False
    renew_tls: Callable[[], ServerTls | None] | None = None


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """A chaincode that dials its peer, as one that the peer has launched does."""

    chaincode_id: str
    peer_address: str
    tls: ClientTls | None = None
    capacity: Capacity = DEFAULT_CAPACITY
    grace: float = DEFAULT_GRACE_SECONDS


def load_server_tls(env: Environment) -> ServerTls | None:
    """TLS from `CHAINCODE_TLS_DISABLED`, `_KEY`, `_CERT` and `CHAINCODE_CLIENT_CA_CERT` (paths).

    None if it is disabled, or nothing about it is set. Raises ConfigurationError: only a part is
    set, a file is missing or no PEM, the key does not belong to the certificate.
    """
    names = ("CHAINCODE_TLS_KEY", "CHAINCODE_TLS_CERT", "CHAINCODE_CLIENT_CA_CERT")
    paths = {name: env[name] for name in names if env.get(name)}
    disabled = _read_flag(env, "CHAINCODE_TLS_DISABLED")
    if disabled or (disabled is None and not paths):
        return None
    for name in ("CHAINCODE_TLS_KEY", "CHAINCODE_TLS_CERT"):
        if name not in paths:
            raise ConfigurationError(
                f"TLS is half configured: {name} is not set; set it, or CHAINCODE_TLS_DISABLED=true"
            )
    key = _read_file("CHAINCODE_TLS_KEY", paths["CHAINCODE_TLS_KEY"])
    certificate = _read_file("CHAINCODE_TLS_CERT", paths["CHAINCODE_TLS_CERT"])
    key = _validated_key(key, certificate, "CHAINCODE_TLS_KEY", "CHAINCODE_TLS_CERT")
    roots = None
    if "CHAINCODE_CLIENT_CA_CERT" in paths:
        roots = _read_file("CHAINCODE_CLIENT_CA_CERT", paths["CHAINCODE_CLIENT_CA_CERT"])
        _validate_certificates(roots, "CHAINCODE_CLIENT_CA_CERT")
    return ServerTls(key, certificate, roots)


def load_client_tls(env: Environment) -> ClientTls | None:
    """TLS for dialling a peer, from the variables that a peer gives a chaincode it launches.

    None if `CORE_PEER_TLS_ENABLED` is false or unset. Raises ConfigurationError.
    """
    if not _read_flag(env, "CORE_PEER_TLS_ENABLED"):
        return None
    root_path = env.get("CORE_PEER_TLS_ROOTCERT_FILE")
    if not root_path:
        raise ConfigurationError("TLS is half configured: CORE_PEER_TLS_ROOTCERT_FILE is not set")
    roots = _read_file("CORE_PEER_TLS_ROOTCERT_FILE", root_path)
    _validate_certificates(roots, "CORE_PEER_TLS_ROOTCERT_FILE")
    key = _read_plain_or_base64(env, "CORE_TLS_CLIENT_KEY")
    certificate = _read_plain_or_base64(env, "CORE_TLS_CLIENT_CERT")
    if (key is None) != (certificate is None):
        raise ConfigurationError(
            "TLS is half configured: set both CORE_TLS_CLIENT_KEY_FILE and _CERT_FILE, or neither"
        )
    if key is not None and certificate is not None:
        names = "CORE_TLS_CLIENT_KEY_FILE", "CORE_TLS_CLIENT_CERT_FILE"
        key = _validated_key(key, certificate, *names)
    return ClientTls(roots, key, certificate)


def read_chaincode_id(env: Environment, given: str | None = None) -> str:
    """The package id to register as. Raises ConfigurationError if nothing says it."""
    found = given or env.get("CHAINCODE_ID") or env.get("CORE_CHAINCODE_ID_NAME")
    if not found:
        raise ConfigurationError(
            "the chaincode id is not set; set CHAINCODE_ID (or --chaincode-id) to the package id "
            "that `peer lifecycle chaincode queryinstalled` prints"
        )
    return found


def read_server_address(env: Environment, given: str | None = None) -> str:
    """Where to listen, `host:port`. Raises ConfigurationError."""
    address = given or env.get("CHAINCODE_SERVER_ADDRESS")
    if not address:
        raise ConfigurationError(
            "the address is not set; set CHAINCODE_SERVER_ADDRESS (or --address) to host:port"
        )
    return validate_address(address, "CHAINCODE_SERVER_ADDRESS")


def validate_address(address: str, name: str) -> str:
    """The address with an empty host written as 0.0.0.0. Raises ConfigurationError."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"{name}: {address!r} is not host:port")
    return f"{host or '0.0.0.0'}:{port}"  # noqa: S104  (":9999" means every interface, as in Go)


def _read_flag(env: Environment, name: str) -> bool | None:
    """Go's strconv.ParseBool, None if unset."""
    text = env.get(name, "")
    if not text:
        return None
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ConfigurationError(f"{name} must be true or false, not {text!r}")


def _read_file(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read {path}: {error.strerror}") from None


def _read_plain_or_base64(env: Environment, name: str) -> bytes | None:
    """`<name>_FILE` holds PEM, `<name>_PATH` holds base64 of PEM (Go shim `internal/config.go`)."""
    if env.get(f"{name}_FILE"):
        return _read_file(f"{name}_FILE", env[f"{name}_FILE"])
    if not env.get(f"{name}_PATH"):
        return None
    raw = _read_file(f"{name}_PATH", env[f"{name}_PATH"])
    try:
        return base64.b64decode(raw, validate=False)
    except binascii.Error:
        raise ConfigurationError(f"{name}_PATH: the file is not base64") from None


def _validate_certificates(pem: bytes, name: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigurationError(f"{name}: the file holds no PEM certificate") from None


def _validated_key(key: bytes, certificate: bytes, key_name: str, certificate_name: str) -> bytes:
    """The key as PKCS#8 PEM. Raises ConfigurationError unless it belongs to the certificate."""
    leaf = _validate_certificates(certificate, certificate_name)[0]
    private = _load_key(key, key_name)
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ConfigurationError(f"{key_name} does not belong to {certificate_name}")
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load_key(pem: bytes, name: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        pass
    # A peer gives the chaincode that it launches PKCS#8 under the label "EC PRIVATE KEY"
    # (`common/crypto/tlsgen/key.go`), which Go reads and others, gRPC too, refuse.
    try:
        body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
        return serialization.load_der_private_key(base64.b64decode(body), password=None)
    except (ValueError, TypeError):
        raise ConfigurationError(f"{name}: the file holds no unencrypted PEM key") from None
