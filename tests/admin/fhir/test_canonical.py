"""FHIR's canonical form is the same wherever a resource is stored, and of nothing else."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin.errors import FaultError
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import SourceFile, parse_resource

OBSERVATION = (
    '{"resourceType":"Observation","id":"o1","meta":{"versionId":"7"},"status":"final",'
    '"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">x</div>"},'
    '"code":{"text":"Größe"},"valueQuantity":{"value":1.00,"unit":"m"}}'
)
CANONICAL = (
    '{"code":{"text":"Größe"},"id":"o1","resourceType":"Observation","status":"final",'
    '"valueQuantity":{"unit":"m","value":1.00}}'
)


def static(text: str) -> str:
    return canonical_static(parse_resource(SourceFile("test", text.encode()))).decode()


def test_the_form_is_fhirs() -> None:
    assert static(OBSERVATION) == CANONICAL


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"versionId":"7"', '"versionId":"8"'),
        lambda text: text.replace(",", ",\n   "),
        lambda text: text.replace("Größe", "Gr\\u00f6\\u00dfe"),
        lambda text: text.replace('"status":"final",', "").replace(
            '"code"', '"status":"final","code"'
        ),
        lambda text: text.replace(">x<", ">generated anew<"),
    ],
)
def test_what_a_server_may_change_changes_nothing(change: Any) -> None:
    assert change(OBSERVATION) != OBSERVATION
    assert static(change(OBSERVATION)) == CANONICAL


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.00", "1.0"), ("1.00", "1"), ("final", "amended"), ('"id":"o1"', '"id":"o2"')],
)
def test_what_it_says_changes_it(old: str, new: str) -> None:
    assert static(OBSERVATION.replace(old, new, 1)) != CANONICAL


def test_an_ambiguous_resource_has_no_form() -> None:
    for broken in (
        OBSERVATION.replace('"id":"o1"', '"id":"o1","id":"o2"'),
        OBSERVATION.replace("1.00", "NaN"),
    ):
        with pytest.raises(FaultError):
            static(broken)


def test_every_resource_inside_loses_what_is_the_servers() -> None:
    bundle = (
        '{"resourceType":"Bundle","type":"collection","meta":{"versionId":"1"},'
        f'"entry":[{{"resource":{OBSERVATION}}}]}}'
    )
    assert static(bundle) == (
        f'{{"entry":[{{"resource":{CANONICAL}}}],"resourceType":"Bundle","type":"collection"}}'
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_the_form_is_json_that_says_the_same_and_is_its_own_form(value: dict[str, Any]) -> None:
    value.pop("resourceType", None)
    once = canonical_static(value)
    read = json.loads(once, parse_float=Decimal)
    assert canonical_static(read) == once
    assert json.loads(json.dumps(read, default=str)) == json.loads(
        json.dumps(_as_read(value), default=str)
    )


def _as_read(value: Any) -> Any:
    """The value as JSON reads it back: a decimal that is written like a whole number is one."""
    if isinstance(value, dict):
        return {name: _as_read(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_read(inner) for inner in value]
    if isinstance(value, Decimal) and str(value).lstrip("-").isdigit():
        return int(value)
    return value
