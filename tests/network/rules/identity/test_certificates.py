"""Certificates beside cryptogen's: the same subject, extensions and signature form."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtensionOID
from hypothesis import given
from hypothesis import strategies as st

from network.rules.identity.certificates import (
    ATTRIBUTES_OID,
    Authority,
    build_ca,
    build_leaf,
    build_tls_leaf,
    encode_attributes,
    read_attributes,
    validity_from,
)
from network.rules.identity.ecdsa import CURVE_ORDERS
from network.rules.identity.msp import Msp, open_msp_config
from network.rules.identity.principals import role_principal
from network.topology.materials import generate_materials
from network.topology.model import parse_topology
from network.topology.mspfolder import load_msp_config, load_signer
from tests.fabric_binaries import run_fabric
from tests.network.consortium import make_org

ORG = make_org("Org1MSP")
VALIDITY = validity_from(datetime(2026, 1, 1, 12, 0, 40, tzinfo=UTC), 3650)


def test_validity_is_rounded_and_backdated() -> None:
    assert VALIDITY.not_before == datetime(2026, 1, 1, 11, 56, tzinfo=UTC)
    assert VALIDITY.not_after - VALIDITY.not_before == timedelta(days=3650)


def describe(certificate: x509.Certificate) -> dict[str, object]:
    """Everything of a certificate's profile that does not name its keys and serial."""
    extensions = {
        extension.oid.dotted_string: (
            extension.critical,
            "key id"
            if extension.oid
            in (ExtensionOID.SUBJECT_KEY_IDENTIFIER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
            else extension.value,
        )
        for extension in certificate.extensions
    }
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "extensions": extensions,
        "days": (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days,
        "algorithm": certificate.signature_algorithm_oid,
        "version": certificate.version,
    }


CRYPTOGEN = """
PeerOrgs:
  - Name: Alpha
    Domain: alpha.example
    EnableNodeOUs: true
    Template: {Count: 1, SANS: [localhost, 127.0.0.1]}
    Users: {Count: 1}
"""
SAME = """
version: 1
name: same
organizations:
  - {name: Alpha, domain: alpha.example, role: provider, peers: [{name: peer0, port: 7051}]}
"""


def test_cryptogen_profile(tmp_path: Path) -> None:
    (tmp_path / "crypto.yaml").write_text(CRYPTOGEN)
    theirs, ours = tmp_path / "theirs", tmp_path / "organizations"
    run_fabric("cryptogen", "generate", "--config", tmp_path / "crypto.yaml", "--output", theirs)
    generate_materials(parse_topology(SAME), tmp_path, datetime.now(UTC))
    shutil.rmtree(ours / "peerOrganizations/alpha.example/chaincode")
    files = {path.relative_to(theirs) for path in theirs.rglob("*") if path.is_file()}
    assert files == {path.relative_to(ours) for path in ours.rglob("*") if path.is_file()}
    for name in sorted(files):
        if name.suffix == ".yaml":
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
        elif name.name.endswith(("-cert.pem", ".crt")):
            made = x509.load_pem_x509_certificate((ours / name).read_bytes())
            model = x509.load_pem_x509_certificate((theirs / name).read_bytes())
            assert describe(made) == describe(model), name
            # cryptogen itself signs its CAs without this; Fabric rewrites such certificates.
            assert decode_dss_signature(made.signature)[1] <= CURVE_ORDERS["secp256r1"] // 2


def test_we_read_what_cryptogen_makes(tmp_path: Path) -> None:
    (tmp_path / "crypto.yaml").write_text(CRYPTOGEN)
    run_fabric("cryptogen", "generate", "--config", tmp_path / "crypto.yaml", "--output", tmp_path)
    org = tmp_path / "peerOrganizations/alpha.example"
    msp = Msp(open_msp_config(load_msp_config(org / "msp", "AlphaMSP")))
    admin = load_signer(org / "users/Admin@alpha.example/msp", "AlphaMSP", datetime.now(UTC))
    peer = load_signer(org / "peers/peer0.alpha.example/msp", "AlphaMSP", datetime.now(UTC))
    msp.satisfies(msp.identity(admin.creator), role_principal("AlphaMSP", 1))
    msp.satisfies(msp.identity(peer.creator), role_principal("AlphaMSP", 3))


def leaf(**changes: object) -> x509.Certificate:
    values: dict[str, object] = {
        "common_name": "alice",
        "public_key": ec.generate_private_key(ec.SECP256R1()).public_key(),
        "issuer": ORG.ca,
        "serial": 4711,
        "validity": VALIDITY,
    }
    return build_leaf(**(values | changes))  # type: ignore[arg-type]


def test_attributes_are_raw_json() -> None:
    """Fabric CA writes the JSON itself, not wrapped in a string type."""
    certificate = leaf(attributes={"role": "clinician", "hf.Affiliation": ""})
    value = certificate.extensions.get_extension_for_oid(ATTRIBUTES_OID).value
    assert isinstance(value, x509.UnrecognizedExtension)
    assert value.value == b'{"attrs":{"role":"clinician","hf.Affiliation":""}}'
    assert read_attributes(certificate) == {"role": "clinician", "hf.Affiliation": ""}
    assert read_attributes(leaf()) == {}


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=4))
def test_attributes_round_trip(attributes: dict[str, str]) -> None:
    assert encode_attributes(attributes).startswith(b'{"attrs":{')
    assert read_attributes(leaf(attributes=attributes)) == attributes


def test_hosts_become_names_or_addresses() -> None:
    certificate = build_tls_leaf(
        common_name="peer0.alpha.example",
        public_key=ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuer=ORG.tls_ca,
        serial=1,
        validity=VALIDITY,
        hosts=["peer0.alpha.example", "localhost", "127.0.0.1", "::1"],
    )
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["peer0.alpha.example", "localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_every_signature_has_low_s_and_verifies() -> None:
    for _ in range(16):
        certificate = leaf()
        _, s = decode_dss_signature(certificate.signature)
        assert s <= CURVE_ORDERS["secp256r1"] // 2
        certificate.verify_directly_issued_by(ORG.ca.certificate)


def test_intermediate_ca_names_its_issuer() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = build_ca(
        common_name="ica",
        organization="alpha",
        key=key,
        serial=3,
        validity=VALIDITY,
        parent=ORG.ca,
    )
    certificate.verify_directly_issued_by(ORG.ca.certificate)
    assert leaf(issuer=Authority(certificate, key)).issuer == certificate.subject


def test_issuer_without_key_id_cannot_issue() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bare = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(VALIDITY.not_before)
        .not_valid_after(VALIDITY.not_after)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(ValueError, match="no subject key identifier"):
        leaf(issuer=Authority(bare, key))
