"""How a ledger's reads fare when it is large: `python -m admin.bench.keys --keys 10000000 FOLDER`.

Fills a ledger's database in blocks, as a peer commits them, and times single reads of random keys,
of keys that are not there, and ranges of 100, beside the same reads of a ledger with 1,000 keys, in
turns. No network takes part: what is measured is what a chaincode's GetState costs the peer's disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from admin.bench.statistics import Latency, summarize_latency
from network.node.ledger.sqlite_snapshot import SqliteSnapshot
from network.node.ledger.sqlite_store import LEDGER_FILE, SqliteStore
from network.node.ledger.store import BlockCommit
from network.rules.state.snapshot import Version
from network.rules.validation.mvcc import Update, UpdateBatch

NAMESPACE = "bench"
SMALL = 1_000
KEYS_A_BLOCK = 10_000
VALUE_BYTES = 100
READS = 5_000
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds of one kind of read on the small and on the large ledger; medians' ratio."""

    kind: str
    small: Latency
    large: Latency
    ratio: float


def fill(folder: Path, keys: int, tell: Callable[[str], None]) -> SqliteStore:
    """A ledger in `folder` with so many keys; one that has them already is opened."""
    if (folder / LEDGER_FILE).is_file():
        store = SqliteStore.open(folder)
    else:
        store = SqliteStore.create(folder, "bench", durable=False)
    began, first = time.perf_counter(), store.height
    blocks = -(-keys // KEYS_A_BLOCK)
    for number in range(first, blocks):
        count = min(KEYS_A_BLOCK, keys - number * KEYS_A_BLOCK)
        store.commit(_build_block(number, count))
        if number % 100 == 99:
            rate = (number + 1 - first) * KEYS_A_BLOCK / (time.perf_counter() - began)
            tell(f"{(number + 1) * KEYS_A_BLOCK:,} keys, {rate:,.0f} a second")
    return store


def name_key(number: int) -> str:
    """The key of a number. In order, so that the ledger is filled at the pace of its own appends;
    a tree of so many keys is as deep in any order."""
    digest = hashlib.blake2b(number.to_bytes(8, "big"), digest_size=11).hexdigest()
    return f"{number:010d}{digest}"


def _build_block(number: int, count: int) -> BlockCommit:
    updates = UpdateBatch()
    for index in range(count):
        key = name_key(number * KEYS_A_BLOCK + index)
        value = (key * (VALUE_BYTES // len(key) + 1))[:VALUE_BYTES].encode()
        updates.put_public(NAMESPACE, key, Update(value, b"", Version(number, index)))
    block_hash = hashlib.sha256(b"%d" % number).digest()
    return BlockCommit(
        number=number, block_hash=block_hash, raw=b"", transactions=(), updates=updates
    )


def measure(small: SqliteStore, large: SqliteStore, keys: int) -> Iterator[Reading]:
    """Each kind of read on both, in turns."""
    kinds: dict[str, Callable[[SqliteSnapshot, int], object]] = {
        "a key": lambda snapshot, number: snapshot.get_state(NAMESPACE, name_key(number)),
        "a key that is not there": lambda snapshot, number: snapshot.get_state(
            NAMESPACE, f"{name_key(number)}x"
        ),
        "100 keys in order": lambda snapshot, number: _read_range(snapshot, name_key(number)),
    }
    for kind, read in kinds.items():
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(ROUNDS):
            for times, store, count in zip(found, (small, large), (SMALL, keys), strict=True):
                times.extend(_time_reads(store, count, read, random.Random(turn)))  # noqa: S311
        one, other = summarize_latency(found[0]), summarize_latency(found[1])
        yield Reading(kind, one, other, other.p50 / one.p50)


def _time_reads(
    store: SqliteStore,
    keys: int,
    read: Callable[[SqliteSnapshot, int], object],
    choice: random.Random,
) -> Iterator[float]:
    with store.snapshot() as snapshot:
        for _ in range(READS // ROUNDS):
            number = choice.randrange(keys)
            began = time.perf_counter()
            read(snapshot, number)
            yield time.perf_counter() - began


def _read_range(snapshot: SqliteSnapshot, start: str) -> int:
    found = 0
    for _ in snapshot.range(NAMESPACE, start, ""):
        found += 1
        if found == 100:
            break
    return found


def main() -> None:
    """Fill, measure, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m admin.bench.keys", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the ledgers are made, or are already")
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--remove", action="store_true", help="delete the ledgers afterwards")
    chosen = parser.parse_args()
    if chosen.keys < SMALL:
        parser.error(f"--keys: at least {SMALL}")

    def tell(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    small = fill(chosen.folder / "small", SMALL, tell)
    began = time.perf_counter()
    large = fill(chosen.folder / f"keys-{chosen.keys}", chosen.keys, tell)
    filled = time.perf_counter() - began
    readings = [asdict(one) for one in measure(small, large, chosen.keys)]
    size = large.path.stat().st_size
    small.close()
    large.close()
    told = {"keys": chosen.keys, "bytes": size, "fillSeconds": filled, "readings": readings}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    if chosen.remove:
        shutil.rmtree(chosen.folder)


if __name__ == "__main__":
    main()
