"""A whole chain judged from its own bytes: nothing that the peer who gave it says is believed.

`ChainVerifier` takes the blocks of a channel in order, each with the state that the blocks before
it lead to, and recomputes what every peer must have found: header and data hashes, the orderers'
signatures under the configuration of that height, creator and endorsement signatures, every
validation code, the commit hash. What the block records and what comes out are compared; the state
goes on with what came out. Private values are not needed: their hashes are in the blocks.

What only the recording peer can know is taken from it, and listed as such: see `taken`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fabric_protos.common import common_pb2
from fabric_protos.peer import transaction_pb2
from google.protobuf.message import DecodeError

from network.rules.blocks.block import (
    METADATA_SLOTS,
    header_hash,
    last_config_index,
)
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.envelope import MalformedMessage, open_envelope
from network.rules.state.snapshot import StateReader, Version
from network.rules.validation.blockchecks import (
    check_data_hash,
    check_form,
    check_genesis,
    check_orderers,
)
from network.rules.validation.chainreport import BlockReport, Check, Difference, Expiring
from network.rules.validation.commit_hash import (
    COMMIT_HASH,
    compute_commit_hash,
    get_commit_hash,
    get_validation_codes,
)
from network.rules.validation.mvcc import Update, UpdateBatch
from network.rules.validation.privatedata import CollectionRules
from network.rules.validation.reasons import explain_config, explain_verdict
from network.rules.validation.taken import take_recorded
from network.rules.validation.txchecks import VALID, CheckedTransaction
from network.rules.validation.verdicts import (
    CONFIG_KEY,
    BlockVerdict,
    KeyRule,
    LedgerView,
    any_key,
    check_block,
    couchdb_key,
    resolve_block,
    view_of,
)

_INVALID_WRITESET: int = transaction_pb2.INVALID_WRITESET


class ChainVerifier:
    """The state of a walk along one chain, but for the ledger state itself.

    Begin with `begin`; then, block after block, judge each transaction by itself with
    `txchecks.check_transaction` under `config` (costly, pure, for threads), call `check`, and
    bring the ledger state forward by what the report says.
    """

    def __init__(self, genesis: Any) -> None:
        """Open the chain that begins with `genesis`.

        Raises:
            network.rules.channel.config.InvalidConfig: it holds no usable configuration.
        """
        if genesis.header.number != 0:
            raise InvalidConfig(
                f"the first block is block {genesis.header.number}, not the genesis block"
            )
        self.config = ChannelConfig.from_block(genesis)
        self.commit_hash = b""
        self.couchdb = False
        self._genesis = genesis
        self._tip = header_hash(genesis.header)
        self._next = 1
        self._last_config = 0
        self._recorded_hash: bytes | None = None
        self._hashes_began = False

    @property
    def tip_hash(self) -> bytes:
        """The header hash of the newest block judged."""
        return self._tip

    def begin(self) -> BlockReport:
        """Return the report on the genesis block, which nobody signs and no rule validates."""
        block = self._genesis
        found = [*check_genesis(block), *check_data_hash(block), *self._check_metadata(block)]
        recorded = get_validation_codes(block)
        codes = bytes(len(block.data.data))
        if recorded and recorded != codes:
            found += _compare_codes(0, recorded, codes, [], lambda index: "")
        if len(block.metadata.metadata) > COMMIT_HASH and block.metadata.metadata[COMMIT_HASH]:
            text = "the genesis block records a commit hash; the first block to have one is block 1"
            found.append(Difference(0, Check.COMMIT_HASH, text))
        updates = UpdateBatch()
        payload = open_envelope(block.data.data[0]).data
        updates.put_public("", CONFIG_KEY, Update(payload, b"", Version(0, 0)))
        return BlockReport(
            0, tuple(found), codes, updates, config_changed=True, compared=bool(recorded)
        )

    def check(
        self,
        block: Any,
        transactions: Sequence[CheckedTransaction],
        reader: StateReader,
        has_transaction: Callable[[str], bool],
    ) -> BlockReport:
        """Return the report on the next block, and go on to the one after it.

        `transactions` are the block's, judged under `config`; `reader` is the ledger state before
        the block and `has_transaction` tells whether an earlier block holds an id.
        """
        number = int(block.header.number)
        if number != self._next:
            return self._missing(number)
        config, view = self.config, view_of(reader, has_transaction)
        found = [*self._check_chain(block), *check_data_hash(block), *check_form(block)]
        unsigned = check_orderers(block, config)
        found += [*unsigned, *self._check_metadata(block, _carries_config(transactions))]
        judged = self._judge(block, transactions, view)
        found += judged.differences
        self._tip, self._next = header_hash(block.header), number + 1
        return replace(judged.report, differences=tuple(found), orderer_signed=not unsigned)

    # --- the block itself ---------------------------------------------------------------------

    def _missing(self, number: int) -> BlockReport:
        if number < self._next:
            text = f"block {number} comes again after block {self._next - 1}"
        elif number == self._next + 1:
            text = f"block {self._next} is missing"
        else:
            text = f"blocks {self._next} to {number - 1} are missing"
        missing = Difference(min(number, self._next), Check.MISSING, text)
        return BlockReport(number, (missing,), halted=True)

    def _check_chain(self, block: Any) -> list[Difference]:
        number = int(block.header.number)
        if block.header.previous_hash == self._tip:
            return []
        text = (
            f"it names {block.header.previous_hash.hex() or 'nothing'} as the hash of block"
            f" {number - 1}, whose header's hash is {self._tip.hex()}: one of the two was changed"
        )
        return [Difference(number, Check.PREVIOUS_HASH, text)]

    def _check_metadata(self, block: Any, is_config: bool = True) -> list[Difference]:
        """Compare the orderer's metadata with what the chain says; note the last config block."""
        number = int(block.header.number)
        slots = block.metadata.metadata
        if is_config:
            self._last_config = number
        if len(slots) < METADATA_SLOTS:
            text = f"it has {len(slots)} metadata entries instead of {METADATA_SLOTS}"
            return [Difference(number, Check.FORM, text)]
        try:
            named = {last_config_index(block)}
            copy = common_pb2.Metadata.FromString(slots[common_pb2.LAST_CONFIG]).value
            named.add(int(common_pb2.LastConfig.FromString(copy).index))
        except (MalformedMessage, DecodeError):
            text = "which configuration block it is under cannot be read"
            return [Difference(number, Check.LAST_CONFIG, text)]
        wrong = named - {self._last_config}
        if not wrong:
            return []
        text = (
            f"it names block {min(wrong)} as the last configuration block; that is block"
            f" {self._last_config}"
        )
        return [Difference(number, Check.LAST_CONFIG, text)]

    # --- its transactions ---------------------------------------------------------------------

    def _judge(
        self, block: Any, transactions: Sequence[CheckedTransaction], view: LedgerView
    ) -> "_Judged":
        number, config = int(block.header.number), self.config
        recorded = get_validation_codes(block)
        if _INVALID_WRITESET in recorded:
            # Only a CouchDB peer refuses keys, and then it always did.
            self.couchdb = True
        verdict = check_block(transactions, config, view)
        halted = _find_refused_config(number, transactions, verdict, config)
        if halted:
            return _Judged(halted, BlockReport(number, (), halted=True))
        taken = take_recorded(transactions, verdict.codes, recorded, config, view)
        updates = resolve_block(
            number, transactions, verdict.codes, view.reader, key_rule=self._key_rule
        )
        codes = bytes(verdict.codes)
        found: list[Difference] = []
        if recorded:

            def explain(index: int) -> str:
                raw = block.data.data[index]
                return explain_verdict(number, index, transactions, codes, config, view, raw)

            found += _compare_codes(number, recorded, codes, transactions, explain)
        found += self._compare_hash(block, codes, updates)
        if verdict.config is not None:
            self.config = verdict.config
        return _Judged(
            found,
            BlockReport(
                number,
                (),
                codes,
                updates,
                tuple(_list_expiring(number, updates, view)),
                self.commit_hash,
                config_changed=verdict.config is not None,
                compared=bool(recorded),
                hash_compared=self._recorded_hash is not None,
                taken=taken,
            ),
        )

    @property
    def _key_rule(self) -> KeyRule:
        return couchdb_key if self.couchdb else any_key

    def _compare_hash(self, block: Any, codes: bytes, updates: UpdateBatch) -> list[Difference]:
        """Compare the commit hash; a difference that only follows from an earlier one is none."""
        number = int(block.header.number)
        before, self._recorded_hash = self._recorded_hash, None
        expected = compute_commit_hash(codes, updates, self.commit_hash)
        self.commit_hash = expected
        try:
            recorded = get_commit_hash(block)
        except DecodeError:
            return [Difference(number, Check.COMMIT_HASH, "the commit hash cannot be read")]
        has_codes = bool(get_validation_codes(block))
        if not recorded:
            # Neither: an orderer's block. Codes alone: a peer's that began before Fabric 2.0.
            if not (has_codes and self._hashes_began):
                return []
            text = "no commit hash is recorded, though earlier blocks have one"
            return [Difference(number, Check.COMMIT_HASH, text)]
        if not has_codes:
            text = "a commit hash is recorded, but no validation codes"
            return [Difference(number, Check.CODE, text)]
        self._hashes_began = True
        self._recorded_hash = recorded
        slot = common_pb2.Metadata(value=recorded).SerializeToString()
        if recorded == expected and block.metadata.metadata[COMMIT_HASH] == slot:
            return []
        if before is not None and recorded == compute_commit_hash(codes, updates, before):
            return []
        text = (
            f"the peer recorded the commit hash {recorded.hex()}, the blocks lead to"
            f" {expected.hex()}: it holds another state, or its record was changed"
        )
        return [Difference(number, Check.COMMIT_HASH, text)]


