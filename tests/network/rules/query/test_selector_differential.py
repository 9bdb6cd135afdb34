"""Random selectors against CouchDB's own code and against PouchDB's; skips without them.

tests/vectors/selector/README.md says how to have them.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from network.rules.query.collation import build_sort_key
from network.rules.query.couch_errors import InvalidQuery
from network.rules.query.selector import parse_selector
from tests.network.rules.query.test_selector import judge
from tests.network.rules.selector_cases import MATCHER, Maker, Matcher, open_matcher

POUCHDB = "POUCHDB_MODULES"


@pytest.fixture(scope="module")
def couchdb() -> Any:
    """CouchDB's matcher."""
    command = os.environ.get(MATCHER)
    if not command:
        pytest.skip(f"{MATCHER} names no program that answers with CouchDB's code")
    with open_matcher(command) as matcher:
        yield matcher


@pytest.mark.parametrize("seed", range(100, 104))
def test_random_selectors_select_the_same(couchdb: Matcher, seed: int) -> None:
    maker = Maker(seed, plain=False)
    questions: list[dict[str, Any]] = [
        {"selector": maker.selector(), "documents": [maker.document() for _ in range(20)]}
        for _ in range(2000)
    ]
    matched = refused = 0
    for question, answer in zip(questions, couchdb.ask(questions), strict=True):
        ours = judge(question["selector"], question["documents"])
        if "selected" in answer:
            answer = {"selected": [at for at, yes in enumerate(answer["selected"]) if yes]}
            matched += len(answer["selected"])
        refused += "error" in answer
        assert ours == answer, json.dumps(question["selector"])
    assert matched > 1000
    assert refused > 10


def test_random_values_compare_the_same(couchdb: Matcher) -> None:
    maker = Maker(200, plain=False)
    pairs = [[maker.value(), maker.value()] for _ in range(4000)]
    for pair, answer in zip(pairs, couchdb.ask([{"compare": p} for p in pairs]), strict=True):
        left, right = map(build_sort_key, pair)
        assert (left > right) - (left < right) == answer["order"], pair


_POUCH = """
const {matchesSelector} = require(process.argv[1] + '/pouchdb-selector-core');
const lines = require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean);
for (const line of lines) {
  const {selector, documents} = JSON.parse(line);
  let answer;
  try { answer = documents.map(d => matchesSelector(d, selector)); } catch (e) { answer = null; }
  console.log(JSON.stringify(answer));
}
"""


def test_random_selectors_select_what_pouchdb_selects() -> None:
    """Only where PouchDB means to be CouchDB.

    It has no $keyMapMatch and no $beginsWith, compares texts by code unit, compares missing fields
    as the least of values, keeps one of two conditions on the same field in $and, and has its own
    mind about empty lists, $type, $all, $mod, negations and numbers in paths. So: fields that are
    there, letters of one case, comparisons, $in, $exists, $regex, $and over fields, $or.
    """
    folder = os.environ.get(POUCHDB)
    if not folder or not (Path(folder) / "pouchdb-selector-core").is_dir():
        pytest.skip(f"{POUCHDB} names no node_modules folder with pouchdb-selector-core")
    maker = Maker(300, plain=True)
    choose = maker.random.choice

    def scalar() -> Any:
        return choose([1, 2, 3, 2.5, -1, "a", "ab", "b", True, False])

    def condition() -> Any:
        return choose(
            [
                scalar(),
                {choose(["$lt", "$lte", "$eq", "$gte", "$gt"]): scalar()},
                {"$in": [scalar(), scalar()]},
                {"$exists": True},
                {"$regex": choose(["^a", "b$"])},
            ]
        )

    def selector(depth: int = 0) -> dict[str, Any]:
        if depth < 3 and maker.random.random() < 0.4:
            return {"$or": [selector(depth + 1), selector(depth + 1)]}
        names = maker.random.sample(["a", "b", "c.d"], choose([1, 2]))
        return {"$and": [{name: condition()} for name in names]}

    def document() -> dict[str, Any]:
        found = {name: scalar() for name in "ab"}
        return {"_id": "k", **found, "c": {"d": scalar()}}

    questions: list[dict[str, Any]] = [
        {"selector": selector(), "documents": [document() for _ in range(20)]} for _ in range(1500)
    ]
    run = subprocess.run(
        ["node", "-e", _POUCH, folder],
        input="\n".join(map(json.dumps, questions)),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    compared = 0
    for question, answer in zip(questions, answers, strict=True):
        if answer is None:
            continue
        parsed = parse_selector(question["selector"])
        try:
            ours = [parsed.matches(one) for one in question["documents"]]
        except InvalidQuery:
            continue
        assert ours == answer, json.dumps(question["selector"])
        compared += 1
    assert compared > 1000
