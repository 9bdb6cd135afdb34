"""Fills a peer's ledger while the peer is down: signed blocks through the peer's own commit path.

Every transaction has a creator's and an endorser's signature, every block its orderer's, and the
peer's own code validates and commits them; only the network between the nodes is left out. The
channel's orderer knows nothing of these blocks, so the network can be read afterwards and not
written to: it is for measuring and nothing else.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import proposal_response_pb2

from network.node.ledger.channel import PeerChannel
from network.node.ledger.sqlite_store import LEDGER_FILE
from network.rules.blocks.block import build_block, header_hash, last_config_index, open_block
from network.rules.blocks.block import sign_block as sign_new_block
from network.rules.envelope import NONCE_BYTES, build_envelope
from network.rules.identity.identity import Signer
from network.rules.proposal import build_proposal, open_proposal
from network.rules.transaction import build_response_payload, build_transaction_payload

Write = tuple[str, bytes]
"""A key of the chaincode's public state, and its value."""


class FillingError(Exception):
    """A block that was built here was not found valid; the text has the codes."""


@dataclass(frozen=True, slots=True)
class Signers:
    """Whose signatures the blocks carry.

    Attributes:
        creator: who proposes the transactions, a member of the channel.
        endorsers: whose endorsements the chaincode's policy needs.
        orderer: who may sign the channel's blocks.
    """

    creator: Signer
    endorsers: tuple[Signer, ...]
    orderer: Signer


@dataclass(frozen=True, slots=True)
class Chaincode:
    """Which chaincode's state is written; its definition must be committed already."""

    channel_id: str
    name: str
    version: str


class LedgerFiller:
    """One channel's ledger at a peer that is down; open it with `open`, close it with `close`."""

    def __init__(
        self, folder: Path, channel: PeerChannel, chaincode: Chaincode, signers: Signers
    ) -> None:
        self._folder = folder
        self._channel = channel
        self._chaincode = chaincode
        self._signers = signers
        self._trimmed = channel.height

    @classmethod
    async def open(cls, folder: Path, chaincode: Chaincode, signers: Signers) -> LedgerFiller:
        """The ledger in `folder`. Raises StoreError: there is none, or its peer still runs."""
        channel = await PeerChannel.open(folder, signers.endorsers[0].creator)
        return cls(folder, channel, chaincode, signers)

    async def commit(self, transactions: Iterable[Sequence[Write]]) -> None:
        """One block of these transactions is committed and every one of them valid.

        Raises:
            FillingError: the peer's rules found one invalid.
        """
        newest = open_block(await self._channel.get_block(self._channel.height - 1))
        envelopes = [self._build(writes) for writes in transactions]
        block = build_block(newest.header.number + 1, header_hash(newest.header), envelopes)
        nonce = secrets.token_bytes(NONCE_BYTES)
        sign_new_block(block, last_config_index(newest), self._signers.orderer, nonce)
        await self._channel.commit(block)
        committed = open_block(await self._channel.get_block(block.header.number))
        codes = bytes(committed.metadata.metadata[2])
        if any(codes):
            raise FillingError(f"block {block.header.number} was not found valid: {list(codes)}")

    def trim(self) -> None:
        """History and old blocks' bytes are gone, as at a peer that joined from a snapshot."""
        last = self._channel.height - 1
        with sqlite3.connect(self._folder / LEDGER_FILE, timeout=60) as connection:
            connection.execute("DELETE FROM history")
            connection.execute(
                "UPDATE blocks SET raw = x'' WHERE number >= ? AND number < ?",
                (self._trimmed, last),
            )
        connection.close()
        self._trimmed = last

    async def close(self) -> None:
        """The files are released."""
        await self._channel.close()

    def _build(self, writes: Sequence[Write]) -> bytes:
        creator = self._signers.creator
        built = build_proposal(
            channel_id=self._chaincode.channel_id,
            chaincode=self._chaincode.name,
            args=[b"bench:Fill"],
            creator=creator.creator,
            nonce=secrets.token_bytes(NONCE_BYTES),
            timestamp=datetime.now(UTC),
        )
        payload = build_response_payload(
            proposal_hash=open_proposal(built.raw).proposal_hash,
            results=self._build_results(writes),
            event=b"",
            response=proposal_response_pb2.Response(status=200),
            chaincode_name=self._chaincode.name,
            chaincode_version=self._chaincode.version,
        )
        endorsements = [
            proposal_response_pb2.Endorsement(
                endorser=one.creator, signature=one.sign(payload + one.creator)
            )
            for one in self._signers.endorsers
        ]
        transaction = build_transaction_payload(built.raw, payload, endorsements)
        return build_envelope(transaction, creator.sign(transaction))

    def _build_results(self, writes: Sequence[Write]) -> bytes:
        public = kv_rwset_pb2.KVRWSet(
            writes=[kv_rwset_pb2.KVWrite(key=key, value=value) for key, value in sorted(writes)]
        )
        namespace = rwset_pb2.NsReadWriteSet(
            namespace=self._chaincode.name, rwset=public.SerializeToString()
        )
        results = rwset_pb2.TxReadWriteSet(
            data_model=rwset_pb2.TxReadWriteSet.KV, ns_rwset=[namespace]
        )
        return bytes(results.SerializeToString())