class _Judged(NamedTuple):
    differences: list[Difference]
    report: BlockReport


def _carries_config(transactions: Sequence[CheckedTransaction]) -> bool:
    return len(transactions) == 1 and transactions[0].is_config


def _find_refused_config(
    number: int,
    transactions: Sequence[CheckedTransaction],
    verdict: BlockVerdict,
    config: ChannelConfig,
) -> list[Difference]:
    """Name the config transaction that nobody may apply; a real peer stops there for good."""
    for index, (checked, code) in enumerate(zip(transactions, verdict.codes, strict=True)):
        if checked.is_config and code != VALID:
            text = f"nobody may apply its configuration: {explain_config(checked, config)}"
            return [Difference(number, Check.CONFIG, text, index, checked.tx_id)]
    return []


def _compare_codes(
    number: int,
    recorded: bytes,
    codes: bytes,
    transactions: Sequence[CheckedTransaction],
    explain: Callable[[int], str],
) -> list[Difference]:
    if len(recorded) != len(codes):
        text = f"{len(recorded)} validation codes are recorded for {len(codes)} transactions"
        return [Difference(number, Check.CODE, text)]
    return [
        Difference(
            number,
            Check.CODE,
            explain(index),
            index,
            transactions[index].tx_id if transactions else "",
            recorded=theirs,
            recomputed=ours,
        )
        for index, (theirs, ours) in enumerate(zip(recorded, codes, strict=True))
        if theirs != ours
    ]


def _list_expiring(number: int, updates: UpdateBatch, view: LedgerView) -> list[Expiring]:
    rules = CollectionRules(view.get_definition, lambda policy: False)
    return [
        Expiring(expires, *at, key_hash, update.version)
        for at, keys in updates.hashed.items()
        for expires in [rules.expires(*at, number)]
        if expires is not None
        for key_hash, update in keys.items()
        if update.value is not None
    ]
