"""`docs/events.md`, written from the chaincode's catalogue: `make events`.

A test holds the document to what this writes.
"""

import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from itertools import groupby
from typing import Any, get_args, get_origin, get_type_hints

from chaincode.canonical import wire_name
from chaincode.events import CATALOGUE, SILENT, EventKind

_HEAD = """\
# Events

<!-- Written from chaincode/events.py by: make events -->

Every transaction that changes what all members see sets one event. It is in the block beside the
transaction, under the chaincode `health`; whoever may read the channel may follow it, from any
block on: with `medfabric events watch`, with any official Fabric client, or delivered to a webhook
by `medfabric events forward` ([integrator's guide](guides/integrator.md)).

An event holds handles, codes, MSP ids, digests and times, **never health information**: it says
that something happened, and to what. What it is about is asked of the ledger or of the parties, in
the name of somebody who may know. Payloads are canonical JSON (RFC 8785). Fields may be added in a
later version, none is taken away or given another meaning; a field shown with `?` may be missing.

`ordered by` names the field by which events belong together: of two events that agree in it, the
earlier is delivered first.
"""

_CONTRACTS = {
    "consent": "What patients allow",
    "records": "Records and access to them",
    "claims": "Claims",
    "audit": "Logs and reviews",
    "directory": "The consortium itself",
}

_SCALARS: dict[Any, str] = {
    str: "text",
    int: "number",
    bool: "true or false",
    bytes: "hex",
    datetime: "time",
    date: "day",
    Decimal: "decimal as text",
}


@dataclass(frozen=True, slots=True)
class PayloadField:
    """A field of a payload as it is on the wire; `form` says in words what it holds."""

    name: str
    form: str
    optional: bool


def describe_payload(payload: type) -> tuple[PayloadField, ...]:
    """Return the payload's fields in order; those of a value within it with a dot."""
    return tuple(_fields(payload, ""))


def build_document() -> str:
    """Return the text of `docs/events.md`."""
    parts = [_HEAD]
    for contract, title in _CONTRACTS.items():
        kinds = [kind for kind in CATALOGUE if kind.name.startswith(f"{contract}.")]
        parts.append(f"## {title}\n")
        # Events of one payload share a table.
        parts += [_section(list(alike)) for _, alike in groupby(kinds, key=lambda k: k.payload)]
    parts.append("## Transactions without an event\n")
    parts.append("\n".join(f"- `{name}` {reason}." for name, reason in SILENT.items()) + "\n")
    return "\n".join(parts)


def _section(kinds: list[EventKind]) -> str:
    lines = []
    for kind in kinds:
        by = ", ".join(f"`{name}`" for name in kind.by)
        lines.append(f"**{kind.name}**: {kind.meaning} Set by {by}; ordered by `{kind.subject}`.\n")
    rows = "\n".join(
        f"| `{field.name}`{'?' if field.optional else ''} | {field.form} |"
        for field in describe_payload(kinds[0].payload)
    )
    return "\n".join(lines) + f"\n| field | |\n|---|---|\n{rows}\n"


def _fields(payload: type, prefix: str) -> Iterator[PayloadField]:
    hints = get_type_hints(payload)
    for field in fields(payload):
        name = prefix + wire_name(field.name)
        annotation, optional = _unwrap(hints[field.name])
        if hasattr(annotation, "__dataclass_fields__"):
            yield from _fields(annotation, f"{name}.")
        else:
            # A field that is None is left out of the wire form; others are always there.
            yield PayloadField(name, _form(annotation), optional and field.default is not MISSING)


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    members = [member for member in get_args(annotation) if member is not type(None)]
    if type(None) in get_args(annotation) and len(members) == 1:
        return members[0], True
    return annotation, False


def _form(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return f"list of {_form(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(f"`{member.value}`" for member in annotation)
    return _SCALARS[annotation]


if __name__ == "__main__":
    sys.stdout.write(build_document())
