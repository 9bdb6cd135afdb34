"""What `medfabric bench chaincode` calls: as little as a transaction can do.

    python -m chaincode --chaincode chaincode.samples.bench:chaincode

A chaincode in any other language that has the same four functions can be measured beside it.
"""

from __future__ import annotations

from chaincode.contract import Context, Contract, ContractChaincode, transaction


class Bench(Contract, name="bench"):
    """One read and one write at most, of values as they come."""

    @transaction
    async def Nothing(self, ctx: Context) -> None:
        """Neither read nor write: what a transaction costs at least."""

    @transaction
    async def Get(self, ctx: Context, key: str) -> bytes | None:
        """The committed value, empty if there is none."""
        return await ctx.stub.get_state(key)

    @transaction
    async def Put(self, ctx: Context, key: str, value: bytes) -> None:
        """Write without reading: never in conflict with another."""
        await ctx.stub.put_state(key, value)

    @transaction
    async def ReadWrite(self, ctx: Context, key: str, value: bytes) -> None:
        """Read a key, then write it."""
        await ctx.stub.get_state(key)
        await ctx.stub.put_state(key, value)


chaincode = ContractChaincode((Bench(),), title="bench")
