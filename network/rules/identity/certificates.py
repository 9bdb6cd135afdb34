"""Certificates in cryptogen's profile, so that Fabric and its SDKs read them as their own.

Source: Fabric `internal/cryptogen/ca/ca.go`, `msp/msp.go`; the attribute extension is that of
Fabric CA (`lib/attrmgr/attrmgr.go`). Keys, serial numbers and times come in as arguments;
every signature has a low S.
"""

import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from network.rules.identity.chains import get_extension
from network.rules.identity.ecdsa import get_curve_order, normalize_signature
from network.rules.identity.sanitize import replace_signature, sanitize_certificate

# Fabric CA's attributes: the raw JSON {"attrs": {name: value}}, not wrapped in a string type.
ATTRIBUTES_OID = x509.ObjectIdentifier("1.2.3.4.5.6.7.8.1")
SERIAL_BITS = 128

_CLIENT_AND_SERVER = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is valid (aware datetimes)."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """The location in a subject; cryptogen's default."""

    country: str = "US"
    province: str = "California"
    locality: str = "San Francisco"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A certificate's serial number and when it was revoked."""

    serial: int
    revoked_at: datetime


def validity_from(now: datetime, days: int) -> Validity:
    """Return ``days`` from five minutes before the nearest minute, as cryptogen dates."""
    rounded = (now + timedelta(seconds=30)).replace(second=0, microsecond=0)
    not_before = rounded - timedelta(minutes=5)
    return Validity(not_before, not_before + timedelta(days=days))


def build_ca(
    *,
    common_name: str,
    organization: str,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    validity: Validity,
    place: Place | None = None,
    parent: Authority | None = None,
) -> x509.Certificate:
    """Return a CA certificate, self-signed or (with ``parent``) an intermediate."""
    usage = _key_usage(key_encipherment=True, key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(key.public_key(), serial, validity)
        .subject_name(_name(common_name, place, organization=organization))
        .add_extension(usage, critical=True)
        .add_extension(_CLIENT_AND_SERVER, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(subject_key_id(key.public_key())), critical=False)
    )
    if parent is None:
        subject = _name(common_name, place, organization=organization)
        return _sign(builder.issuer_name(subject), key)
    return _issue(builder, parent)


def build_leaf(
    *,
    common_name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    serial: int,
    validity: Validity,
    ous: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
    place: Place | None = None,
) -> x509.Certificate:
    """Return an identity certificate: role OUs, digitalSignature, no extended key usage.

    Extended key usages stay out on purpose: an MSP refuses identities that list some but not
    serverAuth. ``attributes`` adds Fabric CA's attribute extension.
    """
    builder = (
        _builder(public_key, serial, validity)
        .subject_name(_name(common_name, place, ous=ous))
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if attributes is not None:
        value = x509.UnrecognizedExtension(ATTRIBUTES_OID, encode_attributes(attributes))
        builder = builder.add_extension(value, critical=False)
    return _issue(builder, issuer)


def build_tls_leaf(
    *,
    common_name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    serial: int,
    validity: Validity,
    hosts: Sequence[str] = (),
    place: Place | None = None,
) -> x509.Certificate:
    """Return a TLS certificate for servers and clients; ``hosts`` are DNS names or IP addresses."""
    builder = (
        _builder(public_key, serial, validity)
        .subject_name(_name(common_name, place))
        .add_extension(_key_usage(key_encipherment=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if hosts:
        # Names before addresses, as Go orders them.
        general = sorted(map(_general_name, hosts), key=lambda n: isinstance(n, x509.IPAddress))
        names = x509.SubjectAlternativeName(general)
        builder = builder.add_extension(names, critical=False)
    return _issue(builder, issuer)


def build_encryption_leaf(
    *,
    common_name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    serial: int,
    validity: Validity,
    place: Place | None = None,
) -> x509.Certificate:
    """Return a certificate of a key that others encrypt to: keyAgreement only.

    It carries no role OU on purpose: an MSP with NodeOUs accepts it as nobody's identity.
    """
    builder = (
        _builder(public_key, serial, validity)
        .subject_name(_name(common_name, place))
        .add_extension(_key_usage(signature=False, key_agreement=True), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return _issue(builder, issuer)


def build_crl(
    *,
    issuer: Authority,
    revocations: Sequence[Revocation],
    this_update: datetime,
    next_update: datetime,
    number: int = 1,
) -> bytes:
    """Return a PEM certificate revocation list that Fabric matches to its issuer by key id."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(_authority_key_id(issuer.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for revocation in revocations:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(revocation.serial)
            .revocation_date(revocation.revoked_at)
            .build()
        )
    crl = builder.sign(issuer.key, hashes.SHA256())
    low = normalize_signature(crl.signature, get_curve_order(issuer.key.curve))
    der = replace_signature(crl.public_bytes(serialization.Encoding.DER), crl.signature, low)
    return x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)


def subject_key_id(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return SHA-256 of the uncompressed point (RFC 7093, 2, method 4), as BCCSP names keys too."""
    point = public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return hashlib.sha256(point).digest()


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """Return the value of Fabric CA's attribute extension."""
    return json.dumps({"attrs": dict(attributes)}, separators=(",", ":")).encode()


def read_attributes(certificate: x509.Certificate) -> dict[str, str]:
    """Return the attributes in a certificate, {} when it has none; raises ValueError if broken."""
    value = get_extension(certificate, ATTRIBUTES_OID)
    if not isinstance(value, x509.UnrecognizedExtension):
        return {}
    content = json.loads(value.value)
    attributes = content.get("attrs") if isinstance(content, dict) else None
    if not isinstance(attributes, dict):
        raise ValueError("the certificate's attribute extension holds no attributes")
    return {str(name): str(text) for name, text in attributes.items()}


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS#8 PEM, the form Fabric's keystore reads."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    public_key: ec.EllipticCurvePublicKey, serial: int, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _issue(builder: x509.CertificateBuilder, issuer: Authority) -> x509.Certificate:
    builder = builder.issuer_name(issuer.certificate.subject)
    builder = builder.add_extension(_authority_key_id(issuer.certificate), critical=False)
    return _sign(builder, issuer.key)


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    certificate = builder.sign(key, hashes.SHA256())
    return sanitize_certificate(certificate, signer=key.public_key())


def _authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = get_extension(issuer, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    if not isinstance(own, x509.SubjectKeyIdentifier):
        raise ValueError("the issuer's certificate has no subject key identifier")
    return x509.AuthorityKeyIdentifier(own.digest, None, None)


def _name(
    common_name: str, place: Place | None, *, organization: str = "", ous: Sequence[str] = ()
) -> x509.Name:
    """Return the subject in cryptogen's order; several OUs share one RDN, as Go writes them."""
    where = place or Place()
    parts: list[list[tuple[x509.ObjectIdentifier, str]]] = [
        [(NameOID.COUNTRY_NAME, where.country)],
        [(NameOID.STATE_OR_PROVINCE_NAME, where.province)],
        [(NameOID.LOCALITY_NAME, where.locality)],
        [(NameOID.ORGANIZATION_NAME, organization)],
        [(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in ous],
        [(NameOID.COMMON_NAME, common_name)],
    ]
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(oid, text) for oid, text in part])
            for part in parts
            if part and part[0][1]
        ]
    )


def _key_usage(
    *,
    signature: bool = True,
    key_encipherment: bool = False,
    key_agreement: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=key_agreement,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
