"""Keys and certificates of a topology, written in cryptogen's layout.

For every organisation a CA and a TLS CA; for every node and user an MSP folder and a TLS folder;
for every organisation with peers the TLS material of its chaincode server; for exchanges and CA
services a TLS server certificate. Files and folders are named as cryptogen names them
(Fabric `internal/cryptogen/msp/msp.go`), so that Fabric's tools and SDKs find what they expect.

Running it again keeps whatever exists and adds what is missing; being interrupted leaves no file
half-written and no certificate without its key.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from network.rules.identity.certificates import (
    SERIAL_BITS,
    Authority,
    Validity,
    build_ca,
    build_leaf,
    build_tls_leaf,
    certificate_pem,
    private_key_pem,
    validity_from,
)
from network.rules.identity.certificates import Place as CertificatePlace
from network.rules.identity.identity import IdentityError, load_certificate
from network.topology.folders import Folders
from network.topology.safefiles import make_folder, remove_partial_files, write_file
from network.topology.servers import Server, ServerKind, list_servers
from network.topology.values import Node, NodeKind, Orderer, Organization, Peer, Topology, UserKind

_KEY_FILE = "priv_sk"
_ROLE_OUS = ("client", "peer", "admin", "orderer")
_Issue = Callable[[ec.EllipticCurvePublicKey], x509.Certificate]


class MissingKey(RuntimeError):
    """A certificate is missing and cannot be issued, because the CA's key is not here."""


@dataclass(slots=True)
class Progress:
    """What a run did: the files it wrote, in order, and how many certificates it kept."""

    written: list[Path] = field(default_factory=list)
    kept: int = 0


def generate_materials(
    topology: Topology,
    folder: Path,
    now: datetime,
    report: Callable[[str], None] | None = None,
) -> Progress:
    """Make ``folder``/organizations complete for the topology and return what was done.

    ``report`` is told the name of each organisation, node or user whose material is made.
    Raises `MissingKey`, and OSError where the disk refuses.
    """
    folders = Folders(Path(folder))
    make_folder(folders.root / "organizations")
    remove_partial_files(folders.root / "organizations")
    progress = Progress()
    for org in topology.organizations:
        _Writer(topology, org, folders, now, progress, report or (lambda _: None)).write()
    return progress


def issue_node(topology: Topology, folder: Path, node: Node, now: datetime, target: Path) -> None:
    """New keys and certificates of a node are in ``target``, `msp` and `tls` as in its own folder,
    which is left alone; what an interrupted run left there is completed.

    Raises `MissingKey` where the organisation's CA keys are not here, and OSError.
    """
    writer = _Writer(topology, node.organization, Folders(folder), now, Progress(), lambda _: None)
    writer.issue(node, target)


def issue_server(
    topology: Topology, folder: Path, server: Server, now: datetime, target: Path
) -> None:
    """New keys and certificates of a server are in ``target`` as in its own TLS folder.

    A chaincode server's folder holds its peers' client certificate as well. Raises as `issue_node`.
    """
    organization = server.organization
    writer = _Writer(topology, organization, Folders(folder), now, Progress(), lambda _: None)
    writer.issue_server(server, target)


