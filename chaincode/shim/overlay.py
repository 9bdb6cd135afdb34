"""Read-your-own-writes within a transaction, as an option of the contract layer.

    class Accounts(Contract, name="accounts", read_own_writes=True): ...

No Fabric shim has this: `get_state` answers what is committed, not what the transaction has just
written. With the option, single and multiple reads of state and private data answer the
transaction's own puts, deletes and purges. Such a read does not reach the peer and so is not in the
read set: it depends on nothing that another transaction could change.

Ranges, queries, history, private hashes and key policies answer what is committed, as ever. An
iteration or page over state (or a collection) in which something was written is refused with
OwnWritesUnseen rather than being silently incomplete. What a called chaincode writes is not seen.
"""

from __future__ import annotations

from chaincode.errors import ContractError


class OwnWritesUnseen(ContractError):
    """A query would miss what this transaction has written. Status 500: the contract's mistake."""

    code = "OwnWritesUnseen"


class OwnWrites:
    """What one transaction has written so far; the collection is "" for public state."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], bytes | None] = {}

    def note(self, collection: str, key: str, value: bytes | None) -> None:
        """Afterwards a read of the key answers `value`, None for deleted."""
        self._values[collection, key] = value or None

    def has(self, collection: str, key: str) -> bool:
        """True if the transaction has written this key."""
        return (collection, key) in self._values

    def get(self, collection: str, key: str) -> bytes | None:
        """What was written last; only for a key that was."""
        return self._values[collection, key]

    def validate_unwritten(self, collection: str) -> None:
        """Raise OwnWritesUnseen if something was written there."""
        if any(written == collection for written, _ in self._values):
            place = f"collection {collection}" if collection else "the state"
            raise OwnWritesUnseen(
                f"a query cannot see what this transaction has written to {place}; query first"
            )
