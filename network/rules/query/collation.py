"""The order of JSON values in CouchDB: null, false, true, numbers, strings, arrays, objects.

`build_sort_key` turns a value into bytes whose plain order is that order, so that a database can
keep and search them; values that collate equally have equal keys.

Strings follow ICU's root collation at its default strength, as CouchDB's comparisons do (also
Mango's, by `couch_ejson_compare`): letters before accents before case, "a" < "A" < "b", control
characters ignored, canonically equivalent texts equal. Exact for what `collation_table` holds;
other scripts stand after those, by code point.

Source: CouchDB src/couch/priv/couch_ejson_compare/couch_ejson_compare.c.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from network.rules.query.collation_table import ELEMENTS

HIGHEST = "\uffff"
"""A character that sorts after every other."""
AFTER_ALL = b"\xff"
"""Sorts after the key of every value."""

_NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY, _OBJECT = (
    bytes([tag]) for tag in (0x10, 0x11, 0x12, 0x20, 0x30, 0x40, 0x50)
)
_END = b"\x00"
_Weights = tuple[bytes, bytes, bytes]
_COMMON = b"\x05"
_SCALE = 1 << 31
_KANA = 0x3040


def build_sort_key(value: Any) -> bytes:
    """The bytes that sort as the JSON value does; objects are taken with their keys sorted."""
    if isinstance(value, str):
        return _STRING + _build_text_key(value)
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if value is None:
        return _NULL
    if isinstance(value, int | float):
        return _NUMBER + _build_number_key(value)
    if isinstance(value, list):
        return b"".join([_ARRAY, *map(build_sort_key, value), _END])
    parts = [_OBJECT]
    for name in sorted(value):
        parts += (_STRING, _build_text_key(name), build_sort_key(value[name]))
    return b"".join([*parts, _END])


def _build_number_key(value: int | float) -> bytes:
    """Sign, decimal exponent and digits; negative numbers inverted, so that bytes sort."""
    digits, exponent = _get_decimal(abs(value))
    if not digits:
        return b"\x80"
    magnitude = (exponent + _SCALE).to_bytes(4, "big") + digits.encode() + _END
    if value > 0:
        return b"\x81" + magnitude
    return b"\x7f" + bytes(0xFF - byte for byte in magnitude)


def _get_decimal(value: int | float) -> tuple[str, int]:
    """Digits d and exponent e of 0.d times 10 to the e; no digits for zero."""
    if isinstance(value, float) and not value.is_integer():
        mantissa, _, power = repr(value).partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits = (whole + fraction).lstrip("0")
        exponent = len(whole.lstrip("0")) or len(digits) - len(fraction)
        return digits.rstrip("0"), exponent + int(power or 0)
    digits = str(int(value))
    return digits.strip("0") and digits.rstrip("0"), len(digits)


@lru_cache(maxsize=4096)
def _build_text_key(text: str) -> bytes:
    if not text.isascii():
        text = _decompose(text)
    weights = [_ASCII[ord(char)] if char < "\x80" else _get_weights(char) for char in text]
    return _END.join([*(b"".join(level) for level in zip(*weights, strict=True)), b""]) or b"\0\0\0"


def _decompose(text: str) -> str:
    # Hangul syllables stay whole: their order is that of their code points.
    return "".join(
        char if _is_hangul(char) else unicodedata.normalize("NFD", char)
        for char in unicodedata.normalize("NFC", text)
    )


def _get_weights(char: str) -> _Weights:
    found = _TABLE.get(char)
    if found is not None:
        return found
    # After every primary of the table, before U+FFFD and U+FFFF; Hangul before Kana and Han.
    code = ord(char)
    lead = 0xFB00 + (code >> 15)
    if code < _KANA:
        lead = 0xFA00
    elif _is_hangul(char):
        lead = 0xFA80
    primary = lead.to_bytes(2, "big") + ((code & 0x7FFF) | 0x8000).to_bytes(2, "big")
    return primary, _COMMON, _COMMON


def _is_hangul(char: str) -> bool:
    return "\uac00" <= char <= "\ud7a3"


def _open_table(text: str) -> dict[str, _Weights]:
    table = {}
    for entry in text.split():
        code, _, elements = entry.partition("=")
        raw = [bytes.fromhex(element) for element in elements.split("+") if element]
        table[chr(int(code, 16))] = (
            b"".join(element[:2] for element in raw if element[:2] != b"\0\0"),
            b"".join(element[2:3] for element in raw if element[2]),
            b"".join(element[3:] for element in raw if element[3]),
        )
    return table


_TABLE = _open_table(ELEMENTS)
_ASCII = [_TABLE[chr(code)] for code in range(128)]
