"""Creator bytes → the caller: MSP id, certificate, attributes, organisational units.

The same reading as Go's `pkg/cid`: identities written by Go or Node contracts compare equal.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier
from fabric_protos.msp import identities_pb2
from google.protobuf.message import DecodeError

from chaincode.errors import Denied, MalformedIdentity

ATTRIBUTES_OID = ObjectIdentifier("1.2.3.4.5.6.7.8.1")
"""The extension in which Fabric CA puts attributes: JSON `{"attrs": {name: value}}`."""

# Go's pkix.Name.ToRDNSequence emits these in this order, all values of one type in one RDN, and
# drops every other type; cid.getDN then reverses the sequence.
_DN_ORDER: tuple[tuple[ObjectIdentifier, str], ...] = (
    (NameOID.COUNTRY_NAME, "C"),
    (NameOID.STATE_OR_PROVINCE_NAME, "ST"),
    (NameOID.LOCALITY_NAME, "L"),
    (NameOID.STREET_ADDRESS, "STREET"),
    (NameOID.POSTAL_CODE, "POSTALCODE"),
    (NameOID.ORGANIZATION_NAME, "O"),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "OU"),
    (NameOID.COMMON_NAME, "CN"),
    (NameOID.SERIAL_NUMBER, "SERIALNUMBER"),
)
_SINGLE = {NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER}


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """Who signed the proposal."""

    msp_id: str
    certificate: x509.Certificate
    attributes: Mapping[str, str] = field(default_factory=dict)
    ous: tuple[str, ...] = ()
    id: str = ""
    """base64 of `x509::<subject>::<issuer>`, equal to Go's `cid.GetID`; survives renewal."""

    def get_attribute(self, name: str) -> str | None:
        """The value of an attribute, None if the certificate has none of that name."""
        return self.attributes.get(name)

    def assert_attribute(self, name: str, value: str) -> None:
        """Raise Denied unless the certificate says that attribute `name` is `value`."""
        if self.attributes.get(name) != value:
            raise Denied(f"attribute {name}={value} is missing")

    def has_ou(self, ou: str) -> bool:
        """True if the subject names this organisational unit (`client`, `admin`, `peer`, …)."""
        return ou in self.ous

    def assert_ou(self, ou: str) -> None:
        """Raise Denied unless the subject names this organisational unit."""
        if ou not in self.ous:
            raise Denied(f"organisational unit {ou} is missing")

    def assert_msp(self, *msp_ids: str) -> None:
        """Raise Denied unless the caller belongs to one of these organisations."""
        if self.msp_id not in msp_ids:
            raise Denied(f"the caller is not of {' or '.join(msp_ids)}")


@lru_cache(maxsize=4096)
def read_client_identity(creator: bytes) -> ClientIdentity:
    """The caller in these creator bytes (`msp.SerializedIdentity`).

    Certificates are parsed once and kept. Raises MalformedIdentity: not a SerializedIdentity,
    not a PEM certificate (Idemix credentials have none), or unreadable attributes.
    """
    try:
        identity = identities_pb2.SerializedIdentity.FromString(creator)
    except DecodeError:
        raise MalformedIdentity("the creator is not a serialized identity") from None
    if not identity.mspid:
        raise MalformedIdentity("the creator names no organisation (MSP id)")
    try:
        certificate = x509.load_pem_x509_certificate(identity.id_bytes)
        return ClientIdentity(
            msp_id=identity.mspid,
            certificate=certificate,
            attributes=MappingProxyType(_read_attributes(certificate)),
            ous=tuple(_values(certificate.subject, NameOID.ORGANIZATIONAL_UNIT_NAME)),
            id=_client_id(certificate),
        )
    except MalformedIdentity:
        raise
    except (ValueError, binascii.Error, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise MalformedIdentity("the creator's certificate cannot be read") from None


def _read_attributes(certificate: x509.Certificate) -> dict[str, str]:
    for extension in certificate.extensions:
        if extension.oid == ATTRIBUTES_OID:
            value = extension.value
            raw = value.value if isinstance(value, x509.UnrecognizedExtension) else b""
            try:
                attributes = json.loads(raw).get("attrs") or {}
                return {str(name): str(entry) for name, entry in attributes.items()}
            except (ValueError, AttributeError):
                raise MalformedIdentity(
                    f"the certificate's attribute extension {ATTRIBUTES_OID.dotted_string} "
                    "is not the JSON that Fabric CA writes"
                ) from None
    return {}


def _client_id(certificate: x509.Certificate) -> str:
    subject, issuer = format_name(certificate.subject), format_name(certificate.issuer)
    return base64.b64encode(f"x509::{subject}::{issuer}".encode()).decode()


def format_name(name: x509.Name) -> str:
    """A distinguished name in the words of Go's `cid.getDN` (RFC 2253, fixed order of types)."""
    parts = []
    for oid, label in reversed(_DN_ORDER):
        values = _values(name, oid)
        if oid in _SINGLE:
            values = [value for value in values[-1:] if value]
        if values:
            parts.append("+".join(f"{label}={_escape(value)}" for value in values))
    return ",".join(parts)


def _values(name: x509.Name, oid: ObjectIdentifier) -> list[str]:
    return [
        attribute.value if isinstance(attribute.value, str) else attribute.value.decode("latin-1")
        for attribute in name.get_attributes_for_oid(oid)
    ]


def _escape(value: str) -> str:
    escaped = "".join("\\" + char if char in ',+"\\<>;' else char for char in value)
    if value[:1] in ("#", " "):
        escaped = "\\" + escaped
    if len(value) > 1 and value.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    return escaped
