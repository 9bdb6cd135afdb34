"""What a transaction knows: the ledger, the caller, the time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from chaincode import canonical
from chaincode.identity import ClientIdentity, read_client_identity
from chaincode.shim.stub import Stub


class Context:
    """What a transaction knows: the ledger, the caller, the time."""

    def __init__(self, stub: Stub, function: str = "") -> None:
        self.stub = stub
        self.function = function
        """The name as it was called, `consent:Grant`."""
        self.prefetched: dict[str, bytes | None] = {}
        """What `table.prefetch` has read: values by key."""

    @cached_property
    def client(self) -> ClientIdentity:
        """Who signed the proposal. Raises MalformedIdentity if the certificate is unreadable."""
        return read_client_identity(self.stub.get_creator())

    @property
    def now(self) -> datetime:
        """The transaction's timestamp, aware UTC: the only clock that every endorser shares."""
        return self.stub.get_tx_timestamp()

    @property
    def tx_id(self) -> str:
        """The transaction's id."""
        return self.stub.get_tx_id()

    @property
    def channel_id(self) -> str:
        """The channel."""
        return self.stub.get_channel_id()

    @property
    def transient(self) -> Mapping[str, bytes]:
        """Data for this transaction that stays off the ledger."""
        return self.stub.get_transient()

    def set_event(self, name: str, value: Any = b"") -> None:
        """The transaction's event: bytes as they are, anything else as canonical JSON."""
        payload = value if isinstance(value, bytes) else canonical.encode(value)
        self.stub.set_event(name, payload)
