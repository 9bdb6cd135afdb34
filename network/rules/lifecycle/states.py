"""The states that `_lifecycle` keeps: one of the channel, one of each organisation.

The public state holds one definition a chaincode; an organisation's implicit collection holds its
approvals and the package it runs. Source: core/chaincode/lifecycle/scc.go.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from fabric_protos.ledger.queryresult import kv_query_result_pb2

from network.rules.lifecycle.names import LIFECYCLE
from network.rules.state.recorder import Recorder
from network.rules.state.snapshot import StateReader

_IMPLICIT_PREFIX = "_implicit_org_"


class ReadableState(Protocol):
    """State that can be read by key."""

    def get(self, key: str) -> bytes | None:
        """Return the value or None."""
        ...


class WritableState(ReadableState, Protocol):
    """State that can be read and written by key."""

    def put(self, key: str, value: bytes) -> None:
        """Set the value."""
        ...

    def delete(self, key: str) -> None:
        """Remove the key."""
        ...

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return all keys that begin with `prefix` (ASCII), with their values."""
        ...


@dataclass(frozen=True, slots=True)
class PublicState:
    """The `_lifecycle` namespace through a recorder."""

    recorder: Recorder

    def get(self, key: str) -> bytes | None:
        """Return the value or None; the read is recorded."""
        return self.recorder.get_state(LIFECYCLE, key)

    def put(self, key: str, value: bytes) -> None:
        """Record the write."""
        self.recorder.put_state(LIFECYCLE, key, value)

    def delete(self, key: str) -> None:
        """Record the deletion."""
        self.recorder.delete_state(LIFECYCLE, key)

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return the keys that begin with `prefix`; the range is recorded."""
        return _collect(self.recorder.range(LIFECYCLE, prefix, prefix + "\x7f"))


@dataclass(frozen=True, slots=True)
class CommittedState:
    """The `_lifecycle` namespace as committed; reading it records nothing."""

    reader: StateReader

    def get(self, key: str) -> bytes | None:
        """Return the value or None."""
        found = self.reader.get_state(LIFECYCLE, key)
        return found.value if found else None


@dataclass(frozen=True, slots=True)
class OrgState:
    """The implicit collection of one organisation in `_lifecycle`, through a recorder."""

    recorder: Recorder
    msp_id: str

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return implicit_collection(self.msp_id)

    def get(self, key: str) -> bytes | None:
        """Return the private value or None; works on this organisation's peers."""
        return self.recorder.get_private(LIFECYCLE, self.collection, key)

    def get_hash(self, key: str) -> bytes | None:
        """Return the hash of the value; works on every peer."""
        return self.recorder.get_private_hash(LIFECYCLE, self.collection, key)

    def put(self, key: str, value: bytes) -> None:
        """Record the private write."""
        self.recorder.put_private(LIFECYCLE, self.collection, key, value)

    def delete(self, key: str) -> None:
        """Record the private deletion."""
        self.recorder.delete_private(LIFECYCLE, self.collection, key)

    def with_prefix(self, prefix: str) -> dict[str, bytes]:
        """Return the private keys that begin with `prefix`; makes the transaction read-only."""
        return _collect(
            self.recorder.private_range(LIFECYCLE, self.collection, prefix, prefix + "\x7f")
        )


def implicit_collection(msp_id: str) -> str:
    """Return the name of an organisation's implicit collection."""
    return _IMPLICIT_PREFIX + msp_id


def implicit_collection_org(collection: str) -> str | None:
    """Return the MSP id an implicit collection belongs to; None for a defined collection."""
    if not collection.startswith(_IMPLICIT_PREFIX):
        return None
    return collection[len(_IMPLICIT_PREFIX) :]


def _collect(iterator: Any) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while True:
        page = iterator.next_page()
        for raw in page.results:
            kv = kv_query_result_pb2.KV.FromString(raw)
            found[kv.key] = kv.value
        if not page.has_more:
            return found
