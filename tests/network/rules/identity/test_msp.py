"""The MSP rules, on the folders of Fabric's own MSP tests and on identities made here.

Where a folder is named, the expected text is the one Fabric 3.1.5's test of that folder asserts
(tests/vectors/msp/README.md).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fabric_protos.msp import msp_config_pb2, msp_principal_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.identity.certificates import (
    Authority,
    Revocation,
    Validity,
    build_ca,
    build_crl,
    build_leaf,
    certificate_pem,
)
from network.rules.identity.ecdsa import CURVE_ORDERS
from network.rules.identity.identity import (
    Identity,
    IdentityError,
    MalformedIdentity,
    serialize_identity,
)
from network.rules.identity.msp import (
    InvalidIdentity,
    InvalidMsp,
    Msp,
    MspManager,
    MspVersion,
    PrincipalUnsatisfied,
    UnknownMsp,
    open_msp_config,
)
from network.rules.identity.pem import build_pem
from network.rules.identity.principals import role_principal
from network.rules.identity.sanitize import replace_signature
from network.topology.mspfolder import load_msp_config
from tests.network.consortium import Org, make_org

VECTORS = Path(__file__).parents[3] / "vectors" / "msp"
ROLE = msp_principal_pb2.MSPRole
KIND = msp_principal_pb2.MSPPrincipal
SAMPLE = "SampleOrg"


def load(name: str, version: MspVersion) -> Msp:
    return Msp(open_msp_config(load_msp_config(VECTORS / name, SAMPLE)), version)


def signing_identity(msp: Msp, name: str) -> Identity:
    path = sorted((VECTORS / name / "signcerts").iterdir())[0]
    return msp.identity(serialize_identity(SAMPLE, path.read_bytes()))


VALID = [
    ("nodeous1", MspVersion.V1_0),
    ("nodeous3", MspVersion.V1_0),
    ("nodeous3", MspVersion.V1_1),
    ("nodeous6", MspVersion.V1_0),
    ("nodeous6", MspVersion.V1_1),
    ("intermediate", MspVersion.V1_0),
    ("intermediate2", MspVersion.V1_0),
    ("external", MspVersion.V1_0),
    ("mspid", MspVersion.V1_0),
    ("expiration", MspVersion.V1_0),
    ("expired", MspVersion.V1_0),  # expiry is no matter of the MSP
    ("revocation2", MspVersion.V1_0),  # the CRL's signature is wrong
    ("tls", MspVersion.V1_0),
    ("nodeouorderer2", MspVersion.V1_4_3),
]


@pytest.mark.parametrize(("name", "version"), VALID)
def test_signing_identity_is_valid(name: str, version: MspVersion) -> None:
    msp = load(name, version)
    msp.validate(signing_identity(msp, name))


INVALID_IDENTITY = [
    (
        "nodeous2",
        MspVersion.V1_4_3,
        "could not validate identity's OUs: the identity does not have an OU that resolves to "
        "client, peer, orderer, or admin role. OUs: [], MSP: [SampleOrg]",
    ),
    (
        "nodeous2",
        MspVersion.V1_1,
        "could not validate identity's OUs: the identity does not have an OU that resolves to "
        "client or peer. OUs: [], MSP: [SampleOrg]",
    ),
    (
        "revocation",
        MspVersion.V1_0,
        "could not validate identity against certification chain: The certificate has been revoked",
    ),
    ("badconfigou", MspVersion.V1_0, "none of the identity's organizational units"),
]


@pytest.mark.parametrize(("name", "version", "text"), INVALID_IDENTITY)
def test_signing_identity_is_invalid(name: str, version: MspVersion, text: str) -> None:
    msp = load(name, version)
    with pytest.raises(InvalidIdentity) as caught:
        msp.validate(signing_identity(msp, name))
    assert text in str(caught.value)


INVALID_MSP = [
    ("nodeous1", MspVersion.V1_1, "admin 0 is invalid"),
    ("nodeous7", MspVersion.V1_0, "none of the identity's organizational units"),
    ("nodeous7", MspVersion.V1_1, "none of the identity's organizational units"),
    (
        "nodeous4",
        MspVersion.V1_1,
        "admin 0 is invalid: The identity is not valid under this MSP [SampleOrg]: could not "
        "validate identity's OUs: certifiersIdentifier does not match",
    ),
    ("nodeous8", MspVersion.V1_1, "The identity does not contain OU [CLIENT]"),
    (
        "nodeouadmin2",
        MspVersion.V1_4_3,
        "administrators must be declared when no admin ou classification is set",
    ),
    (
        "nodeouadmin3",
        MspVersion.V1_4_3,
        "administrators must be declared when no admin ou classification is set",
    ),
    ("badconfigoucert", MspVersion.V1_0, "] not in root or intermediate certs."),
    ("revokedica", MspVersion.V1_0, "CA Certificate is not valid, "),
]


@pytest.mark.parametrize(("name", "version", "text"), INVALID_MSP)
def test_setup_fails(name: str, version: MspVersion, text: str) -> None:
    with pytest.raises(InvalidMsp) as caught:
        load(name, version)
    assert text in str(caught.value)


def test_identity_certified_by_an_inner_ca_is_refused() -> None:
    msp = load("intermediate2", MspVersion.V1_0)
    pem = (VECTORS / "intermediate2/users/user2-cert.pem").read_bytes()
    with pytest.raises(InvalidIdentity) as caught:
        msp.validate(msp.identity_from_pem(pem))
    assert (
        "invalid validation chain. Parent certificate should be a leaf of the certification tree "
        in str(caught.value)
    )


def test_listed_admin_without_admin_ou_is_admin() -> None:
    for name in ("nodeouadminclient", "nodeouadminclient2"):
        msp = load(name, MspVersion.V1_4_3)
        admin = msp.identity_from_pem((VECTORS / name / "admincerts/admin.pem").read_bytes())
        assert "admin" not in admin.ous
        msp.satisfies(admin, role_principal(SAMPLE, ROLE.ADMIN))


def test_admin_by_ou() -> None:
    msp = load("nodeouadmin", MspVersion.V1_4_3)
    pem = (VECTORS / "nodeouadmin/adm/testadmincert.pem").read_bytes()
    msp.satisfies(msp.identity_from_pem(pem), role_principal(SAMPLE, ROLE.ADMIN))


def test_orderer_role_needs_its_ou_configured() -> None:
    msp = load("nodeouorderer", MspVersion.V1_4_3)
    orderer = role_principal(SAMPLE, ROLE.ORDERER)
    msp.satisfies(signing_identity(msp, "nodeouorderer"), orderer)
    for name in ("nodeouorderer2", "nodeouorderer3"):
        msp = load(name, MspVersion.V1_4_3)
        with pytest.raises(PrincipalUnsatisfied) as caught:
            msp.satisfies(signing_identity(msp, name), orderer)
        assert str(caught.value) == (
            "The identity is not a [ORDERER] under this MSP [SampleOrg]: cannot test for "
            "classification, node ou for type [ORDERER], not defined, msp: [SampleOrg]"
        )


def test_peer_is_no_client() -> None:
    msp = load("nodeous3", MspVersion.V1_1)
    peer = signing_identity(msp, "nodeous3")
    msp.satisfies(peer, role_principal(SAMPLE, ROLE.PEER))
    with pytest.raises(PrincipalUnsatisfied, match=r"not a \[CLIENT\] under this MSP"):
        msp.satisfies(peer, role_principal(SAMPLE, ROLE.CLIENT))


def test_high_s_certificate_is_rewritten() -> None:
    msp = load("mspid", MspVersion.V1_0)
    path = sorted((VECTORS / "mspid/signcerts").iterdir())[0]
    original = x509.load_pem_x509_certificate(path.read_bytes())
    _, high = decode_dss_signature(original.signature)
    identity = msp.identity_from_pem(path.read_bytes())
    _, low = decode_dss_signature(identity.certificate.signature)
    order = CURVE_ORDERS["secp256r1"]
    assert high > order // 2
    assert low == order - high
    assert identity.der != original.public_bytes(serialization.Encoding.DER)


def test_extra_number_in_a_crl_signature_is_ignored() -> None:
    config = open_msp_config(load_msp_config(VECTORS / "revocation", SAMPLE))
    crl = x509.load_pem_x509_crl(config.revocation_list[0])
    body = crl.signature[2:] + b"\x02\x01\x64"
    longer = bytes([0x30, len(body)]) + body
    der = replace_signature(crl.public_bytes(serialization.Encoding.DER), crl.signature, longer)
    config.revocation_list[0] = build_pem("X509 CRL", der)
    msp = Msp(config, MspVersion.V1_0)
    with pytest.raises(InvalidIdentity, match="The certificate has been revoked"):
        msp.validate(signing_identity(msp, "revocation"))


# With identities made here


@pytest.fixture(scope="module")
def org() -> Org:
    return make_org("Org1MSP")


def msp_of(org: Org, version: MspVersion = MspVersion.V3_0, **changes: object) -> Msp:
    config = open_msp_config(org.msp_config)
    config.MergeFrom(msp_config_pb2.FabricMSPConfig(**changes))
    return Msp(config, version)


def long_ago() -> Validity:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return Validity(start, start + timedelta(days=1))


@pytest.mark.parametrize(
    ("ou", "roles"),
    [
        ("client", {"MEMBER", "CLIENT"}),
        ("peer", {"MEMBER", "PEER"}),
        ("admin", {"MEMBER", "ADMIN"}),
        ("orderer", {"MEMBER", "ORDERER"}),
    ],
)
def test_roles(org: Org, ou: str, roles: set[str]) -> None:
    msp = msp_of(org)
    identity = msp.identity(org.enrol("somebody", ou).creator)
    for name, number in ROLE.MSPRoleType.items():
        principal = role_principal("Org1MSP", number)
        if name in roles:
            msp.satisfies(identity, principal)
        else:
            with pytest.raises(PrincipalUnsatisfied):
                msp.satisfies(identity, principal)


def test_two_role_ous_make_an_identity_invalid(org: Org) -> None:
    msp = msp_of(org)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = build_leaf(
        common_name="both",
        public_key=key.public_key(),
        issuer=org.ca,
        serial=77,
        validity=Validity(
            org.ca.certificate.not_valid_before_utc, org.ca.certificate.not_valid_after_utc
        ),
        ous=("peer", "client", "ward-7"),
    )
    with pytest.raises(InvalidIdentity, match="not a combination of them"):
        msp.validate(msp.identity_from_pem(certificate_pem(certificate)))


def test_foreign_certificate_fails_already_when_read(org: Org) -> None:
    stranger = make_org("Org1MSP").enrol("mallory")
    with pytest.raises(MalformedIdentity, match="certificate signed by unknown authority"):
        msp_of(org).identity(stranger.creator)


def test_unknown_msp(org: Org) -> None:
    manager = MspManager([msp_of(org)])
    with pytest.raises(UnknownMsp) as caught:
        manager.identity(serialize_identity("NobodyMSP", b""))
    assert str(caught.value) == "MSP NobodyMSP is not defined on channel"


def test_ca_certificate_is_no_identity(org: Org) -> None:
    msp = msp_of(org)
    identity = msp.identity_from_pem(certificate_pem(org.ca.certificate))
    with pytest.raises(InvalidIdentity, match="cannot be used as an identity"):
        msp.validate(identity)


def test_expired_identity_is_valid_where_its_ca_was(org: Org) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    validity = long_ago()
    ca = build_ca(common_name="old", organization="old", key=key, serial=1, validity=validity)
    old = Org("Org1MSP", Authority(ca, key), org.tls_ca)
    msp = msp_of(old)
    msp.validate(msp.identity(old.enrol("veteran", "client", validity).creator))


def test_certificate_older_than_its_ca_is_refused(org: Org) -> None:
    creator = org.enrol("early", "client", long_ago()).creator
    with pytest.raises(MalformedIdentity, match="certificate has expired or is not yet valid"):
        msp_of(org).identity(creator)


@pytest.mark.parametrize(
    ("usages", "fine"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], False),
        ([ExtendedKeyUsageOID.SERVER_AUTH], True),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], True),
        ([ExtendedKeyUsageOID.CODE_SIGNING], False),
    ],
)
def test_extended_key_usages_of_identities(
    org: Org, usages: list[x509.ObjectIdentifier], fine: bool
) -> None:
    """Fabric leaves Go's default: a list must hold serverAuth or any."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "client")]))
        .issuer_name(org.ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(org.ca.certificate.not_valid_before_utc)
        .not_valid_after(org.ca.certificate.not_valid_after_utc)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(org.ca.key, hashes.SHA256())
    )
    pem = certificate_pem(certificate)
    if fine:
        msp = msp_of(org)
        msp.validate(msp.identity_from_pem(pem))
    else:
        with pytest.raises(MalformedIdentity, match="incompatible key usage"):
            msp_of(org).identity_from_pem(pem)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_other_key_types(org: Org, kind: str) -> None:
    key = (
        ed25519.Ed25519PrivateKey.generate()
        if kind == "ed25519"
        else rsa.generate_private_key(65537, 2048)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "client")]))
        .issuer_name(org.ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(6)
        .not_valid_before(org.ca.certificate.not_valid_before_utc)
        .not_valid_after(org.ca.certificate.not_valid_after_utc)
        .sign(org.ca.key, hashes.SHA256())
    )
    pem = certificate_pem(certificate)
    old = msp_of(org, MspVersion.V1_4_3)
    with pytest.raises(InvalidIdentity, match="is not supported"):
        old.validate(old.identity_from_pem(pem))
    new = msp_of(org, MspVersion.V3_0)
    if kind == "ed25519":
        new.validate(new.identity_from_pem(pem))
    else:
        with pytest.raises(InvalidIdentity, match="is not supported"):
            new.validate(new.identity_from_pem(pem))


