"""README's commands do what it shows: run in order in one shell, outputs compared.

What differs from run to run (handles, numbers, times) is blurred on both sides; a line `...` stands
for any further lines.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.care import Care, move_ports

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MARK = "@@@"


@dataclass(frozen=True)
class Step:
    """A command of a console block and the lines that it prints, as the README has them."""

    command: str
    shown: tuple[str, ...]


def read_steps(text: str) -> list[Step]:
    steps: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").split("\n")
            steps.append(Step(command, tuple(shown)))
    return steps


def blur(line: str) -> str:
    """Return the line with everything blurred that differs from run to run."""
    line = re.sub(r"(/[^\s/]+)+/\.medfabric", ".medfabric", line)
    line = re.sub(r"\d{4}-\d\d-\d\d(T[\d:.]+Z)?", "TIME", line)
    line = re.sub(r"\b[0-9a-f]{8,64}\b", "HANDLE", line)
    line = re.sub(r"\b\d+(\.\d+)?\b", "N", line)
    # Tables are as wide as what stands in them.
    return re.sub(r"\s{2,}", "  ", line.rstrip())


def test_the_blur_keeps_words() -> None:
    assert blur("✓ consent 970a6b1d4d2b version 1 granted in block 11 (80 ms)") == (
        "✓ consent HANDLE version N granted in block N (N ms)"
    )


@pytest.mark.network
def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    steps = read_steps(README.read_text())
    assert len(steps) > 15
    data = ROOT / "admin" / "demo" / "data"
    script = ["set -u", f"cp {data}/*json ."]
    for step in steps:
        script += [f"echo '{MARK}'", f"{step.command} 2>&1"]
        if step.command == "medfabric network init":
            script.append(f"{sys.executable} -c 'import tests.test_readme as t; t.free_ports()'")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("MEDFABRIC_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        Care(tmp_path).run("network", "down", code=None)
    printed = done.stdout.split(f"{MARK}\n")[1:]
    assert len(printed) == len(steps), done.stderr
    for step, answer in zip(steps, printed, strict=True):
        compare(step, [line for line in answer.splitlines() if line.strip()])


def compare(step: Step, printed: list[str]) -> None:
    shown = [blur(line) for line in step.shown if line.strip()]
    found = [blur(line) for line in printed]
    if shown and shown[-1] == "...":
        shown, found = shown[:-1], found[: len(shown) - 1]
    assert found == shown, f"$ {step.command}\n" + "\n".join(printed)


def free_ports() -> None:
    """The network file in this folder uses ports that are free now; called by the script."""
    move_ports(Path("network.yaml"))


def test_make_knows_what_the_readme_calls() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README.read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_exit_codes_are_the_programs() -> None:
    from admin.errors import ExitCode

    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE)}
    assert listed == {int(code) for code in ExitCode}


@pytest.mark.network
def test_the_python_example_runs(care: Care) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    body = "\n".join(f"    {line}" for line in example.splitlines())
    program = f"import asyncio\nasync def main():\n{body}\nasyncio.run(main())\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=care.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "GeneralHospitalMSP" in done.stdout, done.stderr
