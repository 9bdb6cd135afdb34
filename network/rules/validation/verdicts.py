"""The verdict on every transaction of a block, in Fabric's order of checks and with its codes.

1. `txchecks.check_transaction`, each transaction by itself (costly, pure, spread over threads);
2. `check_block`: known ids, chaincode definitions, endorsement policies, configuration,
   duplicates inside the block;
3. `resolve_block`: keys the state store can hold, then MVCC one after another, and what the
   block changes.

Nothing in a block makes these functions raise: what is wrong has a code.
Sources: core/committer/txvalidator/v20, core/ledger/kvledger/txmgmt/validation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabric_protos.common import configtx_pb2
from fabric_protos.peer import transaction_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configtx import RefusedUpdate, validate_config_envelope
from network.rules.lifecycle.definitions import ChaincodeDefinition, get_definition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.policies import chaincode_policy
from network.rules.lifecycle.states import CommittedState
from network.rules.state.rwset import NamespaceRwset, Rwset
from network.rules.state.snapshot import StateReader, Version
from network.rules.validation.keylevel import ChangedPolicies, EndorsementCheck
from network.rules.validation.mvcc import Update, UpdateBatch, apply_writes, check_reads
from network.rules.validation.txchecks import VALID, CheckedTransaction

CONFIG_KEY = "CHANNEL_CONFIG_ENV_BYTES"
"""The key in namespace "" that holds the channel's ConfigEnvelope."""

_PLUGIN = "vscc"
_DUPLICATE_TXID: int = transaction_pb2.DUPLICATE_TXID
_ENDORSEMENT_POLICY_FAILURE: int = transaction_pb2.ENDORSEMENT_POLICY_FAILURE
_INVALID_CHAINCODE: int = transaction_pb2.INVALID_CHAINCODE
_INVALID_CONFIG: int = transaction_pb2.INVALID_CONFIG_TRANSACTION
_INVALID_WRITESET: int = transaction_pb2.INVALID_WRITESET
_OTHER: int = transaction_pb2.INVALID_OTHER_REASON

KeyRule = Callable[[str], bool]
"""Tells whether a state store can hold a key."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What judging a block asks of the ledger: state before the block, and known ids.

    `get_definition` may answer from a cache of the same state.
    """

    reader: StateReader
    has_transaction: Callable[[str], bool]
    get_definition: Callable[[str], ChaincodeDefinition | None]


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """The codes so far, and the configuration that a config transaction installs, if any."""

    codes: list[int]
    config: ChannelConfig | None = None


def any_key(key: str) -> bool:
    """Accept every key, as LevelDB does."""
    del key
    return True


def couchdb_key(key: str) -> bool:
    """Accept the keys CouchDB can hold (statecouchdb fn validateKey)."""
    return key != "" and not key.startswith("_")


def view_of(reader: StateReader, has_transaction: Callable[[str], bool]) -> LedgerView:
    """Return a view that reads each definition from state once. Make a new one for every block."""
    state = CommittedState(reader)
    found: dict[str, ChaincodeDefinition | None] = {}

    def find(name: str) -> ChaincodeDefinition | None:
        if name not in found:
            found[name] = get_definition(state, name)
        return found[name]

    return LedgerView(reader, has_transaction, find)


def check_block(
    transactions: Sequence[CheckedTransaction], config: ChannelConfig, view: LedgerView
) -> BlockVerdict:
    """Return the codes of everything but MVCC, and the next configuration if there is one."""
    codes = []
    changed = ChangedPolicies()
    following: ChannelConfig | None = None
    for checked in transactions:
        if checked.is_config:
            code, installed = _check_config(checked, following or config)
            following = installed or following
        else:
            code = _check_endorsed(checked, config, view, changed)
        codes.append(code)
    _mark_duplicates(transactions, codes)
    return BlockVerdict(codes, following)


