"""Starting a CA from what a `fabric-ca-server` starts from: its home folder and its YAML file.

`FABRIC_CA_SERVER_HOME` holds `fabric-ca-server-config.yaml`; a `FABRIC_CA_SERVER_*` variable wins
over the file. Beside Fabric's keys there is one of ours, `ca.imports`: folders whose certificates
this CA's key has signed (as cryptogen and `medfabric network up` write them). Their holders become
identities, administrators (OU admin) as registrars, so that they can call, renew and be revoked.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from network.node.ca.api import build_api
from network.node.ca.authority import Authority, CaIdentity
from network.node.ca.store import CaStore
from network.node.serving.http_server import HttpServer, HttpTls
from network.node.serving.logs import LogSpec
from network.node.serving.operations import build_operations
from network.node.serving.settings import Settings, SettingsError
from network.rules.identity.enrollment import (
    REGISTRAR_GRANTS,
    Attribute,
    Registration,
    complete_registration,
)

FILE = "fabric-ca-server-config.yaml"
log = logging.getLogger("medfabric.ca")


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the CA's settings. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    home = Path(
        environment.get("FABRIC_CA_SERVER_HOME") or environment.get("FABRIC_CA_HOME") or "."
    )
    file = home / FILE
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{file} does not exist: set FABRIC_CA_SERVER_HOME to the folder that holds it"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read as YAML") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{file} is not a mapping of settings")
    return Settings("fabric_ca_server", values, environment, file)


def open_authority(settings: Settings) -> Authority:
    """Return the CA over its store, with its bootstrap and imported identities registered."""
    ca = _load_ca(settings)
    database = settings.get_path("db.datasource", "fabric-ca-server.db")
    assert database is not None
    authority = Authority(
        ca,
        CaStore(database),
        validity=timedelta(seconds=settings.get_duration("signing.default.expiry", 8760 * 3600)),
        crl_validity=timedelta(seconds=settings.get_duration("crl.expiry", 24 * 3600)),
        reenroll_expired=settings.get_bool("ca.reenrollIgnoreCertExpiry"),
    )
    for name in _affiliations(settings.get_value("affiliations")):
        authority.store.add_affiliation(name)
    for identity, secret in _bootstrap_identities(settings):
        authority.store.add_identity(complete_registration(identity), secret)
    for folder in settings.get_paths("ca.imports"):
        import_certificates(authority, folder)
    return authority


def import_certificates(authority: Authority, folder: Path) -> int:
    """Make known every certificate below `folder` that this CA has issued; return how many."""
    count = 0
    for file in sorted(folder.rglob("signcerts/*.pem")):
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            certificate.verify_directly_issued_by(authority.ca.certificate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        name = _subject(certificate, NameOID.COMMON_NAME)
        kind = _subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME) or "client"
        grants = REGISTRAR_GRANTS if kind == "admin" else {}
        attributes = tuple(Attribute(key, value) for key, value in grants.items())
        identity = Registration(name, kind, "", attributes)
        authority.store.add_identity(complete_registration(identity), None)
        authority.remember(certificate, name)
        count += 1
    return count


class CertificateAuthority:
    """A CA serving; `start`, then `stop`. `port` and `operations_port` are those taken."""

    def __init__(self, settings: Settings, log_spec: LogSpec) -> None:
        self._settings = settings
        self.authority = open_authority(settings)
        self._api = HttpServer(build_api(self.authority), _read_tls(settings))
        self._operations = HttpServer(
            build_operations(checks={}, log_spec=log_spec, registry=None, needs_certificate=False)
        )
        self.port = self.operations_port = 0

    async def start(self) -> None:
        """Serve. Raises ListenError if an address cannot be taken."""
        settings = self._settings
        host = settings.get_text("address", "127.0.0.1")
        self.port = await self._api.start(f"{host}:{settings.get_port('port', 7054)}")
        self.operations_port = await self._operations.start(
            settings.get_text("operations.listenAddress", "127.0.0.1:0")
        )
        scheme = "https" if self._api.has_tls else "http"
        log.info("Listening on %s://%s:%d", scheme, host, self.port)

    async def stop(self) -> None:
        """Answer what is under way, then close the store."""
        await self._api.stop()
        await self._operations.stop()
        self.authority.store.close()


async def serve(settings: Settings, log_spec: LogSpec) -> None:
    """Run a CA until SIGTERM or SIGINT. Raises SettingsError, ListenError if it cannot start."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    ca = CertificateAuthority(settings, log_spec)
    try:
        await ca.start()
        await stopping.wait()
        log.info("Stopping")
    finally:
        await ca.stop()


def _read_tls(settings: Settings) -> HttpTls | None:
    if not settings.get_bool("tls.enabled"):
        return None
    return HttpTls(
        key=_required(settings, "tls.keyfile"),
        certificate=_required(settings, "tls.certfile"),
        client_roots=(),
        client_auth_required=False,
    )


def _load_ca(settings: Settings) -> CaIdentity:
    certificate_pem = settings.read_file("ca.certfile")
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = load_pem_private_key(settings.read_file("ca.keyfile"), None)
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"{settings.file}: ca.certfile and ca.keyfile must be a PEM certificate and its "
            "unencrypted PEM key"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != (
        certificate.public_key()
    ):
        raise SettingsError(f"{settings.file}: ca.keyfile is not the key of ca.certfile")
    chain = (
        settings.read_file("ca.chainfile") if settings.get_path("ca.chainfile") else certificate_pem
    )
    name = settings.get_text("ca.name") or _subject(certificate, NameOID.COMMON_NAME)
    return CaIdentity(name, certificate, chain, key)


def _bootstrap_identities(settings: Settings) -> Iterator[tuple[Registration, str | None]]:
    entries = settings.get_value("registry.identities") or []
    for entry in entries:
        grants = {str(key): _text(value) for key, value in (entry.get("attrs") or {}).items()}
        attributes = tuple(Attribute(_canonical(key), value) for key, value in grants.items())
        yield (
            Registration(
                str(entry["name"]),
                str(entry.get("type") or "client"),
                str(entry.get("affiliation") or ""),
                attributes,
                int(entry.get("maxenrollments") or -1),
            ),
            str(entry["pass"]) if entry.get("pass") else None,
        )


def _canonical(key: str) -> str:
    """Return an attribute's name in its known case: settings' keys know none."""
    known = {name.lower(): name for name in REGISTRAR_GRANTS}
    return known.get(key.lower(), key)


def _affiliations(tree: object, parent: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for name, below in tree.items():
            path = f"{parent}.{name}" if parent else str(name)
            yield path
            yield from _affiliations(below, path)
    elif isinstance(tree, list):
        for name in tree:
            yield f"{parent}.{name}" if parent else str(name)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _required(settings: Settings, key: str) -> Path:
    path = settings.get_path(key)
    if path is None:
        raise SettingsError(f"{settings.file}: {key} is not set, and tls.enabled is true")
    return path


def _subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    names = certificate.subject.get_attributes_for_oid(oid)
    return str(names[0].value) if names else ""
