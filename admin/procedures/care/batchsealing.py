"""The entries of a batch sealed side by side: one process a processor, results in their order.

Sealing a FHIR resource is mostly validating it, which is Python's own work: threads would wait for
one another. Each process opens the sealing identity's key for itself; no key is handed around.
Entries travel in portions, of which only a few are under way, so that memory stays the same however
many there are.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path

from admin.errors import ExitCode, Fault, FaultError
from admin.exchange.store import RecordStore
from admin.procedures.care.batchsources import BatchEntry, EntrySource
from admin.procedures.care.sealer import Sealer
from admin.procedures.care.streaming import Interrupted, Progress
from chaincode.directory.model import EncryptionKey
from chaincode.records import rules
from network.client.profile import load_surroundings

PORTION = 16
"""Entries that travel together at most."""
PORTION_BYTES = 4 * 1024 * 1024
"""Bytes of content after which a portion is full: large files travel alone."""
AHEAD = 2
"""Portions a process that are waiting or done, beside the one it works on."""
WORTHWHILE = 200
"""Entries below which starting processes takes longer than they save."""
LOOK = 0.2
"""Seconds between looks whether the work was interrupted."""

Beat = Callable[[], None]
"""Called while sealing goes on; what it raises ends it."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Consecutive entries, and the handles of the records that they become."""

    entries: tuple[BatchEntry, ...]
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedPortion:
    """The leaves of a portion's entries; of the first ones only where `fault` ended it."""

    portion: Portion
    leaves: tuple[bytes, ...]
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class SealingPlace:
    """From what a process opens its sealer: where things are, and public keys."""

    network: Path
    identity: str
    store_url: str
    keys: tuple[EncryptionKey, ...]

    def open(self) -> Sealer:
        """Return who seals. Raises ProfileError, UnusableStore."""
        profile = load_surroundings(self.network).profile(self.identity)
        return Sealer(RecordStore(self.store_url), profile.signer, self.keys)


def choose_jobs(entries: int) -> int:
    """Return in how many processes so many entries are best sealed."""
    if entries < WORTHWHILE:
        return 1
    if hasattr(os, "sched_getaffinity"):  # not everywhere; where it is, it knows of cgroups' sets
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cut_portions(entries: Iterator[tuple[BatchEntry, str]]) -> Iterator[Portion]:
    """Yield entries with their records in portions."""
    taken: list[tuple[BatchEntry, str]] = []
    size = 0
    for entry, record in entries:
        taken.append((entry, record))
        size += entry.size
        if len(taken) == PORTION or size >= PORTION_BYTES:
            yield _portion(taken)
            taken, size = [], 0
    if taken:
        yield _portion(taken)


def seal_portions(
    place: SealingPlace, portions: Iterator[Portion], jobs: int, beat: Beat
) -> Generator[SealedPortion, None, None]:
    """Yield the portions sealed, in order; where it ends early nothing is left of the others.

    Raises:
        FaultError: a process was killed. Whatever `beat` raises.
    """
    if jobs == 1:
        sealer = place.open()
        for portion in portions:
            with _cleaning(sealer.store, portion):
                sealed = seal_portion(sealer, portion, lambda done: beat())
            yield sealed
        return
    with _Pool(place, jobs) as pool:
        yield from pool.seal(portions, beat)


def seal_portion(sealer: Sealer, portion: Portion, progress: Progress) -> SealedPortion:
    """Seal the entries one after the other; the first that is not valid ends it."""
    leaves: list[bytes] = []
    with EntrySource() as source:
        for entry, record in zip(portion.entries, portion.records, strict=True):
            options = replace(entry.options, record=record)
            try:
                with source.open(entry) as content:
                    sealed = sealer.seal(content, options, progress=progress, durable=False)
            except FaultError as error:
                return SealedPortion(portion, tuple(leaves), error.fault)
            leaves.append(rules.leaf_bytes(sealed.anchor))
    return SealedPortion(portion, tuple(leaves))


class _Pool:
    """Processes that seal; a context manager."""

    def __init__(self, place: SealingPlace, jobs: int) -> None:
        # Not forked: this process has threads of gRPC's, whose locks a fork would leave locked.
        processes = multiprocessing.get_context("spawn")
        self._stop = processes.Event()
        self._ahead = jobs * (1 + AHEAD)
        self._store = RecordStore(place.store_url)
        self._processes = ProcessPoolExecutor(
            jobs, processes, initializer=_begin, initargs=(place, self._stop)
        )
        self._underway: deque[tuple[Portion, Future[SealedPortion]]] = deque()

    def seal(self, portions: Iterator[Portion], beat: Beat) -> Iterator[SealedPortion]:
        """Yield the portions sealed, in order."""
        try:
            for portion in portions:
                self._underway.append((portion, self._processes.submit(_seal, portion)))
                if len(self._underway) >= self._ahead:
                    yield self._await_first(beat)
            while self._underway:
                yield self._await_first(beat)
        except BrokenProcessPool as error:
            raise FaultError(
                Fault(
                    ExitCode.BUG,
                    "process-lost",
                    "a process that was sealing ended",
                    remedy="run it again: it goes on where it stopped; --jobs 1 needs less memory",
                )
            ) from error

    def _await_first(self, beat: Beat) -> SealedPortion:
        _, future = self._underway[0]
        while True:
            beat()
            with contextlib.suppress(NotYet):
                sealed = future.result(LOOK)
                self._underway.popleft()  # from now on it is the caller's
                return sealed

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._processes.shutdown(wait=True, cancel_futures=True)
        for portion, _ in self._underway:
            _erase(self._store, portion.records)


_SEALER: Sealer | None = None
_STOP: Event | None = None


def _begin(place: SealingPlace, stop: Event) -> None:
    """In a process of its own: Ctrl-C is the starting process's, and so is our end."""
    global _SEALER, _STOP
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _SEALER, _STOP = place.open(), stop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # killed, it could not tell us


def _seal(portion: Portion) -> SealedPortion:
    assert _SEALER is not None
    return seal_portion(_SEALER, portion, _look)


def _look(done: int) -> None:
    assert _STOP is not None
    if _STOP.is_set():
        raise Interrupted


@contextlib.contextmanager
def _cleaning(store: RecordStore, portion: Portion) -> Iterator[None]:
    """Where the work on a portion is broken off, nothing of it is left."""
    try:
        yield
    except BaseException:
        _erase(store, portion.records)
        raise


def _erase(store: RecordStore, records: tuple[str, ...]) -> None:
    for record in records:
        store.erase(record, 1)  # nobody was told its handle


def _portion(taken: list[tuple[BatchEntry, str]]) -> Portion:
    entries, records = zip(*taken, strict=True)
    return Portion(entries, records)
