"""The guide `docs/chaincode.md`: its Python runs, its JSON is JSON, its options exist."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from admin.cli.development import dev
from chaincode.__main__ import main
from chaincode.shim.stub import Stub

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "chaincode.md"


@dataclass(frozen=True)
class Block:
    language: str
    line: int
    text: str


def read_blocks() -> list[Block]:
    text = GUIDE.read_text()
    return [
        Block(found[1], text[: found.start()].count("\n") + 2, found[2])
        for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


BLOCKS = read_blocks()
PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.fixture(scope="module")
def guide() -> Iterator[ModuleType]:
    """All Python blocks as one module; a mistake is reported with the guide's own line."""
    module = ModuleType("chaincode_guide")
    sys.modules[module.__name__] = module
    for block in PYTHON:
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(GUIDE), "exec"), module.__dict__)
    yield module
    del sys.modules[module.__name__]


def list_tests() -> list[str]:
    return [name for block in PYTHON for name in re.findall(r"async def (test_\w+)", block.text)]


@pytest.mark.parametrize("name", list_tests())
async def test_a_test_of_the_guide(guide: ModuleType, name: str) -> None:
    await getattr(guide, name)()


def test_every_contract_of_the_guide_is_tried(guide: ModuleType) -> None:
    from chaincode.contract import Contract

    tried = "\n".join(inspect.getsource(getattr(guide, name)) for name in list_tests())
    contracts = [
        value
        for value in vars(guide).values()
        if isinstance(value, type) and issubclass(value, Contract) and value is not Contract
    ]
    assert len(contracts) == len([block for block in PYTHON if "(Contract" in block.text])
    for contract in contracts:
        for name in contract.transactions:
            called = f"{contract.name}:{name}" in tried
            assert called or f"{contract.__name__}.{name}(" in "".join(b.text for b in PYTHON)


def test_json_is_json() -> None:
    connection = json.loads(next(block.text for block in BLOCKS if block.language == "json"))
    assert {"address", "dial_timeout", "tls_required", "root_cert"} <= connection.keys()


def test_options_and_variables_exist() -> None:
    text = GUIDE.read_text()
    shown = CliRunner().invoke(main, ["--help"]).output + CliRunner().invoke(dev, ["-h"]).output
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
        assert option in shown, option
    for variable in set(re.findall(r"CHAINCODE_[A-Z_]+", text)):
        assert variable in shown, variable


def test_methods_of_the_stub_exist() -> None:
    for name in set(re.findall(r"ctx\.stub\.(\w+)", GUIDE.read_text())):
        assert hasattr(Stub, name), name
