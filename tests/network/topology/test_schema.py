"""The published JSON Schema: current, and of one mind with the reader."""

import json
from typing import Any

from network.topology.schema import SCHEMA_FILE, build_schema


def test_published_schema_is_current() -> None:
    """Run `make schema` when this fails."""
    assert SCHEMA_FILE.read_text() == build_schema()


def find_undescribed(schema: dict[str, Any]) -> list[str]:
    return [
        f"{name}.{field}"
        for name, model in schema["$defs"].items()
        for field in model.get("properties", {})
        if field != field[0].lower() + field[1:]
    ]


def test_names_are_camel_case_and_unknown_fields_forbidden() -> None:
    schema = json.loads(build_schema())
    assert find_undescribed(schema) == []
    assert schema["additionalProperties"] is False
    objects = [model for model in schema["$defs"].values() if model.get("type") == "object"]
    assert all(model["additionalProperties"] is False for model in objects)
    assert "mspId" in schema["$defs"]["Organization"]["properties"]
