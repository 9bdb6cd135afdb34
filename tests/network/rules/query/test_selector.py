"""Selectors, the order of values and projections against what CouchDB's own code answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.rules.query.collation import build_sort_key
from network.rules.query.conditions import REGEX_TIMEOUT
from network.rules.query.couch_errors import InvalidQuery
from network.rules.query.documents import build_json, open_document, parse_path, project
from network.rules.query.selector import parse_selector
from network.rules.query.tokens import build_filter
from tests.network.rules.selector_cases import CASES, CURATED, Maker

SHARED = json.loads(CASES.read_text())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def judge(selector: Any, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """What we answer, in the form of the cases."""
    try:
        parsed = parse_selector(selector)
    except InvalidQuery as refusal:
        return {"error": refusal.error, "reason": refusal.reason}
    return {"selected": [at for at, one in enumerate(documents) if parsed.matches(one)]}


@pytest.mark.parametrize("group", SHARED["selections"], ids=["plain", "any"])
def test_selects_what_couchdb_selects(group: dict[str, Any]) -> None:
    assert len(group["cases"]) >= 160
    for case in group["cases"]:
        selector = case.pop("selector")
        assert judge(selector, group["documents"]) == case, selector


def test_shared_cases_hold_every_operator_and_refusals() -> None:
    text = CASES.read_text()
    known = {
        "and or not nor all elemMatch allMatch keyMapMatch lt lte eq ne gte gt exists type in nin"
        " size mod regex beginsWith"
    }
    for name in " ".join(known).split():
        assert f'"${name}"' in text
    for error in ("bad_arg", "invalid_operator", "not_supported", "invalid_selector"):
        assert f'"error": "{error}"' in text
    assert len(CURATED) > 40


def test_orders_values_as_couchdb_does() -> None:
    for left, right, order in SHARED["orders"]:
        found = build_sort_key(left), build_sort_key(right)
        assert (found[0] > found[1]) - (found[0] < found[1]) == order, (left, right)


def test_reduces_documents_as_couchdb_does() -> None:
    for case in SHARED["projections"]:
        wanted = {name: held for name, held in case["reduced"].items() if name != "_id"}
        assert project(case["document"], [parse_path(name) for name in case["fields"]]) == wanted


@given(JSON, JSON)
def test_sort_keys_begin_no_other(left: Any, right: Any) -> None:
    one, other = build_sort_key(left), build_sort_key(right)
    assert one == other or not (one.startswith(other) or other.startswith(one))


@given(
    st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_numbers_sort_as_numbers(left: float, right: float) -> None:
    assert (build_sort_key(left) < build_sort_key(right)) == (
        float(left) != float(right) and left < right
    ) or float(left) == float(right)


@given(st.integers(0, 2**32), st.booleans())
def test_the_filter_rules_out_only_what_does_not_match(seed: int, ascii_only: bool) -> None:
    maker = Maker(seed, plain=False)
    try:
        selector = parse_selector(maker.selector())
    except InvalidQuery:
        return
    may_match = build_filter(selector)
    for _ in range(5):
        document = maker.document()
        key = document.pop("_id")
        raw = json.dumps(document, ensure_ascii=ascii_only).encode()
        assert may_match(raw) or not selector.matches(open_document(key, raw))


def test_filter_rules_out_most_of_what_an_equality_does_not_match() -> None:
    may_match = build_filter(parse_selector({"docType": "asset", "size": {"$gt": 3}}))
    assert may_match(b'{"docType":"asset","size":5}')
    assert not may_match(b'{"docType":"patient","size":5}')
    assert not may_match(b'{"docType":"asset"}')
    assert may_match(b'{"docType":"\\u0061sset","size":5}'), "there is another way to write a"


def test_numbers_are_read_as_fabric_rewrites_them() -> None:
    document = open_document("k", b'{"a":1.0,"b":9007199254740993,"c":1e21,"d":1e2,"e":0.5}')
    assert document == {
        "_id": "k", "a": 1, "b": 9007199254740992, "c": 1e21, "d": 100, "e": 0.5,
    }  # fmt: skip
    assert [type(document[name]) for name in "abcde"] == [int, int, float, int, float]


@pytest.mark.parametrize(
    "raw",
    [b"", b"text", b"[1]", b"null", b'{"a":', b'{"a":NaN}', b'{"a":1e400}', b"\xef\xbb\xbf{}"],
)
def test_what_is_no_json_object_is_an_attachment(raw: bytes) -> None:
    document = open_document("k", raw)
    assert set(document) == {"_id", "_attachments"}
    assert parse_selector({"_id": "k"}).matches(document)
    assert not parse_selector({"a": {"$gt": None}}).matches(document)


def test_builds_json_as_go_does() -> None:
    value = {"b": "<&>\u2028é", "a": [1, 1.5, 1e21, 1e-7, 1e-5, True, None], "A": {}}
    wanted = '{"A":{},"a":[1,1.5,1e+21,1e-7,0.00001,true,null],"b":"\\u003c\\u0026\\u003e\\u2028é"}'
    assert build_json(value) == wanted.encode()


def test_a_regular_expression_without_end_refuses_the_query() -> None:
    selector = parse_selector({"a": {"$regex": "^(a|aa)+$"}})
    with pytest.raises(InvalidQuery, match=f"more than {REGEX_TIMEOUT:g} s"):
        selector.matches({"a": "a" * 60 + "b"})


def test_a_text_index_is_missing() -> None:
    assert parse_selector({"$text": "x"}).root.matches({}) is True
