"""Log lines and log specifications in Fabric's form."""

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from network.node.serving.logs import InvalidLogSpec, parse_spec, start_logging


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
