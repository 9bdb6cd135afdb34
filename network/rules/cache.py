"""A bounded memory of answers that never change, shared by threads."""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps at most ``size`` answers and forgets the oldest entry first.

    Reads take no lock (a dict read is atomic); two threads may compute one answer at the same
    time, which is harmless because answers are values.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[K, V] = {}
        self._lock = threading.Lock()

    def find(self, key: K) -> V | None:
        """Return the remembered answer, or None."""
        return self._entries.get(key)

    def get(self, key: K, compute: Callable[[], V]) -> V:
        """Return the remembered answer, or compute and remember it. Exceptions pass through."""
        try:
            return self._entries[key]
        except KeyError:
            pass
        value = compute()
        with self._lock:
            while len(self._entries) >= self._size:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value
        return value
