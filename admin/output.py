"""How results look: a table or a sentence for people, one JSON document for programs.

Standard output carries the result and nothing else; progress, notes and errors go to standard
error. The JSON shape is the same everywhere::

    {"ok": true, "result": …}
    {"ok": false, "error": {"code": …, "message": …, "where": …, "remedy": …, "details": […]}}

Field names are camelCase; times are RFC 3339 in UTC; bytes are lower hexadecimal. A stream
(`watch`, `logs --follow`) prints one such document a line.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from admin.errors import ExitCode, Fault

if TYPE_CHECKING:
    from rich.console import Console

Cell = str | int | float | bool | datetime | None
Human = str | Callable[["Output"], None]


class Output:
    """Where a command's result, notes and progress go.

    Attributes:
        json: whether results are for programs.
        quiet: whether notes and progress are left out.
        verbose: whether details are told.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self._out = out
        self._err = err

    # Results

    def result(self, value: Any, human: Human | None = None) -> None:
        """The command's result is on standard output, in the chosen form.

        Args:
            value: dataclasses, mappings, sequences and scalars.
            human: a text, or a function that prints with `line` and `table`; None prints the
                value's own text.
        """
        if self.json:
            self._write(json.dumps({"ok": True, "result": to_plain(value)}, ensure_ascii=False))
        elif callable(human):
            human(self)
        else:
            text = str(value) if human is None else human
            if text:
                self.line(text)

    def line(self, text: str = "") -> None:
        """A line of the result for people; rich markup is not read."""
        self._write(text)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str = ""
    ) -> None:
        """A table of the result for people: aligned, without borders, easy to read and to cut.

        Args:
            columns: headings.
            rows: cells; None is shown as a dash.
            empty: the sentence that stands in for a table without rows.
        """
        cells = [[_cell(cell) for cell in row] for row in rows]
        if not cells and empty:
            self._write(empty)
            return
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        numeric = [
            bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(columns))
        ]
        for column, right in zip(columns, numeric, strict=True):
            table.add_column(column.upper(), justify="right" if right else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        console = self.console()
        if console.is_terminal:
            console.print(table, markup=False, highlight=False)
            return
        console.width = 10_000  # a pipe has no width: never wrap
        with console.capture() as captured:
            console.print(table, markup=False, highlight=False)
        for line in captured.get().splitlines():
            self._write(line.rstrip())

    # Beside the result

    def note(self, text: str) -> None:
        """A note on standard error, unless quiet."""
        if not self.quiet:
            self._print_error(text)

    def detail(self, text: str) -> None:
        """A note that only `-v` asks for."""
        if self.verbose:
            self._print_error(text)

    def success(self, text: str) -> None:
        """A note that something is done."""
        self.note(f"✓ {text}")

    def warn(self, text: str) -> None:
        """A note that stays even when quiet."""
        self._print_error(f"! {text}")

    def fault(self, fault: Fault) -> None:
        """A failure: one line with what and where, one with what to do; details under `-v`."""
        if self.json:
            error = {
                "code": fault.code,
                "message": fault.message,
                "where": fault.where,
                "remedy": fault.remedy,
                "details": list(fault.details),
            }
            self._write(json.dumps({"ok": False, "error": error}, ensure_ascii=False))
            return
        if fault.exit_code is ExitCode.INTERRUPTED:
            self._print_error("interrupted")
            return
        where = f"{fault.where}: " if fault.where else ""
        self._print_error(f"✗ {where}{fault.message}")
        shown = self.verbose or fault.code == "invalid-network-file"
        for detail in fault.details if shown else ():
            self._print_error(f"  {detail}")
        if fault.remedy:
            self._print_error(f"  → {fault.remedy}")

    @contextmanager
    def progress(
        self, title: str, total: int | None = None, *, in_bytes: bool = False
    ) -> Iterator["Progress"]:
        """Progress on standard error: a live line at a terminal, a line a step elsewhere.

        Args:
            title: what is going on.
            total: steps to do, where known; shows rate and time left.
            in_bytes: whether steps are bytes, shown as MB and MB/s.
        """
        if self.quiet:
            yield Progress()
        elif not self.console(error=True).is_terminal:
            yield _PlainProgress(self, title, total, in_bytes=in_bytes)
        else:
            with _live(self.console(error=True), title, total, in_bytes=in_bytes) as live:
                yield live

    def console(self, *, error: bool = False) -> "Console":
        """A rich console on standard output or error; without colour when not a terminal."""
        from rich.console import Console

        return Console(file=self._stream(error=error), soft_wrap=True, emoji=False)

    def _stream(self, *, error: bool = False) -> TextIO:
        if error:
            return self._err or sys.stderr
        return self._out or sys.stdout

    def _write(self, text: str) -> None:
        stream = self._stream()
        stream.write(_encodable(text, stream) + "\n")
        stream.flush()

    def _print_error(self, text: str) -> None:
        stream = self._stream(error=True)
        stream.write(_encodable(text, stream) + "\n")
        stream.flush()


class Progress:
    """A long act's progress; this one shows nothing."""

    def step(self, text: str) -> None:
        """What is being done now."""

    def advance(self, count: int = 1) -> None:
        """So many more of the total are done."""

    def reach(self, done: int) -> None:
        """So many of the total are done altogether."""

    def expect(self, total: int) -> None:
        """The total has become known."""


class _PlainProgress(Progress):
    """A line for every step, for logs and pipes; a line for every tenth of many or large ones."""

    def __init__(
        self, output: Output, title: str, total: int | None, *, in_bytes: bool = False
    ) -> None:
        self._output = output
        self._title = title
        self._total = total
        self._done = 0
        self._in_bytes = in_bytes

    def step(self, text: str) -> None:
        self._output.note(f"{self._title}: {text}")

    def advance(self, count: int = 1) -> None:
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        before, self._done = self._done, done
        if not self._total or before * 10 // self._total == done * 10 // self._total:
            return
        if not self._in_bytes:
            self._output.note(f"{self._title}: {done} of {self._total}")
        elif self._total >= _LARGE:
            self._output.note(f"{self._title}: {done / 1e6:.0f} of {self._total / 1e6:.0f} MB")

    def expect(self, total: int) -> None:
        self._total = total


class _LiveProgress(Progress):
    def __init__(self, bar: Any, task: Any, title: str) -> None:
        self._bar = bar
        self._task = task
        self._title = title

    def step(self, text: str) -> None:
        self._bar.update(self._task, description=f"{self._title}: {text}")

    def advance(self, count: int = 1) -> None:
        self._bar.advance(self._task, count)

    def reach(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def expect(self, total: int) -> None:
        self._bar.update(self._task, total=total)


_LARGE = 50_000_000
"""Bytes from which a transfer is worth a line in a log."""


@contextmanager
def _live(
    console: "Console", title: str, total: int | None, *, in_bytes: bool
) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}")]
    if in_bytes:
        columns += [BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn()]
        columns += [TimeRemainingColumn()]
    elif total is not None:
        columns += [BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()]
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        yield _LiveProgress(bar, bar.add_task(title, total=total), title)


def to_plain(value: Any) -> Any:
    """A value as JSON has it; see the module's docstring.

    Raises:
        TypeError: a type that has no plain form.
    """
    plain = _to_plain_scalar(value)
    if plain is not _NOT_SCALAR:
        return plain
    if is_dataclass(value) and not isinstance(value, type):
        return {
            to_camel(field.name): to_plain(getattr(value, field.name))
            for field in fields(value)
            if field.repr  # what must not be shown is not shown here either
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [to_plain(item) for item in items]
    raise TypeError(f"{type(value).__name__} has no plain form")


_NOT_SCALAR = object()


def _to_plain_scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path | Decimal):
        return str(value)
    return _NOT_SCALAR


def to_camel(name: str) -> str:
    """`block_number` as `blockNumber`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shorten(identifier: str, length: int = 8) -> str:
    """An identifier's first characters, enough for a person to recognise it."""
    return identifier if len(identifier) <= length else identifier[:length]


def _cell(value: Cell) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return format_time(value)
    return str(value)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit() or text == "–"


def _encodable(text: str, stream: TextIO) -> str:
    """The text with what the stream's encoding lacks (✓, –) replaced."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.replace("✓", "ok").replace("✗", "error:").replace("→", "->")
        return plain.encode(encoding, "replace").decode(encoding)
    return text