class _Writer:
    """Writes the material of one organisation."""

    def __init__(
        self,
        topology: Topology,
        org: Organization,
        folders: Folders,
        now: datetime,
        progress: Progress,
        report: Callable[[str], None],
    ) -> None:
        self._topology = topology
        self._org = org
        self._folders = folders
        self._now = now
        self._progress = progress
        self._report = report
        self._place = CertificatePlace(org.place.country, org.place.province, org.place.locality)

    def issue(self, node: Node, target: Path) -> None:
        self._load_authorities()
        if node.kind is not NodeKind.CA:
            self._write_local_msp(target / "msp", node.fqdn, node.kind.value, None)
        self._write_tls(target / "tls", "server", node.fqdn, self._list_hosts(node))

    def issue_server(self, server: Server, target: Path) -> None:
        self._load_authorities()
        self._write_server(server, target)

    def _load_authorities(self) -> None:
        org, folders = self._org, self._folders
        self._ca = self._authority(folders.ca(org), f"ca.{org.domain}")
        self._tls_ca = self._authority(folders.tls_ca(org), f"tlsca.{org.domain}")

    def write(self) -> None:
        org, folders = self._org, self._folders
        self._report(org.name)
        self._load_authorities()
        self._write_verifying_msp(folders.organization_msp(org))
        for node in self._topology.nodes():
            if node.organization is org:
                self._write_node(node)
        self._write_user("Admin", UserKind.ADMIN, {})
        self._write_user("User1", UserKind.CLIENT, {})
        for user in org.users:
            self._write_user(user.name, user.kind, user.attributes)
        for server in list_servers(self._topology):
            if server.organization is org:
                self._write_server(server, folders.server_tls(server))

    # One node, server or user

    def _write_server(self, server: Server, folder: Path) -> None:
        org = server.organization
        place = org.chaincode if server.kind is ServerKind.CHAINCODE else org.exchange
        assert place is not None
        self._write_tls(folder, "server", server.fqdn, [server.kind.value, place.host])
        if server.kind is ServerKind.CHAINCODE:
            self._write_tls(folder, "client", f"chaincode-client.{org.domain}", [])

    def _write_node(self, node: Node) -> None:
        hosts = self._list_hosts(node)
        if node.kind is not NodeKind.CA:
            self._report(node.fqdn)
            self._write_local_msp(self._folders.node_msp(node), node.fqdn, node.kind.value, None)
        self._write_tls(self._folders.node_tls(node), "server", node.fqdn, hosts)

    def _list_hosts(self, node: Node) -> list[str]:
        hosts = [node.name, node.host]
        parts: tuple[Peer | Orderer, ...] = (*self._org.peers, *self._org.orderers)
        for part in parts if node.kind is not NodeKind.CA else ():
            if part.name == node.name:
                hosts += part.hosts
        return hosts

    def _write_user(self, name: str, kind: UserKind, attributes: Mapping[str, str]) -> None:
        org, full_name = self._org, f"{name}@{self._org.domain}"
        self._report(full_name)
        msp = self._folders.user_msp(org, name)
        self._write_local_msp(msp, full_name, kind.value, attributes or None)
        self._write_tls(self._folders.user_tls(org, name), "client", full_name, None)

    def _write_local_msp(
        self, folder: Path, name: str, role: str, attributes: Mapping[str, str] | None
    ) -> None:
        self._write_verifying_msp(folder)

        def issue(public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
            return build_leaf(
                common_name=name,
                public_key=public_key,
                issuer=self._require(self._ca, name),
                serial=_new_serial(),
                validity=self._validity(self._topology.certificates.validity),
                ous=[role],
                attributes=attributes,
                place=self._place,
            )

        certificate = folder / "signcerts" / f"{name}-cert.pem"
        self._key_and_certificate(folder / "keystore" / _KEY_FILE, certificate, issue)

    def _write_tls(self, folder: Path, prefix: str, name: str, hosts: Sequence[str] | None) -> None:
        """Write ``<prefix>.crt`` and ``.key``; servers also answer to localhost."""
        names: list[str] = []
        if hosts is not None:
            common = [name, *hosts, self._topology.host, "localhost", "127.0.0.1"]
            names = list(dict.fromkeys(host.strip("[]") for host in common if host))

        def issue(public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
            return build_tls_leaf(
                common_name=name,
                public_key=public_key,
                issuer=self._require(self._tls_ca, name),
                serial=_new_serial(),
                validity=self._validity(self._topology.certificates.validity),
                hosts=names,
                place=self._place,
            )

        self._write(folder / "ca.crt", certificate_pem(self._tls_ca.certificate))
        self._key_and_certificate(folder / f"{prefix}.key", folder / f"{prefix}.crt", issue)

    def _write_verifying_msp(self, folder: Path) -> None:
        domain = self._org.domain
        make_folder(folder / "admincerts")
        ca_file = f"cacerts/ca.{domain}-cert.pem"
        self._write(folder / ca_file, certificate_pem(self._ca.certificate))
        tls_file = folder / "tlscacerts" / f"tlsca.{domain}-cert.pem"
        self._write(tls_file, certificate_pem(self._tls_ca.certificate))
        has_others = self._copy_others(folder, ca_file)
        self._copy_others(folder, f"tlscacerts/{tls_file.name}")
        self._write(folder / "config.yaml", _node_ous("" if has_others else ca_file))

    def _copy_others(self, folder: Path, own: str) -> bool:
        """Further CA certificates, put beside our own into the organisation's MSP, are in this MSP
        as well; whether there are any."""
        place = self._folders.organization_msp(self._org) / Path(own).parent
        others = [path for path in sorted(place.glob("*.pem")) if path.name != Path(own).name]
        for path in others:
            self._write(folder / Path(own).parent / path.name, path.read_bytes())
        return bool(others)

    # Keys and certificates

    def _authority(self, folder: Path, name: str) -> "_AuthorityFiles":
        def issue(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
            return build_ca(
                common_name=name,
                organization=self._org.domain,
                key=key,
                serial=_new_serial(),
                validity=self._validity(self._topology.certificates.ca_validity),
                place=self._place,
            )

        path = folder / f"{name}-cert.pem"
        key, certificate = _read_key(folder / _KEY_FILE), _read_certificate(path)
        if certificate is None:
            # A key without its certificate is what an interruption leaves: use it.
            key = key or self._new_key(folder / _KEY_FILE)
            certificate = issue(key)
            self._put(path, certificate_pem(certificate))
        else:
            self._progress.kept += 1
            if key is not None and key.public_key() != certificate.public_key():
                raise MissingKey(
                    f"{folder / _KEY_FILE} is not the key of {path.name}; put the right one there"
                )
        return _AuthorityFiles(certificate, key, folder)

    def _key_and_certificate(self, key_path: Path, path: Path, issue: _Issue) -> None:
        key, certificate = _read_key(key_path), _read_certificate(path)
        if key is not None and _belongs(certificate, key):
            self._progress.kept += 1
            return
        if key is None:
            key = self._new_key(key_path)
        self._put(path, certificate_pem(issue(key.public_key())))

    def _require(self, authority: "_AuthorityFiles", name: str) -> Authority:
        if authority.key is None:
            raise MissingKey(
                f"a certificate for {name} is missing and the CA's key is not at "
                f"{authority.folder / _KEY_FILE}; put it there for as long as this takes, "
                "or enrol with the CA"
            )
        return Authority(authority.certificate, authority.key)

    def _validity(self, span: timedelta) -> Validity:
        validity = validity_from(self._now, 0)
        return Validity(validity.not_before, validity.not_before + span)

    def _new_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        self._put(path, private_key_pem(key), secret=True)
        return key

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file that follows from others: again whenever its content would differ."""
        if not path.is_file() or path.read_bytes() != content:
            self._put(path, content)

    def _put(self, path: Path, content: bytes, *, secret: bool = False) -> None:
        write_file(path, content, secret=secret)
        self._progress.written.append(path)


@dataclass(frozen=True, slots=True)
class _AuthorityFiles:
    """A CA on disk; its key may be kept elsewhere."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None = field(repr=False)
    folder: Path


def load_authority(folder: Path) -> Authority:
    """Return the CA in a cryptogen CA folder: its certificate and its ``priv_sk``.

    Raises `MissingKey` when either is not there or they do not belong together.
    """
    key = _read_key(folder / _KEY_FILE)
    for path in sorted(folder.glob("*-cert.pem")):
        certificate = _read_certificate(path)
        if certificate is not None and key is not None and _belongs(certificate, key):
            return Authority(certificate, key)
    raise MissingKey(f"{folder} holds no CA certificate together with its key {_KEY_FILE}")


def _belongs(certificate: x509.Certificate | None, key: ec.EllipticCurvePrivateKey) -> bool:
    return certificate is not None and certificate.public_key() == key.public_key()


def _node_ous(ca_file: str) -> bytes:
    """Roles by OU, in certificates of that CA, or of every CA if none is named."""
    node_ous: dict[str, object] = {"Enable": True}
    certifier = {"Certificate": ca_file} if ca_file else {}
    for role in _ROLE_OUS:
        node_ous[f"{role.capitalize()}OUIdentifier"] = {
            **certifier,
            "OrganizationalUnitIdentifier": role,
        }
    return yaml.safe_dump({"NodeOUs": node_ous}, sort_keys=False, indent=4).encode()


def _new_serial() -> int:
    return secrets.randbits(SERIAL_BITS - 1) + 1


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    if not path.is_file():
        return None
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise MissingKey(f"{path} is no unencrypted PEM key; replace or remove it") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MissingKey(f"{path} is no ECDSA key; replace or remove it")
    return key


def _read_certificate(path: Path) -> x509.Certificate | None:
    if not path.is_file():
        return None
    try:
        return load_certificate(path.read_bytes())
    except IdentityError:
        raise MissingKey(f"{path} is no PEM certificate; replace or remove it") from None
