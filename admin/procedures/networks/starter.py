"""The network file to start from, and its schema."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from admin.errors import input_error


def get_schema() -> Any:
    """The JSON Schema of a network file."""
    return json.loads(files("network.topology").joinpath("schema.json").read_text("utf-8"))


def write_starter(path: Path, *, force: bool = False) -> Path:
    """The example consortium is in the file, with comments.

    Raises:
        FaultError: the file is there already.
    """
    if path.is_dir():
        path = path / "network.yaml"
    if path.exists() and not force:
        raise input_error("this file exists", "choose another, or overwrite it: --force", str(path))
    example = files("network.topology").joinpath("examples").joinpath("care.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.read_text("utf-8"), encoding="utf-8")
    return path