def resolve_block(
    number: int,
    transactions: Sequence[CheckedTransaction],
    codes: list[int],
    reader: StateReader,
    *,
    key_rule: KeyRule = any_key,
) -> UpdateBatch:
    """Finish `codes` in place with the MVCC verdicts and return what the block changes."""
    updates = UpdateBatch()
    for index, checked in enumerate(transactions):
        if codes[index] != VALID:
            continue
        version = Version(number, index)
        if checked.is_config:
            updates.put_public("", CONFIG_KEY, Update(checked.data, b"", version))
            continue
        if not _has_legal_keys(checked.rwset, key_rule):
            codes[index] = _INVALID_WRITESET
            continue
        codes[index] = check_reads(checked.rwset, updates, reader)
        if codes[index] == VALID:
            apply_writes(checked.rwset, version, updates, reader)
    return updates


def _check_config(
    checked: CheckedTransaction, config: ChannelConfig
) -> tuple[int, ChannelConfig | None]:
    """Judge a config transaction. A real peer stops for good where this is not VALID."""
    try:
        envelope = configtx_pb2.ConfigEnvelope.FromString(checked.data)
        return VALID, validate_config_envelope(config, envelope)
    except (DecodeError, RefusedUpdate, InvalidConfig):
        return _INVALID_CONFIG, None


def _check_endorsed(
    checked: CheckedTransaction, config: ChannelConfig, view: LedgerView, changed: ChangedPolicies
) -> int:
    if checked.form != VALID:
        return checked.form
    if view.has_transaction(checked.tx_id):
        return _DUPLICATE_TXID
    if checked.content != VALID:
        return checked.content
    # Fabric takes the namespaces in random order; the invoked one first makes the code the same
    # at every peer of ours. All are judged, for what later transactions may depend on.
    parts: dict[str, NamespaceRwset | None] = {checked.chaincode: None}
    for part in checked.rwset.namespaces:
        if part.writes_anything or part.namespace == checked.chaincode:
            parts[part.namespace] = part
    codes = [
        _check_namespace(checked, namespace, part, config, view, changed)
        for namespace, part in parts.items()
    ]
    for judged, code in zip(parts.values(), codes, strict=True):
        if judged is not None and code == VALID:
            changed.add(judged)
    return next((code for code in codes if code != VALID), VALID)


def _check_namespace(
    checked: CheckedTransaction,
    namespace: str,
    part: NamespaceRwset | None,
    config: ChannelConfig,
    view: LedgerView,
    changed: ChangedPolicies,
) -> int:
    definition = _find_definition(namespace, view)
    if definition is None or not definition.validation_plugin:
        return _INVALID_CHAINCODE
    policy = chaincode_policy(config, namespace, definition)
    if not policy:
        return _INVALID_CHAINCODE
    if definition.validation_plugin != _PLUGIN:
        # A peer without the plugin stops; no transaction may stop this one.
        return _OTHER
    check = EndorsementCheck(config, view.reader, namespace, definition, policy, checked.endorsers)
    if check.is_satisfied(part, changed):
        return VALID
    return _ENDORSEMENT_POLICY_FAILURE


def _find_definition(namespace: str, view: LedgerView) -> ChaincodeDefinition | None:
    if namespace == LIFECYCLE:
        return ChaincodeDefinition(0, "", validation_plugin=_PLUGIN)
    try:
        return view.get_definition(namespace)
    except LifecycleError:
        return None


def _mark_duplicates(transactions: Sequence[CheckedTransaction], codes: list[int]) -> None:
    """Of equal ids among those still valid, the first wins; an invalid one claims nothing."""
    seen: set[str] = set()
    for index, checked in enumerate(transactions):
        if codes[index] != VALID or checked.is_config:
            continue
        if checked.tx_id in seen:
            codes[index] = _DUPLICATE_TXID
        seen.add(checked.tx_id)


def _has_legal_keys(rwset: Rwset, key_rule: KeyRule) -> bool:
    return all(key_rule(write.key) for part in rwset.namespaces for write in part.kv.writes)
