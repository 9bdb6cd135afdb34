"""The contract API: definitions, arguments, hooks, access, metadata, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pytest

from chaincode.access import attribute, msp, nobody, ou, role
from chaincode.contract import Context, Contract, ContractChaincode, query, transaction
from chaincode.errors import (
    ContractDefinitionError,
    ContractError,
    Denied,
    InvalidArgument,
    NotFound,
    read_contract_error,
)
from chaincode.health import CONTRACTS, chaincode
from chaincode.shim.handler import ChaincodeMessage
from chaincode.simulator import Simulator
from tests.chaincode.talk import Talk


@dataclass(frozen=True, slots=True)
class Box:
    width: int
    nested_boxes: tuple[Box, ...] = ()


class Kinds(Contract, name="kinds"):
    """Every kind of parameter."""

    @query
    async def All(
        self,
        ctx: Context,
        text: str,
        number: int,
        yes: bool,
        ratio: float,
        amount: Decimal,
        raw: bytes,
        box: Box,
        names: list[str],
        maybe: str | None,
        word: Literal["a", "b"] = "a",
    ) -> list[Any]:
        """Say what came."""
        return [text, number, yes, ratio, amount, raw, box, names, maybe, word]


GOOD = ["täxt", "-5", "true", "1.5", "12.50", b"\xff", '{"width":1}', '["x"]', "null"]


async def test_arguments_arrive_as_annotated() -> None:
    sim = Simulator(Kinds)
    who = sim.identity("A", "a")
    result = await sim.evaluate(who, "All", *GOOD, "b")
    box = {"nestedBoxes": [], "width": 1}
    assert result.json() == ["täxt", -5, True, 1.5, "12.50", "ff", box, ["x"], None, "b"]
    assert (await sim.evaluate(who, "kinds:All", *GOOD)).json()[-1] == "a"


@pytest.mark.parametrize(
    ("position", "bad", "problem"),
    [
        (0, b"\xff", "text: not valid UTF-8"),
        (1, "1.0", "number: expected an integer"),
        (1, "", "number: expected an integer"),
        (1, "9" * 20, "number: an integer is at most"),
        (2, "True", "yes: expected true or false"),
        (3, "nan", "ratio: expected a number"),
        (4, "1,5", "amount: expected a decimal"),
        (6, "{", "box: not JSON"),
        (6, '{"width":"1"}', r"box\.width: expected an integer, got string"),
        (6, '{"width":1,"nestedBoxes":[{}]}', r"box\.nestedBoxes\[0\]\.width: is required"),
        (7, "[1]", r"names\[0\]: expected a string"),
        (8, "plain", "maybe: not JSON"),
    ],
)
async def test_a_wrong_argument_is_named(position: int, bad: str | bytes, problem: str) -> None:
    sim = Simulator(Kinds)
    args = [*GOOD[:position], bad, *GOOD[position + 1 :]]
    with pytest.raises(InvalidArgument, match=problem):
        await sim.evaluate(sim.identity("A", "a"), "All", *args)


async def test_a_wrong_number_says_what_is_expected() -> None:
    sim = Simulator(Kinds)
    with pytest.raises(InvalidArgument, match=r"expected 9 to 10 arguments, got 0: .*\[word\]"):
        await sim.evaluate(sim.identity("A", "a"), "All")


async def test_hooks_surround_a_transaction() -> None:
    calls: list[Any] = []

    class Hooked(Contract, name="hooked"):
        async def before(self, ctx: Context) -> None:
            calls.append(("before", ctx.function))

        async def after(self, ctx: Context, result: Any) -> None:
            calls.append(("after", result))

        async def unknown(self, ctx: Context, function: str) -> Any:
            return f"no {function}"

        @transaction
        async def Do(self, ctx: Context) -> str:
            return "done"

    sim = Simulator(Hooked)
    who = sim.identity("A", "a")
    assert (await sim.submit(who, "hooked:Do")).text == "done"
    assert calls == [("before", "hooked:Do"), ("after", "done")]
    assert (await sim.submit(who, "hooked:Other")).text == "no Other"


async def test_access_rules_compose() -> None:
    rules = (role("clinician") | role("auditor")) & msp("AMSP") & ou("client")

    class Guarded(Contract, name="guarded"):
        @query(access=rules)
        async def See(self, ctx: Context) -> str:
            return "seen"

        @query(access=nobody())
        async def Off(self, ctx: Context) -> str:
            return "never"

        @query(access=attribute("btg"))
        async def Glass(self, ctx: Context) -> str:
            return "broken"

    sim = Simulator(Guarded)
    clinician = {"role": "clinician", "btg": "true"}
    good = sim.identity("AMSP", "a", attributes=clinician)
    assert (await sim.evaluate(good, "See")).text == "seen"
    assert (await sim.evaluate(good, "Glass")).text == "broken"
    for who, missing in (
        (sim.identity("AMSP", "b"), "attribute role=clinician is missing; or attribute role=aud"),
        (sim.identity("BMSP", "c", attributes=clinician), "membership of AMSP is missing"),
        (sim.identity("AMSP", "d", ou="admin", attributes=clinician), "organisational unit client"),
    ):
        with pytest.raises(Denied, match=missing):
            await sim.evaluate(who, "See")
    with pytest.raises(Denied, match="switched off"):
        await sim.evaluate(good, "Off")
    with pytest.raises(Denied, match="attribute btg is missing"):
        await sim.evaluate(sim.identity("AMSP", "e"), "Glass")
    assert rules.description == (
        "(attribute role=clinician or attribute role=auditor) and membership of AMSP and "
        "organisational unit client"
    )


def test_mistakes_in_a_contract_are_told_when_it_is_defined() -> None:
    with pytest.raises(ContractDefinitionError, match="Sync must be `async def`"):

        class NotAsync(Contract, name="x"):
            @transaction  # type: ignore[type-var]
            def Sync(self, ctx: Context) -> None: ...

    with pytest.raises(ContractDefinitionError, match="parameter key needs an annotation"):

        class Bare(Contract, name="x"):
            @transaction
            async def Do(self, ctx: Context, key) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(ContractDefinitionError, match="has no JSON form"):

        class Odd(Contract, name="x"):
            @transaction
            async def Do(self, ctx: Context, key: Iterator[object] | type) -> None: ...

    with pytest.raises(ContractDefinitionError, match="cannot be a contract's name"):

        class Named(Contract, name="a:b"):
            """Colons separate."""

    with pytest.raises(ContractDefinitionError, match="two contracts are called kinds"):
        ContractChaincode([Kinds(), Kinds()])
    with pytest.raises(ContractDefinitionError, match="at least one"):
        ContractChaincode([])


@pytest.mark.parametrize("seen", [True, False])
async def test_own_writes_are_read_back_only_where_the_contract_says_so(seen: bool) -> None:
    class Ledger(Contract, name="ledger", read_own_writes=seen):
        @transaction
        async def Change(self, ctx: Context) -> list[str | None]:
            stub = ctx.stub
            await stub.put_state("a", b"new")
            await stub.del_state("b")
            await stub.put_private_data("c", "a", b"private")
            values = [
                *await stub.get_multiple_states("a", "b", "x"),
                await stub.get_private_data("c", "a"),
            ]
            return [None if value is None else value.decode() for value in values]

        @transaction
        async def Iterate(self, ctx: Context) -> int:
            await ctx.stub.put_state("a", b"new")
            return len(await ctx.stub.get_state_by_range("", "").collect())

        @transaction
        async def Prepare(self, ctx: Context) -> None:
            for key in ("a", "b"):
                await ctx.stub.put_state(key, b"old")

    sim = Simulator(Ledger)
    who = sim.identity("A", "a")
    await sim.submit(who, "Prepare")
    expected = ["new", None, None, "private"] if seen else ["old", "old", None, None]
    assert (await sim.submit(who, "Change")).json() == expected
    assert sim.state == {"a": b"new"}
    if seen:
        with pytest.raises(ContractError, match=r"OwnWritesUnseen: .* written to the state"):
            await sim.submit(who, "Iterate")
    else:
        assert (await sim.submit(who, "Iterate")).json() == 1


async def test_init_runs_the_named_transaction_or_succeeds() -> None:
    class Starter(Contract, name="starter"):
        @transaction
        async def Start(self, ctx: Context, key: str) -> None:
            await ctx.stub.put_state(key, b"1")

        @transaction
        async def Refuse(self, ctx: Context) -> None:
            raise ContractError("not yet")

    sim = Simulator(Starter)
    who = sim.identity("A", "a")
    assert (await sim.init(who)).payload == b""
    await sim.init(who, "Start", "k")
    assert sim.state == {"k": b"1"}
    talk = Talk(Starter)
    talk.invoke("Refuse", init=True)
    failed = await talk.asked(ChaincodeMessage.ERROR)  # Go's shim: a failed Init is ERROR
    assert failed.payload == b"Internal: not yet"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, "Denied: no", Denied),
        (404, "NotFound: no", NotFound),
        (418, "Teapot: no", ContractError),
        (500, "something else", ContractError),
    ],
)
def test_a_response_is_read_back_as_its_error(
    status: int, message: str, kind: type[ContractError]
) -> None:
    error = read_contract_error(status, message)
    assert type(error) is kind
    assert error.status == status
    assert message in error.message


SCHEMA_KEYS = {
    *("$ref", "format", "title", "description", "default", "maximum", "minimum", "pattern"),
    *("enum", "type", "items", "allOf", "properties", "required", "additionalProperties"),
}
"""What Fabric's contract schema lets a schema have (it has no `oneOf` and `anyOf`)."""