def test_revocation_by_our_own_list(org: Org) -> None:
    signer, other = org.enrol("leaver"), org.enrol("stayer")
    serial = x509.load_pem_x509_certificate(signer.certificate_pem).serial_number
    moment = datetime.now(UTC)
    crl = build_crl(
        issuer=org.ca,
        revocations=[Revocation(serial, moment)],
        this_update=moment,
        next_update=moment + timedelta(days=1),
    )
    _, s = decode_dss_signature(x509.load_pem_x509_crl(crl).signature)
    assert s <= CURVE_ORDERS["secp256r1"] // 2
    msp = msp_of(org, revocation_list=[crl])
    msp.validate(msp.identity(other.creator))
    with pytest.raises(InvalidIdentity, match="The certificate has been revoked"):
        msp.validate(msp.identity(signer.creator))


def test_certifiers_identifier_is_compared_where_configured(org: Org) -> None:
    config = open_msp_config(org.msp_config)
    ous = config.fabric_node_ous
    ous.client_ou_identifier.certificate = certificate_pem(org.ca.certificate)
    msp = Msp(config)
    msp.validate(msp.identity(org.enrol("alice").creator))


def test_identity_principal(org: Org) -> None:
    msp = msp_of(org)
    alice, bob = org.enrol("alice"), org.enrol("bob")
    principal = KIND(principal_classification=KIND.IDENTITY, principal=alice.creator)
    msp.satisfies(msp.identity(alice.creator), principal)
    with pytest.raises(PrincipalUnsatisfied, match="The identities do not match"):
        msp.satisfies(msp.identity(bob.creator), principal)


