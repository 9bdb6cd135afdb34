"""Resources to text: indented JSON whose decimals keep their digits."""

import json
from decimal import Decimal
from typing import Any

_INDENT = "  "


def format_json(value: Any) -> str:
    """Return indented JSON, names in the order they have; a Decimal is written as it stands."""
    return _format(value, "")


def _format(value: Any, margin: str) -> str:
    inner = margin + _INDENT
    if isinstance(value, dict) and value:
        items = (
            f"{inner}{json.dumps(name)}: {_format(item, inner)}" for name, item in value.items()
        )
        return "{\n" + ",\n".join(items) + f"\n{margin}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{_format(x, inner)}" for x in value) + f"\n{margin}]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)
