"""ECDSA signatures as Fabric insists on them: DER of (R, S) with S in the lower half of the order.

Sources: fabric-lib-go `bccsp/utils/ecdsa.go` (IsLowS, ToLowS, UnmarshalECDSASignature) and
`bccsp/sw/ecdsa.go` (verifyECDSA). Bytes and numbers only; no key is kept here.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

# Order N of the curves' base points (FIPS 186-4, D.1.2), by Go's curve set.
CURVE_ORDERS: Mapping[str, int] = {
    "secp224r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFF16A2E0B8F03E13DD29455C5C2A3D,
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF"
        "581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
    "secp521r1": int(
        "01FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
        "FA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409",
        16,
    ),
}


class MalformedSignature(ValueError):
    """The bytes are no usable ECDSA signature; the text is Fabric's."""


def get_curve_order(curve: ec.EllipticCurve) -> int:
    """Return the order of ``curve``; raises `MalformedSignature` for an unknown one."""
    try:
        return CURVE_ORDERS[curve.name]
    except KeyError:
        raise MalformedSignature(f"curve not recognized [{curve.name}]") from None


def open_signature(signature: bytes) -> tuple[int, int]:
    """Return (R, S) of a DER signature, reading as leniently as Go's encoding/asn1 does.

    Go ignores bytes after the SEQUENCE and after its second INTEGER
    (`bccsp/utils/ecdsa.go` fn UnmarshalECDSASignature drops the rest).
    Raises `MalformedSignature`.
    """
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        r, s = _open_leniently(signature)
    if r <= 0:
        raise MalformedSignature("invalid signature, R must be larger than zero")
    if s <= 0:
        raise MalformedSignature("invalid signature, S must be larger than zero")
    return r, s


def normalize_signature(signature: bytes, order: int) -> bytes:
    """Return the DER signature with S in the lower half, re-encoded only if that changes it."""
    r, s = open_signature(signature)
    if s > order >> 1:
        return encode_dss_signature(r, order - s)
    return encode_dss_signature(r, s)


def guess_order(r: int, s: int) -> int:
    """Return the order of the smallest known curve that a signature (R, S) fits.

    For a signature whose key is not at hand; wrong with a chance below 2**-31. Raises
    `MalformedSignature` when it fits none.
    """
    largest = max(r, s)
    for order in CURVE_ORDERS.values():
        if largest < order:
            return order
    raise MalformedSignature("signature values exceed the order of every known curve")


def _open_leniently(signature: bytes) -> tuple[int, int]:
    tag, content, _ = _read_element(signature)
    if tag != 0x30:
        raise MalformedSignature("failed unmashalling signature [asn1: structure error]")
    numbers = []
    for _ in range(2):
        tag, number, content = _read_element(content)
        if tag != 0x02 or not number:
            raise MalformedSignature("failed unmashalling signature [asn1: structure error]")
        padded = len(number) > 1 and (
            (number[0] == 0 and number[1] < 0x80) or (number[0] == 0xFF and number[1] >= 0x80)
        )
        if padded:
            raise MalformedSignature(
                "failed unmashalling signature [asn1: structure error: integer not "
                "minimally-encoded]"
            )
        numbers.append(int.from_bytes(number, "big", signed=True))
    return numbers[0], numbers[1]


def _read_element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return (tag, content, rest) of the first DER element; one-byte tags only."""
    broken = MalformedSignature("failed unmashalling signature [asn1: syntax error]")
    if len(data) < 2:
        raise broken
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 4 or len(data) < 2 + count or data[2] == 0:
            raise broken
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
        if length < 0x80:
            raise broken
    if len(data) < start + length:
        raise broken
    return tag, data[start : start + length], data[start + length :]
