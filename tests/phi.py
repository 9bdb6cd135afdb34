"""No patient's plaintext in anything that a test run leaves behind: what is looked for, and where.

    python -m tests.phi FOLDER …    searches folders, such as a test run's or the demo's

Looked for are the names, identifiers, dates and clinical words of the synthetic patients that the
tests use, as text, base64 and hex. Looked into are all networks (ledgers, row by row; logs; events;
snapshots; metrics as they stood at the end), and logs and databases wherever they lie. Left out is
only where plaintext belongs: a person's own keys, the originals of consents at their custodian, and
the files that tests hand in and take out themselves.
"""

import base64
import contextlib
import gzip
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

DATA = Path(str(files("admin.demo"))) / "data"

OWN = ("consents", "organizations")
"""Folders of a network where plaintext belongs."""
PRIVATE_TABLES = ("private", "private_sets", "private_writes")
"""Where a peer keeps private data: only the parties' own peers have it, as in Fabric."""
LEFT_BEHIND = ("*.log", "*.sqlite", "*.sqlite3", "*.db", "*.metrics")
"""Files that are searched also outside a network's folder."""

_TELLING = (
    *(".name.family", ".name.given", ".identifier.value", ".telecom.value", ".address.line"),
    *(".birthDate", ".note.text", ".code.coding.display", ".subscriberId"),
)
# Codes of organisations that the network itself is made of are no secret.
_PUBLIC = ("MSP", "1555")
_SQLITE = b"SQLite format 3\0"
_GZIP = b"\x1f\x8b"
_JOURNALS = (".db-wal", ".db-shm")
_CHUNK = 8 * 1024 * 1024


def secrets_of(resource: object, path: str = "") -> Iterator[str]:
    """Yield what identifies the patient or tells of their health in a FHIR resource."""
    if isinstance(resource, dict):
        for name, value in resource.items():
            yield from secrets_of(value, f"{path}.{name}")
    elif isinstance(resource, list):
        for value in resource:
            yield from secrets_of(value, path)
    elif isinstance(resource, str) and path.endswith(_TELLING):
        yield resource


@cache
def all_secrets() -> frozenset[str]:
    """Everything telling in the demo's patients, which the tests use throughout."""
    found: set[str] = set()
    for file in DATA.glob("*.json"):
        found |= set(secrets_of(json.loads(file.read_text())))
    for line in (DATA / "intake.ndjson").read_text().splitlines():
        found |= set(secrets_of(json.loads(line)))
    return frozenset(
        text
        for text in found
        if len(text) > 3 and not text.endswith(_PUBLIC[0]) and not text.startswith(_PUBLIC[1])
    )


@cache
def needles() -> tuple[tuple[bytes, str], ...]:
    """The bytes to look for, with the word that they stand for; none holds another one."""
    words = sorted(all_secrets(), key=len)
    distinct: list[str] = []
    for word in words:
        if not any(shorter in word for shorter in distinct):
            distinct.append(word)
    return tuple((form, word) for word in distinct for form in _forms(word))


def _forms(word: str) -> Iterator[bytes]:
    raw = word.encode()
    yield raw
    if len(raw) >= 8:  # shorter ones turn up in random base64 and hex by chance
        yield raw.hex().encode()
        for shift in range(3):
            # The middle of the base64 of a longer text, wherever the word begins in it.
            encoded = base64.b64encode(b"\0" * shift + raw)
            yield encoded[(shift * 4 + 2) // 3 : -4 if len(encoded) > 8 else None]


def search_bytes(content: bytes) -> list[str]:
    """The words that the content holds."""
    return sorted({word for form, word in needles() if form in content})


def search_file(path: Path) -> list[str]:
    """The words that a file holds: of a database row by row, of anything packed what is in it."""
    with path.open("rb") as file:
        head = file.read(16)
    if head == _SQLITE:
        return _search_database(path)
    if head[:2] == _GZIP:
        return search_bytes(gzip.decompress(path.read_bytes()))
    found: set[str] = set()
    overlap = max(len(form) for form, _ in needles())
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(_CHUNK):
            found |= set(search_bytes(tail + chunk))
            tail = chunk[-overlap:]
    return sorted(found)


def _search_database(path: Path) -> list[str]:
    """Row by row, since a value may lie on several pages; all but the peer's private data."""
    found: set[str] = set()
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        with contextlib.closing(database):
            named = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in named.fetchall():
                if table not in PRIVATE_TABLES:
                    found |= _search_rows(database.execute(f'SELECT * FROM "{table}"'))
    except sqlite3.DatabaseError:  # broken by a test on purpose: its pages are all there is
        return search_bytes(path.read_bytes())
    return sorted(found)


def _search_rows(rows: Iterable[tuple[object, ...]]) -> set[str]:
    found: set[str] = set()
    batch = bytearray()
    for row in rows:
        for value in row:
            if isinstance(value, bytes | str):
                batch += value.encode() if isinstance(value, str) else value
                batch += b"\n"
        if len(batch) > _CHUNK:
            found |= set(search_bytes(bytes(batch)))
            batch.clear()
    return found | set(search_bytes(bytes(batch)))


def files_left(folder: Path) -> Iterator[Path]:
    """The files below a folder that no plaintext may be in."""
    networks = [path for path in folder.rglob(".medfabric") if path.is_dir()]
    seen: set[Path] = set()
    for network in networks:
        for path in network.rglob("*"):
            inside = path.relative_to(network).parts
            if len(inside) > 1 and inside[1] in OWN:
                continue
            # A write-ahead log is read with its database.
            if path.is_file() and not path.is_symlink() and not path.name.endswith(_JOURNALS):
                seen.add(path)
    for pattern in LEFT_BEHIND:
        seen |= {path for path in folder.rglob(pattern) if path.is_file()}
    yield from sorted(seen)


def _measure(path: Path) -> int:
    """Bytes of a file, and of the write-ahead log that is read with it."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def search_folders(folders: Iterable[Path]) -> tuple[int, list[str]]:
    """How many bytes were searched, and a line for every file that holds what it must not."""
    searched, lines = 0, []
    for folder in folders:
        for path in files_left(folder):
            try:
                searched += _measure(path)
                words = search_file(path)
            except FileNotFoundError:
                continue  # a node that is still going down
            if words:
                lines.append(f"{path} holds {len(words)} words of a patient, such as {words[0]!r}")
    return searched, lines


def main(arguments: list[str]) -> int:
    """Search the folders; 1 if anything is found."""
    searched, lines = search_folders(map(Path, arguments))
    for line in lines:
        sys.stderr.write(f"✗ {line}\n")
    if not lines:
        sys.stdout.write(f"✓ no patient's plaintext in {searched / 1e6:.1f} MB\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
