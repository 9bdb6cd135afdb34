"""What a Fabric peer tells a chaincode when CouchDB refuses its query.

Fabric wraps CouchDB's answer in one line (statecouchdb/couchdb.go fn handleRequest); CouchDB shows
the offending part as an Erlang term (src/mango/src/mango_error.erl).
"""

from __future__ import annotations

from typing import Any

from network.rules.state.snapshot import UnsupportedQuery


class InvalidQuery(UnsupportedQuery):
    """CouchDB would refuse the query; the text is what a Fabric peer makes of that."""

    def __init__(self, error: str, reason: str, status: int = 400) -> None:
        super().__init__(
            f"error handling CouchDB request. Error:{error},  Status Code:{status},  "
            f"Reason:{reason}"
        )
        self.error = error
        self.reason = reason


def format_term(value: Any) -> str:
    """A JSON value as Erlang's ~w writes the term that CouchDB holds for it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"<<{','.join(map(str, value.encode(errors='replace')))}>>"
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, list):
        return f"[{','.join(map(format_term, value))}]"
    if isinstance(value, dict):
        pairs = (f"{{{format_term(name)},{format_term(held)}}}" for name, held in value.items())
        return f"{{[{','.join(pairs)}]}}"
    return str(value)


def format_readable_term(value: Any) -> str:
    """As `format_term`, with texts readable: Erlang's ~p."""
    if isinstance(value, str):
        return f'<<"{value}">>'
    if isinstance(value, list):
        return f"[{','.join(map(format_readable_term, value))}]"
    if isinstance(value, dict):
        pairs = (
            f"{{{format_readable_term(name)},{format_readable_term(held)}}}"
            for name, held in value.items()
        )
        return f"{{[{','.join(pairs)}]}}"
    return format_term(value)


def _format_float(value: float) -> str:
    mantissa, mark, exponent = repr(value).partition("e")
    if not mark:
        return mantissa
    if "." not in mantissa:
        mantissa += ".0"
    return f"{mantissa}e{int(exponent)}"
