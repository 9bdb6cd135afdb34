"""Runs the command line in this process and reads what it printed."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from admin.cli.root import cli


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


def medfabric(*arguments: str, stdin: str | None = None, **environment: str) -> Ran:
    """`medfabric arguments…` with only these variables of ours set."""
    ours = {"MEDFABRIC_NETWORK": None, "MEDFABRIC_IDENTITY": None, "MEDFABRIC_ENVIRONMENT": None}
    result = CliRunner().invoke(
        cli, list(arguments), input=stdin, env={**ours, **environment}, catch_exceptions=False
    )
    return Ran(result.exit_code, result.stdout, result.stderr)
