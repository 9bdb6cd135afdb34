"""The search for patients' plaintext finds it wherever it hides; so its silence means something."""

import base64
import gzip
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import phi

WORDS = ("Amelia", "GH-48213907")


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """What these tests plant is not found by the search after all tests."""
    yield
    shutil.rmtree(tmp_path)


def network(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / ".medfabric" / "care" / "nodes" / "peer0"
    folder.mkdir(parents=True)
    return folder


def found(tmp_path: Path) -> bool:
    return bool(phi.search_folders([tmp_path])[1])


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (network(tmp_path) / "node.log").write_text("block 7 committed, 3 transactions\n")
    assert phi.search_folders([tmp_path]) == (34, [])


@pytest.mark.parametrize("word", WORDS)
def test_text_in_any_file_of_a_network(tmp_path: Path, word: str) -> None:
    (network(tmp_path) / "anything").write_bytes(b"\0" * 99 + word.encode() + b"\xff")
    assert found(tmp_path)


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "abcd"])
def test_base64_and_hex_of_a_longer_text(tmp_path: Path, before: str) -> None:
    text = f"{before}{WORDS[1]} and more".encode()
    for encoded in (base64.b64encode(text), text.hex().encode()):
        assert phi.search_bytes(encoded)


def test_a_database_also_where_a_value_lies_on_several_pages(tmp_path: Path) -> None:
    path = network(tmp_path) / "ledger"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE state (key TEXT, value BLOB)")
        for shift in range(4080, 4110):
            value = b"x" * shift + WORDS[0].encode() + b"y" * 9000
            database.execute("INSERT INTO state VALUES ('k', ?)", (value,))
    assert found(tmp_path)


def test_packed_files(tmp_path: Path) -> None:
    (network(tmp_path) / "package.tar.gz").write_bytes(gzip.compress(WORDS[0].encode()))
    assert found(tmp_path)


def test_logs_and_databases_outside_a_network(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.log").write_text(WORDS[0])
    assert found(tmp_path)


def test_where_plaintext_belongs_it_may_be(tmp_path: Path) -> None:
    care = network(tmp_path).parents[1]
    (care / "consents").mkdir()
    (care / "consents" / "original.json").write_text(WORDS[0])
    (tmp_path / "visit.json").write_text(WORDS[0])
    assert not found(tmp_path)
