"""Identities with real certificates, in the shape that Fabric CA issues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.msp import identities_pb2

from chaincode.identity import ATTRIBUTES_OID

_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(2049, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who can sign proposals."""

    msp_id: str
    name: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def creator(self) -> bytes:
        """`msp.SerializedIdentity` bytes."""
        raw: bytes = identities_pb2.SerializedIdentity(
            mspid=self.msp_id, id_bytes=self.certificate_pem
        ).SerializeToString()
        return raw

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature over SHA-256 of the data."""
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))


class Registrar:
    """One organisation's CA."""

    def __init__(self, msp_id: str) -> None:
        self._msp_id = msp_id
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, msp_id),
                x509.NameAttribute(NameOID.COMMON_NAME, f"ca.{msp_id}"[:64]),
            ]
        )
        self._serial = 0

    def enroll(self, name: str, ous: tuple[str, ...], attributes: Mapping[str, str]) -> Person:
        """A person of this organisation with these organisational units and attributes."""
        self._serial += 1
        key = ec.generate_private_key(ec.SECP256R1())
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ou) for ou in ous]
        subject = x509.Name([*units, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(_NOT_BEFORE)
            .not_valid_after(_NOT_AFTER)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if attributes:
            raw = json.dumps({"attrs": dict(attributes)}, separators=(",", ":")).encode()
            extension = x509.UnrecognizedExtension(ATTRIBUTES_OID, raw)
            builder = builder.add_extension(extension, critical=False)
        return Person(self._msp_id, name, builder.sign(self._key, hashes.SHA256()), key)
