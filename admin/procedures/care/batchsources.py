"""What a batch is made of: a folder of files, a list of files, or NDJSON.

- A folder: every file below it, in the order of their paths. A folder named by a patient's handle
  holds that patient's records.
- NDJSON: each line a FHIR resource, or `{"file": …, "patient": …, "labels": […], "classes": […]}`.
- Any other file, or `-`: the paths of files, one a line.

A patient comes from the line or folder, from `--patients` (a CSV `reference,handle` by which a
resource's own reference to its patient is looked up), or from `--patient` for all.

Entries are read anew each time they are gone through, so that a million of them take no memory.
"""

import csv
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Self

from admin.errors import input_error
from admin.procedures.care.sealer import SealOptions
from admin.procedures.care.sources import Source, open_source, read_resource_source

_HANDLE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
FINGERPRINT = 8
"""Bytes of an entry's fingerprint."""
_FIELDS = frozenset({"file", "patient", "labels", "classes", "contexts"})


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One record to be: a file, or the line of a file from `offset` on.

    `fingerprint` differs once the content does: of a line its digest's first bytes, of a file those
    of its size and time.
    """

    name: str
    path: Path
    options: SealOptions
    size: int
    fingerprint: bytes
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is said of every entry that does not say otherwise."""

    options: SealOptions
    patients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entries:
    """What to seal, in order: read off its source each time it is gone through.

    `digest` names these sources with what is said of them, whatever their content: by it a run over
    them is known again.
    """

    source: str
    defaults: Defaults
    count: int
    digest: bytes
    lines: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[BatchEntry]:
        """Yield the entries. Raises FaultError with the line or file that is wrong."""
        return _read(self.source, self.defaults, self.lines)


def read_entries(source: str, defaults: Defaults) -> Entries:
    """Return what to seal, in order. Raises FaultError with the line or file that is wrong."""
    # Standard input is read once, so its lines are kept.
    lines = tuple(sys.stdin.read().splitlines()) if source == "-" else None
    digest, count = hashlib.sha256(), 0
    for entry in _read(source, defaults, lines):
        digest.update(f"{entry.name}\0{entry.options}\n".encode())
        count += 1
    if not count:
        raise input_error("there is nothing to seal", "name files, or a folder with files", source)
    return Entries(source, defaults, count, digest.digest(), lines)


def _read(source: str, defaults: Defaults, lines: tuple[str, ...] | None) -> Iterator[BatchEntry]:
    path = Path(source)
    if lines is not None:
        return _from_list(source, Path(), enumerate(lines, 1), defaults)
    if not path.exists():
        raise input_error("no such file or folder", "check the path", source)
    if path.is_dir():
        return _from_folder(path, defaults)
    if path.suffix == ".ndjson":
        return _from_ndjson(path, defaults)
    return _from_list(source, path.parent, _read_lines(path), defaults)


def read_patients(file: str) -> dict[str, str]:
    """Return the handles by reference in a CSV `reference,handle`. Raises FaultError."""
    found: dict[str, str] = {}
    with open(file, newline="", encoding="utf-8") as stream:
        for number, row in enumerate(csv.reader(stream), 1):
            if len(row) != 2 or (number > 1 and not _HANDLE.fullmatch(row[1])):
                raise input_error(
                    "a line is `reference,handle`, the handle of 32 hex digits",
                    "correct the line",
                    f"{file}:{number}",
                )
            if _HANDLE.fullmatch(row[1]):  # the first line may be a heading
                found[row[0]] = row[1]
    return found


