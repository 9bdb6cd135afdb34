"""Runs the commands of the story and prints each as a person would type it, with what it says."""

import os
import shlex
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = "medfabric"
WIDTH = 96


class StageError(Exception):
    """A command of the story did not end as the story says."""


@dataclass
class Stage:
    """Where the story plays: a folder with a network file and the patients' files.

    Attributes:
        folder: the working folder of every command.
        chapter: the number of the chapter that is being told.
        seconds: how long the commands took so far.
    """

    folder: Path
    chapter: int = 0
    seconds: float = 0.0
    _environment: dict[str, str] = field(default_factory=dict)

    def tell(self, title: str, text: str = "") -> None:
        """A new chapter begins."""
        self.chapter += 1
        self._print(f"\n{self.chapter:2}. {title}")
        for line in textwrap.wrap(text, WIDTH - 4):
            self._print(f"    {line}")

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run one command and print it; returns its standard output, stripped.

        Args:
            arguments: the command line after `medfabric`.
            code: the exit code with which it has to end.

        Raises:
            StageError: it ended with another one.
        """
        self._print(f"\n    $ {PROGRAM} {shlex.join(arguments)}")
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "admin.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        self.seconds += time.perf_counter() - begun
        for line in (done.stderr + done.stdout).splitlines():
            self._print(f"    {line}")
        if done.returncode != code:
            raise StageError(
                f"the command ended with {done.returncode} where the story expects {code}"
            )
        return done.stdout.strip()

    def _print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
