"""One channel's ledger: validates blocks, commits them, and tells who waits.

`commit` takes a block through `rules.validation.verdicts` in threads (the event loop stays free),
gathers the private data this peer may hold, writes everything in one transaction in the writer
thread, and then notifies. Reading goes through snapshots. Block signatures are the caller's
business (`rules.blocks.block.validate_block`); that a block follows the last one is checked here.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabric_protos.common import common_pb2

from network.node.ledger.block_commit import (
    CheckedBlock,
    CommittedBlock,
    PreparedBlock,
    changes_lifecycle,
    describe_commit,
    index_transactions,
    list_expiries,
    list_history,
)
from network.node.ledger.private_repair import KeptPrivateData
from network.node.ledger.snapshot_import import build_config
from network.node.ledger.snapshot_requests import SnapshotRequests
from network.node.ledger.sqlite_origin import Origin
from network.node.ledger.sqlite_snapshot import SqliteSnapshot
from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import (
    DEFAULT_STATE,
    BlockCommit,
    MissingData,
    PrivateUpdate,
    StateOptions,
    StoreError,
    TxRecord,
)
from network.node.ledger.transient_store import RETENTION, TransientStore
from network.rules.blocks.block import get_channel_id, header_hash
from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.collections import channel_collections, is_member
from network.rules.lifecycle.definitions import (
    ChaincodeDefinition,
    get_definition,
)
from network.rules.lifecycle.invocation import ChannelFacts
from network.rules.lifecycle.states import CommittedState
from network.rules.policy.manager import ENDORSEMENT
from network.rules.state.recorder import Recorder
from network.rules.state.rwset import PrivateCollection
from network.rules.state.snapshot import Version
from network.rules.validation.commit_hash import compute_commit_hash, set_peer_metadata
from network.rules.validation.mvcc import Update, UpdateBatch
from network.rules.validation.privatedata import (
    CollectionRules,
    PrivateNeed,
    find_matching,
    list_changes,
    list_needs,
)
from network.rules.validation.txchecks import VALID, CheckedTransaction, check_transaction
from network.rules.validation.verdicts import (
    CONFIG_KEY,
    KeyRule,
    any_key,
    check_block,
    resolve_block,
    view_of,
)

logger = logging.getLogger("kvledger")

FetchPrivate = Callable[[Sequence[PrivateNeed]], Awaitable[Mapping[PrivateNeed, bytes]]]
"""Asks other members for write sets; answers with the bytes of each collection's KVRWSet."""


class LedgerHalted(Exception):
    """A block cannot be committed and no later one either; the text says why."""


@dataclass(frozen=True, slots=True)
class TxStatus:
    """What became of a transaction."""

    code: int
    block: int


Listener = Callable[[CommittedBlock], None]