def check_schema(schema: dict[str, Any], components: dict[str, Any]) -> None:
    assert set(schema) <= SCHEMA_KEYS
    if "$ref" in schema:
        assert schema["$ref"].removeprefix("#/components/schemas/") in components
    for inner in schema.get("properties", {}).values():
        check_schema(inner, components)
    items = schema.get("items", [])
    for inner in [items] if isinstance(items, dict) else items:
        check_schema(inner, components)
    extra = schema.get("additionalProperties", True)
    if not isinstance(extra, bool):
        check_schema(extra, components)
    assert schema.get("enum", [1])
    assert schema.get("required", [1])


@pytest.mark.parametrize(
    "served", [ContractChaincode([Kinds()]), chaincode()], ids=["kinds", "health"]
)
def test_metadata_obeys_fabrics_contract_schema(served: ContractChaincode) -> None:
    document = json.loads(served.metadata)
    assert {"title", "version"} <= set(document["info"])
    components = document["components"]["schemas"]
    for name, component in components.items():
        assert component["$id"] == name
        check_schema({key: value for key, value in component.items() if key != "$id"}, components)
    for name, contract in document["contracts"].items():
        assert contract["name"] == name
        for entry in contract["transactions"]:
            parameters = entry.get("parameters", [])
            assert len({parameter["name"] for parameter in parameters}) == len(parameters)
            for parameter in parameters:
                assert set(parameter) == {"name", "required", "schema"}
                check_schema(parameter["schema"], components)
            check_schema(entry.get("returns", {}), components)
    defaults = [entry["name"] for entry in document["contracts"].values() if entry.get("default")]
    assert defaults == [served.default.name]


def test_health_has_its_five_contracts() -> None:
    names = [contract.name for contract in CONTRACTS]
    assert names == ["consent", "records", "claims", "audit", "directory"]
