"""What a chaincode is to the shim (Go shim `shim/interfaces.go`)."""

from __future__ import annotations

from typing import Protocol

from chaincode.shim.response import Response
from chaincode.shim.stub import Stub


class Chaincode(Protocol):
    """What the shim calls; `contract.ContractChaincode` is the one that most people use."""

    async def init(self, stub: Stub) -> Response:
        """Answer an INIT message (a definition with `--init-required`)."""
        ...

    async def invoke(self, stub: Stub) -> Response:
        """Answer a TRANSACTION message."""
        ...
