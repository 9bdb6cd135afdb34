"""One channel as this peer has joined it: its ledger, and every way in which others look at it.

Services know a channel by this class only. Blocks come in through `commit`, which checks them
against the orderers' policy before the ledger judges their transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.peer import transaction_pb2

from network.node.ledger.block_commit import CheckedBlock, CommittedBlock
from network.node.ledger.ledger import Ledger
from network.node.ledger.store import DEFAULT_STATE, MissingData, StateOptions
from network.rules.blocks.block import (
    ChainTip,
    header_hash,
    is_config_block,
    last_config_index,
    open_block,
    validate_block,
)
from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.collections import build_implicit_collection
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.states import implicit_collection_org
from network.rules.policy.manager import BLOCK_VALIDATION
from network.rules.state.recorder import Recorder
from network.rules.state.rwset import PrivateCollection, open_private_rwset
from network.rules.state.snapshot import Snapshot


class BlockNotFound(LookupError):
    """The ledger has no such block or transaction; the text is Fabric's."""


AHEAD = 8
"""Blocks that are checked before their turn."""
TOGETHER_BYTES = 8 * 1024 * 1024
"""Of blocks that are committed together, all but the last."""


@dataclass(frozen=True, slots=True)
class TxStatus:
    """How a transaction ended (TxValidationCode), and in which block."""

    code: int
    block_number: int


