"""Blocks and transactions as values a person can read: who, when, what, with which verdict.

Nothing private is shown: of a chaincode's arguments only the function's name, of writes only the
keys, of private data only the collections' names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2, proposal_pb2, transaction_pb2

from network.client.commit import VALID, code_name
from network.rules.blocks.block import data_hash, header_hash
from network.rules.envelope import MalformedMessage, OpenedEnvelope, open_envelope, parse_message
from network.rules.identity.identity import IdentityError, read_identity
from network.rules.state.rwset import MalformedRwset, Rwset, open_rwset
from network.rules.transaction import open_response_payload, open_transaction

KINDS = {
    common_pb2.CONFIG: "config",
    common_pb2.CONFIG_UPDATE: "config-update",
    common_pb2.ENDORSER_TRANSACTION: "endorser",
}


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A key that a transaction read, and the version it saw (`block:transaction`; empty: none)."""

    key: str
    version: str


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """What a transaction did in one namespace; private collections by name only."""

    namespace: str
    reads: tuple[KeyVersion, ...]
    writes: tuple[str, ...]
    ranges: int
    collections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransactionView:
    """A transaction on the ledger.

    Attributes:
        transaction_id: its id.
        block_number: the block that holds it.
        position: its place in the block, from 0.
        code: the validation code.
        code_name: the code's name.
        kind: `endorser`, `config` or another header type's number.
        time: what its submitter's clock said.
        submitter: `MSP/common name`.
        chaincode: the chaincode, with its version.
        function: what was called.
        endorsers: who endorsed, `MSP/common name`.
        status: the chaincode's response status.
        event: the name of the event it set.
        namespaces: what it read and wrote.
    """

    transaction_id: str
    block_number: int
    position: int
    code: int
    code_name: str
    kind: str
    time: datetime | None = None
    submitter: str = ""
    chaincode: str = ""
    function: str = ""
    endorsers: tuple[str, ...] = ()
    status: int = 0
    event: str = ""
    namespaces: tuple[NamespaceView, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether its writes count."""
        return self.code == VALID


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block.

    Attributes:
        number: its number.
        hash: its header's hash.
        previous_hash: the header hash of the block before.
        data_hash: the hash over its transactions, as its header says.
        intact: whether the transactions hash to that.
        transactions: what it holds, in order.
    """

    number: int
    hash: bytes
    previous_hash: bytes
    data_hash: bytes
    intact: bool
    transactions: tuple[TransactionView, ...]


def view_block(block: Any) -> BlockView:
    """A `common.Block` as a value; what cannot be read of a transaction is left empty."""
    codes = get_codes(block)
    number = int(block.header.number)
    return BlockView(
        number=number,
        hash=header_hash(block.header),
        previous_hash=bytes(block.header.previous_hash),
        data_hash=bytes(block.header.data_hash),
        intact=data_hash(block.data.data) == bytes(block.header.data_hash),
        transactions=tuple(
            view_transaction(raw, number, position, codes)
            for position, raw in enumerate(block.data.data)
        ),
    )


def get_codes(block: Any) -> bytes:
    """The validation codes in a block's metadata, a byte a transaction; empty from an orderer."""
    metadata = block.metadata.metadata
    slot = common_pb2.TRANSACTIONS_FILTER
    return bytes(metadata[slot]) if len(metadata) > slot else b""


def view_transaction(raw: bytes, block: int, position: int, codes: bytes) -> TransactionView:
    """One envelope of a block as a value.

    Args:
        raw: the envelope's bytes.
        block: the block's number.
        position: its place there.
        codes: the block's validation codes.
    """
    code = codes[position] if position < len(codes) else transaction_pb2.NOT_VALIDATED
    try:
        envelope = open_envelope(raw)
    except MalformedMessage:
        return TransactionView("", block, position, code, code_name(code), "unreadable")
    header = envelope.channel_header
    kind = KINDS.get(header.type, str(header.type))
    view: dict[str, Any] = {
        "transaction_id": header.tx_id,
        "time": _moment(header.timestamp.seconds),
        "submitter": name_identity(envelope.signature_header.creator),
    }
    if header.type == common_pb2.ENDORSER_TRANSACTION:
        view.update(_view_action(envelope))
    return TransactionView(
        block_number=block,
        position=position,
        code=code,
        code_name=code_name(code),
        kind=kind,
        **view,
    )


def _moment(seconds: int) -> datetime | None:
    """The time a submitter claims; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _view_action(envelope: OpenedEnvelope) -> dict[str, Any]:
    view: dict[str, Any] = {}
    try:
        opened = open_transaction(envelope.data)
        view["endorsers"] = tuple(name_identity(one.endorser) for one in opened.endorsements)
        view["function"] = _function(opened.chaincode_proposal_payload)
        action = open_response_payload(opened.response_payload)
        named = action.action.chaincode_id
        view["chaincode"] = f"{named.name} {named.version}".strip()
        view["status"] = int(action.action.response.status)
        view["event"] = parse_message(chaincode_event_pb2.ChaincodeEvent, action.event).event_name
        view["namespaces"] = view_rwset(open_rwset(action.results))
    except (MalformedMessage, MalformedRwset):
        pass  # a transaction that cannot be read has a code that says so
    return view


def _function(proposal_payload: bytes) -> str:
    payload = parse_message(proposal_pb2.ChaincodeProposalPayload, proposal_payload)
    called = parse_message(chaincode_pb2.ChaincodeInvocationSpec, payload.input)
    arguments = called.chaincode_spec.input.args
    return bytes(arguments[0]).decode(errors="replace") if arguments else ""


def view_rwset(rwset: Rwset) -> tuple[NamespaceView, ...]:
    """What a transaction read and wrote, by namespace."""
    return tuple(
        NamespaceView(
            namespace=one.namespace,
            reads=tuple(KeyVersion(show_key(read.key), _version(read)) for read in one.kv.reads),
            writes=tuple(show_key(write.key) for write in one.kv.writes),
            ranges=len(one.kv.range_queries_info),
            collections=tuple(collection.name for collection in one.collections),
        )
        for one in rwset.namespaces
    )


def show_key(key: str) -> str:
    """A key with the separators of a composite key made visible."""
    return key.strip("\x00").replace("\x00", "/").replace("\U0010ffff", "~")


def _version(read: Any) -> str:
    if not read.HasField("version"):
        return ""
    return f"{read.version.block_num}:{read.version.tx_num}"


def name_identity(serialized: bytes) -> str:
    """`MSP/common name` of a serialised identity, or that it is unreadable."""
    if not serialized:
        return ""
    try:
        identity = read_identity(serialized)
    except IdentityError:
        return "unreadable identity"
    names = [
        str(attribute.value)
        for attribute in identity.certificate.subject
        if attribute.oid.dotted_string == "2.5.4.3"
    ]
    return f"{identity.msp_id}/{names[0] if names else '?'}"


def find_writer(
    blocks: Sequence[BlockView], namespace: str, keys: frozenset[str]
) -> TransactionView | None:
    """The last valid transaction in these blocks that wrote one of the keys."""
    for block in reversed(blocks):
        for transaction in reversed(block.transactions):
            for one in transaction.namespaces if transaction.valid else ():
                if one.namespace == namespace and keys.intersection(one.writes):
                    return transaction
    return None
