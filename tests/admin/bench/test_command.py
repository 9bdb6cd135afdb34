"""`medfabric bench chaincode` on the embedded network, and what it refuses."""

import pytest

from tests.admin.command import medfabric
from tests.journeys.care import Care

METADATA = "org.hyperledger.fabric:GetMetadata"
SHORT = ("--count", "6", "--concurrency", "3", "--warm-up", "0", "--argument", "")


@pytest.mark.network
def test_two_targets_take_turns_in_every_mode(care: Care) -> None:
    told = care.result(
        *("bench", "chaincode", "--chaincode", "health", "--against", "health"),
        *("--function", METADATA, "--rounds", "2", "--processes", "2", *SHORT),
    )
    assert [one["mode"] for one in told["summaries"]] == [
        *("submit", "submit", "evaluate", "evaluate", "endorse", "endorse")
    ]
    for one in told["summaries"]:
        assert [part["transactions"] for part in one["rounds"]] == [6, 6]
        assert one["errors"] == {}
        assert one["rate"] > 0
    assert [one["ratio"] is None for one in told["summaries"]] == [True, False] * 3
    assert told["machine"]["processors"] >= 1


@pytest.mark.network
def test_failures_are_told_by_kind(care: Care) -> None:
    answer = care.run(
        *("bench", "chaincode", "--chaincode", "absent", "--mode", "endorse", "--rounds", "1"),
        *("--function", METADATA, *SHORT),
    )
    assert "endorse absent: 6 × endorse" in answer.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--duration", "1", "--count", "1"), "exclude each other"),
        (("--processes", "3", "--concurrency", "2"), "cannot exceed"),
        (("--endpoint", "localhost:1"), "--endpoint needs --msp-id too"),
        (
            ("--endpoint", "h:1", "--msp-id", "M", "--cert", "/no", "--key", "/no", "-c", "x"),
            "the caller's identity cannot be read",
        ),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments: tuple[str, ...], text: str) -> None:
    answer = medfabric("bench", "chaincode", "--chaincode", "bench", *arguments)
    assert answer.code in (2, 3)
    assert text in answer.err
    assert "Traceback" not in answer.err
