"""Signatures and identities: low S on signing, refused high on verifying, PEM as Go reads it."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from network.rules.identity.certificates import (
    Validity,
    build_leaf,
    certificate_pem,
    private_key_pem,
)
from network.rules.identity.ecdsa import (
    CURVE_ORDERS,
    MalformedSignature,
    guess_order,
    normalize_signature,
    open_signature,
)
from network.rules.identity.identity import (
    InvalidSignature,
    MalformedIdentity,
    read_identity,
    serialize_identity,
    sign_own,
    signer_from_pem,
    verify_signature,
)
from network.rules.identity.pem import build_pem, first_pem, open_pem
from tests.network.consortium import make_org

ORDER = CURVE_ORDERS["secp256r1"]
ORG = make_org("Org1MSP")
ALICE = ORG.enrol("alice")
IDENTITY = read_identity(ALICE.creator)


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_curve_orders(curve: ec.EllipticCurve) -> None:
    """A private key of order − 1 exists and one of the order does not."""
    order = CURVE_ORDERS[curve.name]
    ec.derive_private_key(order - 1, curve)
    with pytest.raises(ValueError, match=r"private_value|Invalid|key"):
        ec.derive_private_key(order, curve)


@given(st.binary(max_size=64))
def test_signatures_verify_and_have_low_s(data: bytes) -> None:
    signature = ALICE.sign(data)
    _, s = decode_dss_signature(signature)
    assert s <= ORDER // 2
    verify_signature(IDENTITY, data, signature)


def test_high_s_is_refused_though_mathematically_right() -> None:
    r, s = decode_dss_signature(ALICE.sign(b"data"))
    high = encode_dss_signature(r, ORDER - s)
    assert isinstance(IDENTITY.public_key, ec.EllipticCurvePublicKey)
    IDENTITY.public_key.verify(high, b"data", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature, match=r"Invalid S\. Must be smaller than half the order"):
        verify_signature(IDENTITY, b"data", high)


def test_trailing_bytes_are_ignored_as_in_go() -> None:
    signature = ALICE.sign(b"data")
    verify_signature(IDENTITY, b"data", signature + b"more")
    body = signature[2:] + b"\x02\x01\x07"
    verify_signature(IDENTITY, b"data", bytes([0x30, len(body)]) + body)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x80\x00\x00",
        encode_dss_signature(0, 1),
        b"\x30\x06\x02\x01",
    ],
)
def test_malformed_signatures(signature: bytes) -> None:
    with pytest.raises(InvalidSignature):
        verify_signature(IDENTITY, b"data", signature)


@given(st.binary(max_size=80))
def test_arbitrary_signatures_are_refused(signature: bytes) -> None:
    with pytest.raises(InvalidSignature):
        verify_signature(IDENTITY, b"data", signature)


@given(st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
def test_normalising_is_idempotent_and_keeps_r(r: int, s: int) -> None:
    low = normalize_signature(encode_dss_signature(r, s), ORDER)
    assert normalize_signature(low, ORDER) == low
    assert open_signature(low) == (r, min(s, ORDER - s))


def test_negative_and_padded_numbers_are_refused() -> None:
    for signature in (b"\x30\x06\x02\x01\xff\x02\x01\x01", b"\x30\x07\x02\x02\x00\x01\x02\x01\x01"):
        with pytest.raises(MalformedSignature):
            open_signature(signature)


def test_guessed_order() -> None:
    for name in ("secp256r1", "secp384r1", "secp521r1"):
        order = CURVE_ORDERS[name]
        assert guess_order(1, order - 1) == order


def test_p384_identities_hash_with_sha256() -> None:
    """Fabric hashes with SHA-256 whatever the curve (msp/identities.go getHashOpt)."""
    key = ec.generate_private_key(ec.SECP384R1())
    ca = ORG.ca.certificate
    certificate = build_leaf(
        common_name="p384",
        public_key=key.public_key(),
        issuer=ORG.ca,
        serial=9,
        validity=Validity(ca.not_valid_before_utc, ca.not_valid_after_utc),
    )
    signer = signer_from_pem("Org1MSP", certificate_pem(certificate), private_key_pem(key))
    signature = signer.sign(b"data")
    key.public_key().verify(signature, b"data", ec.ECDSA(hashes.SHA256()))
    verify_signature(read_identity(signer.creator), b"data", signature)


def test_creator_is_the_pem_as_given() -> None:
    """Transaction ids hash the creator's bytes, so a signer must not rewrite its PEM."""
    pem = b"a comment\n" + ALICE.certificate_pem
    _, key = ORG.enrol_pem("bob", "client")
    creator = serialize_identity("Org1MSP", pem)
    assert read_identity(creator).der == IDENTITY.der
    with pytest.raises(MalformedIdentity, match="does not belong"):
        signer_from_pem("Org1MSP", pem, key)


def test_signer_refuses_other_keys() -> None:
    rsa_like = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    with pytest.raises(MalformedIdentity) as caught:
        signer_from_pem("Org1MSP", ALICE.certificate_pem, rsa_like)
    assert "AAAA" not in str(caught.value)


def test_serialise_is_canonical_pem() -> None:
    assert IDENTITY.serialize() == ALICE.creator
    assert IDENTITY.key == read_identity(ALICE.creator).key
    assert IDENTITY.common_name == "alice"


def test_ed25519_signs_the_message_itself() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    ca = ORG.ca.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(11)
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_after_utc)
        .sign(ORG.ca.key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signer = signer_from_pem("Org1MSP", certificate_pem(certificate), key_pem)
    key.public_key().verify(signer.sign(b"data"), b"data")
    verify_signature(read_identity(signer.creator), b"data", signer.sign(b"data"))
    with pytest.raises(InvalidSignature, match="The signature is invalid"):
        verify_signature(read_identity(signer.creator), b"other", signer.sign(b"data"))


def test_own_signatures_are_known_for_their_data_and_certificate_only() -> None:
    bob = read_identity(ORG.enrol("bob").creator)
    signature = sign_own(ALICE, IDENTITY, b"data")
    verify_signature(IDENTITY, b"data", signature)
    for identity, data, told in (
        (IDENTITY, b"other", signature),
        (bob, b"data", signature),
        (IDENTITY, b"data", signature[:-1] + bytes((signature[-1] ^ 1,))),
        (IDENTITY, b"data", b""),
    ):
        with pytest.raises(InvalidSignature):
            verify_signature(identity, data, told)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN X-----\n!!\n-----END X-----\n", b"\x00\xff"])
def test_no_pem(content: bytes) -> None:
    assert first_pem(content) is None


@given(st.binary(max_size=300), st.binary(max_size=20), st.booleans())
def test_pem_round_trip(content: bytes, around: bytes, crlf: bool) -> None:
    text = build_pem("CERTIFICATE", content)
    if crlf:
        text = text.replace(b"\n", b"\r\n")
    noise = around.replace(b"-", b"").replace(b"\r", b"")
    blocks = open_pem(noise + b"\n" + text + noise)
    assert blocks == [("CERTIFICATE", content)]


def test_broken_block_does_not_hide_the_next() -> None:
    good = build_pem("CERTIFICATE", b"good")
    assert first_pem(b"-----BEGIN A-----\n*\n-----END A-----\n" + good) == b"good"
