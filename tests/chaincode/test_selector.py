"""The simulator's selectors against what CouchDB's own code answers; see tests/vectors/selector."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaincode.simulator.query import parse_query, run_query
from chaincode.simulator.selector import compile_selector
from chaincode.simulator.world import Entry

CASES = Path(__file__).parents[1] / "vectors" / "selector" / "cases.json"
PLAIN = next(group for group in json.loads(CASES.read_text())["selections"] if group["plain"])


def test_selects_what_couchdb_selects_or_refuses_it() -> None:
    for case in PLAIN["cases"]:
        if "error" in case:
            with pytest.raises(ValueError, match=r"."):
                compile_selector(case["selector"])
            continue
        matches = compile_selector(case["selector"])
        found = [at for at, one in enumerate(PLAIN["documents"]) if matches(one)]
        assert found == case["selected"], case["selector"]


def entry(value: Any) -> Entry:
    return Entry(json.dumps(value).encode(), (1, 0))


def test_sorts_reduces_and_cuts() -> None:
    entries = [(f"k{at}", entry({"size": size, "x": 1})) for at, size in enumerate([3, 1, 2])]
    entries.append(("binary", Entry(b"\x00", (1, 0))))
    entries.append(("other", entry({"x": 1})))
    query = {"selector": {"x": 1}, "sort": [{"size": "desc"}], "fields": ["size"], "skip": 1}
    found = run_query(parse_query(json.dumps(query)), entries)
    assert [(key, one.value) for key, one in found] == [
        ("k2", b'{"size":2}'), ("k1", b'{"size":1}'),
    ]  # fmt: skip
