"""A document whose commands do what it shows: run in order in one shell, outputs compared.

In a document, a block ```` ```console ```` holds commands (`$ …`) and what they print; a block
```` ```python watch.py ```` (or `js`, `json`, …, with a name) is a file that the reader writes, and
stands in the folder before the next command runs; blocks without a name and `sh` are only read.

What differs from run to run (handles, numbers, times) is blurred on both sides; a line `...` stands
for any further lines.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "guides"
MARK = "@@@"
PATIENCE = 1200.0
"""Seconds that a whole document may take: on a busy machine many times what it takes alone."""

_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command of a console block, the lines that it prints, and the files it finds written."""

    command: str
    shown: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()


def read_steps(text: str) -> list[Step]:
    """Return the document's commands in order."""
    steps: list[Step] = []
    files: list[tuple[str, str]] = []
    for language, name, body in _BLOCK.findall(text):
        if language != "console":
            files += [(name, body)] if name else []
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, shown = _take_command(part.rstrip("\n").split("\n"))
            steps.append(Step(command, shown, tuple(files)))
            files = []
    return steps


def _take_command(lines: list[str]) -> tuple[str, tuple[str, ...]]:
    """Split off the command: further lines belong to it after a backslash or in a here-document."""
    last = 0
    while lines[last].endswith("\\"):
        last += 1
    return "\n".join(lines[: last + 1]), tuple(lines[last + 1 :])


def blur(line: str) -> str:
    """Return the line with everything blurred that differs from run to run."""
    line = re.sub(r"(/[^\s/]+)+/\.medfabric", ".medfabric", line)
    line = re.sub(r"\d{4}-\d\d-\d\d(T[\d:.]+Z)?", "TIME", line)
    line = re.sub(r"\b[0-9a-f]{8,64}\b", "HANDLE", line)
    line = re.sub(r"\b\d+(\.\d+)?\b", "N", line)
    # Tables are as wide as what stands in them.
    return re.sub(r"\s{2,}", "  ", line.rstrip())


def compare(step: Step, printed: list[str]) -> None:
    """Assert that a command printed what the document shows."""
    shown = [blur(line) for line in step.shown if line.strip()]
    found = [blur(line) for line in printed]
    if shown and shown[-1] == "...":
        shown, found = shown[:-1], found[: len(shown) - 1]
    assert found == shown, f"$ {step.command}\n" + "\n".join(printed)


def run_document(
    text: str,
    folder: Path,
    *,
    before: tuple[str, ...] = (),
    after: Callable[[Step], tuple[str, ...]] = lambda step: (),
    environment: Mapping[str, str] | None = None,
) -> list[Step]:
    """Run a document's commands in the folder and compare what each prints; returns the steps.

    Args:
        text: the document.
        folder: where it is run.
        before: lines of shell to begin with.
        after: lines of shell that follow a step, unseen by the reader.
        environment: variables beside the usual ones.
    """
    steps = read_steps(text)
    script = ["set -u", *before]
    for number, step in enumerate(steps):
        for name, body in step.files:
            script += [f"cat > {name} <<'END_OF_{number}'", body.rstrip("\n"), f"END_OF_{number}"]
        script += [f"echo '{MARK}'", f"{{ {step.command}\n}} 2>&1", *after(step)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    printed = done.stdout.split(f"{MARK}\n")[1:]
    assert len(printed) == len(steps), done.stderr
    for step, answer in zip(steps, printed, strict=True):
        compare(step, [line for line in answer.splitlines() if line.strip()])
    return steps


def _environment() -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("MEDFABRIC_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
