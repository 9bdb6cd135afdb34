"""Private write sets that a ledger keeps, and those that come after their block was committed."""

from collections.abc import Mapping

from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import MissingData, PrivateUpdate
from network.rules.snapshots.reconciliation import trim_to_hashes
from network.rules.state.rwset import PrivateCollection, build_private_rwset
from network.rules.state.snapshot import Version
from network.rules.validation.privatedata import changes_of


class KeptPrivateData:
    """The private write sets that a ledger keeps, and the repair of those that it lacks."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def get_sets(self, number: int) -> dict[int, bytes]:
        """Return the TxPvtReadWriteSets kept for a block, by transaction."""
        found = self._store.get_private_sets(number)
        return {tx: build_private_rwset(parts) for tx, parts in found.items()}

    def fill(self, found: Mapping[MissingData, bytes]) -> int:
        """Store late private data (bytes of each collection's KVRWSet) that fits its hashes; return
        how much did. Call it in the thread that writes: no purge may come in between."""
        fitting = []
        for missing, raw in found.items():
            part = self._fit(missing, PrivateCollection(missing.namespace, missing.collection, raw))
            if part is not None:
                version = Version(missing.block, missing.tx)
                changes = [PrivateUpdate(*change) for change in changes_of(part, version)]
                fitting.append((missing, part, changes))
        if fitting:
            self._store.fill_missing(fitting)
        return len(fitting)

    def _fit(self, missing: MissingData, part: PrivateCollection) -> PrivateCollection | None:
        if not missing.digest:
            return trim_to_hashes(part, self._store.get_expected_hashes(missing))
        return part if part.digest == missing.digest else None
