"""A deployed package's indexes come to the ledger once, and mistakes in it stop nothing."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from network.node.endorsing.state_indexes import StateIndexes
from network.rules.lifecycle.package import BadPackage

FILES = {
    "couchdb/indexes/owner.json": b"1",
    "couchdb/collections/secret/indexes/a.json": b"2",
    "couchdb/collections/unknown/indexes/b.json": b"3",
}


class Channel:
    """What of a channel is asked; `defined` is what reached its ledger."""

    channel_id = "care"

    def __init__(self) -> None:
        self.ledger = self
        self.defined: list[tuple[str, str, dict[str, bytes]]] = []

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Nothing is read of it here."""
        yield None

    def find_collection(self, chaincode: str, collection: str) -> object | None:
        """Only one collection is defined."""
        return object() if collection == "secret" else None

    async def define_indexes(self, name: str, collection: str, files: dict[str, bytes]) -> None:
        """Remember them."""
        self.defined.append((name, collection, files))


def follow(read: Any, *, approved: bool = True) -> tuple[StateIndexes, Any]:
    deployed = SimpleNamespace(approved=approved, package_id="cc:1")
    known: Any = SimpleNamespace(list=lambda *_: {"cc": deployed})
    packages: Any = SimpleNamespace(indexes=read, has=lambda _: True)
    channel: Any = Channel()
    return StateIndexes(packages, known), channel


async def settle(indexes: StateIndexes) -> None:
    await asyncio.gather(*indexes._tasks)


async def test_a_packages_indexes_are_defined_once(caplog: pytest.LogCaptureFixture) -> None:
    indexes, channel = follow(lambda _: FILES)
    with caplog.at_level(logging.ERROR):
        indexes.follow([channel])
        indexes.follow([channel])
        await settle(indexes)
    assert channel.defined == [
        ("cc", "", {"owner.json": b"1"}),
        ("cc", "secret", {"a.json": b"2"}),
    ]
    assert "undefined collection=[unknown]" in caplog.text


async def test_what_is_not_approved_is_left_alone() -> None:
    indexes, channel = follow(lambda _: FILES, approved=False)
    indexes.follow([channel])
    await settle(indexes)
    assert channel.defined == []


async def test_a_damaged_package_is_tried_again() -> None:
    damaged = iter([True])

    def read(_: str) -> dict[str, bytes]:
        if next(damaged, False):
            raise BadPackage("damaged")
        return FILES

    indexes, channel = follow(read)
    indexes.follow([channel])
    await settle(indexes)
    assert channel.defined == []
    indexes.follow([channel])
    await settle(indexes)
    assert len(channel.defined) == 2
    await indexes.close()
