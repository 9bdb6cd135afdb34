"""Which header fields a message may have (RFC 9113, section 8), whoever sends them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

REQUEST = frozenset((":method", ":scheme", ":authority", ":path"))
RESPONSE = frozenset((":status",))
_REQUIRED = (":method", ":scheme", ":path")
_OF_ONE_CONNECTION = frozenset(
    ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")
)
_NAME = re.compile(r":?[!-9;-@\[-~]+")
"""No upper case, blank, control character or byte beyond ASCII (8.2.1)."""
_NO_VALUE = re.compile(r"[\0\r\n]|^[ \t]|[ \t]$")


class MalformedFields(ValueError):
    """A message with such fields is no message; its stream ends (8.1.1)."""


def validate_fields(fields: Iterable[tuple[str, str]], pseudo: frozenset[str]) -> None:
    """Raises MalformedFields: a field that HTTP/2 forbids, or a pseudo-field where none may be.

    `pseudo`: those that a message of this direction may have, each once and before all others.
    """
    seen: set[str] = set()
    is_over = False
    for name, value in fields:
        if name.startswith(":"):
            if is_over or name in seen or name not in pseudo:
                raise MalformedFields("a pseudo-field out of its place")
            seen.add(name)
        else:
            is_over = True
            if name in _OF_ONE_CONNECTION or (name == "te" and value.lower() != "trailers"):
                raise MalformedFields("a field of HTTP/1.1 connections")
        if _NAME.fullmatch(name) is None or _NO_VALUE.search(value) is not None:
            raise MalformedFields("a field with forbidden characters")


def is_request(fields: Mapping[str, str]) -> bool:
    """Whether nothing is missing that a request must have (8.3.1)."""
    return all(fields.get(name) for name in _REQUIRED)


def is_trailers(fields: Mapping[str, str]) -> bool:
    """Whether they have no pseudo-field, as trailers must not (8.1)."""
    return not any(name.startswith(":") for name in fields)
