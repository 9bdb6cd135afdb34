"""The bench of claims: claims that no other one equals, and ratios round by round."""

from admin.bench.claims import Cost, Course, Filed, by_stage, make_claim, median_ratio, naming_of
from admin.procedures.claims.preparation import FilingOptions
from admin.procedures.claims.sources import Naming, read_details
from chaincode.claims.fingerprints import compute_fingerprints

FILED = Filed("a" * 32, "b" * 32, "1555001019")
KEY = b"k" * 32


def test_the_claims_are_well_formed_and_all_different() -> None:
    options = naming_of(FilingOptions(Naming()), FILED)
    made = [
        read_details(make_claim(FILED, n), options.naming, "c" * 32, FILED.patient)
        for n in (0, 1, 300)
    ]
    prints = [compute_fingerprints(KEY, one) for one in made]
    lines = [line for one in prints for line in one.lines]
    assert len({one.claim for one in prints}) == 3
    assert len(set(lines)) == 6
    assert all(one.total == sum(line.net for line in one.lines) for one in made)


def test_a_ratio_is_of_a_rounds_own_neighbours() -> None:
    costs = [
        Cost("bare transaction", 10, 1.0, 0.1, 0.1),
        Cost("claim", 10, 2.0, 0.2, 0.2),
        Cost("bare transaction", 10, 10.0, 1.0, 1.0),
        Cost("claim", 10, 20.0, 2.0, 2.0),
    ]
    assert median_ratio(costs) == (2.0, 2.0)


def test_stages_are_told_apart_by_what_was_filed_before() -> None:
    course = Course(rounds=2, grow=(1000,))
    costs = [
        Cost("claim" if n % 2 else "bare transaction", 10, 1.0, 0.1, 0.1, before=before)
        for before in (10, 20, 1000, 1010)
        for n in range(2)
    ]
    found = by_stage(costs, course)
    assert [(before, len(stage)) for before, stage in found] == [(10, 4), (1000, 4)]
