"""`medfabric bench seal` and `bench anchors` measure what they say, and leave nothing behind."""

from pathlib import Path

import pytest

from tests.admin.command import medfabric


def test_sealing_is_measured_beside_plain_encryption(tmp_path: Path) -> None:
    ran = medfabric(
        "bench", "seal", "--size", "2", "--rounds", "3", "--folder", str(tmp_path), "--json"
    )
    assert ran.code == 0, ran.err
    told = ran.json["result"]
    assert told["size"] == 2 << 20
    found = {one["what"]: one for one in told["contenders"]}
    assert [one["ratio"] is None for one in found.values()] == [True, False, True, False, True]
    for one in found.values():
        assert len(one["rates"]) == 3
        assert min(one["rates"]) <= one["rate"] <= max(one["rates"])
    assert list(tmp_path.iterdir()) == []


def test_batches_of_each_size_are_built_and_proven(tmp_path: Path) -> None:
    ran = medfabric(
        *("bench", "anchors", "--offline", "--count", "1", "--count", "300"),
        *("--folder", str(tmp_path), "--json"),
    )
    assert ran.code == 0, ran.err
    told = ran.json["result"]
    assert [one["records"] for one in told] == [1, 300]
    assert all(one["submitted"] is None and one["rate"] > 0 for one in told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("seal", "--size", "0"),
        ("seal", "--folder", "/nowhere/at/all"),
        ("anchors", "--offline", "--count", "0"),
    ],
)
def test_a_wrong_call_is_refused(arguments: tuple[str, ...]) -> None:
    assert medfabric("bench", *arguments).code == 2
