"""Protobuf's wire form, for the few messages that are written and read without a class.

Some are private to Fabric's ledger and have no class here; others go from disk to wire as they
are, without being parsed and serialised again. Source: protobuf.dev, "Encoding".
"""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types. Groups (3 and 4), long deprecated, are in none of Fabric's messages."""


def encode_varint(number: int) -> bytes:
    """Return the unsigned varint of `number`, which is not negative."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_bytes(raw: bytes) -> bytes:
    """Return the bytes after their size."""
    return encode_varint(len(raw)) + raw


def encode_field(number: int, raw: bytes) -> bytes:
    """Return a whole length-delimited field, also of no bytes; `number` is at most 15."""
    return bytes((number << 3 | _BYTES,)) + encode_varint(len(raw)) + raw


def has_field(raw: bytes, number: int) -> bool:
    """Tell whether a (perhaps empty) length-delimited field stands in a message's bytes at all.

    Go tells an absent bytes field (nil) from an empty one, and Fabric asks; Python's messages do
    not know. `raw` must have been parsed before: only its shape is walked here.
    """
    position = 0
    while position < len(raw):
        tag, position = _read_varint(raw, position)
        kind = tag & 7
        if kind == _BYTES:
            if tag >> 3 == number:
                return True
            length, position = _read_varint(raw, position)
            position += length
        elif kind == _VARINT:
            _, position = _read_varint(raw, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        else:
            return False
    return False


def _read_varint(raw: bytes, position: int) -> tuple[int, int]:
    """Return the number at the position and the position behind it."""
    number = shift = 0
    while True:
        byte = raw[position]
        number |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return number, position