def test_organizational_unit_principal(org: Org) -> None:
    msp = msp_of(org)
    alice = msp.identity(org.enrol("alice").creator)

    def principal(name: str, certifiers: bytes) -> msp_principal_pb2.MSPPrincipal:
        unit = msp_principal_pb2.OrganizationUnit(
            msp_identifier="Org1MSP",
            organizational_unit_identifier=name,
            certifiers_identifier=certifiers,
        )
        return KIND(
            principal_classification=KIND.ORGANIZATION_UNIT, principal=unit.SerializeToString()
        )

    certifiers = msp.certifiers_identifier(alice)
    msp.satisfies(alice, principal("client", certifiers))
    for wrong in (principal("client", b""), principal("ward", certifiers)):
        with pytest.raises(PrincipalUnsatisfied, match="The identities do not match"):
            msp.satisfies(alice, wrong)


def test_combined_principal_needs_all(org: Org) -> None:
    msp = msp_of(org)
    alice = msp.identity(org.enrol("alice").creator)

    def combined(*roles: int) -> msp_principal_pb2.MSPPrincipal:
        parts = msp_principal_pb2.CombinedPrincipal(
            principals=[role_principal("Org1MSP", role) for role in roles]
        )
        return KIND(principal_classification=KIND.COMBINED, principal=parts.SerializeToString())

    msp.satisfies(alice, combined(ROLE.MEMBER, ROLE.CLIENT))
    with pytest.raises(PrincipalUnsatisfied):
        msp.satisfies(alice, combined(ROLE.MEMBER, ROLE.PEER))
    with pytest.raises(PrincipalUnsatisfied, match="No principals in CombinedPrincipal"):
        msp.satisfies(alice, combined())


