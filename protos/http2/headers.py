"""Header blocks (RFC 7541) of one connection; those that come again and again are read once.

A client of gRPC sends nearly the same few bytes for every call, which `hpack` would take apart
field by field each time. What a block means depends on the table that blocks before it have made,
so everything remembered is forgotten when the table changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from hpack import Decoder
from hpack.table import HeaderTable

from protos.http2.fields import validate_fields

KEPT = 64
"""Blocks remembered; they are forgotten together."""
LONGEST = 512
"""Bytes of a block that is worth remembering."""


class _CountingTable(HeaderTable):  # type: ignore[misc,unused-ignore]
    """A table that knows how often it was added to."""

    def __init__(self) -> None:
        super().__init__()
        self.additions = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.additions += 1
        super().add(name, value)


class HeaderReader:
    """Takes header blocks apart in the order in which they come."""

    def __init__(self, max_size: int, pseudo: frozenset[str]) -> None:
        """`max_size`: bytes of all fields of a block; `pseudo`: the sender's pseudo-fields."""
        self._pseudo = pseudo
        self._table = _CountingTable()
        self._decoder = Decoder(max_header_list_size=max_size)
        self._decoder.header_table = self._table
        self._known: dict[bytes, Mapping[str, str]] = {}

    def decode(self, block: bytes) -> Mapping[str, str]:
        """The fields by name. Raises hpack.exceptions.HPACKError or UnicodeDecodeError, after which
        no further block can be read, or MalformedFields, after which others can.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        before = self._table.additions, self._table.maxsize
        pairs = [(_text(name), _text(value)) for name, value in self._decoder.decode(block)]
        if before != (self._table.additions, self._table.maxsize):
            self._known.clear()
        validate_fields(pairs, self._pseudo)
        fields = dict(pairs)
        if before == (self._table.additions, self._table.maxsize) and len(block) <= LONGEST:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[block] = fields
        return fields


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode("latin-1")
