from __future__ import annotations

import os
import time
from pathlib import Path

from chaincode.development.watch import Watcher


def test_written_new_and_deleted_files_are_told_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("1")
    watcher = Watcher()
    watcher.follow([one], time.time() + 1)
    assert watcher.get_changed() == []
    two.write_text("2")
    assert watcher.get_changed() == [two]
    one.write_text("11")
    two.unlink()
    assert watcher.get_changed() == [one, two]
    assert watcher.get_changed() == []


def test_a_replaced_file_of_the_same_size_and_time_is_a_change(tmp_path: Path) -> None:
    one = tmp_path / "one.py"
    one.write_text("1")
    watcher = Watcher()
    watcher.follow([one], time.time() + 1)
    mark = one.stat()
    aside = tmp_path / "aside"
    aside.write_text("2")
    os.utime(aside, ns=(mark.st_atime_ns, mark.st_mtime_ns))
    aside.replace(one)
    assert watcher.get_changed() == [one]


def test_what_was_saved_while_it_was_read_counts(tmp_path: Path) -> None:
    one = tmp_path / "one.py"
    since = time.time() - 10
    one.write_text("1")
    watcher = Watcher()
    watcher.follow([one], since)
    assert watcher.get_changed() == [one]


def test_folders_are_watched_for_python_and_trees_for_everything(tmp_path: Path) -> None:
    code, data = tmp_path / "code", tmp_path / "data"
    for folder in (code / "inner", data / "inner", data / "__pycache__", data / ".git"):
        folder.mkdir(parents=True)
    watcher = Watcher([data])
    watcher.follow([code / "a.py"], time.time())
    for path in ("code/a.txt", "code/inner/b.py", "data/__pycache__/c.pyc", "data/.git/d"):
        (tmp_path / path).write_text("x")
    assert watcher.get_changed() == []
    for path in ("code/a.py", "data/inner/b.json"):
        (tmp_path / path).write_text("x")
    assert watcher.get_changed() == [code / "a.py", data / "inner" / "b.json"]


def test_folders_that_are_gone_hold_no_files(tmp_path: Path) -> None:
    watcher = Watcher([tmp_path / "gone"])
    watcher.follow([tmp_path / "nowhere" / "x.py"], time.time())
    assert watcher.get_changed() == []
