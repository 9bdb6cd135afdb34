"""Proofs of what was anchored, made by who keeps the record, for anyone to verify offline."""

import contextlib
import json

from admin.errors import input_error
from admin.exchange.sealing import read_header
from admin.procedures.care.keys import open_keyring
from admin.procedures.care.proofs import RecordProof
from admin.procedures.care.records import Records
from admin.procedures.networks.health import Health
from chaincode import canonical
from chaincode.errors import InvalidArgument
from chaincode.records.model import Membership, Status
from network.client.channel import get_block_of
from network.client.peer import PeerClient
from network.client.profile import Profile, Surroundings


async def prove(
    surroundings: Surroundings, profile: Profile, health: Health, record: str
) -> tuple[RecordProof, bytes]:
    """Return the proof of a record sealed here, and the block that anchors it.

    Raises:
        FaultError: it is erased, so that its salt is destroyed.
        NotStored, NotARecipient: the sealed file, or a key for it, is not here.
    """
    records = Records(surroundings, profile, health)
    handle = records.resolve(record)
    known = await records.current(handle)
    if known.status is Status.ERASED:
        raise input_error("the record is erased: its salt is destroyed", "")
    trust = await records.read_trust()
    version = known.anchor.version
    with records.store.reading(handle, version) as source:
        header = read_header(source, trust.verify)
    secret = open_keyring(surroundings, profile).unwrap(header)
    # Superseded since, a record of a batch has an anchor and a transaction of its own.
    membership = records.membership(handle) if known.batch else None
    async with PeerClient(profile.endpoint, profile.signer) as peer:
        block = await get_block_of(peer, health.channel_id, known.tx_id)
    proof = RecordProof(
        channel=health.channel_id,
        record=handle,
        version=version,
        salt=secret.salt,
        block_number=block.header.number,
        transaction_id=known.tx_id,
        membership=membership,
    )
    return proof, block.SerializeToString()


def encode_proof(proof: RecordProof | Membership) -> str:
    """Return the file's text: indented JSON that `proofs.read_proof` reads."""
    return json.dumps(json.loads(canonical.encode(proof)), indent=2) + "\n"


def read_membership(raw: bytes, where: str) -> Membership | None:
    """Return the membership in a proof's or a membership's file; None for a single anchor.

    Raises FaultError if it is neither.
    """
    try:
        return canonical.decode(RecordProof, raw).membership
    except InvalidArgument:
        with contextlib.suppress(InvalidArgument):
            return canonical.decode(Membership, raw)
    raise input_error(
        "this is no proof of a record", "get one: medfabric record prove RECORD", where
    )
