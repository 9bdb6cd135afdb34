"""What is remembered of a walk counts as the validator's own counter counts."""

from hypothesis import given
from hypothesis import strategies as st
from pyx12.nodeCounter import NodeCounter
from pyx12.path import X12Path

from admin.x12.walking import PathCounter

SET = "/ISA_LOOP/GS_LOOP/ST_LOOP"
PATHS = [
    X12Path(path)
    for path in (
        *("/ISA_LOOP", "/ISA_LOOP/GS_LOOP", SET, f"{SET}/DETAIL/2000A", f"{SET}/DETAIL/2000"),
        *(f"{SET}/DETAIL/2000A/2000B", f"{SET}/DETAIL/2000A/HL", f"{SET}/DETAIL/2000A/REF[EI]"),
    )
]
STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(PATHS)), max_size=40)


@given(STEPS)
def test_it_counts_as_the_validators_own(steps: list[tuple[bool, X12Path]]) -> None:
    ours, theirs = PathCounter(), NodeCounter()
    for counts, path in steps:
        for counter in (ours, theirs):
            if counts:
                counter.increment(path)
            else:
                counter.reset_to_node(path)
        assert [ours.get_count(one) for one in PATHS] == [theirs.get_count(one) for one in PATHS]
