"""Results: JSON of one shape, tables that can be cut, nothing but the result on stdout."""

import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from admin.errors import ExitCode, Fault
from admin.output import Output, to_plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    tx_id: str


@dataclass(frozen=True)
class Sample:
    block_number: int
    made_at: datetime
    raw: bytes
    colour: Colour
    inner: tuple[Inner, ...]
    secret: str = field(default="hidden", repr=False)


SAMPLE = Sample(
    7,
    datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1))),
    b"\x01\xff",
    Colour.RED,
    (Inner("a"),),
)


def make(**keywords: bool) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Output(out=out, err=err, **keywords), out, err


def test_values_become_plain() -> None:
    assert to_plain(SAMPLE) == {
        "blockNumber": 7,
        "madeAt": "2026-01-02T03:04:05Z",
        "raw": "01ff",
        "colour": "red",
        "inner": [{"txId": "a"}],
    }
    assert to_plain({"b": {2, 1}, "p": Path("x"), "d": Decimal("1.20")}) == {
        "b": [1, 2],
        "p": "x",
        "d": "1.20",
    }
    with pytest.raises(TypeError, match="object"):
        to_plain(object())


def test_json_is_one_document() -> None:
    output, out, err = make(json=True)
    output.note("beside")
    output.result(SAMPLE, "for people")
    assert json.loads(out.getvalue())["result"]["blockNumber"] == 7
    assert out.getvalue().count("\n") == 1
    assert err.getvalue() == "beside\n"


def test_people_get_the_sentence_and_quiet_keeps_the_result() -> None:
    output, out, err = make(quiet=True)
    output.note("beside")
    output.result(SAMPLE, "for people")
    with output.progress("work") as progress:
        progress.step("now")
        progress.advance()
    assert (out.getvalue(), err.getvalue()) == ("for people\n", "")


def test_tables_are_plain_and_never_wrap_in_a_pipe() -> None:
    output, out, _ = make()
    output.table(["name", "blocks"], [("x" * 200, 7), ("[red]y[/red]", None)])
    head, first, second = out.getvalue().splitlines()
    assert head.split() == ["NAME", "BLOCKS"]
    assert first.split() == ["x" * 200, "7"]
    assert second.split() == ["[red]y[/red]", "–"]
    assert "\x1b" not in out.getvalue()


def test_an_empty_table_is_a_sentence() -> None:
    output, out, _ = make()
    output.table(["name"], [], empty="nobody")
    assert out.getvalue() == "nobody\n"


def test_progress_without_a_terminal_is_a_line_a_step() -> None:
    output, out, err = make()
    with output.progress("claims", total=100) as progress:
        progress.step("reading")
        for _ in range(100):
            progress.advance()
    lines = err.getvalue().splitlines()
    assert lines[0] == "claims: reading"
    assert lines[-1] == "claims: 100 of 100"
    assert len(lines) == 11
    assert out.getvalue() == ""


def test_faults_tell_what_where_and_what_to_do() -> None:
    fault = Fault(ExitCode.INVALID, "x", "is broken", "file.json", "mend it", ("peer: no",))
    output, out, err = make()
    output.fault(fault)
    assert err.getvalue() == "✗ file.json: is broken\n  → mend it\n"
    assert out.getvalue() == ""
    output, _, err = make(verbose=True)
    output.fault(fault)
    assert "  peer: no\n" in err.getvalue()


def test_a_poor_terminal_gets_plain_characters() -> None:
    raw = io.BytesIO()
    output = Output(out=io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    output.result(None, "✓ done – well")
    assert raw.getvalue() == b"ok done ? well\n"


def test_times_in_tables_are_utc() -> None:
    output, out, _ = make()
    output.table(["at"], [(datetime(2026, 1, 1, tzinfo=UTC),)])
    assert "2026-01-01T00:00:00Z" in out.getvalue()
