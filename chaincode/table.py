"""Typed state: one kind of value under one kind of composite key, as canonical JSON.

    RECORDS = Table("record", Record)
    record = await RECORDS.require(ctx, record_id, what="record")

A table adds nothing to the ledger's own form: the key is Fabric's composite key of the table's name
and the parts, the value the RFC 8785 bytes of the dataclass. Parts are handles and digests, never
anything about a person. :class:`Index` is a table of keys only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, TypeVar

from chaincode import canonical
from chaincode.contract import Context
from chaincode.errors import Conflict, InvalidArgument, NotFound

T = TypeVar("T")

MAX_PAGE_SIZE = 1000
_PRESENT = b"\x00"  # Fabric refuses empty values; this is Fabric's own habit for index entries
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page: at most `size` items (1 to 1000) from `bookmark` on; empty is the beginning."""

    size: int = 100
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page of a table: values, the parts of their keys, and where the next page starts."""

    values: list[T]
    keys: list[list[str]]
    bookmark: str


class Table(Generic[T]):
    """Values of one type under composite keys of one name.

    `few` is for a table of few values that every transaction reads: opened once, shared after.
    """

    def __init__(self, name: str, kind: type[T], *, few: bool = False) -> None:
        self.name = name
        self._kind = kind
        # Opening depends on the stored bytes alone, so keeping the result changes no decision.
        self._open = lru_cache(maxsize=256)(self._decode) if few else self._decode

    def key(self, ctx: Context, *parts: str) -> str:
        """The composite key of these parts. Raises InvalidKey."""
        return ctx.stub.create_composite_key(self.name, parts)

    async def get(self, ctx: Context, *parts: str) -> T | None:
        """The value, None if there is none."""
        key = self.key(ctx, *parts)
        raw = ctx.prefetched[key] if key in ctx.prefetched else await ctx.stub.get_state(key)
        return None if raw is None else self.open(raw)

    async def require(self, ctx: Context, *parts: str, what: str = "") -> T:
        """The value. Raises NotFound, naming `what` (never the key)."""
        value = await self.get(ctx, *parts)
        if value is None:
            raise NotFound(f"no such {what or self.name}")
        return value

    async def put(self, ctx: Context, value: T, *parts: str) -> None:
        """The key holds the value once the transaction is valid."""
        key = self.key(ctx, *parts)
        ctx.prefetched.pop(key, None)  # whether own writes are read back is the contract's choice
        await ctx.stub.put_state(key, canonical.encode(value))

    async def add(self, ctx: Context, value: T, *parts: str, what: str = "") -> None:
        """As `put`, for a key that is free. Raises Conflict if it is taken."""
        if await ctx.stub.get_state(self.key(ctx, *parts)) is not None:
            raise Conflict(f"this {what or self.name} exists already")
        await self.put(ctx, value, *parts)

    async def page(self, ctx: Context, *parts: str, page: PageRequest) -> Found[T]:
        """The values whose keys begin with these parts, in key order. Only in queries.

        A page is not protected against phantoms: Fabric records no range for it.
        """
        validate_page(page)
        found = await ctx.stub.get_state_by_partial_composite_key_with_pagination(
            self.name, parts, page.size, page.bookmark
        )
        return Found(
            values=[self.open(item.value) for item in found],
            keys=[ctx.stub.split_composite_key(item.key)[1] for item in found],
            bookmark=found.bookmark,
        )

    async def all(self, ctx: Context, *parts: str) -> list[T]:
        """Every value whose key begins with these parts, in key order.

        The range is recorded: the transaction is invalid if another adds a value meanwhile.
        """
        found = ctx.stub.get_state_by_partial_composite_key(self.name, parts)
        return [self.open(item.value) async for item in found]

    def open(self, raw: bytes) -> T:
        """The value in these stored bytes."""
        return self._open(raw)

    def _decode(self, raw: bytes) -> T:
        return canonical.decode(self._kind, raw)


async def prefetch(ctx: Context, *places: tuple[Table[Any], tuple[str, ...]]) -> None:
    """The values at these places (table, key parts) are read in one message to the peer.

    `Table.get` answers from it for the rest of the transaction. A peer before Fabric 3.1 is asked
    for one after the other. The reads are recorded as if each had been made by itself.
    """
    keys = [table.key(ctx, *parts) for table, parts in places]
    missing = [key for key in dict.fromkeys(keys) if key not in ctx.prefetched]
    if missing:
        values = await ctx.stub.get_multiple_states(*missing)
        ctx.prefetched.update(zip(missing, values, strict=True))


class Index:
    """Keys without values: the last part of each key names what was indexed."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def put(self, ctx: Context, *parts: str) -> None:
        """The entry is there once the transaction is valid."""
        await ctx.stub.put_state(ctx.stub.create_composite_key(self.name, parts), _PRESENT)

    async def delete(self, ctx: Context, *parts: str) -> None:
        """The entry is gone once the transaction is valid."""
        await ctx.stub.del_state(ctx.stub.create_composite_key(self.name, parts))

    async def page(self, ctx: Context, *parts: str, page: PageRequest) -> tuple[list[str], str]:
        """The last parts of the entries that begin with `parts`, and the next bookmark."""
        validate_page(page)
        found = await ctx.stub.get_state_by_partial_composite_key_with_pagination(
            self.name, parts, page.size, page.bookmark
        )
        names = [ctx.stub.split_composite_key(item.key)[1][-1] for item in found]
        return names, found.bookmark


def validate_page(page: PageRequest) -> None:
    """Raise InvalidArgument unless the page's size is 1 to 1000."""
    if not 1 <= page.size <= MAX_PAGE_SIZE:
        raise InvalidArgument(f"page.size: expected 1 to {MAX_PAGE_SIZE}")


def time_part(moment: datetime) -> str:
    """A key part that sorts by time: microseconds since 1970 in 17 digits."""
    return f"{(moment - _EPOCH) // timedelta(microseconds=1):017d}"
