"""Claims from files, one or many.

A file holds one FHIR Claim, a Bundle with Claims, a Claim a line (NDJSON), or X12 837s. All of them
are read and validated before any is sent, so that a mistake in the last line leaves nothing
half-sent. Of an 837 with more claims than are held (`HELD`) none is: it is read
again as its claims are sent.
"""

import glob
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from admin.errors import FaultError, input_error
from admin.fhir.reading import SourceFile, parse_resource, read_source
from admin.procedures.claims.sources import ClaimSource

if TYPE_CHECKING:
    from admin.x12.claims import Claim837
    from admin.x12.intake import Intake837

MAX_PROBLEMS = 20
HELD = 2_000
"""Claims of an 837 that are held in memory after it was judged; of more, none is."""
_LINES = (".ndjson", ".jsonl")
_HEAD = 256


class ClaimFiles:
    """The claims of some files, in order; they can be gone through more than once."""

    def __init__(self) -> None:
        self._parts: list[list[ClaimSource] | _X12Claims] = []
        self._count = 0

    def add(self, part: "list[ClaimSource] | _X12Claims") -> None:
        """The claims of one more file."""
        self._parts.append(part)
        self._count += len(part)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ClaimSource]:
        for part in self._parts:
            yield from part


@dataclass(frozen=True, slots=True)
class _X12Claims:
    """The claims that are taken of an 837: those that were held, or read from the file again."""

    source: "_Source"
    intake: "Intake837"

    def __len__(self) -> int:
        return self.intake.count

    def __iter__(self) -> Iterator[ClaimSource]:
        from admin.x12.intake import take_837

        if self.intake.held is not None:
            yield from map(self._source_of, self.intake.held)
            return
        self.source.validate_unchanged()
        with self.source.open() as stream:
            for claim in take_837(stream, self.intake.refused_sets):
                yield self._source_of(claim)

    def _source_of(self, claim: "Claim837") -> ClaimSource:
        where = f"{self.source.name} ST {claim.set} segment {claim.position}"
        return ClaimSource(where, claim.resource, claim.frequency, claim.prior, claim.told)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, or what standard input gave; `stamp` is the file's size and time of change."""

    name: str
    raw: bytes | None
    stamp: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, path: str) -> "_Source":
        """Raises FaultError: there is no such file."""
        if path == "-":
            given = read_source(path)
            return cls(given.name, given.raw)
        if not Path(path).is_file():
            raise input_error("no such file", "check the path", path)
        return cls(path, None, _stamp(path))

    def open(self) -> BinaryIO:
        return Path(self.name).open("rb") if self.raw is None else io.BytesIO(self.raw)

    def read(self) -> SourceFile:
        if self.raw is not None:
            return SourceFile(self.name, self.raw)
        return read_source(self.name)

    def validate_unchanged(self) -> None:
        """Raise FaultError if the file is no longer the one that was judged."""
        if self.raw is None and _stamp(self.name) != self.stamp:
            raise input_error(
                "the file changed after it was read", "send it again once it stays", self.name
            )


@dataclass(slots=True)
class _Collected:
    """What the files gave so far."""

    files: ClaimFiles = field(default_factory=ClaimFiles)
    problems: list[FaultError] = field(default_factory=list)


def read_claim_files(
    paths: Iterable[str],
    *,
    skip_faulty: bool = False,
    seen: "Callable[[str, Intake837], None] | None" = None,
    hold: int = HELD,
) -> ClaimFiles:
    """Return the Claims of all files, valid R4; `-` is standard input, patterns are expanded.

    `seen` is told of each X12 file before anything is refused; with `skip_faulty` its faulty
    transaction sets are left out, and the good ones taken. Of an 837 with more claims than `hold`
    none is kept in memory.

    Raises FaultError: the first problem, with the others in its details.
    """
    from admin.x12.segments import is_x12

    found = _Collected()
    for path in _expand(paths):
        source = _Source.of(path)
        with source.open() as stream:
            known = is_x12(stream.read(_HEAD))
        if known:
            intake = _collect_x12(source, found, skip_faulty=skip_faulty, hold=hold)
            if seen is not None:
                seen(source.name, intake)
        elif _is_lines(given := source.read()):
            found.files.add(_collect_lines(given, found.problems))
        else:
            found.files.add(_collect(given, None, found.problems))
    if found.problems:
        raise join_problems(found.problems)
    if not len(found.files):
        raise input_error("there is no Claim in what was given", "name a file that holds one")
    return found.files


def _expand(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        yield from found or [path]


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return (status.st_size, status.st_mtime_ns)


def _is_lines(source: SourceFile) -> bool:
    if source.name.endswith(_LINES):
        return True
    first, _, rest = source.raw.strip().partition(b"\n")
    return bool(rest) and first.startswith(b"{") and first.rstrip().endswith(b"}")


def _collect_lines(source: SourceFile, problems: list[FaultError]) -> list[ClaimSource]:
    found: list[ClaimSource] = []
    for number, raw in enumerate(source.raw.splitlines(), 1):
        if raw.strip() and len(problems) < MAX_PROBLEMS:
            found += _collect(SourceFile(source.name, raw), number, problems)
    return found


def _collect(source: SourceFile, line: int | None, problems: list[FaultError]) -> list[ClaimSource]:
    where = source.name if line is None else f"{source.name}:{line}"
    try:
        resource = parse_resource(source, "Claim", "Bundle", line=line)
    except FaultError as failure:
        problems.append(failure)
        return []
    if resource["resourceType"] == "Claim":
        return [ClaimSource(where, resource)]
    inner = [entry.get("resource") or {} for entry in resource.get("entry") or ()]
    return [
        ClaimSource(f"{where} entry[{index}]", one)
        for index, one in enumerate(inner)
        if one.get("resourceType") == "Claim"
    ]


def _collect_x12(
    source: _Source, found: _Collected, *, skip_faulty: bool, hold: int
) -> "Intake837":
    from admin.x12.intake import judge_837

    with source.open() as stream:
        intake = judge_837(stream, hold=hold)
    found.files.add(_X12Claims(source, intake))
    if not (skip_faulty and intake.count):
        found.problems += (
            input_error(one.tell(), one.remedy, source.name)
            for one in intake.problems[: MAX_PROBLEMS - len(found.problems)]
        )
    return intake


def join_problems(problems: list[FaultError]) -> FaultError:
    """Return one fault for all: the first, with every one in its details."""
    first = problems[0].fault
    if len(problems) == 1:
        return problems[0]
    return input_error(
        f"{first.message} (and {len(problems) - 1} more, see -v); nothing was sent",
        first.remedy,
        first.where,
        tuple(f"{one.fault.where}: {one.fault.message}" for one in problems),
    )
