"""The event catalogue is complete: every transaction that submits is in it, and it in the code.

That the events are set when state changes is checked at every commit of every contract test, by
`tests/chaincode/conftest.py`.
"""

import ast
import inspect
from dataclasses import fields
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from chaincode import events
from chaincode.canonical import wire_name
from chaincode.health import CONTRACTS

ROOT = Path(__file__).resolve().parents[2] / "chaincode"
SUBMITTED = sorted(
    f"{contract.name}:{name}"
    for contract in CONTRACTS
    for name, found in contract.transactions.items()
    if not found.read_only
)


@pytest.mark.parametrize("transaction", SUBMITTED)
def test_every_submit_method_sets_an_event_or_says_why_not(transaction: str) -> None:
    setting = [kind.name for kind in events.CATALOGUE if transaction in kind.by]
    assert bool(setting) != (transaction in events.SILENT), (
        f"{transaction}: add its event to chaincode/events.py, or the reason to SILENT there"
    )


def test_the_catalogue_names_transactions_that_exist() -> None:
    named = {transaction for kind in events.CATALOGUE for transaction in kind.by}
    assert named | set(events.SILENT) == set(SUBMITTED)


def test_names_are_unique_and_carry_their_contract() -> None:
    assert len(events.BY_NAME) == len(events.CATALOGUE)
    for kind in events.CATALOGUE:
        contract, _, happened = kind.name.partition(".")
        assert {by.partition(":")[0] for by in kind.by} == {contract}
        assert happened[0].isupper()


def test_the_code_sets_no_other_names() -> None:
    """Names written out in the contracts are catalogued ones."""
    found = set()
    for file in ROOT.glob("*/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "set_event"
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and "samples" not in file.parts
            ):
                found.add(node.args[0].value)
    assert found <= set(events.BY_NAME)
    assert len(found) > 15


@pytest.mark.parametrize("kind", events.CATALOGUE, ids=lambda kind: kind.name)
def test_a_payload_can_hold_no_more_than_handles_codes_and_times(kind: events.EventKind) -> None:
    """No nested free form: text, numbers, bytes, times, enums, tuples of text, own dataclasses."""
    names = [wire_name(field.name) for field in fields(kind.payload)]
    assert kind.subject in names
    for annotation in get_type_hints(kind.payload).values():
        for part in get_args(annotation) or (annotation,):
            assert part in (str, int, bool, bytes, datetime, Ellipsis, type(None)) or (
                inspect.isclass(part)
                and (issubclass(part, Enum) or hasattr(part, "__dataclass_fields__"))
            ), part
