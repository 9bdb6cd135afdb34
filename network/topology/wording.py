"""What is wrong with a value, in words for people instead of a validator's."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from network.topology.errors import Path


def describe(error: ErrorDetails, root: type[BaseModel], path: Path) -> str:
    """Return the sentence for one validation error, with the remedy."""
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return _missing(root, path)
    if kind == "extra_forbidden":
        return _unknown(root, path)
    if kind in ("enum", "literal_error"):
        return _not_among(str(context["expected"]), value)
    if value is None:
        return "has no value; write one or remove the line"
    if kind in ("greater_than_equal", "less_than_equal"):
        return _out_of_range(root, path, kind, context)
    if kind in ("string_too_short", "string_too_long"):
        return f"has the wrong length: {_show(value)}"
    if kind in ("too_short", "too_long"):
        return "needs at least one entry"
    return f"{_EXPECTED.get(kind, 'has a value that does not fit here')}, not {_show(value)}"


_EXPECTED = {
    "string_type": "should be text (put it in quotes if it looks like something else)",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "list_type": "should be a list (each entry on its own line after '- ')",
    "tuple_type": "should be a list (each entry on its own line after '- ')",
    "mapping_type": "should be a mapping of names to values",
    "dict_type": "should be a mapping of names to values",
    "model_type": "should be a mapping of fields",
    "model_attributes_type": "should be a mapping of fields",
}


def suggest(name: str, known: list[str]) -> str:
    """Return "; did you mean 'x'?" when a known name is near, else ""."""
    lowered = {entry.lower(): entry for entry in known}
    near = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


def _missing(root: type[BaseModel], path: Path) -> str:
    parent = _model_at(root, path[:-1])
    description = None
    if parent is not None:
        for field in parent.model_fields.values():
            if field.alias == path[-1]:
                description = field.description
    return f"is missing: {description}" if description else "is missing and has no default"


def _unknown(root: type[BaseModel], path: Path) -> str:
    model = _model_at(root, path[:-1])
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    near = suggest(str(path[-1]), known)
    return f"is not a known field{near or '; known here: ' + ', '.join(known)}"


def _not_among(expected: str, value: object) -> str:
    choices = [choice.strip().strip("'") for choice in expected.replace(" or ", ", ").split(",")]
    near = suggest(value, choices) if isinstance(value, str) else ""
    return f"should be {expected.replace(chr(39), '')}, not {_show(value)}{near}"


def _out_of_range(root: type[BaseModel], path: Path, kind: str, context: Mapping[str, Any]) -> str:
    if path and str(path[-1]).lower().endswith("port"):
        return "should be a port between 1 and 65535"
    del root
    if kind == "greater_than_equal":
        return f"should be {context['ge']} or more"
    return f"should be {context['le']} or less"


def _model_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model that describes the mapping at a path, or None where it is free-form."""
    model: type[BaseModel] | None = root
    for step in path:
        if isinstance(step, int) or model is None:
            continue
        annotation = next(
            (f.annotation for f in model.model_fields.values() if f.alias == step), None
        )
        model = _find_model(annotation)
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _find_model(argument)
        if found is not None:
            return found
    return None


def _show(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return text if len(text) <= 60 else text[:57] + "…"