class PeerChannel:
    """A joined channel."""

    def __init__(self, ledger: Ledger, newest: common_pb2.Block | ChainTip) -> None:
        self.ledger = ledger
        self._newest = newest

    @classmethod
    async def create(
        cls,
        folder: Path,
        genesis: common_pb2.Block,
        identity: bytes,
        state: StateOptions = DEFAULT_STATE,
    ) -> PeerChannel:
        """The channel of a genesis block, new in `folder`.

        Raises:
            network.node.ledger.store.StoreError: the folder cannot be used.
            network.rules.channel.config.InvalidConfig: the block's configuration cannot be used.
        """
        ledger = await Ledger.create(folder, genesis, identity=identity, state=state)
        return await cls._wrap(ledger)

    @classmethod
    async def open(
        cls, folder: Path, identity: bytes, state: StateOptions = DEFAULT_STATE
    ) -> PeerChannel:
        """The channel in `folder`. Raises as `create` does."""
        return await cls._wrap(await Ledger.open(folder, identity=identity, state=state))

    @classmethod
    async def _wrap(cls, ledger: Ledger) -> PeerChannel:
        last = ledger.height - 1
        if last < ledger.origin.first_block:
            return cls(ledger, ChainTip(last, ledger.tip_hash))
        return cls(ledger, open_block(await ledger.get_block(last)))

    async def close(self) -> None:
        """The block being committed is finished and the files are released."""
        await self.ledger.close()

    # --- what it is -----------------------------------------------------------------------------

    @property
    def channel_id(self) -> str:
        """Its name."""
        return self.ledger.channel_id

    @property
    def config(self) -> ChannelConfig:
        """The configuration in force."""
        return self.ledger.config

    @property
    def height(self) -> int:
        """How many blocks there are."""
        return self.ledger.height

    @property
    def failure(self) -> str:
        """Why no more blocks can come; empty while all is well."""
        return self.ledger.failure

    # --- growing --------------------------------------------------------------------------------

    async def commit(self, block: common_pb2.Block) -> None:
        """The block is checked and committed.

        Raises:
            network.rules.blocks.block.InvalidBlock: it does not follow the last one, or its
                orderer may not sign blocks.
            network.node.ledger.store.StoreError, network.node.ledger.ledger.LedgerHalted: it
                cannot be kept.
        """
        await self._commit([await self._verify(block, self._newest)])

    async def commit_all(
        self,
        blocks: AsyncIterable[common_pb2.Block],
        on_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """What comes is checked and committed in order, until it ends, and `on_commit` told.

        Up to `AHEAD` blocks are checked while those before them are committed; what has gathered
        by then is committed together. What `blocks` raises is raised once all before it stands.

        Raises:
            As `commit`.
        """
        ahead: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue(AHEAD)
        reading = asyncio.create_task(self._verify_ahead(blocks, ahead))
        try:
            end = None
            while end is None:
                batch, end = await _take(ahead)
                await self._commit(batch, on_commit)
            end.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            left = [ahead.get_nowait() for _ in range(ahead.qsize())]
            for one in left:
                one.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _verify_ahead(
        self, blocks: AsyncIterable[common_pb2.Block], ahead: asyncio.Queue[asyncio.Future[Any]]
    ) -> None:
        """Begin to check each block as it comes; last comes a future with how they ended."""
        end: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        previous = self._newest
        try:
            async for block in blocks:
                await ahead.put(asyncio.create_task(self._verify(block, previous)))
                previous = block
                if is_config_block(block):
                    # Under which rules to check the next one is not known before.
                    await self.wait_for(block.header.number)
            end.set_result(None)
        except Exception as error:
            end.set_exception(error)
        await ahead.put(end)

    async def _verify(
        self, block: common_pb2.Block, previous: common_pb2.Block | ChainTip
    ) -> CheckedBlock:
        """The block follows, and its orderer may sign it; its transactions are judged."""
        config = self.config
        policy = config.policies.get(BLOCK_VALIDATION)
        signers = config.block_signers
        await asyncio.to_thread(validate_block, block, previous, policy, signers)
        return await self.ledger.check(block, config)

    async def _commit(
        self, batch: Sequence[CheckedBlock], on_commit: Callable[[], None] = lambda: None
    ) -> None:
        while batch:
            if batch[0].config is not self.config:  # it has changed by a block that looked harmless
                first = await self._verify(batch[0].block, self._newest)
                batch = [first, *batch[1:]]
            committed = await self.ledger.commit_together(batch)
            self._newest = batch[len(committed) - 1].block
            batch = batch[len(committed) :]
            on_commit()

    def add_listener(self, listener: Callable[[CommittedBlock], None]) -> None:
        """`listener` is called after every commit, in the event loop."""
        self.ledger.add_listener(listener)

    # --- simulating -----------------------------------------------------------------------------

    @contextmanager
    def simulation(self, tx_id: str) -> Iterator[Recorder]:
        """A recorder over the newest state, for one proposal."""
        with self.ledger.snapshot() as snapshot:
            yield self.ledger.recorder(snapshot, tx_id)

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        """The ledger as of the last block (network.rules.state.snapshot.Snapshot)."""
        snapshot: Snapshot = self.ledger.snapshot()
        try:
            yield snapshot
        finally:
            snapshot.close()

    def find_definition(self, chaincode: str) -> ChaincodeDefinition | None:
        """The committed definition of a chaincode, None when there is none that can be read."""
        try:
            return self.ledger.definition(chaincode)
        except LifecycleError:
            return None

    def find_collection(self, chaincode: str, collection: str) -> Any | None:
        """The StaticCollectionConfig in force, implicit collections included, or None."""
        msp_id = implicit_collection_org(collection)
        definition = self.find_definition(chaincode)
        if msp_id is not None:
            known = chaincode == LIFECYCLE or definition is not None
            return build_implicit_collection(msp_id) if known else None
        try:
            return definition.collection(collection) if definition else None
        except LifecycleError:
            return None

    # --- transactions and blocks ------------------------------------------------------------------

    async def has_transaction(self, tx_id: str) -> bool:
        """Whether the id stands in a block, valid or not."""
        return self.ledger.has_transaction(tx_id)

    async def wait_for_tx(self, tx_id: str) -> TxStatus:
        """How the transaction ended, as soon as it has."""
        status = await self.ledger.wait_for_tx(tx_id)
        return TxStatus(status.code, status.block)

    async def get_block(self, number: int) -> bytes:
        """Block bytes, `number` below the height. Raises BlockNotFound below the first one kept."""
        first = self.ledger.origin.first_block
        if number < first:
            raise BlockNotFound(
                f"cannot serve block [{number}]. The ledger is bootstrapped from a snapshot."
                f" First available block = [{first}]"
            )
        return await self.ledger.get_block(number)

    async def wait_for(self, number: int) -> None:
        """Return when the block exists, or when `failure` says that it cannot come."""
        await self.ledger.wait_for(number)

    async def find_block(self, number: int) -> bytes:
        """Block bytes. Raises BlockNotFound."""
        if number >= self.height:
            raise BlockNotFound(f"no such block number [{number}] in index")
        return await self.get_block(number)

    async def get_block_by_hash(self, block_hash: bytes) -> bytes:
        """The block with this header hash. Raises BlockNotFound."""
        found = await self.ledger.get_block_by_hash(block_hash)
        if found is None:
            raise BlockNotFound(f"no such block hash [{block_hash.hex()}] in index")
        return found

    async def get_block_by_tx(self, tx_id: str) -> bytes:
        """The block that holds a transaction. Raises BlockNotFound."""
        self._validate_kept(tx_id)
        found = await self.ledger.get_block_by_tx(tx_id)
        if found is None:
            raise BlockNotFound(f"no such transaction ID [{tx_id}] in index")
        return found

    async def get_transaction(self, tx_id: str) -> bytes:
        """ProcessedTransaction bytes: the envelope and its code. Raises BlockNotFound."""
        self._validate_kept(tx_id)
        found = await self.ledger.get_transaction(tx_id)
        if found is None:
            raise BlockNotFound(f"no such transaction ID [{tx_id}] in index")
        envelope, code = found
        processed = transaction_pb2.ProcessedTransaction(validationCode=code)
        processed.transactionEnvelope.ParseFromString(envelope)
        return bytes(processed.SerializeToString())

    async def get_info(self) -> ledger_pb2.BlockchainInfo:
        """Height, the hashes of the two newest headers, and the snapshot it began with, if any."""
        origin = self.ledger.origin
        info = ledger_pb2.BlockchainInfo(
            height=origin.first_block,
            currentBlockHash=origin.last_hash,
            previousBlockHash=origin.previous_hash,
        )
        if self.height > origin.first_block:
            header = open_block(await self.get_block(self.height - 1)).header
            info.height = header.number + 1
            info.currentBlockHash = header_hash(header)
            info.previousBlockHash = header.previous_hash
        if origin.first_block:
            info.bootstrappingSnapshotInfo.SetInParent()
            info.bootstrappingSnapshotInfo.lastBlockInSnapshot = origin.last_block
        return info

    async def get_config_block(self) -> bytes:
        """The newest config block. Raises BlockNotFound where a snapshot stands in its place."""
        if isinstance(self._newest, ChainTip):
            return await self.get_block(self._newest.number)
        return await self.get_block(last_config_index(self._newest))

    def _validate_kept(self, tx_id: str) -> None:
        record, first = self.ledger.find_transaction(tx_id), self.ledger.origin.first_block
        if record is not None and record.block < first:
            raise BlockNotFound(
                f"details for the TXID [{tx_id}] not available. Ledger bootstrapped from a"
                f" snapshot. First available block = [{first}]"
            )

    # --- private data ---------------------------------------------------------------------------

    async def keep_transient(self, tx_id: str, endorsed_at: int, private: bytes) -> None:
        """The private write sets wait here for their transaction."""
        await asyncio.to_thread(self.ledger.transient.put, tx_id, endorsed_at, private)

    async def get_transient(self, tx_id: str) -> list[PrivateCollection]:
        """The private write sets that wait for a transaction."""
        kept = await asyncio.to_thread(self.ledger.transient.get, tx_id)
        return [part for raw in kept for part in open_private_rwset(raw)]

    def get_private_sets(self, number: int) -> dict[int, bytes]:
        """TxPvtReadWriteSet bytes kept for a block, by transaction."""
        return self.ledger.get_private_sets(number)

    def get_missing(self, limit: int, before: MissingData | None = None) -> list[MissingData]:
        """Private data that this peer should have and has not, newest first, below `before`."""
        return self.ledger.get_missing(limit, before)


async def _take(
    ahead: asyncio.Queue[asyncio.Future[Any]],
) -> tuple[list[CheckedBlock], asyncio.Future[Any] | None]:
    """The blocks that are there, at least one; and the future with which they ended, if so."""
    batch: list[CheckedBlock] = []
    size = 0
    while not batch or (len(batch) < AHEAD and size < TOGETHER_BYTES and not ahead.empty()):
        one = await ahead.get()
        await asyncio.wait([one])
        if one.exception() is not None or one.result() is None:
            return batch, one
        batch.append(one.result())
        size += batch[-1].block.ByteSize()
    return batch, None
