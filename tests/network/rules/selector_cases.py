"""Random selectors and documents, the matcher that answers for CouchDB, and the shared cases.

Run as a program it writes `tests/vectors/selector/cases.json`; see the README there.
"""

import json
import os
import random
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[2] / "vectors" / "selector" / "cases.json"
MATCHER = "COUCHDB_MATCHER"

_PLAIN_TEXTS = ["", "a", "A", "b", "ab", "aB", "Ab", "z", "1", "a.b", "a b", "_x", "-x", "10", "9"]
_OTHER_TEXTS = [
    "é",
    "e\u0301",
    "É",
    "ß",
    "ss",
    "æ",
    "ω",
    "д",
    "a\u0000",
    "\u200b",
    "€",
    "中",
    "B\r\n",
]
_NUMBERS = [0, 1, 2, -1, -3, 5, 7, 10, 100, 1.5, -0.5, 0.1, 1e21, 1e-7, 2**53]
_NAMES = ["a", "b", "c", "a.b", "d", "1"]
_PATHS = ["a", "b", "c", "d", "a.b", "a.c", "b.0", "b.a", "a.b.c", "a\\.b", "c.1", "b.-0", "_id"]
_PATTERNS = ["^a", "b$", "[A-Z]", "a|b", "(?i)AB", "^.$", "\\d", "[ab]{2}", "^(a|b)+$"]
_OTHER_PATTERNS = [
    "[[:alpha:]]+",
    "^..$",
    "\\x{e9}",
    "\\Qa.b\\E",
    "(?<x>a)",
    "b\\Z",
    "a++b",
    "\\w\\W",
]


class Maker:
    """Makes values, documents and selectors; the same seed makes the same."""

    def __init__(self, seed: int, *, plain: bool) -> None:
        self.random = random.Random(seed)
        self._texts = _PLAIN_TEXTS if plain else _PLAIN_TEXTS + _OTHER_TEXTS
        self._patterns = _PATTERNS if plain else _PATTERNS + _OTHER_PATTERNS

    def text(self) -> str:
        """A text."""
        if self.random.random() < 0.7:
            return self.random.choice(self._texts)
        return "".join(self.random.choice(self._texts) for _ in range(2))

    def scalar(self) -> Any:
        """A value without parts."""
        kind = self.random.random()
        if kind < 0.2:
            return self.random.choice([None, True, False])
        return self.random.choice(_NUMBERS) if kind < 0.55 else self.text()

    def value(self, depth: int = 0) -> Any:
        """Any value."""
        kind = self.random.random()
        if kind < 0.6 or depth > 2:
            return self.scalar()
        size = self.random.randrange(4)
        if kind < 0.8:
            return [self.value(depth + 1) for _ in range(size)]
        return {name: self.value(depth + 1) for name in sorted(self.random.sample(_NAMES, size))}

    def document(self) -> dict[str, Any]:
        """A document with its key."""
        names = self.random.sample(["a", "b", "c", "a.b", "d"], self.random.randrange(5))
        found = {name: self.value() for name in names}
        return dict(sorted({**found, "_id": self.text() or "k"}.items()))

    def selector(self, depth: int = 0) -> dict[str, Any]:
        """A selector; now and then one that CouchDB refuses."""
        kind, choose = self.random.random(), self.random.choice
        if depth < 3 and kind < 0.34:
            name = choose(["$and", "$or", "$nor"])
            return {name: [self.selector(depth + 1) for _ in range(self.random.randrange(3))]}
        if depth < 3 and kind < 0.44:
            return {"$not": self.selector(depth + 1)}
        if kind < 0.54 and depth < 3:
            return dict(sorted({**self.selector(depth + 1), **self.selector(depth + 1)}.items()))
        return {choose(_PATHS): self.condition(depth)}

    def condition(self, depth: int = 0) -> Any:
        """What is asked of a field."""
        kind, choose = self.random.random(), self.random.choice
        if kind < 0.15:
            return self.value()
        if kind < 0.5:
            return {choose(["$lt", "$lte", "$eq", "$ne", "$gte", "$gt"]): self.value()}
        if kind < 0.6:
            return {choose(["$in", "$nin", "$all"]): [self.value() for _ in range(2)]}
        if kind < 0.8:
            return choose(self._others())
        if depth < 4 and kind < 0.92:
            inner = choose([self.condition, self.selector])(depth + 1)
            return {choose(["$elemMatch", "$allMatch", "$keyMapMatch"]): inner}
        if kind < 0.95:
            return {"$not": self.condition(depth + 1)}
        return {"$gte": self.value(), "$lt": self.value()}

    def _others(self) -> list[dict[str, Any]]:
        choose = self.random.choice
        types = ["null", "boolean", "number", "string", "array", "object"]
        return [
            {"$exists": choose([True, False, True, False, 1])},
            {"$type": choose(types)},
            {"$mod": [choose([1, 2, 3, -2]), choose([0, 1, -1])]},
            {"$regex": choose(self._patterns)},
            {"$size": choose([0, 1, 2, 3, -1])},
            {"$beginsWith": choose(["a", "", "A", "ab"])},
            {choose(["$in", "$all", "$nin"]): choose([[], [None], "a"])},
        ]


