"""Why a transaction gets the validation code it gets, in words, from the ledger before it.

Made for the few transactions where a peer and the rules differ, so the checks are simply run
again; judging itself never words anything. No value, argument or key material is told: names of
keys, policies, organisations and certificates only.
"""

from collections.abc import Sequence

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.peer import transaction_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configtx import RefusedUpdate, validate_config_envelope
from network.rules.envelope import MalformedMessage, open_envelope
from network.rules.identity.identity import IdentityError, verify_signature
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.policies import chaincode_policy
from network.rules.policy.evaluation import MalformedPolicy, name_identities
from network.rules.state.rwset import NamespaceRwset, version_of
from network.rules.state.snapshot import StateReader, Version
from network.rules.validation.mvcc import UpdateBatch
from network.rules.validation.txchecks import CheckedTransaction
from network.rules.validation.verdicts import LedgerView, resolve_block

_CODES = transaction_pb2


def explain_verdict(
    number: int,
    index: int,
    transactions: Sequence[CheckedTransaction],
    codes: bytes,
    config: ChannelConfig,
    view: LedgerView,
    raw: bytes = b"",
) -> str:
    """Return why transaction `index` of block `number` has its code in `codes`; "" if words fail.

    `codes` are the block's recomputed ones, `raw` the transaction's envelope, `view` the ledger
    before the block.
    """
    checked = transactions[index]
    match codes[index]:
        case _CODES.VALID:
            return _explain_valid(checked)
        case _CODES.BAD_CREATOR_SIGNATURE:
            return explain_creator(raw, config)
        case _CODES.DUPLICATE_TXID:
            earlier = view.has_transaction(checked.tx_id)
            return f"its id stands in {'an earlier block' if earlier else 'this block'} already"
        case _CODES.ENDORSEMENT_POLICY_FAILURE | _CODES.INVALID_CHAINCODE:
            return _explain_endorsement(checked, config, view)
        case _CODES.MVCC_READ_CONFLICT | _CODES.PHANTOM_READ_CONFLICT:
            return _explain_conflict(number, index, transactions, codes, view.reader)
    return ""


def explain_config(checked: CheckedTransaction, config: ChannelConfig) -> str:
    """Return why a config transaction may not be applied, "" when it may."""
    try:
        validate_config_envelope(config, configtx_pb2.ConfigEnvelope.FromString(checked.data))
    except DecodeError:
        return "its configuration cannot be read"
    except (RefusedUpdate, InvalidConfig) as error:
        return str(error)
    return ""


def explain_creator(raw: bytes, config: ChannelConfig) -> str:
    """Return why the creator of an envelope is not accepted, "" when it is."""
    try:
        envelope = open_envelope(raw)
    except MalformedMessage:
        return ""
    named = envelope.channel_header.channel_id
    if named != config.channel_id:
        return f"it is for channel {named!r}"
    try:
        creator = config.msps.identity(envelope.signature_header.creator)
        config.msps.validate(creator)
        signed = common_pb2.Envelope.FromString(raw)
        verify_signature(creator, signed.payload, signed.signature)
    except IdentityError as error:
        return str(error)
    return ""


def _explain_valid(checked: CheckedTransaction) -> str:
    if checked.is_config:
        return "its update is authorised and leads to the configuration it carries"
    names = ", ".join(name_identities(checked.endorsers)) or "nobody"
    return f"every check holds; endorsed by {names}; all it read is as it was"


def _explain_endorsement(
    checked: CheckedTransaction, config: ChannelConfig, view: LedgerView
) -> str:
    names = ", ".join(name_identities(checked.endorsers)) or "nobody"
    held, given = len(checked.endorsers), len(checked.endorser_ids)
    parts = [f"endorsed by {names} ({held} of {given} endorsements hold)"]
    namespaces = dict.fromkeys(
        [checked.chaincode, *(p.namespace for p in checked.rwset.namespaces if p.writes_anything)]
    )
    parts += [_describe_needed(name, config, view) for name in namespaces]
    return "; ".join(parts)


def _describe_needed(namespace: str, config: ChannelConfig, view: LedgerView) -> str:
    definition: ChaincodeDefinition | None = None
    try:
        if namespace == LIFECYCLE:
            definition = ChaincodeDefinition(0, "")
        else:
            definition = view.get_definition(namespace)
        if definition is None:
            return f"chaincode {namespace} is not defined"
        needed = config.application_policy(chaincode_policy(config, namespace, definition)).needed
    except (LifecycleError, MalformedPolicy) as error:
        return f"the definition of {namespace} cannot be read: {error}"
    return f"{namespace} needs {needed}, unless a key or a collection has a policy of its own"


def _explain_conflict(
    number: int,
    index: int,
    transactions: Sequence[CheckedTransaction],
    codes: bytes,
    reader: StateReader,
) -> str:
    """Name the first read that is not true any more when the transaction's turn comes."""
    updates = resolve_block(number, transactions[:index], list(codes[:index]), reader)
    for part in transactions[index].rwset.namespaces:
        found = _find_stale_key(part, updates, reader) or _find_stale_hash(part, updates, reader)
        if found:
            return found
    if codes[index] == _CODES.PHANTOM_READ_CONFLICT:
        ranges = [
            f"{_show(info.start_key)}…{_show(info.end_key)} of {part.namespace}"
            for part in transactions[index].rwset.namespaces
            for info in part.kv.range_queries_info
        ]
        return f"a key came, went or changed in a range it read: {', '.join(ranges)}"
    return ""


def _find_stale_key(part: NamespaceRwset, updates: UpdateBatch, reader: StateReader) -> str:
    for read in part.kv.reads:
        pending = updates.get_public(part.namespace, read.key)
        found = reader.get_state(part.namespace, read.key)
        now = pending.version if pending else (found.version if found else None)
        if pending is not None or now != version_of(read):
            return _describe_stale(f"{_show(read.key)} of {part.namespace}", version_of(read), now)
    return ""


def _find_stale_hash(part: NamespaceRwset, updates: UpdateBatch, reader: StateReader) -> str:
    for collection in part.collections:
        for read in collection.hashed.hashed_reads:
            at = (part.namespace, collection.name, read.key_hash)
            pending = updates.get_hashed(*at)
            found = reader.get_private_hash(*at)
            now = pending.version if pending else (found.version if found else None)
            if pending is not None or now != version_of(read):
                name = f"the private key {read.key_hash.hex()[:16]}… of {at[0]}/{at[1]}"
                return _describe_stale(name, version_of(read), now)
    return ""


def _describe_stale(name: str, seen: Version | None, now: Version | None) -> str:
    return f"it read {name} at version {_place(seen)}, which is now {_place(now)}"


def _place(version: Version | None) -> str:
    return f"{version.block}:{version.tx}" if version is not None else "none"


def _show(key: str) -> str:
    """Return a key with the separators of a composite key made visible."""
    return key.strip("\x00").replace("\x00", "/").replace("\U0010ffff", "~")
