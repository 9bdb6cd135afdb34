"""What every command has in common: options on both sides, one exit, help that teaches."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admin.cli.root import GROUPS, cli
from tests.admin.command import medfabric


def test_help_imports_no_grpc_and_is_quick() -> None:
    script = (
        "import sys\n"
        "from admin.cli.root import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "heavy = {'grpc', 'pydantic', 'rich', 'cryptography', 'asyncio'} & set(sys.modules)\n"
        "assert heavy <= {'asyncio'}, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    begin = time.process_time()
    assert medfabric("--help").code == 0
    assert time.process_time() - begin < 0.3


def every_command() -> list[tuple[str, ...]]:
    import click

    found: list[tuple[str, ...]] = []
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            inner = click.Context(command)
            found += [(name, verb) for verb in command.list_commands(inner)]
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_teaches(path: tuple[str, ...], tmp_path: Path) -> None:
    """A sentence, examples, the common options; and no network is needed for it."""
    ran = medfabric(*path, "--help")
    assert ran.code == 0
    assert "Examples:" in ran.out
    assert "Common options" in ran.out
    for name in ("--network", "--as", "--json", "--quiet", "--verbose"):
        assert name in ran.out


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_examples_call_commands_and_options_that_exist(path: tuple[str, ...]) -> None:
    import click

    context = click.Context(cli)
    command = cli.get_command(context, path[0])
    for verb in path[1:]:
        command = command.get_command(context, verb)
    for example in command.examples:
        for words in re.findall(r"medfabric ([a-z][\w-]*(?: [a-z][\w-]*)?)", example):
            names = words.split()
            group = cli.get_command(context, names[0])
            assert group is not None, example
            if isinstance(group, click.Group) and len(names) > 1:
                assert group.get_command(context, names[1]) is not None, example


def test_common_options_count_before_and_after() -> None:
    for arguments in (
        ("--json", "explain", "VALID"),
        ("explain", "--json", "VALID"),
        ("explain", "VALID", "--json"),
    ):
        assert medfabric(*arguments).json["result"][0]["name"] == "VALID"


def test_the_last_network_option_counts(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    ran = medfabric("--network", str(one), "network", "plan", "--network", str(other))
    assert ran.code == 3
    assert "other.yaml" in ran.err
    assert "one.yaml" not in ran.err


def test_an_unknown_command_names_the_nearest() -> None:
    ran = medfabric("netwrok", "up")
    assert ran.code == 2
    assert "Did you mean 'network'?" in ran.err
    assert medfabric("network", "upp").err.startswith("✗ medfabric network has no 'upp'.")


def test_an_unknown_option_is_wrong_usage_with_a_way_out() -> None:
    ran = medfabric("network", "up", "--nope")
    assert (ran.code, ran.out) == (2, "")
    assert "--nope" in ran.err
    assert "see: medfabric network up --help" in ran.err


def test_errors_have_the_documented_json_shape() -> None:
    ran = medfabric("explain", "no-such-code", "--json")
    assert ran.code == 3
    assert ran.json["ok"] is False
    assert set(ran.json["error"]) == {"code", "message", "where", "remedy", "details"}
    usage = medfabric("explain", "--json", "--nope")
    assert (usage.code, usage.json["error"]["code"]) == (2, "usage")


def test_no_network_file_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = medfabric("network", "status")
    assert ran.code == 2
    assert "medfabric network init" in ran.err


def test_a_network_file_is_found_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert medfabric("network", "init", str(tmp_path)).code == 0
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert "start peer0.hospital.example" in medfabric("network", "plan").out


def test_every_mistake_of_a_network_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "care.yaml"
    medfabric("network", "init", str(file))
    text = file.read_text().replace("port: 8051", "port: 7051").replace("role: payer", "role: pay")
    file.write_text(text)
    ran = medfabric("network", "up", "--network", str(file))
    assert ran.code == 3
    assert re.search(r"care\.yaml:\d+ organizations\[2\]\.peers\[0\]\.port: ", ran.err)
    assert re.search(r"care\.yaml:\d+ organizations\[3\]\.role: ", ran.err)
    assert not (tmp_path / ".medfabric").exists()


def test_nobody_to_act_as_is_wrong_usage(tmp_path: Path) -> None:
    medfabric("network", "init", str(tmp_path))
    ran = medfabric("chaincode", "query", "a:B", "--network", str(tmp_path))
    assert ran.code == 2
    assert "--as ORG/USER" in ran.err


def test_an_unknown_organisation_names_the_nearest(tmp_path: Path) -> None:
    medfabric("network", "init", str(tmp_path))
    ran = medfabric("chaincode", "query", "a:B", "--network", str(tmp_path), "--as", "UnitedPayr/x")
    assert ran.code == 3
    assert "did you mean UnitedPayer?" in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    ran = medfabric("completion", shell)
    assert ran.code == 0
    assert "_MEDFABRIC_COMPLETE" in ran.out


def test_completion_completes() -> None:
    """As the bash script calls us."""
    answer = subprocess.run(
        [sys.executable, "-c", "from admin.cli import main; main()"],
        env={
            "PATH": "/usr/bin:/bin",
            "_MEDFABRIC_COMPLETE": "bash_complete",
            "COMP_WORDS": "medfabric network st",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,status" in answer.stdout


def test_an_unexpected_fault_is_ours_and_says_how_to_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(term: str) -> None:
        raise ZeroDivisionError("secret" * 3)

    monkeypatch.setattr("admin.cli.explain.explain_term", broken)
    ran = medfabric("explain", "VALID")
    assert ran.code == 1
    assert "fault of ours: ZeroDivisionError" in ran.err
    assert "report" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in medfabric("-v", "explain", "VALID").err


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(term: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("admin.cli.explain.explain_term", interrupted)
    ran = medfabric("explain", "VALID")
    assert (ran.code, ran.err) == (130, "interrupted\n")


def test_every_registered_group_has_a_sentence() -> None:
    assert all(told.endswith(".") and len(told) < 70 for _, _, told in GROUPS)
    assert len({name for name, _, _ in GROUPS}) == len(GROUPS)


def test_a_reader_that_goes_away_is_no_failure() -> None:
    """`medfabric explain --all | head -1`."""
    command = f"{sys.executable} -c 'from admin.cli import main; main()' explain --all | head -1"
    script = f"set -o pipefail; {command}"
    answer = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.stderr == ""
    assert answer.returncode in (0, 141)
