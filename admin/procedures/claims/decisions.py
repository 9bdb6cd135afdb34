"""A payer's decision by hand, from a file or a few words; amounts in units of the currency.

    {"lines": [{"sequence": 1, "paid": 120.00,
                "adjustments": [{"group": "CO", "carc": "45", "amount": 65.00}]}]}

Every line of the claim is decided; charge - adjustments = paid on each, which the chaincode checks.
"""

import re
from collections.abc import Mapping
from typing import Any

from admin.errors import input_error
from admin.fhir.reading import SourceFile
from chaincode.claims.codes import Group, is_carc, is_rarc
from chaincode.claims.details import Adjustment, Details, LineDecision
from chaincode.claims.fhir import read_decimal, read_json
from chaincode.claims.model import Reason
from chaincode.errors import InvalidArgument

_REASON = re.compile(r"(CO|PR|OA|PI)-([A-Z]?\d{1,3})(?:-(MA\d+|M\d+|N\d+))?")


def read_reason(text: str) -> Reason:
    """Return the reason in `CO-16` or `CO-16-N706`. Raises FaultError."""
    found = _REASON.fullmatch(text.upper())
    if found is None or not is_carc(found[2]):
        raise input_error(
            f"not a reason: {text!r}",
            "write group, CARC and perhaps RARC, such as CO-16-N706; groups: CO, PR, OA, PI",
        )
    return Reason(found[1], found[2], found[3] or "")


def deny_all(details: Details, reason: Reason) -> tuple[LineDecision, ...]:
    """Return the decision that refuses every line of a claim for one reason."""
    return tuple(
        LineDecision(
            line.sequence,
            line.net,
            (Adjustment(Group(reason.group), reason.carc, line.net, reason.rarc),),
            0,
        )
        for line in details.lines
    )


def read_lines(source: SourceFile, details: Details) -> tuple[LineDecision, ...]:
    """Return the lines of a decision in a file. Raises FaultError, naming the element."""
    charges = {line.sequence: line.net for line in details.lines}
    try:
        value = read_json(source.raw)
        lines = value.get("lines") if isinstance(value, dict) else None
        if not isinstance(lines, list) or not lines:
            raise InvalidArgument("lines: expected one for each line of the claim")
        return tuple(_line(item, f"lines[{index}]", charges) for index, item in enumerate(lines))
    except InvalidArgument as error:
        text = error.text.removeprefix("Claim: ")
        raise input_error(
            f"not a decision: {text}",
            "see the form: medfabric claim adjudicate --help",
            source.name,
        ) from None


def _line(item: Any, path: str, charges: Mapping[int, int]) -> LineDecision:
    known = _object(item, path, {"sequence", "paid", "adjustments"})
    sequence = known.get("sequence")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence not in charges:
        raise InvalidArgument(f"{path}.sequence: the claim has no such line")
    adjustments = known.get("adjustments", [])
    if not isinstance(adjustments, list):
        raise InvalidArgument(f"{path}.adjustments: expected an array")
    return LineDecision(
        sequence=sequence,
        charge=charges[sequence],
        adjustments=tuple(
            _adjustment(one, f"{path}.adjustments[{index}]")
            for index, one in enumerate(adjustments)
        ),
        paid=_cents(known.get("paid"), f"{path}.paid"),
    )


def _adjustment(item: Any, path: str) -> Adjustment:
    known = _object(item, path, {"group", "carc", "rarc", "amount"})
    try:
        group = Group(str(known.get("group")))
    except ValueError:
        raise InvalidArgument(f"{path}.group: expected CO, PR, OA or PI") from None
    carc, rarc = str(known.get("carc", "")), str(known.get("rarc", ""))
    if not is_carc(carc):
        raise InvalidArgument(f"{path}.carc: not a claim adjustment reason code")
    if rarc and not is_rarc(rarc):
        raise InvalidArgument(f"{path}.rarc: not a remittance advice remark code")
    return Adjustment(group, carc, _cents(known.get("amount"), f"{path}.amount"), rarc)


def _object(item: Any, path: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InvalidArgument(f"{path}: expected an object")
    if unknown := sorted(set(item) - names):
        raise InvalidArgument(f"{path}.{unknown[0]}: is no field of a decision")
    return item


def _cents(value: Any, path: str) -> int:
    cents = read_decimal(value, path) * 100
    if cents != cents.to_integral_value():
        raise InvalidArgument(f"{path}: not in whole cents")
    return int(cents)
