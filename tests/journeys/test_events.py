"""Following and forwarding events on a network, over a restart of the peer and of the follower."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from admin.events.deliveries import read_secrets
from tests.admin.events.receiver import receiving
from tests.journeys.care import Care

pytestmark = pytest.mark.network

KIM = ("--as", "CityClinic/dr.kim")
REGISTRAR = ("--as", "PatientTrust/registrar")
PATIENCE = 120.0


@contextmanager
def running_command(care: Care, out: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on within, and is interrupted afterwards as by Ctrl-C."""
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "admin.cli", *arguments], cwd=care.folder, stdout=file
        )
        try:
            yield process
        finally:
            process.send_signal(2)
            process.wait(120)


def wait_until(out: Path, count: int) -> list[dict[str, object]]:
    """The events in a follower's output, once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = out.read_text().rpartition("\n")[0].splitlines()  # whole ones
        if len(lines) >= count:
            return [json.loads(line)["result"] for line in lines]
        time.sleep(0.1)
    raise AssertionError(f"{len(lines)} events came, not {count}")


def register(care: Care) -> str:
    return care.run("patient", "register", *REGISTRAR).out


def test_watching_survives_the_peer_and_itself(people: Care, tmp_path: Path) -> None:
    checkpoint, out = tmp_path / "checkpoint.json", tmp_path / "out"
    watch = (
        "events", "watch", "--event", "directory.PatientRegistered",
        "--checkpoint", str(checkpoint), "--json", *KIM,
    )  # fmt: skip
    handles: list[str] = []

    def seen(count: int) -> None:
        found = [event["payload"]["patient"] for event in wait_until(out, count)]  # type: ignore[index]
        assert found == handles[-count:]

    with running_command(people, out, *watch):
        deadline = time.monotonic() + PATIENCE
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        handles.append(register(people))
        seen(1)
        people.run("network", "restart", "peer0.clinic.example")
        handles.append(register(people))
        seen(2)
    # What happens while nobody watches is not missed, and nothing comes twice.
    handles.append(register(people))
    handles.append(register(people))
    with running_command(people, out, *watch):
        seen(2)


def test_forwarding_goes_on_where_it_stopped(people: Care, tmp_path: Path) -> None:
    secret = tmp_path / "hook.secret"
    people.run("events", "secret", str(secret))
    assert secret.stat().st_mode & 0o777 == 0o600
    assert "is there already" in people.run("events", "secret", str(secret), code=3).err
    with receiving(tmp_path, read_secrets(secret.read_text())) as receiver:
        forward = (
            "events", "forward", "--to", receiver.url, "--ca", receiver.ca_file,
            "--secret-file", str(secret), "--checkpoint", str(tmp_path / "hook.json"), *KIM,
        )  # fmt: skip
        people.run(*forward, "--allow-private", "--from-block", "0", "--count", "4")
        people.run(*forward, "--allow-private", "--count", "2")
        blocks = [json.loads(body)["data"]["blockNumber"] for _, body in receiver.seen]
        assert len({delivery_id for delivery_id, _ in receiver.seen}) == 6
        assert sorted(blocks[:4]) + sorted(blocks[4:]) == sorted(blocks)
        # Refused addresses are dead letters, which can be sent again.
        people.run(*forward, "--attempts", "1", "--count", "1")
        letters = tmp_path / "hook.json.dead.ndjson"
        assert "not public" in letters.read_text()
        assert len(receiver.seen) == 6
        people.run(
            "events", "redeliver", str(letters), "--to", receiver.url, "--ca", receiver.ca_file,
            "--allow-private", "--secret-file", str(secret),
        )  # fmt: skip
        assert len(receiver.seen) == 7
        assert not letters.exists()
        receiver.decide = lambda delivery_id, body: (410, {})
        gone = people.run(*forward, "--allow-private", "--count", "1", code=4)
        assert "410" in gone.err
    secret.chmod(0o644)
    assert "others may read" in people.run(*forward, code=3).err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("watch", "--about", "12"), 2),
        (("watch", "--from-block", "x"), 2),
        (("forward",), 2),
        (("forward", "--to", "http://x", "--secret-file", "x", "--checkpoint", "x"), 3),
        (("forward", "--to", "https://x", "--secret-file", "nowhere"), 3),
        (("redeliver", "nowhere", "--to", "https://x", "--secret-file", "x"), 3),
    ],
)
def test_mistakes_end_with_their_code(people: Care, arguments: tuple[str, ...], code: int) -> None:
    assert people.run("events", *arguments, *KIM, code=code).err
