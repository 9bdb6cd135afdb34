"""A block's stations on its way into the ledger, and what committing it writes beside the state.

CheckedBlock (each transaction by itself) → PreparedBlock (codes, private data) → CommittedBlock
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fabric_protos.common import common_pb2

from network.node.ledger.store import (
    BlockCommit,
    Expiry,
    HistoryEntry,
    IndexedTransaction,
    MissingData,
)
from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.definitions import defined_chaincode
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.state.rwset import PrivateCollection, is_delete
from network.rules.validation.mvcc import UpdateBatch
from network.rules.validation.privatedata import CollectionRules, PrivateNeed
from network.rules.validation.txchecks import VALID, CheckedTransaction


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block as this peer committed it; `raw` holds the codes and the commit hash."""

    number: int
    raw: bytes
    codes: bytes
    tx_ids: tuple[str, ...]
    config_changed: bool
    defined_chaincodes: tuple[str, ...]

    def open(self) -> Any:
        """Return the Block message."""
        return common_pb2.Block.FromString(self.raw)


@dataclass(frozen=True, slots=True)
class CheckedBlock:
    """A block whose transactions were judged each by itself, under `config`."""

    block: Any
    config: ChannelConfig
    transactions: tuple[CheckedTransaction, ...]


class PreparedBlock:
    """A block on its way: codes so far, and the private data found for it."""

    def __init__(
        self,
        block: Any,
        checked: Sequence[CheckedTransaction],
        codes: list[int],
        config: ChannelConfig | None,
        needs: list[PrivateNeed],
        halting: bool,
    ) -> None:
        self.block = block
        self.checked = checked
        self.codes = codes
        self.config = config
        self.needs = needs
        self.halting = halting
        self.private: dict[int, list[PrivateCollection]] = {}
        self.missing: list[MissingData] = []


def describe_commit(prepared: PreparedBlock, commit: BlockCommit) -> CommittedBlock:
    """The committed block as listeners are told of it."""
    return CommittedBlock(
        commit.number,
        commit.raw,
        bytes(prepared.codes),
        tuple(checked.tx_id for checked in prepared.checked),
        prepared.config is not None,
        _defined_chaincodes(commit.updates),
    )


def index_transactions(
    checked: Sequence[CheckedTransaction], codes: bytes
) -> list[IndexedTransaction]:
    """Every transaction of the block with its code, valid or not, in the block's order."""
    return [
        IndexedTransaction(transaction.index_id, code, transaction.timestamp)
        for transaction, code in zip(checked, codes, strict=True)
    ]


def list_history(checked: Sequence[CheckedTransaction], codes: bytes) -> list[HistoryEntry]:
    """Every public write of the valid transactions."""
    return [
        HistoryEntry(part.namespace, write.key, index, None if is_delete(write) else write.value)
        for index, transaction in enumerate(checked)
        if codes[index] == VALID
        for part in transaction.rwset.namespaces
        for write in part.kv.writes
    ]


def list_expiries(
    number: int, updates: UpdateBatch, prepared: PreparedBlock, rules: CollectionRules
) -> tuple[list[Expiry], dict[tuple[str, str], int]]:
    """What is to be purged later: hashed keys each, private sets by (namespace, collection)."""
    touched = set(updates.hashed)
    touched |= {(m.namespace, m.collection) for m in prepared.missing}
    touched |= {
        (part.namespace, part.collection) for parts in prepared.private.values() for part in parts
    }
    found = {at: rules.expires(*at, number) for at in touched}
    ends = {at: expires for at, expires in found.items() if expires is not None}
    expiries = [
        Expiry(ends[at], *at, key_hash, update.version)
        for at, keys in updates.hashed.items()
        if at in ends
        for key_hash, update in keys.items()
        if update.value is not None
    ]
    return expiries, ends


def changes_lifecycle(updates: UpdateBatch) -> bool:
    """Whether definitions or approvals of chaincodes change."""
    return LIFECYCLE in updates.public or any(at[0] == LIFECYCLE for at in updates.hashed)


def _defined_chaincodes(updates: UpdateBatch) -> tuple[str, ...]:
    names = (defined_chaincode(key) for key in updates.public.get(LIFECYCLE, {}))
    return tuple(sorted(name for name in names if name))
