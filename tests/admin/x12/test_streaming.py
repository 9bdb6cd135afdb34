"""837s of any length: judged and taken claim by claim, in the memory of one."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from typing import BinaryIO, cast

import pytest

from admin.x12.intake import judge_837, take_837
from tests.admin.x12.long837 import Long837

FEW, MANY = 15, 60
MOST = 96 * 1024
"""Bytes that four times as many claims may take more: held whole they take several times this."""


def stream(claims: int) -> BinaryIO:
    return cast("BinaryIO", Long837(claims))


def peak(claims: int) -> int:
    """The most memory that judging and taking so many claims needed, in bytes."""
    gc.collect()
    tracemalloc.start()
    try:
        intake = judge_837(stream(claims), hold=10)
        assert (intake.count, intake.held, intake.problems) == (claims, None, ())
        assert sum(1 for _ in take_837(stream(claims), intake.refused_sets)) == claims
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file() -> None:
    judge_837(stream(1), hold=1)  # the guide is loaded once
    few = peak(FEW)
    assert peak(MANY) - few < MOST


def test_what_was_held_and_what_is_read_again_are_the_same_claims() -> None:
    held = judge_837(stream(12), hold=12).taken
    again = tuple(take_837(stream(12), frozenset()))
    assert held == again
    assert len({claim.told.number for claim in held}) == 12


def test_claims_of_a_refused_set_are_not_taken_again() -> None:
    assert list(take_837(stream(3), frozenset((1,)))) == []


@pytest.mark.skipif("X12_CLAIMS" not in os.environ, reason="long: X12_CLAIMS says how many claims")
def test_a_file_of_any_size_takes_constant_memory() -> None:
    """Minutes: `X12_CLAIMS=100000 pytest -s -k any_size tests/admin/x12`."""
    import resource

    judge_837(stream(1_000), hold=10)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    claims, begun = int(os.environ["X12_CLAIMS"]), time.process_time()
    source = Long837(claims)
    assert judge_837(cast("BinaryIO", source), hold=10).count == claims
    spent = time.process_time() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(  # noqa: T201
        f"\n{claims} claims, {source.size / 1e6:.0f} MB: {spent / claims * 1000:.2f} ms of "
        f"processor time a claim, {grown} KB more memory"
    )
    assert grown < 8_192
