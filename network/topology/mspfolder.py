"""MSP folders on disk: read as Fabric reads them.

Source: Fabric `msp/configbuilder.go`. A folder holds `cacerts/` (required), `admincerts/`,
`intermediatecerts/`, `crls/`, `tlscacerts/`, `tlsintermediatecerts/`, `config.yaml`, and for
somebody who signs also `signcerts/` and `keystore/`.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.msp import msp_config_pb2

from network.rules.identity.certificates import subject_key_id
from network.rules.identity.identity import IdentityError, Signer, load_certificate, signer_from_pem
from network.rules.identity.pem import first_pem


class InvalidMspFolder(ValueError):
    """The folder lacks what an MSP needs; the text names the folder or file, never its content."""


def load_msp_config(folder: Path, msp_id: str) -> bytes:
    """Return MSPConfig bytes for verifying (no signing identity), as a channel carries them.

    Raises `InvalidMspFolder`.
    """
    folder = Path(folder)
    roots = _read_pem_files(folder / "cacerts")
    if not roots:
        raise InvalidMspFolder(
            f"no ca certificate found in directory {folder / 'cacerts'}: "
            "put the organisation's CA certificate (PEM) there"
        )
    tls_roots = _read_pem_files(folder / "tlscacerts")
    config = msp_config_pb2.FabricMSPConfig(
        name=msp_id,
        root_certs=roots,
        intermediate_certs=_read_pem_files(folder / "intermediatecerts"),
        admins=_read_pem_files(folder / "admincerts"),
        revocation_list=_read_pem_files(folder / "crls"),
        crypto_config=msp_config_pb2.FabricCryptoConfig(
            signature_hash_family="SHA2", identity_identifier_hash_function="SHA256"
        ),
        tls_root_certs=tls_roots,
        # Intermediates count only below roots.
        tls_intermediate_certs=_read_pem_files(folder / "tlsintermediatecerts")
        if tls_roots
        else [],
    )
    _read_configuration(folder, config)
    return bytes(
        msp_config_pb2.MSPConfig(config=config.SerializeToString(), type=0).SerializeToString()
    )


def load_signer(folder: Path, msp_id: str, now: datetime | None = None) -> Signer:
    """Return the signing identity of a local MSP folder.

    The certificate is the first of `signcerts/`; the key is the one in `keystore/` that belongs to
    it. With ``now`` an expired certificate is refused, as a Fabric node does when it starts.
    Raises `InvalidMspFolder`.
    """
    folder = Path(folder)
    certificates = _read_pem_files(folder / "signcerts")
    if not certificates:
        raise InvalidMspFolder(f"no signing certificate found in directory {folder / 'signcerts'}")
    try:
        certificate = load_certificate(certificates[0])
    except IdentityError as error:
        raise InvalidMspFolder(f"{folder / 'signcerts'}: {error}") from None
    if now is not None and certificate.not_valid_after_utc < now:
        raise InvalidMspFolder(
            f"{folder / 'signcerts'}: signing identity expired "
            f"{now - certificate.not_valid_after_utc} ago: enrol or issue a new certificate"
        )
    key = certificate.public_key()
    wanted = subject_key_id(key) if isinstance(key, ec.EllipticCurvePublicKey) else b""
    for path in _list_files(folder / "keystore"):
        content = _read(path)
        if _names_key(path, wanted) or _holds_key_of(content, key):
            try:
                return signer_from_pem(msp_id, certificates[0], content)
            except IdentityError:
                continue
    raise InvalidMspFolder(
        f"no private key in {folder / 'keystore'} belongs to the certificate in "
        f"{folder / 'signcerts'}"
    )


def _names_key(path: Path, key_id: bytes) -> bool:
    return bool(key_id) and path.name == f"{key_id.hex()}_sk"


def _holds_key_of(content: bytes, public_key: object) -> bool:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        return False
    return key.public_key() == public_key


def _read_configuration(folder: Path, config: msp_config_pb2.FabricMSPConfig) -> None:
    path = folder / "config.yaml"
    if not path.is_file():
        return
    try:
        content = yaml.safe_load(_read(path)) or {}
    except yaml.YAMLError as error:
        raise InvalidMspFolder(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise InvalidMspFolder(f"{path} should be a mapping with NodeOUs")
    for unit in content.get("OrganizationalUnitIdentifiers") or []:
        config.organizational_unit_identifiers.add(
            certificate=_read(folder / str(unit.get("Certificate", ""))),
            organizational_unit_identifier=unit.get("OrganizationalUnitIdentifier", ""),
        )
    node_ous = content.get("NodeOUs") or {}
    # Switched off means absent: the field is not written at all.
    if not node_ous.get("Enable"):
        return
    config.fabric_node_ous.enable = True
    for role in ("Client", "Peer", "Admin", "Orderer"):
        identifier = node_ous.get(f"{role}OUIdentifier") or {}
        name = identifier.get("OrganizationalUnitIdentifier")
        if name:
            unit = getattr(config.fabric_node_ous, f"{role.lower()}_ou_identifier")
            unit.organizational_unit_identifier = name
            unit.certificate = _read_optional(folder, identifier)


def _read_optional(folder: Path, identifier: dict[str, Any]) -> bytes:
    """A certifier that is not named or not there means: any chain of the MSP will do."""
    name = identifier.get("Certificate")
    if not name or not (folder / name).is_file():
        return b""
    return _read(folder / name)


def _read_pem_files(folder: Path) -> list[bytes]:
    """Return the whole content of every file that has a PEM block, sorted by file name."""
    contents = [_read(path) for path in _list_files(folder)]
    return [content for content in contents if first_pem(content) is not None]


def _list_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_file()), key=lambda p: p.name)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidMspFolder(f"could not read file {path}: {error.strerror}") from None
