"""Log lines and log specifications in Fabric's form."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from network.node.serving.logs import InvalidLogSpec, describe_error, parse_spec, start_logging


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("common", "orderer.chain"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("text", "default", "levels"),
    [
        ("", logging.INFO, {}),
        ("debug", logging.DEBUG, {}),
        ("common=debug:warn", logging.WARNING, {"common": logging.DEBUG}),
        (
            "a.b,c=error:info",
            logging.INFO,
            {"a.b": logging.ERROR, "c": logging.ERROR},
        ),
    ],
)
def test_specifications(text: str, default: int, levels: dict[str, int]) -> None:
    assert parse_spec(text) == (default, levels)


@pytest.mark.parametrize("text", ["loud", "=info", "a=b=info", "debug:a=zz", "a b=info", "::"])
def test_what_is_no_specification(text: str) -> None:
    with pytest.raises(InvalidLogSpec, match="invalid logging specification"):
        parse_spec(text)


def test_a_line_is_fabrics_and_a_specification_chooses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    spec = start_logging("common=debug:warn")
    logging.getLogger("common.deliver").debug("block %d", 7)
    logging.getLogger("orderer.chain").info("not shown")
    spec.activate("orderer.chain=info:error")
    logging.getLogger("common.deliver").debug("not shown")
    logging.getLogger("orderer.chain").info("shown")
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    form = (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC 0001 DEBUG \[common\.deliver\] \w+ -> block 7"
    )
    assert re.fullmatch(form, lines[0])
    assert lines[1].endswith("-> shown")
    assert spec.text == "orderer.chain=info:error"


def test_a_bad_specification_changes_nothing() -> None:
    spec = start_logging("warn")
    with pytest.raises(InvalidLogSpec):
        spec.activate("loud")
    assert spec.text == "warn"
    assert logging.getLogger().level == logging.WARNING


def test_an_unexpected_error_tells_its_place_and_not_its_text() -> None:
    def look_up(values: dict[str, str]) -> str:
        return values["Jane Roe"]

    try:
        try:
            look_up({})
        except KeyError as missing:
            raise ValueError("Jane Roe is unknown") from missing
    except ValueError as error:
        told = describe_error(error)
    assert "Jane" not in told
    assert told.startswith("ValueError at test_logs.py:")
    assert " after KeyError at test_logs.py:" in told
    assert told.endswith(" look_up")
    assert "\n" not in told


def test_what_the_system_says_is_told() -> None:
    told = describe_error(FileNotFoundError(2, "No such file or directory", "ledger.db"))
    assert told == ("FileNotFoundError: [Errno 2] No such file or directory: 'ledger.db' at ?")
