"""Verifying a whole channel ledger: where its blocks come from, and the verdict on them.

The judging is `rules.validation.chainverify`; here are the files, the peer, the threads and the
temporary state. That state is a SQLite database in a private folder (mode 0700) which is removed
at the end; it holds what the blocks hold, and no private data. Memory does not grow with the chain.
"""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from admin.errors import ExitCode, Fault, FaultError, input_error
from admin.explain import explain_code
from admin.procedures.ledgers.blocksources import BlockSource
from network.client.commit import code_name
from network.node.ledger.sqlite_store import SqliteStore
from network.node.ledger.store import BlockCommit, Expiry, IndexedTransaction
from network.rules.blocks.block import data_hash, header_hash
from network.rules.channel.config import InvalidConfig
from network.rules.validation.blockchecks import check_trust
from network.rules.validation.chainreport import BlockReport, Check, Difference, Taken
from network.rules.validation.chainverify import ChainVerifier
from network.rules.validation.txchecks import VALID, CheckedTransaction, check_transaction

MOST_DIFFERENCES = 1000
"""Differences kept; beyond them only their number is."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """One place where the chain, or what the peer recorded of it, is not what the rules give.

    Attributes:
        block: the block's number.
        check: what was compared: `missing`, `trust`, `genesis`, `previous-hash`, `data-hash`,
            `form`, `orderer-signature`, `last-config`, `config`, `code`, `commit-hash` or
            `unreadable`.
        text: what is wrong, in words.
        position: the transaction's place in the block, from 0; none where the block is meant.
        transaction_id: its id.
        recorded: the validation code the peer recorded, by name.
        recomputed: the one that follows from the blocks.
        file: the block's file, where it came from one.
    """

    block: int
    check: str
    text: str
    position: int | None = None
    transaction_id: str = ""
    recorded: str = ""
    recomputed: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What became of verifying a ledger.

    Attributes:
        channel: the channel.
        source: the folder or the peer.
        intact: whether nothing differs, up to the last block.
        complete: whether every block was judged.
        blocks: how many were judged.
        height: how many there are.
        transactions: how many were judged.
        codes: how many came out with each validation code.
        codes_compared: transactions whose code the peer had recorded.
        commit_hashes_compared: blocks whose commit hash it had recorded.
        orderer_signatures: blocks that the orderers' signatures hold for.
        creator_signatures: transactions whose creator's signature holds.
        endorsements: endorsements that hold, of distinct identities a transaction.
        genesis_hash: the genesis block's header hash.
        trusted: whether a block from another source was found in the chain.
        newest_hash: the last judged block's header hash.
        commit_hash: the commit hash at that block, recomputed.
        difference_count: how many differences there are.
        differences: the first ones.
        notes: what could not be known, a sentence each.
        seconds: how long it took.
    """

    channel: str
    source: str
    intact: bool
    complete: bool
    blocks: int
    height: int
    transactions: int
    codes: Mapping[str, int]
    codes_compared: int
    commit_hashes_compared: int
    orderer_signatures: int
    creator_signatures: int
    endorsements: int
    genesis_hash: bytes
    trusted: bool
    newest_hash: bytes
    commit_hash: bytes
    difference_count: int
    differences: tuple[Divergence, ...]
    notes: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class Tally:
    """What has been found so far."""

    blocks: int = 0
    transactions: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    codes_compared: int = 0
    hashes_compared: int = 0
    orderer_signatures: int = 0
    creator_signatures: int = 0
    endorsements: int = 0
    taken: Counter[Taken] = field(default_factory=Counter)
    uncompared_blocks: int = 0
    unhashed_blocks: int = 0
    differences: list[Divergence] = field(default_factory=list)
    difference_count: int = 0

    def add(self, report: BlockReport, transactions: list[CheckedTransaction]) -> None:
        """Count one judged block in."""
        self.blocks += 1
        self.transactions += len(transactions)
        self.codes.update(code_name(code) for code in report.codes)
        self.orderer_signatures += report.orderer_signed
        self.creator_signatures += sum(one.form == VALID for one in transactions)
        self.endorsements += sum(len(one.endorsers) for one in transactions)
        self.taken.update(report.taken.values())
        if report.compared:
            self.codes_compared += len(transactions) - len(report.taken)
        elif report.number:
            self.uncompared_blocks += 1
        if report.hash_compared:
            self.hashes_compared += 1
        elif report.compared and report.number:
            self.unhashed_blocks += 1

    def note(self, difference: Difference, file: str) -> Divergence:
        """Keep one difference, worded; return it."""
        found = word(difference, file)
        self.difference_count += 1
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(found)
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One block judged, for whoever watches."""

    number: int
    height: int
    transactions: int
    differences: tuple[Divergence, ...]


Watcher = Callable[[Step], None]


async def verify_ledger(
    source: BlockSource,
    *,
    channel_id: str | None = None,
    trusted: Any | None = None,
    watch: Watcher = lambda step: None,
) -> LedgerVerdict:
    """The verdict on a chain, genesis block first.

    Args:
        source: where the blocks come from.
        channel_id: the channel they must be of; None takes the genesis block's word.
        trusted: a block (`common.Block`) of the channel from a source the verifier trusts.
        watch: called after every block.

    Raises:
        FaultError: there is no genesis block to begin with.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medfabric-verify-") as folder:
        os.chmod(folder, 0o700)  # as tempfile makes it; said again because it matters
        walk = _Walk(source, Path(folder), channel_id, trusted, watch)
        try:
            await walk.run()
        finally:
            walk.close()
    return walk.verdict(time.monotonic() - started)