class Matcher:
    """A program that answers for CouchDB, line by line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ask(self, questions: Sequence[dict[str, Any]]) -> list[Any]:
        """The answers, in order."""
        lines = b"".join(json.dumps(question).encode() + b"\n" for question in questions)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None

        def write() -> None:
            stdin.write(lines)
            stdin.flush()

        # Written aside: both pipes fill up otherwise.
        writer = threading.Thread(target=write)
        writer.start()
        answers = [json.loads(stdout.readline()) for _ in questions]
        writer.join()
        return answers


@contextmanager
def open_matcher(command: str) -> Iterator[Matcher]:
    """The program that `command` starts."""
    with subprocess.Popen(
        shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Matcher(process)
        assert process.stdin is not None
        process.stdin.close()


CURATED: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": None},
    {"a": {}},
    {"a": {"$gt": None}},
    {"a": {"b": 1, "c": {"$exists": True}}},
    {"a.b": {"$exists": False}},
    {"a\\.b": {"$exists": True}},
    {"$and": []},
    {"$or": []},
    {"$nor": []},
    {"$and": [{}]},
    {"$not": {"a": {"$gt": 1}}},
    {"a": {"$not": {"$gt": 1}}},
    {"$nor": [{"a": 1}, {"b": 2}]},
    {"b": {"$elemMatch": {"$not": {"a": 1}}}},
    {"b": {"$elemMatch": {"$nor": [{"a": 1}]}}},
    {"b": {"$elemMatch": {"$gte": 1, "$lt": 5}}},
    {"b": {"$elemMatch": {"a": {"$eq": 1}}}},
    {"b": {"$allMatch": {"$type": "number"}}},
    {"a": {"$keyMapMatch": {"$eq": "b"}}},
    {"a": {"$in": [1, "a", None]}},
    {"a": {"$nin": []}},
    {"a": {"$in": []}},
    {"b": {"$all": [1, 2]}},
    {"b": {"$all": []}},
    {"b": {"$all": [[1, 2]]}},
    {"b": {"$size": 2}},
    {"a": {"$mod": [2, 1]}},
    {"a": {"$gte": "A", "$lt": "b"}},
    {"_id": {"$gt": "a"}},
    {"a": {"$foo": 1}},
    {"$gt": 1},
    {"a": {"$in": 1}},
    {"a": {"$exists": "yes"}},
    {"a": {"$regex": "("}},
    {"a": {"$where": "x"}},
    {"a..b": 1},
    {"$and": {"a": 1}},
    {"$not": [1]},
    {"a": {"$size": 1.5}},
    {"a": {"$mod": [2]}},
    {"a": {"$type": 3}},
    {"a": {"$beginsWith": 3}},
    {"a": {"$elemMatch": 1}},
]


def _build_cases(matcher: Matcher) -> dict[str, Any]:
    groups = []
    for plain, seed, count in ((True, 7, 220), (False, 8, 160)):
        maker = Maker(seed, plain=plain)
        documents = [maker.document() for _ in range(40)]
        selectors = [*(CURATED if plain else []), *(maker.selector() for _ in range(count))]
        answers = matcher.ask([{"selector": one, "documents": documents} for one in selectors])
        cases = []
        for selector, answer in zip(selectors, answers, strict=True):
            if "selected" in answer:
                selected = [at for at, yes in enumerate(answer["selected"]) if yes]
                answer = {"selected": selected}
            cases.append({"selector": selector, **answer})
        groups.append({"plain": plain, "documents": documents, "cases": cases})
    maker = Maker(9, plain=False)
    pairs = [[maker.value(), maker.value()] for _ in range(150)]
    pairs += [[maker.text(), maker.text()] for _ in range(150)]
    orders = matcher.ask([{"compare": pair} for pair in pairs])
    fields = [["a"], ["a.b", "b.0"], ["a", "a.b", "zz"], ["_id", "d"], ["c.1", "b"]]
    asked = [
        {"fields": maker.random.choice(fields), "document": maker.document()} for _ in range(60)
    ]
    reduced = matcher.ask(asked)
    return {
        "selections": groups,
        "orders": [[*pair, one["order"]] for pair, one in zip(pairs, orders, strict=True)],
        "projections": [
            {**one, "reduced": answer["document"]}
            for one, answer in zip(asked, reduced, strict=True)
        ],
    }


def _write(cases: dict[str, Any]) -> None:
    """One case a line."""
    groups = [
        f'{{"plain": {json.dumps(group["plain"])}, "documents": {_list(group["documents"])},'
        f' "cases": {_list(group["cases"])}}}'
        for group in cases["selections"]
    ]
    CASES.write_text(
        f'{{"selections": [{",".join(groups)}],\n"orders": {_list(cases["orders"])},\n'
        f'"projections": {_list(cases["projections"])}}}\n'
    )


def _list(entries: list[Any]) -> str:
    lines = ",\n".join(map(json.dumps, entries))
    return f"[\n{lines}\n]"


if __name__ == "__main__":
    with open_matcher(os.environ[MATCHER]) as opened:
        _write(_build_cases(opened))
