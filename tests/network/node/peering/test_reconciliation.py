"""Which missing private data is asked for: entries that nobody has do not hide the older ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import BlockCommit, MissingData
from network.node.peering.private_exchange import PrivateExchange, PrivateOptions
from network.rules.validation.mvcc import UpdateBatch

BATCH = 3


class Missing:
    """A channel that misses data, over a real store."""

    channel_id = "care"

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.ledger = self
        self.supplied: list[MissingData] = []

    def get_missing(self, limit: int, before: MissingData | None = None) -> list[MissingData]:
        return self._store.get_missing(limit, before)

    async def add_missing(self, found: dict[MissingData, bytes]) -> int:
        self.supplied.extend(found)
        return len(found)


class Exchange(PrivateExchange):
    """Only block 0's data is to be had."""

    async def _pull(self, channel: Any, digests: Sequence[Any]) -> list[tuple[Any, bytes]]:
        self.asked = len(digests)
        return [(digest, b"") for digest in digests if digest.block_number == 0]


@pytest.fixture
def channel(tmp_path: Path) -> Missing:
    store = SqliteStore.create(tmp_path / "ledger", "care")
    for number in range(12):
        names = ("a", "b") if number in (0, 5) else ("a",)
        missing = [MissingData(number, 0, "demo", name, b"digest") for name in names]
        store.commit(
            BlockCommit(
                number=number,
                block_hash=bytes([number]),
                raw=b"block",
                transactions=[],
                updates=UpdateBatch(),
                missing=missing,
            )
        )
    return Missing(store)


def build_exchange() -> Exchange:
    nobody: Any = None
    return Exchange(
        nobody,
        nobody,
        nobody,
        lambda channel_id: None,
        options=PrivateOptions(reconcile_batch=BATCH),
        time_window=timedelta(minutes=15),
    )


@pytest.mark.asyncio
async def test_older_entries_have_their_turn(channel: Missing) -> None:
    exchange: Any = build_exchange()
    for _ in range(4):
        await exchange.reconcile(channel)
        assert exchange.asked <= 2 * BATCH
    assert [(entry.block, entry.collection) for entry in channel.supplied] == [(0, "b"), (0, "a")]


def test_a_page_ends_within_a_transaction(channel: Missing) -> None:
    seen: list[MissingData] = []
    before = None
    while page := channel.get_missing(1, before):
        seen += page
        before = page[-1]
    assert len(seen) == len(set(seen)) == 14
    assert seen == sorted(seen, reverse=True)
