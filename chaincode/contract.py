"""Methods become transactions: `Contract`, `@transaction`, `@query`, and the chaincode of several.

    class Assets(Contract, name="assets"):
        @transaction(access=role("owner"))
        async def Create(self, ctx: Context, asset: Asset) -> Asset: ...

        @query
        async def Get(self, ctx: Context, asset_id: str) -> Asset: ...

    chaincode = ContractChaincode((Assets(),))

Clients call `assets:Create`; a name without a contract goes to the first one. Arguments are read by
their annotation (`arguments`), results written likewise, errors answered as `"<Code>: <text>"`.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar, overload

from chaincode.access import Access, anyone
from chaincode.arguments import Signature, build_result, read_signature
from chaincode.context import Context as Context  # contracts take it from here
from chaincode.errors import ContractDefinitionError, ContractError, Denied, UnknownTransaction
from chaincode.metadata import METADATA_TRANSACTION, ContractInfo, TransactionInfo, build_metadata
from chaincode.shim.response import Response
from chaincode.shim.stub import Stub, decode_argument

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_MARK = "__medfabric_transaction__"


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a decorator noted on a method."""

    access: Access
    read_only: bool


@overload
def transaction(function: F, /) -> F: ...
@overload
def transaction(*, access: Access | None = None) -> Callable[[F], F]: ...
def transaction(function: F | None = None, /, *, access: Access | None = None) -> Any:
    """Make an async method a transaction, for callers whom `access` lets pass (default anyone)."""
    return _decorator(function, _Mark(access or anyone(), read_only=False))


@overload
def query(function: F, /) -> F: ...
@overload
def query(*, access: Access | None = None) -> Callable[[F], F]: ...
def query(function: F | None = None, /, *, access: Access | None = None) -> Any:
    """Make an async method a transaction that only reads: a write in it raises WriteInQuery."""
    return _decorator(function, _Mark(access or anyone(), read_only=True))


def _decorator(function: F | None, mark: _Mark) -> Any:
    def decorate(method: F) -> F:
        setattr(method, _MARK, mark)
        return method

    return decorate if function is None else decorate(function)


class Contract:
    """A named group of transactions; subclass it, and override the hooks where useful."""

    name: ClassVar[str] = ""
    read_own_writes: ClassVar[bool] = False
    transactions: ClassVar[Mapping[str, Transaction]] = {}

    def __init_subclass__(
        cls, *, name: str | None = None, read_own_writes: bool | None = None, **rest: Any
    ) -> None:
        """Collect the decorated methods. Raises ContractDefinitionError for one that cannot be.

        `read_own_writes` lets reads see the transaction's own writes (see `overlay`).
        """
        super().__init_subclass__(**rest)
        if read_own_writes is not None:
            cls.read_own_writes = read_own_writes
        if name is not None:
            if not name or ":" in name:
                raise ContractDefinitionError(f"{name!r} cannot be a contract's name")
            cls.name = name
        elif not cls.name:
            cls.name = cls.__name__
        cls.transactions = dict(_collect(cls))

    async def before(self, ctx: Context) -> None:
        """Called before each transaction, after its arguments and access were found good."""

    async def after(self, ctx: Context, result: Any) -> None:
        """Called after each transaction that returned."""

    async def unknown(self, ctx: Context, function: str) -> Any:
        """Called for a name that is no transaction; refuses with the nearest name."""
        raise UnknownTransaction(
            f"contract {self.name} has no transaction of that name{_nearest(function, self)}"
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of a contract class."""

    name: str
    function: Callable[..., Awaitable[Any]]
    signature: Signature
    access: Access
    read_only: bool
    documentation: str


class ContractChaincode:
    """Contracts in one namespace, as a `interface.Chaincode`."""

    def __init__(
        self, contracts: Iterable[Contract], *, title: str = "chaincode", version: str = "1.0"
    ) -> None:
        """Raises ContractDefinitionError: no contract, or two of one name."""
        self.contracts: dict[str, Contract] = {}
        for contract in contracts:
            if contract.name in self.contracts:
                raise ContractDefinitionError(f"two contracts are called {contract.name}")
            self.contracts[contract.name] = contract
        if not self.contracts:
            raise ContractDefinitionError("a chaincode needs at least one contract")
        self.default = next(iter(self.contracts.values()))
        self.title = title
        self.version = version

    async def init(self, stub: Stub) -> Response:
        """Run the transaction that `--isInit` names; without arguments there is nothing to do."""
        return await self.invoke(stub) if stub.get_args() else Response()

    async def invoke(self, stub: Stub) -> Response:
        """Answer one transaction. Lets only unforeseen exceptions out."""
        try:
            return Response(payload=await self._dispatch(stub))
        except ContractError as error:
            return Response(error.status, error.message)

    @cached_property
    def metadata(self) -> bytes:
        """The answer to `org.hyperledger.fabric:GetMetadata`."""
        return build_metadata(
            self.title, self.version, [_describe(c) for c in self.contracts.values()]
        )

    async def _dispatch(self, stub: Stub) -> bytes:
        args = stub.get_args()
        if not args:
            raise UnknownTransaction("the proposal names no transaction; call contract:Transaction")
        function = decode_argument(args[0], 0)
        if function == METADATA_TRANSACTION:
            return self.metadata
        contract, name = self._find(function)
        ctx = Context(stub, function)
        found = contract.transactions.get(name)
        if found is None:
            return build_result(await contract.unknown(ctx, name))
        return await _execute(contract, found, ctx, args[1:])

    def _find(self, function: str) -> tuple[Contract, str]:
        namespace, separator, name = function.rpartition(":")
        if not separator:
            return self.default, name
        contract = self.contracts.get(namespace)
        if contract is None:
            nearest = difflib.get_close_matches(namespace[:80], self.contracts, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {_listed(self.contracts)}"
            raise UnknownTransaction(f"there is no contract of that name; {hint}")
        return contract, name


async def _execute(contract: Contract, found: Transaction, ctx: Context, raw: list[bytes]) -> bytes:
    arguments = found.signature.read(raw)
    if found.read_only:
        ctx.stub.forbid_writes()
    if contract.read_own_writes:
        ctx.stub.read_own_writes()
    missing = await found.access.evaluate(ctx, arguments)
    if missing is not None:
        raise Denied(missing)
    await contract.before(ctx)
    result = await found.function(contract, ctx, **arguments)
    await contract.after(ctx, result)
    return build_result(result)


def _collect(cls: type[Contract]) -> Iterable[tuple[str, Transaction]]:
    for name in dir(cls):
        function = getattr(cls, name)
        mark = getattr(function, _MARK, None)
        if isinstance(mark, _Mark):
            yield (
                name,
                Transaction(
                    name=name,
                    function=function,
                    signature=read_signature(function, f"{cls.__name__}.{name}"),
                    access=mark.access,
                    read_only=mark.read_only,
                    documentation=(function.__doc__ or "").strip(),
                ),
            )


def _describe(contract: Contract) -> ContractInfo:
    return ContractInfo(
        name=contract.name,
        documentation=(type(contract).__doc__ or "").strip(),
        transactions=tuple(
            TransactionInfo(
                name=found.name,
                read_only=found.read_only,
                parameters=found.signature.parameters,
                returns=found.signature.returns,
                documentation=found.documentation,
                access=found.access.description,
            )
            for found in contract.transactions.values()
        ),
    )


def _nearest(function: str, contract: Contract) -> str:
    # The called name is the caller's text and may hold anything: only a near miss is told.
    nearest = difflib.get_close_matches(function[:80], contract.transactions, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known: {_listed(contract.transactions)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