class Ledger:
    """One channel's blocks and state at one peer; use it from one event loop."""

    def __init__(
        self,
        folder: Path,
        store: SqliteStore,
        config: ChannelConfig,
        identity: bytes,
        key_rule: KeyRule,
        state: StateOptions = DEFAULT_STATE,
    ) -> None:
        self.folder = folder
        self.channel_id = config.channel_id
        self.transient = TransientStore(folder)
        self.fetch_private: FetchPrivate | None = None
        self.snapshots = SnapshotRequests(store.path, store.channel_id, lambda: store.height)
        self.lifecycle_height = store.height
        """No block at or above it has touched chaincode definitions and approvals."""
        self._store = store
        self._private = KeptPrivateData(store)
        self._config = config
        self._identity = identity
        self._key_rule = key_rule
        self._state = state
        self._definitions: dict[str, ChaincodeDefinition] = {}
        self._listeners: list[Listener] = []
        self._tx_waiters: dict[str, list[asyncio.Future[TxStatus]]] = {}
        self._grown = asyncio.Condition()
        self._commit_lock = asyncio.Lock()
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1, f"validate-{self.channel_id}")
        self._writer = ThreadPoolExecutor(1, f"commit-{self.channel_id}")
        self._failure = ""

    @classmethod
    async def create(
        cls,
        folder: Path,
        genesis: Any,
        *,
        identity: bytes,
        key_rule: KeyRule = any_key,
        state: StateOptions = DEFAULT_STATE,
    ) -> "Ledger":
        """Make a ledger in `folder` that begins with a channel's genesis block.

        `identity` is the peer's SerializedIdentity: it decides which private data is kept here.

        Raises:
            StoreError: there is a ledger already, or the folder cannot be written.
            network.rules.channel.config.InvalidConfig: the block holds no usable configuration.
        """
        config = ChannelConfig.from_block(genesis)
        store = await asyncio.to_thread(SqliteStore.create, folder, get_channel_id(genesis), state)
        ledger = cls(folder, store, config, identity, key_rule, state)
        await ledger._run(ledger._writer, ledger._write_genesis, genesis)
        return ledger

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        identity: bytes,
        key_rule: KeyRule = any_key,
        state: StateOptions = DEFAULT_STATE,
    ) -> "Ledger":
        """Open the ledger in `folder`. Raises StoreError with what to do."""
        store = await asyncio.to_thread(SqliteStore.open, folder, state)
        return cls(folder, store, _read_config(store), identity, key_rule, state)

    # --- committing ---------------------------------------------------------------------------

    async def commit(
        self, block: Any, private: Mapping[int, bytes] | None = None
    ) -> CommittedBlock:
        """Validate the next block, make it durable with all it changes, and notify.

        `private` holds TxPvtReadWriteSets by transaction that came with the block, if any. The
        block given is not changed.

        Raises:
            StoreError: it does not follow the last block, or cannot be written.
            LedgerHalted: it holds a config transaction that nobody may apply.
        """
        return (await self.commit_together([await self.check(block)], private))[0]

    async def check(self, block: Any, config: ChannelConfig | None = None) -> CheckedBlock:
        """Judge each transaction of a block by itself, spread over the worker threads.

        It needs no state, so it may be done while blocks before it are being committed; under
        `config`, by default the configuration in force.
        """
        config, data = config or self._config, list(block.data.data)
        size = max(1, -(-len(data) // (os.cpu_count() or 1)))
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
        results = await asyncio.gather(
            *(self._run(self._workers, self._check_chunk, chunk, config) for chunk in chunks)
        )
        return CheckedBlock(block, config, tuple(one for chunk in results for one in chunk))

    def _check_chunk(self, chunk: list[bytes], config: ChannelConfig) -> list[CheckedTransaction]:
        return [check_transaction(raw, self.channel_id, config.msps) for raw in chunk]

    async def commit_together(
        self, blocks: Sequence[CheckedBlock], private: Mapping[int, bytes] | None = None
    ) -> list[CommittedBlock]:
        """Commit the first of these blocks, and with it as many of the others as can be, in order.

        Those that are returned became durable in one transaction, and were told of one after
        another. A block with a configuration, or with private data that this peer should have, is
        always the only one, as is one that a snapshot is made of. `private` is the first block's.

        Raises:
            StoreError: the first does not follow the last block, or they cannot be written.
            LedgerHalted: the first holds a config transaction that nobody may apply.
        """
        async with self._commit_lock:
            if self.failure:
                raise LedgerHalted(self.failure)
            first = blocks[0]
            self._validate_position(first.block)
            if first.config is not self._config:
                first = await self.check(first.block)
            prepared = await self._run(self._workers, self._judge_newest, first)
            if prepared.halting:
                self._failure = (
                    f"channel {self.channel_id}, block {first.block.header.number}: a config"
                    " transaction does not lead to the configuration it carries; nothing after it"
                    " can be committed. The ordering service must be examined."
                )
                raise LedgerHalted(self._failure)
            await self._gather_private(prepared, private or {})
            written = await self._run(self._writer, self._write, prepared, blocks[1:])
            for one, committed in written:
                await self._publish(one, committed)
        return [committed for _, committed in written]

    def _validate_position(self, block: Any) -> None:
        number = block.header.number
        if number != self.height:
            raise StoreError(
                f"channel {self.channel_id}: block {number} does not follow height {self.height}"
            )
        if block.header.previous_hash != self._store.tip_hash:
            raise StoreError(
                f"channel {self.channel_id}: block {number} does not continue block {number - 1}"
            )

    def _judge_newest(self, block: CheckedBlock) -> PreparedBlock:
        with self._store.snapshot() as snapshot:
            return self._judge(block, snapshot)

    def _judge(self, block: CheckedBlock, snapshot: SqliteSnapshot) -> PreparedBlock:
        checked = block.transactions
        view = view_of(snapshot, snapshot.has_transaction)
        verdict = check_block(checked, self._config, view)
        rules = CollectionRules(view.get_definition, self._is_member)
        needs = list_needs(block.block.header.number, checked, verdict.codes)
        eligible = [need for need in needs if rules.is_eligible(*need[3:5])]
        halting = any(
            transaction.is_config and code != VALID
            for transaction, code in zip(checked, verdict.codes, strict=True)
        )
        return PreparedBlock(block.block, checked, verdict.codes, verdict.config, eligible, halting)

    async def _gather_private(self, prepared: PreparedBlock, given: Mapping[int, bytes]) -> None:
        """Find the private write sets this peer may hold: given, transient, or from others."""
        wanted: list[PrivateNeed] = []
        for need in prepared.needs:
            candidates = [given[need.tx]] if need.tx in given else []
            candidates += await self._run(self._workers, self.transient.get, need.tx_id)
            found = find_matching(need, candidates)
            if found is None:
                wanted.append(need)
            else:
                prepared.private.setdefault(need.tx, []).append(found)
        if wanted and self.fetch_private is not None:
            fetched = await self.fetch_private(wanted)
            for need in list(wanted):
                part = PrivateCollection(need.namespace, need.collection, fetched.get(need, b""))
                if part.digest == need.digest:
                    prepared.private.setdefault(need.tx, []).append(part)
                    wanted.remove(need)
        prepared.missing.extend(
            MissingData(need.block, need.tx, need.namespace, need.collection, need.digest)
            for need in wanted
        )

    def _write(
        self, first: PreparedBlock, others: Sequence[CheckedBlock]
    ) -> list[tuple[PreparedBlock, CommittedBlock]]:
        """Make the block durable, and with it the others up to one that has to be alone."""
        written: list[tuple[PreparedBlock, CommittedBlock]] = []
        number = first.block.header.number
        others = others if first.config is None else ()
        with self.snapshots.committing(number, number + len(others)) as last:
            self._store.commit_all(self._build_commits(first, others[: last - number], written))
        return written

    def _build_commits(
        self,
        first: PreparedBlock,
        others: Sequence[CheckedBlock],
        written: list[tuple[PreparedBlock, CommittedBlock]],
    ) -> Iterator[BlockCommit]:
        """Yield what the blocks change; what was yielded stands in `written`."""
        prepared: PreparedBlock | None = first
        following = iter(others)
        while prepared is not None:
            commit = self._build_commit(prepared)
            written.append((prepared, describe_commit(prepared, commit)))
            yield commit
            prepared = self._judge_next(commit, next(following, None))

    def _judge_next(self, last: BlockCommit, block: CheckedBlock | None) -> PreparedBlock | None:
        """The block after `last`, None where it cannot be committed in the same transaction."""
        if block is None or block.config is not self._config:
            return None
        header = block.block.header
        if (header.number, header.previous_hash) != (last.number + 1, last.block_hash):
            return None
        with self._store.writing() as snapshot:
            prepared = self._judge(block, snapshot)
        if prepared.halting or prepared.needs or prepared.config is not None:
            return None
        return prepared

    def _build_commit(self, prepared: PreparedBlock) -> BlockCommit:
        block = common_pb2.Block.FromString(prepared.block.SerializeToString())
        number = block.header.number
        with self._store.writing() as snapshot:
            updates = resolve_block(
                number, prepared.checked, prepared.codes, snapshot, key_rule=self._key_rule
            )
            private = list_changes(number, prepared.codes, prepared.private, updates, snapshot)
            state = CommittedState(snapshot)
            rules = CollectionRules(lambda name: get_definition(state, name), self._is_member)
            expiries, private_expires = list_expiries(number, updates, prepared, rules)
        codes = bytes(prepared.codes)
        commit_hash = compute_commit_hash(codes, updates, self._store.written_commit_hash)
        set_peer_metadata(block, codes, commit_hash)
        if changes_lifecycle(updates):
            # Raised first: a snapshot with the block then never passes for one without.
            self.lifecycle_height = number + 1
        return BlockCommit(
            number=number,
            block_hash=header_hash(block.header),
            raw=block.SerializeToString(),
            transactions=index_transactions(prepared.checked, codes),
            updates=updates,
            commit_hash=commit_hash,
            config_block=prepared.config is not None,
            private=[PrivateUpdate(*change) for change in private],
            private_sets=prepared.private,
            private_expires=private_expires,
            history=list_history(prepared.checked, codes),
            expiries=expiries,
            missing=[entry for entry in prepared.missing if codes[entry.tx] == VALID],
        )

    async def _publish(self, prepared: PreparedBlock, committed: CommittedBlock) -> None:
        if prepared.config is not None:
            self._config = prepared.config
        if committed.defined_chaincodes:
            self._definitions = {}
        await self._forget_transient(prepared, committed.number)
        for tx_id, code in zip(committed.tx_ids, committed.codes, strict=True):
            for waiter in self._tx_waiters.pop(tx_id, ()):
                if not waiter.done():
                    waiter.set_result(TxStatus(code, committed.number))
        for listener in list(self._listeners):
            try:
                listener(committed)
            except Exception:
                logger.exception("a listener failed on block %d", committed.number)
        async with self._grown:
            self._grown.notify_all()

    async def _forget_transient(self, prepared: PreparedBlock, number: int) -> None:
        """What waited for the block's transactions goes; a disk that refuses keeps it for now."""
        needed = {need.tx_id for need in prepared.needs}
        try:
            if needed:
                await self._run(self._workers, self.transient.purge, needed)
            if number % 100 == 0 and number > RETENTION:
                await self._run(self._workers, self.transient.purge_below, number - RETENTION)
        except StoreError as error:
            # The block is committed: nobody who waits for it may be kept waiting for this.
            logger.warning("[%s] Private data in flight is kept: %s", self.channel_id, error)

    def _write_genesis(self, genesis: Any) -> None:
        block = common_pb2.Block.FromString(genesis.SerializeToString())
        checked = [
            check_transaction(raw, self.channel_id, self._config.msps) for raw in block.data.data
        ]
        codes = bytes(len(checked))
        set_peer_metadata(block, codes, b"")
        payload = common_pb2.Payload.FromString(
            common_pb2.Envelope.FromString(block.data.data[0]).payload
        )
        updates = UpdateBatch()
        # The genesis block is not validated: nobody signed it, the operator chose it.
        updates.put_public("", CONFIG_KEY, Update(payload.data, b"", Version(0, 0)))
        self._store.commit(
            BlockCommit(
                number=0,
                block_hash=header_hash(block.header),
                raw=block.SerializeToString(),
                transactions=index_transactions(checked, codes),
                updates=updates,
                config_block=True,
            )
        )

    # --- reading ------------------------------------------------------------------------------

    @property
    def config(self) -> ChannelConfig:
        """The configuration in force."""
        return self._config

    @property
    def height(self) -> int:
        """The number of blocks."""
        return self._store.height

    @property
    def commit_hash(self) -> bytes:
        """The commit hash of the last block, b"" before block 1."""
        return self._store.commit_hash

    @property
    def origin(self) -> Origin:
        """Where the ledger begins: at the genesis block or after a snapshot's last one."""
        return self._store.origin

    @property
    def tip_hash(self) -> bytes:
        """The header hash of the last block, kept or a snapshot's."""
        return self._store.tip_hash

    @property
    def failure(self) -> str:
        """Why no more blocks can come, empty while all is well."""
        return self._failure or self._tell_unsupported()

    def _tell_unsupported(self) -> str:
        """Rules that the channel asks for and that nobody here knows: Fabric's peer ends there."""
        unsupported = self._config.capabilities.unsupported()
        if not unsupported:
            return ""
        return (
            f"channel {self.channel_id}: {unsupported[0]}; what comes after cannot be judged here. "
            "A peer of a version that has it goes on from the same ledger."
        )

    def snapshot(self) -> SqliteSnapshot:
        """Return the ledger as of the last block, for an endorsement or a query. Close it."""
        return self._store.snapshot()

    def recorder(self, snapshot: SqliteSnapshot, tx_id: str = "") -> Recorder:
        """Return a recorder over a snapshot that knows the channel's collections."""
        msp_ids = [org.msp_id for org in self._config.application_orgs.values()]
        return Recorder(
            snapshot,
            tx_id,
            collections=channel_collections(msp_ids),
            total_limit=self._state.total_query_limit,
        )

    async def define_indexes(
        self, chaincode: str, collection: str, files: Mapping[str, bytes]
    ) -> None:
        """Create the indexes of a chaincode's package (file name → JSON). Raises StoreError."""
        await self._run(
            self._writer, self._store.define_indexes, chaincode, collection, dict(files)
        )

    def channel_facts(self) -> ChannelFacts:
        """Return what the lifecycle law must know of the configuration in force."""
        return channel_facts(self._config)

    def definition(self, chaincode: str) -> ChaincodeDefinition | None:
        """Return the committed definition of a chaincode, from a cache, or None.

        Raises:
            network.rules.lifecycle.definitions.LifecycleError: what is stored cannot be read.
        """
        found = self._definitions.get(chaincode)
        if found is None:
            with self.snapshot() as snapshot:
                found = get_definition(CommittedState(snapshot), chaincode)
            if found is not None:  # whatever names clients think of are not remembered
                self._definitions[chaincode] = found
        return found

    async def get_block(self, number: int) -> bytes:
        """Return the bytes of a block. Raises KeyError when there is no such block."""
        raw = self._store.get_block(number)
        if raw is None:
            raise KeyError(f"channel {self.channel_id} has no block {number}")
        return raw

    async def get_block_by_hash(self, block_hash: bytes) -> bytes | None:
        """Return the block with this header hash, or None."""
        number = self._store.get_block_number(block_hash)
        return None if number is None else await self.get_block(number)

    async def get_block_by_tx(self, tx_id: str) -> bytes | None:
        """Return the block that holds a transaction, or None."""
        record = self._store.get_transaction(tx_id)
        return await self.get_block(record.block) if record else None

    async def get_transaction(self, tx_id: str) -> tuple[bytes, int] | None:
        """Return a transaction's envelope and code, or None."""
        record = self._store.get_transaction(tx_id)
        if record is None:
            return None
        block = common_pb2.Block.FromString(await self.get_block(record.block))
        return block.data.data[record.tx], record.code

    def find_transaction(self, tx_id: str) -> TxRecord | None:
        """Return where a transaction stands, valid or not, or None."""
        return self._store.get_transaction(tx_id)

    def has_transaction(self, tx_id: str) -> bool:
        """Whether the id was used already, valid or not."""
        return self._store.get_transaction(tx_id) is not None

    def tx_status(self, tx_id: str) -> TxStatus | None:
        """Return what became of a transaction, None while it is not in a block.

        None also for one of which the ledger's snapshot told nothing but the id.
        """
        record = self._store.get_transaction(tx_id)
        if record is None or record.block < self.origin.first_block:
            return None
        return TxStatus(record.code, record.block)

    async def wait_for_tx(self, tx_id: str) -> TxStatus:
        """Return what became of a transaction, as soon as its block is committed."""
        waiter: asyncio.Future[TxStatus] = asyncio.get_running_loop().create_future()
        self._tx_waiters.setdefault(tx_id, []).append(waiter)
        try:
            # Looked up after registering, so that a commit in between is not missed.
            return self.tx_status(tx_id) or await waiter
        finally:
            waiters = self._tx_waiters.get(tx_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._tx_waiters.pop(tx_id, None)

    async def wait_for(self, number: int) -> None:
        """Return when block `number` is committed, or when `failure` says that it cannot be."""
        async with self._grown:
            await self._grown.wait_for(lambda: self.height > number or self._failure != "")

    def get_private_sets(self, number: int) -> dict[int, bytes]:
        """Return the TxPvtReadWriteSets kept for a block, by transaction."""
        return self._private.get_sets(number)

    def get_missing(self, limit: int = 10, before: MissingData | None = None) -> list[MissingData]:
        """Return private data that other members may have, newest first, below `before`."""
        return self._store.get_missing(limit, before)

    async def add_missing(self, found: Mapping[MissingData, bytes]) -> int:
        """Store late private data (bytes of each collection's KVRWSet); return how much fitted."""
        # In the writer thread as a whole: no purge may come between judging and writing.
        return int(await self._run(self._writer, self._private.fill, found))

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after every commit, in the event loop; return how to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def close(self) -> None:
        """Finish the block being committed, then release the files."""
        async with self._commit_lock:
            self._failure = self._failure or f"channel {self.channel_id}: the ledger is closed"
            await asyncio.to_thread(self.snapshots.close)
            await asyncio.to_thread(self._writer.shutdown)
            self._workers.shutdown(wait=False)
            self._store.close()
            self.transient.close()
        async with self._grown:
            self._grown.notify_all()

    def _is_member(self, envelope: Any) -> bool:
        return is_member(envelope, self._identity, self._config.msps)

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *args)


def _read_config(store: SqliteStore) -> ChannelConfig:
    """The configuration in force; a ledger that begins with a snapshot may have no block of it."""
    raw = store.get_block(store.last_config)
    if raw is not None:
        return ChannelConfig.from_block(common_pb2.Block.FromString(raw))
    with store.snapshot() as snapshot:
        stored = snapshot.get_state("", CONFIG_KEY)
    if stored is None:
        raise StoreError(
            f"{store.path}: no configuration: joining was interrupted. Remove the folder and join"
            " the channel again."
        )
    return build_config(store.channel_id, stored.value)


def channel_facts(config: ChannelConfig) -> ChannelFacts:
    """Return what the lifecycle law must know of a configuration."""
    return ChannelFacts(
        config.channel_id,
        tuple(org.msp_id for org in config.application_orgs.values()),
        config.msps,
        config.find_policy(ENDORSEMENT) is not None,
    )
