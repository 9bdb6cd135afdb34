"""What verifying a chain finds, block by block: values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from network.rules.state.snapshot import Version
from network.rules.validation.mvcc import UpdateBatch


class Check(StrEnum):
    """What was compared."""

    UNREADABLE = "unreadable"
    MISSING = "missing"
    TRUST = "trust"
    GENESIS = "genesis"
    PREVIOUS_HASH = "previous-hash"
    DATA_HASH = "data-hash"
    FORM = "form"
    ORDERER_SIGNATURE = "orderer-signature"
    LAST_CONFIG = "last-config"
    CONFIG = "config"
    CODE = "code"
    COMMIT_HASH = "commit-hash"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the chain is not what its own rules make of it.

    Attributes:
        block: the block's number.
        check: what was compared.
        text: what is wrong, in words.
        tx: the transaction's place in the block, from 0; None where the block itself is meant.
        tx_id: its id.
        recorded: the validation code that the peer recorded.
        recomputed: the one that follows from the blocks.
    """

    block: int
    check: Check
    text: str
    tx: int | None = None
    tx_id: str = ""
    recorded: int | None = None
    recomputed: int | None = None


class Expiring(NamedTuple):
    """A hashed key that goes when block `expires` is committed, unless it is rewritten before."""

    expires: int
    namespace: str
    collection: str
    key_hash: bytes
    version: Version


class Taken(StrEnum):
    """Why a verdict was taken from the peer that recorded it."""

    LEGACY = "legacy-lifecycle"
    ORDER = "order-of-namespaces"


@dataclass(frozen=True, slots=True)
class BlockReport:
    """What one block came out as.

    Attributes:
        number: its number.
        differences: what is wrong, in the order of the checks.
        codes: the recomputed validation codes, a byte a transaction.
        updates: what the block changes.
        expiring: the private hashes among them that have an end.
        commit_hash: the recomputed commit hash, b"" for block 0.
        config_changed: whether the block installs a configuration.
        compared: whether the block records validation codes; an orderer's does not.
        hash_compared: whether it records a commit hash.
        taken: verdicts taken from the peer, by transaction.
        orderer_signed: whether the orderers' signatures satisfy the channel.
        halted: nothing after this block can be judged.
    """

    number: int
    differences: tuple[Difference, ...]
    codes: bytes = b""
    updates: UpdateBatch = field(default_factory=UpdateBatch)
    expiring: tuple[Expiring, ...] = ()
    commit_hash: bytes = b""
    config_changed: bool = False
    compared: bool = False
    hash_compared: bool = False
    taken: Mapping[int, Taken] = field(default_factory=dict)
    orderer_signed: bool = False
    halted: bool = False