class _Walk:
    """One walk along a chain, with its temporary state."""

    def __init__(
        self,
        source: BlockSource,
        folder: Path,
        channel_id: str | None,
        trusted: Any | None,
        watch: Watcher,
    ) -> None:
        self._source = source
        self._folder = folder
        self._channel_id = channel_id
        self._trusted = trusted
        self._watch = watch
        self._tally = Tally()
        self._verifier: ChainVerifier | None = None
        self._store: SqliteStore | None = None
        self._genesis_hash = b""
        self._seen_trusted = False
        self._broken_off = ""
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1, "verify")

    async def run(self) -> None:
        async with aclosing(self._source.blocks()) as blocks:  # type: ignore[type-var]
            async for block in blocks:
                if not await self._take(block):
                    break
        at = self._tally.blocks
        for file, text in self._source.faults:
            self._tally.note(Difference(at, Check.UNREADABLE, text), file)
        if not self._broken_off and at < self._source.height:
            text = f"the source ended before block {at} of {self._source.height - 1}"
            self._note(Difference(at, Check.MISSING, text))
            self._break_off()

    def close(self) -> None:
        self._workers.shutdown(wait=True, cancel_futures=True)
        if self._store is not None:
            self._store.close()

    async def _take(self, block: Any) -> bool:
        """Judge the next block; False when nothing after it can be judged."""
        if self._verifier is None:
            report, transactions = await self._begin(block)
        else:
            transactions = await self._check(block, self._verifier)
            report = await asyncio.to_thread(self._judge, block, transactions, self._verifier)
        found = list(report.differences)
        if self._trusted is not None and block.header.number == self._trusted.header.number:
            self._seen_trusted = True
            found[:0] = check_trust(block, self._trusted)
        worded = tuple(self._note(one) for one in found)
        if report.halted:
            self._break_off()
            return False
        self._tally.add(report, transactions)
        self._watch(Step(report.number, self._source.height, len(transactions), worded))
        return True

    async def _begin(self, block: Any) -> tuple[BlockReport, list[CheckedTransaction]]:
        try:
            verifier = ChainVerifier(block)
        except InvalidConfig as error:
            where = self._source.file_of(int(block.header.number)) or self._source.name
            if data_hash(block.data.data) != block.header.data_hash:
                text = "the first block's transactions were changed: its header has another hash"
                remedy = "get the genesis block again, from a source you trust"
                fault = Fault(ExitCode.LEDGER, "ledger-differs", text, where, remedy)
                raise FaultError(fault) from error
            raise input_error(
                f"no chain begins here: {error}", "give every block from block 0 on", where
            ) from error
        named = verifier.config.channel_id
        if self._channel_id is not None and named != self._channel_id:
            raise input_error(
                f"the blocks are of channel {named}, not {self._channel_id}",
                where=self._source.name,
            )
        self._verifier = verifier
        self._genesis_hash = header_hash(block.header)
        transactions = await self._check(block, verifier)
        report = verifier.begin()
        self._store = await asyncio.to_thread(
            SqliteStore.create, self._folder, named, durable=False
        )
        await asyncio.to_thread(self._write, block, transactions, report)
        return report, transactions

    async def _check(self, block: Any, verifier: ChainVerifier) -> list[CheckedTransaction]:
        """Each transaction by itself, spread over the threads."""
        config = verifier.config
        data = list(block.data.data)
        size = max(1, -(-len(data) // (os.cpu_count() or 1)))

        def check(part: list[bytes]) -> list[CheckedTransaction]:
            return [check_transaction(raw, config.channel_id, config.msps) for raw in part]

        loop = asyncio.get_running_loop()
        parts = await asyncio.gather(
            *(
                loop.run_in_executor(self._workers, check, data[start : start + size])
                for start in range(0, len(data), size)
            )
        )
        return [checked for part in parts for checked in part]

    def _judge(
        self, block: Any, transactions: list[CheckedTransaction], verifier: ChainVerifier
    ) -> BlockReport:
        assert self._store is not None
        with self._store.snapshot() as snapshot:
            report = verifier.check(block, transactions, snapshot, snapshot.has_transaction)
        if not report.halted:
            self._write(block, transactions, report)
        return report

    def _write(
        self, block: Any, transactions: list[CheckedTransaction], report: BlockReport
    ) -> None:
        assert self._store is not None
        self._store.commit(
            BlockCommit(
                number=report.number,
                block_hash=header_hash(block.header),
                raw=b"",  # blocks are read once; the state they lead to is what is needed
                transactions=[
                    IndexedTransaction(checked.tx_id, code, b"")
                    for checked, code in zip(transactions, report.codes, strict=True)
                ],
                updates=report.updates,
                commit_hash=report.commit_hash,
                config_block=report.config_changed,
                expiries=[Expiry(*one) for one in report.expiring],
            )
        )

    def _note(self, difference: Difference) -> Divergence:
        return self._tally.note(difference, self._source.file_of(difference.block))

    def _break_off(self) -> None:
        self._broken_off = f"nothing from block {self._tally.blocks} on was judged"

    def verdict(self, seconds: float) -> LedgerVerdict:
        tally, verifier = self._tally, self._verifier
        if verifier is None:
            raise input_error("there is no block to begin with", where=self._source.name)
        if self._trusted is not None and not self._seen_trusted:
            number = int(self._trusted.header.number)
            text = f"the trusted block {number} is not among the blocks that were judged"
            self._note(Difference(number, Check.TRUST, text))
        return LedgerVerdict(
            channel=verifier.config.channel_id,
            source=self._source.name,
            intact=tally.difference_count == 0,
            complete=not self._broken_off,
            blocks=tally.blocks,
            height=max(self._source.height, tally.blocks),
            transactions=tally.transactions,
            codes=dict(tally.codes.most_common()),
            codes_compared=tally.codes_compared,
            commit_hashes_compared=tally.hashes_compared,
            orderer_signatures=tally.orderer_signatures,
            creator_signatures=tally.creator_signatures,
            endorsements=tally.endorsements,
            genesis_hash=self._genesis_hash,
            trusted=self._seen_trusted
            and not any(one.check == Check.TRUST for one in tally.differences),
            newest_hash=verifier.tip_hash,
            commit_hash=verifier.commit_hash,
            difference_count=tally.difference_count,
            differences=tuple(tally.differences),
            notes=tuple(self._notes(verifier)),
            seconds=round(seconds, 3),
        )

    def _notes(self, verifier: ChainVerifier) -> list[str]:
        tally = self._tally
        notes = list(self._source.notes)
        if self._broken_off:
            notes.append(self._broken_off)
        if self._trusted is None:
            notes.append(
                "the genesis block was taken as it is: compare its hash with one from a source you"
                " trust, or give that block with --trust"
            )
        if tally.uncompared_blocks:
            notes.append(
                f"{tally.uncompared_blocks} blocks record no validation codes, as an orderer gives"
                " them: theirs were computed and compared with nothing"
            )
        if tally.unhashed_blocks:
            notes.append(
                f"{tally.unhashed_blocks} blocks record no commit hash: the peer's ledger was begun"
                " by Fabric 1.x"
            )
        if legacy := tally.taken[Taken.LEGACY]:
            notes.append(
                f"{legacy} transactions are under the 1.x lifecycle (lscc), whose endorsement rules"
                " are not known here: their endorsement verdict is the peer's word; hashes,"
                " creators and MVCC were checked"
            )
        if order := tally.taken[Taken.ORDER]:
            notes.append(
                f"{order} transactions are wrong in several namespaces, which Fabric judges in"
                " random order: the recorded code is one of those it may come upon"
            )
        if verifier.couchdb:
            notes.append("the peer keeps its state in CouchDB: keys were judged by its rules")
        return notes


def word(difference: Difference, file: str = "") -> Divergence:
    """The difference with names for codes and their meaning."""
    recorded = "" if difference.recorded is None else code_name(difference.recorded)
    recomputed = "" if difference.recomputed is None else code_name(difference.recomputed)
    text = difference.text
    if recomputed:
        meaning = explain_code(recomputed).meaning
        text = f"{meaning}: {text}" if text else meaning
    return Divergence(
        difference.block,
        difference.check.value,
        text,
        difference.tx,
        difference.tx_id,
        recorded,
        recomputed,
        file,
    )
