"""Rich queries over a ledger's database: results, order, pages, indexes, privacy, refusals."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fabric_protos.peer import chaincode_shim_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from network.node.endorsing.state_indexes import group_index_files
from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import BlockCommit, PrivateUpdate, StateOptions
from network.node.peer.settings import read_state_options
from network.node.serving.settings import Settings
from network.rules.endorsement.chaincode_requests import (
    RequestRefused,
    TransactionContext,
    answer_request,
)
from network.rules.lifecycle.collections import Permission
from network.rules.query.collation import build_sort_key
from network.rules.query.couch_errors import InvalidQuery
from network.rules.query.documents import NOT_FOUND, get_field, open_document
from network.rules.query.selector import And, Or, parse_selector
from network.rules.state.recorder import Recorder, SimulationError
from network.rules.state.rwset import open_rwset
from network.rules.state.snapshot import UnsupportedQuery, Version
from network.rules.validation.mvcc import Update, UpdateBatch
from tests.network.rules.selector_cases import Maker


class Chain:
    """A ledger that tests write to, a block at a time."""

    def __init__(self, folder: Path, state: StateOptions | None = None) -> None:
        self.store = SqliteStore.create(folder, "ch", state or StateOptions(), durable=False)

    def put(self, values: Mapping[str, Any], private: Mapping[str, Any] | None = None) -> None:
        """Commit a block; None deletes, bytes stay as they are, everything else becomes JSON."""
        number, updates = self.store.height, UpdateBatch()
        for at, (key, value) in enumerate(values.items()):
            updates.put_public("cc", key, Update(_encode(value), b"", Version(number, at)))
        changes = [
            PrivateUpdate("cc", "secret", key, _encode(value), Version(number, 0))
            for key, value in (private or {}).items()
        ]
        self.store.commit(
            BlockCommit(number, number.to_bytes(32, "big"), b"", [], updates, private=changes)
        )

    def index(self, *fields: str, collection: str = "", **more: Any) -> None:
        """Create an index."""
        name = "_".join(fields)
        raw = {"index": {"fields": list(fields), **more}, "ddoc": name, "name": name}
        self.store.define_indexes("cc", collection, {"i.json": json.dumps(raw).encode()})

    def keys(self, selector: Any, **more: Any) -> list[str]:
        """The keys that a query gives."""
        with self.store.snapshot() as snapshot:
            return [key for key, _ in snapshot.query("cc", build(selector, **more))]

    def entries(self) -> int:
        """How many entries all indexes have."""
        with self.store.snapshot() as snapshot:
            found = snapshot.select("SELECT count(*) FROM index_entries", ())
        return int(found[0][0])


def _encode(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()


def build(selector: Any, **more: Any) -> str:
    return json.dumps({"selector": selector, **more})


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    found = Chain(tmp_path)
    yield found
    found.store.close()


def test_finds_documents_of_its_namespace_by_key_order(chain: Chain) -> None:
    chain.put({"b": {"size": 2}, "a": {"size": 1}, "c": {"size": 1}, "raw": b"\x00", "d": {}})
    assert chain.keys({"size": 1}) == ["a", "c"]
    assert chain.keys({}) == ["a", "b", "c", "d", "raw"], "a value that is no JSON has its key"
    assert chain.keys({"_id": {"$gt": None}, "size": {"$exists": True}}) == ["a", "b", "c"]
    chain.put({"a": None, "c": {"size": 3}})
    assert chain.keys({"size": 1}) == []
    with chain.store.snapshot() as snapshot:
        assert list(snapshot.query("other", build({}))) == []


def test_values_come_as_written_and_reduced_ones_as_go_writes_them(chain: Chain) -> None:
    chain.put({"a": b'{ "z": "<", "n": {"x": 1.0, "y": 2}}', "raw": b"\x00"})
    with chain.store.snapshot() as snapshot:
        assert [row[1].value for row in snapshot.query("cc", build({}))] == [
            b'{ "z": "<", "n": {"x": 1.0, "y": 2}}', b"\x00",
        ]  # fmt: skip
        found = snapshot.query("cc", build({}, fields=["z", "n.x", "_id"]))
        assert [row[1].value for row in found] == [b'{"n":{"x":1},"z":"\\u003c"}', b"{}"]


def test_an_index_gives_the_order(chain: Chain) -> None:
    chain.put(
        {"k1": {"s": "b"}, "k2": {"s": "A"}, "k3": {"s": "a"}, "k4": {"t": 1}, "k5": {"s": 9}}
    )
    with pytest.raises(InvalidQuery, match="no_usable_index"):
        chain.keys({"s": {"$gt": None}}, sort=["s"])
    chain.index("s")
    assert chain.keys({"s": {"$gt": None}}, sort=["s"]) == ["k5", "k3", "k2", "k1"]
    assert chain.keys({}, sort=[{"s": "desc"}]) == ["k1", "k2", "k3", "k5"], "k4 has no s"
    assert chain.keys({"s": {"$gte": "A", "$lt": "b"}}) == ["k2"]
    chain.put({"k4": {"s": None}, "k1": {"s": 1}, "k3": None})
    assert chain.keys({}, sort=["s"]) == ["k4", "k1", "k5", "k2"]
    assert chain.entries() == 4


def test_an_index_is_replaced_by_one_of_its_name_and_bad_ones_are_left_out(chain: Chain) -> None:
    chain.put({"k1": {"a": 1, "b": 2}, "k2": {"a": 2, "b": 1}})
    files = {"i.json": b'{"index":{"fields":["a"]},"ddoc":"d","name":"n"}', "bad.json": b"x"}
    chain.store.define_indexes("cc", "", files)
    assert chain.keys({}, sort=["a"]) == ["k1", "k2"]
    files = {"i.json": b'{"index":{"fields":["b"]},"ddoc":"d","name":"n"}'}
    chain.store.define_indexes("cc", "", files)
    assert chain.keys({}, sort=["b"]) == ["k2", "k1"]
    with pytest.raises(InvalidQuery):
        chain.keys({}, sort=["a"])
    assert chain.entries() == 2


def test_pages_follow_one_another(chain: Chain) -> None:
    chain.put({f"k{at:04}": {"n": at % 7} for at in range(300)})
    wanted = [f"k{at:04}" for at in range(300) if at % 7 == 3]
    chain.index("n")
    for more in ({}, {"sort": [{"n": "desc"}]}):
        found: list[str] = []
        bookmark = ""
        with chain.store.snapshot() as snapshot:
            while True:
                page = snapshot.query("cc", build({"n": 3}, **more), bookmark, 10)
                keys = [key for key, _ in page]
                found += keys
                if not keys:
                    assert page.bookmark == bookmark, "nothing to mark: the mark given comes back"
                    break
                assert len(keys) == 10 or len(found) == len(wanted)
                bookmark = page.bookmark
        assert found == (wanted[::-1] if more else wanted)


def test_more_than_a_couchdb_page_is_read_on(chain: Chain) -> None:
    chain.put({f"k{at:04}": {"n": 1} for at in range(2500)})
    assert len(chain.keys({"n": 1}, limit=5)) == 2500, "Fabric replaces the limit"
    assert chain.keys({"n": 1}, skip=2)[:2] == ["k0002", "k0003"]
    with chain.store.snapshot() as snapshot:
        assert len(list(snapshot.query("cc", build({"n": 1}), "", 1700))) == 1700
        nothing = snapshot.query("cc", build({"n": 2}), "", 5)
        assert list(nothing) == []
        assert nothing.bookmark == "nil"


def test_keys_sort_by_bytes_whatever_their_script(chain: Chain) -> None:
    chain.put({key: {"a": 1} for key in ("a", "B", "é", "ж", "\U0001f600", "\ufffd")})
    with chain.store.snapshot() as snapshot:
        page = snapshot.query("cc", build({"a": 1}), "", 3)
        first = [key for key, _ in page]
        rest = [key for key, _ in snapshot.query("cc", build({"a": 1}), page.bookmark, 9)]
    assert first + rest == ["B", "a", "é", "ж", "\ufffd", "\U0001f600"]


def test_private_queries_see_one_collection_and_purged_values_leave_the_index(chain: Chain) -> None:
    chain.put({"k": {"a": 1}}, {"p1": {"a": 1}, "p2": {"a": 2}})
    chain.index("a", collection="secret")
    with chain.store.snapshot() as snapshot:
        found = snapshot.private_query("cc", "secret", build({"a": {"$gt": 0}}, sort=["a"]))
        assert [key for key, _ in found] == ["p1", "p2"]
        assert list(snapshot.private_query("cc", "other", build({}))) == []
    updates = UpdateBatch()
    updates.purged["cc", "secret", sha256(b"p1").digest()] = Version(1, 0)
    chain.store.commit(BlockCommit(1, b"\xff" * 32, b"", [], updates))
    assert chain.entries() == 1


def test_results_are_recorded_as_reads_without_a_range(chain: Chain) -> None:
    chain.put({"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 1}})
    with chain.store.snapshot() as snapshot:
        recorder = Recorder(snapshot, "t")
        page = recorder.query("cc", build({"n": 1})).next_page()
        assert (len(page.results), page.has_more) == (2, False)
        recorder.put_state("cc", "d", b"{}")
        (namespace,) = open_rwset(recorder.results().public).namespaces
        assert [read.key for read in namespace.kv.reads] == ["a", "c"]
        assert not namespace.kv.range_queries_info


def test_paged_and_private_queries_forbid_writes(chain: Chain) -> None:
    chain.put({f"k{at}": {"n": 1} for at in range(5)}, {"p": {"n": 1}})
    with chain.store.snapshot() as snapshot:
        recorder = Recorder(snapshot, "t")
        page = recorder.query_page("cc", build({"n": 1}), 2).next_page()
        assert (len(page.results), page.fetched) == (2, 2)
        page = recorder.query_page("cc", build({"n": 1}), 9, page.bookmark).next_page()
        assert (len(page.results), page.fetched) == (3, 3)
        with pytest.raises(SimulationError, match="paginated query"):
            recorder.put_state("cc", "x", b"1")
        private = Recorder(snapshot, "t")
        assert len(private.private_query("cc", "secret", build({})).next_page().results) == 1
        with pytest.raises(SimulationError, match="queries on pvt data"):
            private.put_state("cc", "x", b"1")


def test_a_peer_set_to_leveldb_refuses_in_its_words(tmp_path: Path) -> None:
    chain = Chain(tmp_path, StateOptions(rich_queries=False))
    with chain.store.snapshot() as snapshot:
        with pytest.raises(UnsupportedQuery, match=r"^ExecuteQuery not supported for leveldb$"):
            snapshot.query("cc", build({}))
        with pytest.raises(UnsupportedQuery, match=r"^ExecuteQueryWithMetadata not supported"):
            snapshot.query("cc", build({}), "", 5)
        with pytest.raises(UnsupportedQuery, match=r"^ExecuteQuery not supported for leveldb$"):
            snapshot.private_query("cc", "secret", build({}))


def test_index_files_are_found_by_folder() -> None:
    files = {
        "couchdb/indexes/a.json": b"1",
        "couchdb/collections/secret/indexes/b.json": b"2",
        "couchdb/other/c.json": b"3",
        "leveldb/indexes/d.json": b"4",
    }
    assert group_index_files(files) == {"": {"a.json": b"1"}, "secret": {"b.json": b"2"}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
@example(40513)
def test_narrowing_changes_nothing(seed: int) -> None:
    """With any indexes the results are those of asking every document, in the sort's order.

    One exception is CouchDB's own: see `test_an_empty_or_lets_couchdb_take_any_index`.
    """
    maker = Maker(seed, plain=False)
    documents = {f"k{at:02}": maker.document() for at in range(30)}
    for document in documents.values():
        del document["_id"]
    with TemporaryDirectory() as folder:
        chain = Chain(Path(folder))
        half = dict(list(documents.items())[:15])
        chain.put(half)
        chain.index("a")
        chain.index("b", "a")
        chain.put(documents)
        for _ in range(8):
            _check_query(chain, maker, documents)
        chain.store.close()


def _check_query(chain: Chain, maker: Maker, documents: dict[str, Any]) -> None:
    selector = maker.selector()
    if maker.random.random() < 0.7:
        low, high = sorted([maker.value(), maker.value()], key=build_sort_key)
        selector = {"a": {"$gte": low, "$lte": high}, "b": {"$exists": True}}
    if "_id" in json.dumps(selector):
        return  # CouchDB compares keys by bytes for the range and by letters for the selector
    try:
        parsed = parse_selector(selector)
    except InvalidQuery:
        return
    if isinstance(parsed.root, And | Or) and not parsed.root.parts:
        assert chain.keys(selector) == [], "CouchDB takes an empty list at the root for nothing"
        return
    wanted = [
        key
        for key, value in documents.items()
        if parsed.matches(open_document(key, json.dumps(value).encode()))
    ]
    found = sorted(chain.keys(selector))
    if _holds_empty_or(parsed.root):
        wanted = [key for key in wanted if key in found or {"a", "b"} <= documents[key].keys()]
    assert found == wanted
    having = [key for key in wanted if get_field(documents[key], ("a",)) is not NOT_FOUND]
    having.sort(key=lambda key: (build_sort_key(documents[key]["a"]), key))
    assert chain.keys(selector, sort=["a"]) == having
    assert chain.keys(selector, sort=[{"a": "desc"}]) == having[::-1]


def _holds_empty_or(part: Any) -> bool:
    return isinstance(part, And | Or) and (
        (isinstance(part, Or) and not part.parts) or any(map(_holds_empty_or, part.parts))
    )


def test_an_empty_or_lets_couchdb_take_any_index(chain: Chain) -> None:
    """It is true of every document, and CouchDB takes it to require every field there is."""
    chain.put({"k1": {"b": 1}, "k2": {"a": 1, "b": 1}, "k3": {"a": 1, "b": 2}})
    assert chain.keys({"$or": [], "b": 1}) == ["k1", "k2"]
    chain.index("a")
    assert chain.keys({"$or": [], "b": 1}) == ["k1", "k2"], (
        "the keys use as much and are named first"
    )
    chain.index("b", "a")
    assert chain.keys({"$or": [], "b": 1}) == ["k2"], "k1 has no a and is not in the index"
    assert chain.keys({"b": 1}) == ["k1", "k2"]


def ask(chain: Chain, query: str, **paging: Any) -> Any:
    """What a chaincode gets for GET_QUERY_RESULT, and after it for QUERY_STATE_NEXT."""
    message = ChaincodeMessage(type=ChaincodeMessage.GET_QUERY_RESULT)
    metadata = chaincode_shim_pb2.QueryMetadata(**paging).SerializeToString()
    request = chaincode_shim_pb2.GetQueryResult(query=query, metadata=metadata)
    message.payload = request.SerializeToString()
    with chain.store.snapshot() as snapshot:
        context = TransactionContext(
            "ch", "cc", Recorder(snapshot, "t"), lambda *_: Permission(True, True)
        )
        answer = answer_request(message, context)
        found = chaincode_shim_pb2.QueryResponse.FromString(answer)
        rows = list(found.results)
        while found.has_more:
            following = chaincode_shim_pb2.QueryStateNext(id=found.id).SerializeToString()
            message = ChaincodeMessage(type=ChaincodeMessage.QUERY_STATE_NEXT, payload=following)
            more = chaincode_shim_pb2.QueryResponse.FromString(answer_request(message, context))
            rows += more.results
            found = more
    return rows, chaincode_shim_pb2.QueryResponseMetadata.FromString(found.metadata)


def test_a_chaincode_gets_pages_of_a_hundred_and_its_own_pages_with_a_bookmark(
    chain: Chain,
) -> None:
    chain.put({f"k{at:04}": {"n": 1} for at in range(250)})
    rows, _ = ask(chain, build({"n": 1}))
    assert len(rows) == 250
    rows, metadata = ask(chain, build({"n": 1}), pageSize=120)
    assert (len(rows), metadata.fetched_records_count) == (120, 120)
    rows, metadata = ask(chain, build({"n": 1}), pageSize=200, bookmark=metadata.bookmark)
    assert (len(rows), metadata.fetched_records_count) == (130, 130)


def test_a_chaincode_is_told_why_its_query_is_refused(chain: Chain) -> None:
    chain.put({"k": {"n": 1}})
    for query, reason in (
        ("{", "unexpected EOF"),
        (build({"n": {"$x": 1}}), "Reason:Invalid operator: $x"),
        (build({"n": {"$mod": [0, 0]}}), "Error:badarith"),
    ):
        with pytest.raises(RequestRefused) as refusal:
            ask(chain, query)
        assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "rich"), [("goleveldb", False), ("CouchDB", True), ("sqlite", True), (None, True)]
)
def test_core_yaml_chooses(text: str | None, rich: bool) -> None:
    state = {"totalQueryLimit": 7} | ({"stateDatabase": text} if text else {})
    settings = Settings("core", {"ledger": {"state": state}})
    assert read_state_options(settings) == StateOptions(rich, 7)
