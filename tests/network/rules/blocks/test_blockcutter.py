"""The block cutter against Fabric's rule, stated once more and naively."""

from hypothesis import given
from hypothesis import strategies as st

from network.rules.blocks.blockcutter import BatchLimits, BlockCutter

Batches = list[list[int]]


def cut_all(sizes: list[int], limits: BatchLimits) -> Batches:
    """The batches of messages named 0, 1, 2…, the last one cut by hand."""
    cutter: BlockCutter[int] = BlockCutter(limits)
    batches = [batch for name, size in enumerate(sizes) for batch in cutter.order(name, size)]
    last = cutter.cut()
    assert not cutter.is_pending
    return [*batches, last] if last else batches


def cut_naively(sizes: list[int], limits: BatchLimits) -> Batches:
    """A message joins the batch before it unless that is full, one of both is oversized, or
    together they exceed the preferred size."""
    batches: Batches = []
    for name, size in enumerate(sizes):
        last = batches[-1] if batches else []
        bytes_so_far = sum(sizes[other] for other in last)
        fits = (
            last
            and len(last) < limits.max_messages
            and bytes_so_far <= limits.preferred_max_bytes
            and bytes_so_far + size <= limits.preferred_max_bytes
        )
        if fits:
            last.append(name)
        else:
            batches.append([name])
    return batches


@given(
    sizes=st.lists(st.integers(1, 30), max_size=30),
    limits=st.builds(BatchLimits, st.integers(1, 6), st.integers(1, 40)),
)
def test_batches_are_the_naive_ones(sizes: list[int], limits: BatchLimits) -> None:
    assert cut_all(sizes, limits) == cut_naively(sizes, limits)


def test_the_batch_is_cut_at_the_count() -> None:
    assert cut_all([1] * 5, BatchLimits(2, 100)) == [[0, 1], [2, 3], [4]]


def test_a_message_that_would_overflow_begins_the_next_batch() -> None:
    assert cut_all([6, 4, 1], BatchLimits(10, 10)) == [[0, 1], [2]]


def test_an_oversized_message_is_alone_and_closes_the_batch_before_it() -> None:
    cutter: BlockCutter[str] = BlockCutter(BatchLimits(10, 10))
    assert cutter.order("small", 5) == []
    assert cutter.order("large", 11) == [["small"], ["large"]]
    assert not cutter.is_pending


def test_new_limits_count_from_the_next_message() -> None:
    cutter: BlockCutter[str] = BlockCutter(BatchLimits(10, 100))
    cutter.order("a", 1)
    cutter.limits = BatchLimits(2, 100)
    assert cutter.order("b", 1) == [["a", "b"]]