def test_other_organisation_never_satisfies(org: Org) -> None:
    msp = msp_of(org)
    alice = msp.identity(org.enrol("alice").creator)
    with pytest.raises(PrincipalUnsatisfied) as caught:
        msp.satisfies(alice, role_principal("Org2MSP", ROLE.MEMBER))
    assert str(caught.value) == (
        "the identity is a member of a different MSP (expected Org2MSP, got Org1MSP)"
    )


def test_equal_certificates_with_either_s_are_one_identity(org: Org) -> None:
    signer = org.enrol("alice")
    certificate = x509.load_pem_x509_certificate(signer.certificate_pem)
    r, s = decode_dss_signature(certificate.signature)
    high = encode_dss_signature(r, CURVE_ORDERS["secp256r1"] - s)
    der = replace_signature(
        certificate.public_bytes(serialization.Encoding.DER), certificate.signature, high
    )
    msp = msp_of(org)
    twin = msp.identity_from_pem(build_pem("CERTIFICATE", der))
    assert twin.key == msp.identity(signer.creator).key


_FUZZED = make_org("FuzzMSP")
_FUZZED_MSP = msp_of(_FUZZED)
_FUZZED_PEM = _FUZZED.enrol("target").certificate_pem
_FUZZED_DER = x509.load_pem_x509_certificate(_FUZZED_PEM).public_bytes(serialization.Encoding.DER)


@given(st.integers(0, len(_FUZZED_DER) - 1), st.integers(1, 255))
def test_a_changed_certificate_is_refused_in_words(position: int, change: int) -> None:
    mutant = bytearray(_FUZZED_DER)
    mutant[position] ^= change
    try:
        identity = _FUZZED_MSP.identity_from_pem(build_pem("CERTIFICATE", bytes(mutant)))
        _FUZZED_MSP.validate(identity)
    except IdentityError:
        return
    # What still passes must be the same certificate: only the low-S form is rewritten.
    assert identity.der == _FUZZED_DER


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(IdentityError):
        MspManager([_FUZZED_MSP]).identity(data)
