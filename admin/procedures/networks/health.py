"""The health chaincode as typed calls: values in, values out, over any Fabric gateway.

Arguments travel as the contracts' canonical JSON and results are read back into the contracts' own
values, so that a command never builds or parses JSON itself.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from chaincode import canonical
from network.client import Gateway
from network.client.arguments import Argument
from network.client.retry import Retry

CHAINCODE = "health"
T = TypeVar("T")

_RETRY = Retry()


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """A transaction's result with its place in the ledger; `seconds` from proposal to commit."""

    value: T
    transaction_id: str
    block_number: int
    seconds: float

    @property
    def place(self) -> str:
        """`block 41 (38 ms)`, as commands print it."""
        return f"block {self.block_number} ({self.seconds * 1000:.0f} ms)"


@dataclass(frozen=True, slots=True)
class Health:
    """The chaincode on one channel, called in the name of the gateway's identity."""

    gateway: Gateway
    channel_id: str
    chaincode: str = CHAINCODE

    async def submit(
        self,
        transaction: str,
        *arguments: object,
        result: type[T],
        transient: Mapping[str, bytes] | None = None,
        organizations: tuple[str, ...] = (),
    ) -> Committed[T]:
        """The committed, valid transaction's result; tried again when it lost a race.

        Args:
            transaction: `contract:Transaction`.
            arguments: text, bytes, or values of the contracts' models.
            result: what the transaction returns.
            transient: private input by name.
            organizations: MSP ids that must endorse; empty leaves the choice to the gateway.

        Raises:
            GatewayError, CommitError: as `network.client.Contract.submit`.
        """
        begun = time.perf_counter()
        contract = self.gateway.network(self.channel_id).contract(self.chaincode)
        status = await contract.submit(
            transaction,
            *map(_argument, arguments),
            transient=transient,
            organizations=organizations,
            retry=_RETRY,
        )
        return Committed(
            _read(result, status.result),
            status.transaction_id,
            status.block_number,
            time.perf_counter() - begun,
        )

    async def evaluate(
        self,
        transaction: str,
        *arguments: object,
        result: type[T],
        transient: Mapping[str, bytes] | None = None,
        organizations: tuple[str, ...] = (),
    ) -> T:
        """One peer's answer to a query."""
        contract = self.gateway.network(self.channel_id).contract(self.chaincode)
        raw = await contract.evaluate(
            transaction,
            *map(_argument, arguments),
            transient=transient,
            organizations=organizations,
        )
        return _read(result, raw)


def _argument(value: object) -> Argument:
    if isinstance(value, str | bytes):
        return value
    return canonical.encode(value)


def _read(kind: type[T], raw: bytes) -> T:
    if kind is bytes:
        return raw  # type: ignore[return-value]
    if kind is str:
        return raw.decode()  # type: ignore[return-value]
    if kind is type(None):
        return None
    return canonical.decode(kind, raw)
