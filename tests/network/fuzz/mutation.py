"""Mutants of good messages: bytes changed anywhere, and fields changed where protobuf has them.

A mutant by bytes is mostly refused by the first parser. One by fields parses again: a field is
dropped, doubled, emptied, swapped, made huge or nested into itself at any depth.
"""

import os
from collections.abc import Callable
from random import Random

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
"""Mutants for each entry."""
SEED = int(os.environ.get("FUZZ_SEED", "1"))
DEEPEST = 12

Field = tuple[int, int, bytes]
"""Number, wire type, and the value's bytes without tag and length."""
NUMBERS = [0, 1, 2, 127, 128, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]


def mutate(raw: bytes, chance: Random) -> bytes:
    """A mutant, which may by chance be the same as `raw`."""
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        raw = mutate_fields(raw, chance) if chance.random() < 0.7 else mutate_bytes(raw, chance)
    return raw


def mutate_bytes(raw: bytes, chance: Random) -> bytes:
    """Bytes are changed, cut out, doubled, put in or moved."""
    mutant = bytearray(raw)
    start = chance.randint(0, len(mutant))
    end = min(len(mutant), start + chance.choice([1, 1, 2, 8, 64, 1024]))
    piece = bytes(mutant[start:end])
    mutant[start:end] = chance.choice(
        [
            b"",
            piece + piece,
            chance.randbytes(len(piece)),
            bytes(byte ^ 1 << chance.randint(0, 7) for byte in piece),
            chance.randbytes(chance.choice([1, 5, 200])) + piece,
            b"\xff" * len(piece),
            bytes(len(piece)),
        ]
    )
    return bytes(mutant)


def mutate_fields(raw: bytes, chance: Random, depth: int = 0) -> bytes:
    """One field, at some depth, is not what it was."""
    fields = split(raw)
    if not fields or depth > DEEPEST:
        return mutate_bytes(raw, chance)
    at = chance.randrange(len(fields))
    number, kind, value = fields[at]
    if kind == 2 and value and split(value) and chance.random() < 0.75:
        fields[at] = (number, kind, mutate_fields(value, chance, depth + 1))
        return join(fields)
    changes: list[Callable[[], list[Field]]] = [
        list,
        lambda: [fields[at], fields[at]],
        lambda: [(chance.randint(1, 20), kind, value)],
        lambda: [(number, kind, b"")] if kind == 2 else [(number, 0, varint(0))],
        lambda: [(number, 2, raw)],
        lambda: [(number, kind, mutate_bytes(value, chance))] if kind == 2 else [],
        lambda: [(number, 0, varint(chance.choice(NUMBERS)))],
        lambda: [(number, 2, chance.randbytes(chance.choice([0, 1, 32, 3000])))],
        lambda: [(number, 2, nest(number, 200))],
        lambda: [fields[chance.randrange(len(fields))], fields[at]],
        lambda: [fields[at]] * 200,
    ]
    fields[at : at + 1] = chance.choice(changes)()
    return join(fields)


def split(raw: bytes) -> list[Field]:
    """The fields of a message; none where the bytes are no message."""
    fields: list[Field] = []
    position = 0
    try:
        while position < len(raw):
            tag, position = read_varint(raw, position)
            number, kind = tag >> 3, tag & 7
            if not number or kind not in (0, 1, 2, 5):
                return []
            if kind == 0:
                begin = position
                _, position = read_varint(raw, position)
            else:
                length = 8 if kind == 1 else 4
                if kind == 2:
                    length, position = read_varint(raw, position)
                begin, position = position, position + length
            if position > len(raw):
                return []
            fields.append((number, kind, raw[begin:position]))
    except IndexError:
        return []
    return fields


def join(fields: list[Field]) -> bytes:
    """The message of these fields."""
    joined = bytearray()
    for number, kind, value in fields:
        joined += varint(number << 3 | kind)
        if kind == 2:
            joined += varint(len(value))
        joined += value
    return bytes(joined)


def nest(number: int, depth: int) -> bytes:
    """A field in itself, so deep."""
    raw = b""
    for _ in range(depth):
        raw = varint(number << 3 | 2) + varint(len(raw)) + raw
    return raw


def read_varint(raw: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
