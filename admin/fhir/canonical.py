"""FHIR's canonical JSON, static form: the same digest wherever the resource is stored.

http://hl7.org/fhir/canonicalization/json#static (R4 json.html#canonical): no white space between
tokens, properties in alphabetical order, `Resource.text` and `Resource.meta` left out. Decimals
keep the precision they were written with, which RFC 8785 would lose (1.0 and 1.00 are different
values in FHIR).
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

_SERVER_OWN = frozenset({"text", "meta"})


def canonical_static(resource: dict[str, Any]) -> bytes:
    """Return the canonical static form, UTF-8; decimals must have been parsed as Decimal."""
    return "".join(_encode(resource)).encode()


def _encode(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        hidden = _SERVER_OWN if "resourceType" in value else frozenset()
        yield "{"
        names = sorted(name for name in value if name not in hidden)
        for index, name in enumerate(names):
            yield f"{',' if index else ''}{json.dumps(name, ensure_ascii=False)}:"
            yield from _encode(value[name])
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            if index:
                yield ","
            yield from _encode(item)
        yield "]"
    elif isinstance(value, Decimal):
        yield str(value)
    else:
        yield json.dumps(value, ensure_ascii=False)
