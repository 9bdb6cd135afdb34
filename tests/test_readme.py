"""README's commands do what it shows (see `tests.guides.guide`), and what it names exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guides.guide import ROOT, Step, blur, run_document
from tests.journeys.care import Care, move_ports

README = ROOT / "README.md"


def test_the_blur_keeps_words() -> None:
    assert blur("✓ consent 970a6b1d4d2b version 1 granted in block 11 (80 ms)") == (
        "✓ consent HANDLE version N granted in block N (N ms)"
    )


@pytest.mark.network
def test_the_commands_print_what_the_readme_shows(tmp_path: Path) -> None:
    data = ROOT / "admin" / "demo" / "data"
    try:
        steps = run_document(
            README.read_text(), tmp_path, before=(f"cp {data}/*json .",), after=free_the_ports
        )
    finally:
        Care(tmp_path).run("network", "down", code=None)
    assert len(steps) > 15


def free_the_ports(step: Step) -> tuple[str, ...]:
    """After `network init`, the network file names ports that are free now."""
    if step.command != "medfabric network init":
        return ()
    return (f"{sys.executable} -c 'import tests.test_readme as t; t.free_ports()'",)


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
        timeout=300,
    )
    assert "GeneralHospitalMSP" in done.stdout, done.stderr
