"""How long to wait, and after what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.client.errors import CommitError, EndorseError, PeerDetail
from network.client.retry import Retry, is_conflict


@given(
    attempt=st.integers(1, 60),
    chance=st.floats(0, 1, exclude_max=True),
    first=st.floats(0.001, 1),
    longest=st.floats(0.001, 10),
)
def test_waits_never_exceed_the_longest(
    attempt: int, chance: float, first: float, longest: float
) -> None:
    delay = Retry(first_delay=first, longest_delay=longest).delay(attempt, chance)
    assert 0 < delay <= longest


def test_waits_double() -> None:
    retry = Retry(first_delay=0.1, longest_delay=1.0)
    assert [round(retry.delay(n, 0.999999), 3) for n in (1, 2, 3, 4, 5, 6)] == [
        0.1, 0.2, 0.4, 0.8, 1.0, 1.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "conflict"),
    [
        (CommitError("t", 11, "MVCC_READ_CONFLICT", 1), True),
        (CommitError("t", 12, "PHANTOM_READ_CONFLICT", 1), True),
        (CommitError("t", 10, "ENDORSEMENT_POLICY_FAILURE", 1), False),
        (EndorseError("ABORTED", "failed to collect enough"), False),
        (
            EndorseError(
                "ABORTED",
                "failed",
                details=(PeerDetail("p", "m", "ProposalResponsePayloads do not match"),),
            ),
            True,
        ),
        (ValueError(), False),
    ],
)
def test_what_a_fresh_proposal_may_cure(failure: Exception, conflict: bool) -> None:
    assert is_conflict(failure) is conflict


def test_no_attempt_is_no_retry() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Retry(attempts=0)
