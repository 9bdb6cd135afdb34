"""The published JSON Schema of `network.yaml`.

``python -m network.topology.schema`` writes ``schema.json`` beside this file (or prints it with
``--print``); a test holds the file to the models.
"""

import json
import sys
from pathlib import Path
from typing import Any

from network.topology.values import Topology

SCHEMA_FILE = Path(__file__).with_name("schema.json")
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"


def build_schema() -> str:
    """Return the schema as JSON text, the same for equal models."""
    schema: dict[str, Any] = _without_titles(Topology.model_json_schema(by_alias=True))
    schema = {"$schema": SCHEMA_ID, "title": "Medfabric network", **schema}
    schema["description"] = "A healthcare consortium's network: organisations, nodes and channels."
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _without_titles(value: Any) -> Any:
    """Drop the titles made up from field names: editors show them instead of the description."""
    if isinstance(value, list):
        return [_without_titles(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_titles(entry)
        for key, entry in value.items()
        if not (key == "title" and isinstance(entry, str))
    }


def main(arguments: list[str]) -> int:
    """Write or print the schema."""
    if arguments == ["--print"]:
        sys.stdout.write(build_schema())
    else:
        SCHEMA_FILE.write_text(build_schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
