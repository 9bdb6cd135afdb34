"""Values ↔ wire form: round trips, strictness, and paths in refusals."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal, NewType

import pydantic
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from chaincode.canonical import (
    MAX_INTEGER,
    decode,
    encode,
    from_wire,
    parse_json,
    reader_of,
    to_wire,
)
from chaincode.errors import InvalidArgument

Handle = NewType("Handle", str)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    color: Color = Color.RED


@dataclass(frozen=True, slots=True)
class Tree:
    """A type that contains itself."""

    tree_id: Handle
    leaves: tuple[Leaf, ...] = ()
    children: tuple[Tree, ...] = ()
    noted_at: datetime | None = None
    price: Decimal | None = None
    digest: bytes = b""
    born: date | None = None
    tags: frozenset[str] = frozenset()
    labels: dict[str, int] = field(default_factory=dict)
    kind: Literal["oak", "elm"] = "oak"
    size: Annotated[int, "metres"] = 0


names = st.text(st.characters(codec="utf-8"), max_size=8)
leaves = st.builds(Leaf, names, st.sampled_from(Color))
moments = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
)
trees = st.recursive(
    st.builds(
        Tree,
        names.map(Handle),
        st.lists(leaves, max_size=3).map(tuple),
        st.just(()),
        st.none() | moments,
        st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2),
        st.binary(max_size=8),
        st.none() | st.dates(),
        st.frozensets(names, max_size=3),
        st.dictionaries(names, st.integers(-MAX_INTEGER, MAX_INTEGER), max_size=3),
        st.sampled_from(["oak", "elm"]),
        st.integers(-MAX_INTEGER, MAX_INTEGER),
    ),
    lambda inner: st.builds(
        Tree, names.map(Handle), st.just(()), st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@given(trees)
def test_what_is_encoded_decodes_to_the_same_value(tree: Tree) -> None:
    raw = encode(tree)
    assert decode(Tree, raw) == tree
    assert encode(decode(Tree, raw)) == raw


def test_the_wire_form_is_camel_case_and_canonical() -> None:
    tree = Tree(
        Handle("t"),
        (Leaf("a"),),
        noted_at=datetime(2026, 1, 2, 5, 4, 5, 120_000, timezone(timedelta(hours=2))),
        price=Decimal("12.50"),
        digest=b"\x00\xff",
        tags=frozenset({"b", "a"}),
    )
    assert json.loads(encode(tree)) == {
        "treeId": "t",
        "leaves": [{"name": "a", "color": "red"}],
        "children": [],
        "notedAt": "2026-01-02T03:04:05.12Z",
        "price": "12.50",
        "digest": "00ff",
        "tags": ["a", "b"],
        "labels": {},
        "kind": "oak",
        "size": 0,
    }
    assert encode({"b": 1, "a": [True, None, 1.5]}) == b'{"a":[true,null,1.5],"b":1}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"treeId":1}', r"\$\.treeId: expected a string, got number"),
        ("{}", r"\$\.treeId: is required"),
        ('{"treeId":"t","size":true}', r"\$\.size: expected an integer, got boolean"),
        ('{"treeId":"t","size":1.0}', r"\$\.size: expected an integer"),
        ('{"treeId":"t","size":9007199254740992}', r"\$\.size: an integer is at most"),
        ('{"treeId":"t","leaves":[{"name":"a"},{}]}', r"\$\.leaves\[1\]\.name: is required"),
        ('{"treeId":"t","leaves":[{"name":"a","color":"green"}]}', r"expected one of red, blue"),
        ('{"treeId":"t","price":12.5}', r"\$\.price: expected a decimal as a string"),
        ('{"treeId":"t","price":"NaN"}', r"\$\.price: expected a decimal"),
        ('{"treeId":"t","price":"1e9"}', r"\$\.price: expected a decimal"),
        ('{"treeId":"t","digest":"FF"}', r"\$\.digest: expected lower case hex"),
        ('{"treeId":"t","notedAt":"2026-01-02T03:04:05"}', r"\$\.notedAt: expected an RFC 3339"),
        ('{"treeId":"t","notedAt":"2026-02-30T03:04:05Z"}', r"\$\.notedAt: expected an RFC 3339"),
        ('{"treeId":"t","born":"2026-1-2"}', r"\$\.born: expected a date"),
        ('{"treeId":"t","labels":{"secret":"x"}}', r"\$\.labels\.\*: expected an integer"),
        ('{"treeId":"t","kind":"ash"}', r"\$\.kind: expected one of oak, elm"),
        ('{"treeId":"t","tree_id":"t"}', r"\$: unknown field; did you mean treeId\?"),
        ('{"treeId":"t","treeId":"t"}', r"same name twice"),
        ('{"treeId":"\\ud800"}', r"not valid UTF-8"),
        ('{"treeId":"t","size":NaN}', r"NaN is not JSON"),
        ("[" * 100_000, r"\$: (nested too deeply|not JSON)"),
        ('{"treeId":', r"\$: not JSON: .* line 1 column"),
        ("[]", r"\$: expected an object, got array"),
    ],
)
def test_a_fault_is_refused_with_its_path(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        decode(Tree, text.encode())


def test_the_callers_own_text_is_not_repeated() -> None:
    for text in ('{"treeId":"t","secretsecret":1}', '{"treeId":"t","labels":{"secret":"secret"}}'):
        with pytest.raises(InvalidArgument) as caught:
            decode(Tree, text.encode())
        assert "secret" not in caught.value.text


def test_values_without_a_wire_form_are_refused() -> None:
    for value in (float("nan"), 2**53, datetime(2026, 1, 1), Decimal("inf"), object(), {1: 2}):
        with pytest.raises(InvalidArgument):
            encode(value)


def test_other_forms() -> None:
    assert from_wire(Level, 1) is Level.LOW
    assert to_wire(Level.LOW) == 1
    assert decode(tuple[int, str], b'[1,"a"]') == (1, "a")
    with pytest.raises(InvalidArgument, match="expected 2 items, got 1"):
        decode(tuple[int, str], b"[1]")
    either: Any = Leaf | Tree
    assert decode(either, b'{"treeId":"t"}') == Tree(Handle("t"))
    assert decode(list[Leaf], b'[{"name":"x"}]') == [Leaf("x")]
    assert parse_json(b'"\\ud83d\\ude00"') == "\N{GRINNING FACE}"


def test_pydantic_models_are_read_and_written() -> None:
    class Model(pydantic.BaseModel):
        count: int

    assert decode(Model, b'{"count":3}') == Model(count=3)
    assert encode(Model(count=3)) == b'{"count":3}'
    with pytest.raises(InvalidArgument, match=r"\$\.count: "):
        decode(Model, b'{"count":"x"}')


_NAMES = st.sampled_from(["treeId", "leaves", "name", "color", "x"])
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "x", "red", "1.5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)


def _outcome(read: Callable[[Any], object], value: Any) -> object:
    try:
        return read(value)
    except InvalidArgument as error:
        return str(error)


def _read_carefully(kind: Any, value: Any) -> object:
    return reader_of(kind)(value, "$")


@given(_JSON | st.fixed_dictionaries({"treeId": _JSON}, optional={"leaves": _JSON, "x": _JSON}))
def test_the_quick_reader_accepts_what_the_careful_one_accepts_and_nothing_else(value: Any) -> None:
    for kind in (Tree, Leaf, tuple[str, ...], Color):
        careful = partial(_read_carefully, kind)
        assert _outcome(partial(from_wire, kind), value) == _outcome(careful, value)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_JSON)
def test_the_quick_way_gives_the_bytes_of_rfc_8785(value: Any) -> None:
    assert encode(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("text", ["12:30.5", "[1.5]", ",3e7", "\x7f\x1f", "é", "\ue000", "𐀀"])
def test_what_looks_like_a_fraction_or_is_not_ascii_makes_no_difference(text: str) -> None:
    assert encode({text: text, "a": [text]}) == rfc8785.dumps({text: text, "a": [text]})
