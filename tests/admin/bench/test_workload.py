"""Arguments from templates, and shares of a load."""

import json

from hypothesis import given
from hypothesis import strategies as st

from admin.bench.workload import build_value, fill, share


def test_templates() -> None:
    def filled(template: str) -> str:
        return fill(template, series="ab", number=7, size=10)

    assert filled("{key}") == "ab-7"
    assert filled("asset{n}") == "asset7"
    assert len(filled("{value}")) == 10
    document = json.loads(filled('{"id": "{key}", "n": {n}, "nested": {"v": "{value}"}}'))
    assert (document["id"], document["n"], len(document["nested"]["v"])) == ("ab-7", 7, 10)
    assert filled("{other}") == "{other}"


@given(st.integers(0, 5000), st.integers(0, 10**6))
def test_a_value_has_its_size_and_is_its_transactions_own(size: int, number: int) -> None:
    value = build_value("s", number, size)
    assert len(value.encode()) == size
    assert value == build_value("s", number, size)
    if size >= 16:
        assert value != build_value("s", number + 1, size)


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_shares_are_fair_and_whole(total: int, parts: int) -> None:
    shares = share(total, parts)
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
