"""Which source files have changed: a look at their times every tenth of a second.

Asking the file system costs about a millisecond for a hundred files, works on every system and on
network file systems, and needs no further package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

INTERVAL_SECONDS = 0.1

_Mark = tuple[int, int, int]
_CHANGED: _Mark = (-1, -1, -1)


class Watcher:
    """Remembers how files were."""

    def __init__(self, trees: Iterable[Path] = ()) -> None:
        """`trees` are watched with all that is in them, whatever its kind; see also `follow`."""
        self._trees = frozenset(trees)
        self._folders: frozenset[Path] = frozenset()
        self._seen: dict[str, _Mark] = self._look()

    def follow(self, sources: Iterable[Path], since: float) -> None:
        """Watch the Python files in the folders of these sources from now on.

        A file that is new here counts as changed if it was changed after `since` (seconds since
        1970), when it may already have been read.
        """
        self._folders |= {source.parent for source in sources}
        for path, mark in self._look().items():
            fresh = mark[0] > since * 1e9
            self._seen.setdefault(path, _CHANGED if fresh else mark)

    def get_changed(self) -> list[Path]:
        """Files that were written, made or deleted since the last look; they are seen now."""
        now, before = self._look(), self._seen
        self._seen = now
        paths = {path for path, mark in now.items() if before.get(path) != mark}
        return sorted(map(Path, paths | (before.keys() - now.keys())))

    def _look(self) -> dict[str, _Mark]:
        found = {}
        for entry in self._list():
            try:
                status = entry.stat()
            except OSError:  # deleted between listing and looking
                continue
            found[entry.path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return found

    def _list(self) -> Iterator[os.DirEntry[str]]:
        for folder in self._folders:
            yield from (entry for entry in _scan(folder) if entry.name.endswith(".py"))
        for tree in self._trees:
            yield from _walk(tree)


def _walk(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    for entry in _scan(folder):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield entry


def _scan(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
