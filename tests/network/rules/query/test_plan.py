"""Which index answers, what a page is, and how bad queries are refused."""

import json
from typing import Any

import pytest

from network.rules.query.collation import build_sort_key
from network.rules.query.couch_errors import InvalidQuery
from network.rules.query.documents import open_document
from network.rules.query.plan import IndexDefinition, Plan, parse_index, plan_query
from network.rules.query.richquery import (
    Bookmark,
    build_bookmark,
    open_bookmark,
    parse_query,
)
from network.rules.state.snapshot import UnsupportedQuery


def index(*fields: str, design: str = "d", name: str = "i", **more: Any) -> IndexDefinition:
    definition = {"fields": list(fields), **more}
    raw = {"index": definition, "ddoc": design, "name": name, "type": "json"}
    return parse_index(json.dumps(raw).encode())


def plan(query: dict[str, Any], *indexes: IndexDefinition) -> Plan:
    return plan_query(parse_query(json.dumps(query)), indexes)


OWNER = index("docType", "owner", name="owner")
SIZE = index("size", name="size")


def test_without_an_index_the_keys_answer() -> None:
    assert plan({"selector": {"a": 1}}) == Plan(None)
    assert plan({"selector": {}}, SIZE) == Plan(None)


def test_an_index_answers_whose_columns_the_selector_requires() -> None:
    found = plan({"selector": {"docType": "asset", "owner": "tom"}}, OWNER, SIZE)
    key = build_sort_key("asset") + build_sort_key("tom")
    assert found == Plan(OWNER, key, key + b"\xff")
    assert plan({"selector": {"docType": "asset"}}, OWNER).index is None
    assert plan({"selector": {"size": {"$gt": 3}}}, OWNER, SIZE).index is SIZE
    only = {"$or": [{"size": 1}, {"size": 2}]}
    assert plan({"selector": only}, SIZE) == Plan(None), "no range, and the keys come first by name"


def test_the_index_with_the_most_used_and_the_fewest_other_columns_answers() -> None:
    both = index("docType", "size", name="both")
    selector = {"docType": "asset", "size": 3, "owner": "tom"}
    assert plan({"selector": selector}, SIZE, both, OWNER).index is both
    assert plan({"selector": {"size": 3}}, index("size", name="z"), SIZE).index is SIZE


def test_use_index_wins_where_it_can_and_else_is_ignored() -> None:
    other = index("size", design="other", name="x")
    for name in ("other", "_design/other", ["other", "x"], ["_design/other", "x"]):
        query = {"selector": {"size": 1}, "use_index": name}
        assert plan(query, SIZE, other).index is other
    query = {"selector": {"size": 1}, "use_index": "missing"}
    assert plan(query, SIZE).index is SIZE


def test_a_partial_index_answers_only_when_named() -> None:
    partial = index("size", design="p", partial_filter_selector={"docType": "asset"})
    assert plan({"selector": {"size": 1}}, partial).index is None
    assert plan({"selector": {"size": 1}, "use_index": "p"}, partial).index is partial
    assert partial.build_entry(open_document("k", b'{"size":1}')) is None
    assert partial.build_entry(open_document("k", b'{"size":1,"docType":"asset"}'))


def test_a_sort_needs_an_index_that_begins_with_it() -> None:
    with pytest.raises(InvalidQuery) as refusal:
        plan({"selector": {"docType": "asset"}, "sort": ["size"]})
    assert str(refusal.value) == (
        "error handling CouchDB request. Error:no_usable_index,  Status Code:400,  "
        "Reason:No index exists for this sort, try indexing by the sort fields."
    )
    assert plan({"selector": {"a": 1}, "sort": [{"size": "desc"}]}, SIZE).index is SIZE
    constant = {"selector": {"docType": "asset"}, "sort": ["owner"]}
    assert plan(constant, OWNER).index is OWNER
    with pytest.raises(InvalidQuery, match="no_usable_index"):
        plan({"selector": {"docType": {"$gt": "a"}}, "sort": ["owner"]}, OWNER)
    assert plan({"selector": {"_id": {"$gt": "a"}}, "sort": ["_id"]}) == Plan(None, b"a")


def test_ranges_meet() -> None:
    low, high = build_sort_key(1), build_sort_key(5) + b"\xff"
    assert plan({"selector": {"size": {"$gt": 1, "$lte": 5}}}, SIZE) == Plan(SIZE, low, high)
    assert plan({"selector": {"size": {"$gt": 5, "$lt": 5}}}, SIZE).nothing
    assert plan({"selector": {"size": {"$gte": 5, "$lte": 5}}}, SIZE).low == build_sort_key(5)
    assert plan({"selector": {"_id": {"$gte": "a", "$lt": "b"}}}) == Plan(None, b"a", b"b")
    assert plan({"selector": {"_id": {"$lt": []}}}).nothing, "bytewise, an array is less"
    assert plan({"selector": {"$or": []}}).nothing


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "EOF"),
        ("{", "unexpected EOF"),
        ('{"selector":{"a":', "unexpected EOF"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("{a}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ('{"selector":{},"fields":"a"}', "fields definition must be an array"),
    ],
)
def test_what_fabric_cannot_read_is_refused_in_its_words(text: str, reason: str) -> None:
    with pytest.raises(UnsupportedQuery) as refusal:
        parse_query(text)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(
    ("query", "error", "reason"),
    [
        ({}, "missing_required_key", "Missing required key: selector"),
        ({"selector": []}, "invalid_selector_json", "Selector must be a JSON object, not: []"),
        ({"selector": {}, "zz": 1}, "invalid_key", "Invalid key zz for this request."),
        (
            {"selector": {}, "sort": ["a", {"b": "desc"}]},
            "unsupported_mixed_sort",
            "Sorts currently only support a single direction for all fields.",
        ),
        ({"selector": {}, "sort": [3]}, "invalid_sort_field", "Invalid sort field: 3"),
        (
            {"selector": {}, "sort": {"a": "x"}},
            "invalid_sort_json",
            'Sort must be an array of sort specs, not: {[{<<"a">>,<<"x">>}]}',
        ),
        (
            {"selector": {}, "skip": -1},
            "invalid_non_neg_integer",
            "-1 is not an integer greater than or equal to zero",
        ),
        ({"selector": {}, "fields": [1]}, "invalid_field", "Invalid JSON for field spec: 1"),
        ({"selector": {}, "use_index": 3}, "invalid_index_name", "Invalid index name: 3"),
        ({"selector": {}, "r": 0}, "invalid_pos_integer", "0 is not an integer greater than zero"),
    ],
)
def test_what_couchdb_refuses_is_refused_in_its_words(
    query: dict[str, Any], error: str, reason: str
) -> None:
    with pytest.raises(InvalidQuery) as refusal:
        parse_query(json.dumps(query))
    assert (refusal.value.error, refusal.value.reason) == (error, reason)


def test_more_after_the_query_and_its_own_limit_are_ignored() -> None:
    assert parse_query('{"selector":{},"limit":1,"bookmark":"x"} rest').skip == 0


def test_bookmarks_come_back_and_foreign_ones_are_refused() -> None:
    bookmark = Bookmark(b"\x00\xff", "ключ")
    assert open_bookmark(build_bookmark(bookmark)) == bookmark
    for text in ("nil", "x", "W10", "ä"):
        with pytest.raises(InvalidQuery, match="Invalid bookmark value"):
            open_bookmark(text)


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"index":{}}',
        b'{"index":{"fields":[1]}}',
        b'{"index":{"fields":["a"]},"type":"text"}',
    ],
)
def test_a_bad_index_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_index(raw)