class EntrySource:
    """Opens entries one after the other, keeping a file open while its lines are read."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    @contextmanager
    def open(self, entry: BatchEntry) -> Iterator[Source]:
        """The entry as a source. Raises FaultError if it is not valid."""
        if entry.offset is None:
            with open_source(str(entry.path)) as source:
                yield source
            return
        file = self._open(entry.path)
        file.seek(entry.offset)
        yield read_resource_source(entry.name, file.read(entry.size))

    def _open(self, path: Path) -> BinaryIO:
        if self._file is None or path != self._path:
            if self._file is not None:
                self._file.close()
            self._path, self._file = path, path.open("rb")
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _from_folder(folder: Path, defaults: Defaults) -> Iterator[BatchEntry]:
    for inside in _walk(folder, ()):
        handles = [part for part in inside[:-1] if _HANDLE.fullmatch(part)]
        file = folder.joinpath(*inside)
        yield _of_file("/".join(inside), file, handles[-1] if handles else "", defaults, str(file))


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the parts of the path of each file below, in order; what begins with a dot is not."""
    with os.scandir(folder) as found:
        inside = sorted((one.name, one.is_dir(follow_symlinks=False)) for one in found)
    for name, is_folder in inside:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(folder / name, (*above, name))
        elif (folder / name).is_file():
            yield (*above, name)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as file:
        yield from enumerate(file, 1)


def _from_list(
    source: str, base: Path, lines: Iterable[tuple[int, str]], defaults: Defaults
) -> Iterator[BatchEntry]:
    for number, line in lines:
        if name := line.strip():
            yield _of_file(name, base / name, "", defaults, f"{source}:{number}")


def _from_ndjson(path: Path, defaults: Defaults) -> Iterator[BatchEntry]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _of_line(path, line, number, offset, defaults)
            offset += len(line)


def _of_line(path: Path, line: bytes, number: int, offset: int, defaults: Defaults) -> BatchEntry:
    where = f"{path}:{number}"
    try:
        told = json.loads(line)
    except ValueError as error:
        raise input_error("the line is not JSON", "correct the line", where) from error
    if not isinstance(told, dict):
        raise input_error("the line is no JSON object", "correct the line", where)
    if "resourceType" in told:
        patient = _patient_of(told, defaults)
        options = _with_patient(patient, defaults, where)
        raw = line.rstrip(b"\r\n")
        mark = hashlib.sha256(raw).digest()[:FINGERPRINT]
        return BatchEntry(f"{path.name}:{number}", path, options, len(raw), mark, offset)
    if unknown := set(told) - _FIELDS:
        raise input_error(
            f"{sorted(unknown)[0]!r} is no field of an entry",
            f"fields are {', '.join(sorted(_FIELDS))}; or write a FHIR resource",
            where,
        )
    file = told.get("file")
    if not isinstance(file, str):
        raise input_error("the entry names no file", 'write {"file": …, "patient": …}', where)
    entry = _of_file(file, path.parent / file, str(told.get("patient", "")), defaults, where)
    return replace(entry, options=_merge(entry.options, told, where))


def _of_file(name: str, file: Path, patient: str, defaults: Defaults, where: str) -> BatchEntry:
    if not file.is_file():
        raise input_error("no such file", "paths are seen from the list's folder", where)
    facts = file.stat()
    mark = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode()).digest()[:FINGERPRINT]
    return BatchEntry(name, file, _with_patient(patient, defaults, where), facts.st_size, mark)


def _merge(options: SealOptions, told: dict[str, Any], where: str) -> SealOptions:
    given: dict[str, Any] = {}
    for name in ("labels", "classes", "contexts"):
        if name in told:
            values = told[name]
            if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
                raise input_error(f"{name} is a list of codes", "correct the entry", where)
            given[name] = tuple(values)
    return replace(options, **given)


def _patient_of(resource: dict[str, Any], defaults: Defaults) -> str:
    """Return the handle of the resource's own patient by the table, empty if it tells none."""
    if not defaults.patients:
        return ""
    if resource["resourceType"] == "Patient":
        reference = f"Patient/{resource.get('id', '')}"
    else:
        told = resource.get("subject") or resource.get("patient") or resource.get("beneficiary")
        reference = str(told.get("reference", "")) if isinstance(told, dict) else ""
    return defaults.patients.get(reference, "")


def _with_patient(patient: str, defaults: Defaults, where: str) -> SealOptions:
    found = patient or defaults.options.patient
    if not _HANDLE.fullmatch(found):
        raise input_error(
            "whose record it is is not known",
            "name the patient's handle: --patient, --patients FILE, or a folder of that name",
            where,
        )
    return replace(defaults.options, patient=found)
