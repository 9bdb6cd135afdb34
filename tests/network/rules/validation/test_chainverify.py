"""Chains that one test consortium makes: what a dishonest orderer or an old ledger would show."""

from collections.abc import Callable
from typing import Any

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import proposal_response_pb2, transaction_pb2

from network.rules.blocks.block import build_block, header_hash, sign_block
from network.rules.envelope import build_envelope
from network.rules.identity.identity import Signer
from network.rules.proposal import build_proposal, open_proposal
from network.rules.state.snapshot import MemorySnapshot, StateValue
from network.rules.transaction import build_response_payload, build_transaction_payload
from network.rules.validation.chainreport import BlockReport, Check, Taken
from network.rules.validation.chainverify import ChainVerifier
from network.rules.validation.commit_hash import set_peer_metadata
from network.rules.validation.mvcc import UpdateBatch
from network.rules.validation.txchecks import check_transaction
from tests.network.consortium import CHANNEL, Consortium, now

CONSORTIUM = Consortium()
NONCE = b"n" * 24
VALID, UNENDORSED, UNDEFINED, CONFLICT, KEY = (
    transaction_pb2.TxValidationCode.Value(name)
    for name in (
        "VALID",
        "ENDORSEMENT_POLICY_FAILURE",
        "INVALID_CHAINCODE",
        "MVCC_READ_CONFLICT",
        "INVALID_WRITESET",
    )
)


class Walk:
    """A chain in the making and its verification, with the state in dictionaries."""

    def __init__(self) -> None:
        self.genesis = CONSORTIUM.build_genesis()
        self.verifier = ChainVerifier(self.genesis)
        self.state = MemorySnapshot()
        self.previous = self.genesis
        self._apply(self.verifier.begin().updates)

    def take(
        self, *envelopes: bytes, codes: bytes = b"", signer: Signer | None = None
    ) -> BlockReport:
        """Order these envelopes in a block, record these codes, and verify it."""
        number = self.previous.header.number + 1
        block = build_block(number, header_hash(self.previous.header), envelopes)
        sign_block(block, 0, signer or CONSORTIUM.orderer_signer, NONCE)
        set_peer_metadata(block, codes, b"")
        config = self.verifier.config
        checked = [check_transaction(raw, CHANNEL, config.msps) for raw in envelopes]
        report = self.verifier.check(block, checked, self.state, lambda tx_id: False)
        self._apply(report.updates)
        self.previous = block
        return report

    def _apply(self, updates: UpdateBatch) -> None:
        for namespace, keys in updates.public.items():
            for key, update in keys.items():
                if update.value is not None:
                    value = StateValue(update.value, update.version, update.metadata)
                    self.state.states[namespace, key] = value


def transaction(
    *namespaces: str, read: bool = False, key: str = "k", endorsers: tuple[Signer, ...] = ()
) -> bytes:
    """A transaction that writes one key in each namespace."""
    proposal = build_proposal(
        channel_id=CHANNEL,
        chaincode=namespaces[0],
        args=[b"f"],
        creator=CONSORTIUM.alice.creator,
        nonce=NONCE,
        timestamp=now(),
    )
    kv = kv_rwset_pb2.KVRWSet(writes=[kv_rwset_pb2.KVWrite(key=key, value=b"v")])
    if read:
        kv.reads.add(key=key)
    parts = [
        rwset_pb2.NsReadWriteSet(namespace=name, rwset=kv.SerializeToString())
        for name in namespaces
    ]
    payload = build_response_payload(
        proposal_hash=open_proposal(proposal.raw).proposal_hash,
        results=rwset_pb2.TxReadWriteSet(ns_rwset=parts).SerializeToString(),
        event=b"",
        response=proposal_response_pb2.Response(status=200),
        chaincode_name=namespaces[0],
        chaincode_version="1",
    )
    endorsements = [
        proposal_response_pb2.Endorsement(
            endorser=one.creator, signature=one.sign(payload + one.creator)
        )
        for one in endorsers or (CONSORTIUM.peer,)
    ]
    raw = build_transaction_payload(proposal.raw, payload, endorsements)
    return build_envelope(raw, CONSORTIUM.alice.sign(raw))


def put_legacy(walk: Walk, name: str) -> None:
    walk.state.put("lscc", name, b"ChaincodeData", (0, 0))


def checks(report: BlockReport) -> list[tuple[Check, int | None]]:
    return [(one.check, one.tx) for one in report.differences]


def test_colluding_orderer_and_peer_cannot_make_a_transaction_valid() -> None:
    """Hashes and the orderer's signature are right; the one thing wrong is named."""
    walk = Walk()
    report = walk.take(transaction("_lifecycle"), codes=bytes([VALID]))
    (found,) = report.differences
    assert (found.check, found.recorded, found.recomputed) == (Check.CODE, VALID, UNENDORSED)
    assert "endorsed by Org1MSP/peer0 (1 of 1 endorsements hold)" in found.text
    assert report.orderer_signed


def test_a_member_is_no_orderer() -> None:
    walk = Walk()
    report = walk.take(transaction("cc"), codes=bytes([UNDEFINED]), signer=CONSORTIUM.peer)
    assert checks(report) == [(Check.ORDERER_SIGNATURE, None)]
    assert not report.orderer_signed


def test_an_undefined_chaincode_is_told() -> None:
    (found,) = Walk().take(transaction("cc"), codes=bytes([VALID])).differences
    assert found.recomputed == UNDEFINED
    assert "chaincode cc is not defined" in found.text


def test_under_the_old_lifecycle_the_endorsement_verdict_is_the_peers() -> None:
    walk = Walk()
    put_legacy(walk, "old")
    report = walk.take(transaction("old"), codes=bytes([VALID]))
    assert report.differences == ()
    assert report.taken == {0: Taken.LEGACY}
    assert walk.state.get_state("old", "k") is not None
    refused = walk.take(transaction("old"), codes=bytes([UNENDORSED]))
    assert refused.differences == ()
    assert refused.codes == bytes([UNENDORSED])


def test_under_the_old_lifecycle_conflicts_are_judged_all_the_same() -> None:
    walk = Walk()
    put_legacy(walk, "old")
    walk.take(transaction("old"), codes=bytes([VALID]))
    stale = transaction("old", read=True)
    right = walk.take(stale, codes=bytes([CONFLICT]))
    assert right.differences == ()
    wrong = walk.take(stale, codes=bytes([VALID]))
    assert [(one.recorded, one.recomputed) for one in wrong.differences] == [(VALID, CONFLICT)]
    assert "it read k of old at version none, which is now 1:0" in wrong.differences[0].text


def test_of_several_failing_namespaces_either_code_is_right() -> None:
    walk = Walk()
    both = transaction("cc", "_lifecycle")
    for code in (UNDEFINED, UNENDORSED):
        report = walk.take(both, codes=bytes([code]))
        assert report.differences == (), code
        assert report.codes == bytes([code])
    assert report.taken == {0: Taken.ORDER}
    (found,) = walk.take(transaction("cc"), codes=bytes([UNENDORSED])).differences
    assert found.recomputed == UNDEFINED


def test_keys_that_only_couchdb_refuses_tell_of_couchdb() -> None:
    walk = Walk()
    put_legacy(walk, "old")
    level = walk.take(transaction("old", key="_k"), codes=bytes([VALID]))
    assert level.differences == ()
    before = walk.verifier.couchdb
    couch = walk.take(transaction("old", key="_k"), codes=bytes([KEY]))
    assert couch.differences == ()
    assert (before, walk.verifier.couchdb) == (False, True)


def test_a_gap_ends_the_walk() -> None:
    walk = Walk()
    walk.previous = build_block(3, b"", [b""])
    report = walk.take(transaction("cc"))
    assert report.halted
    assert [(one.block, one.check) for one in report.differences] == [(1, Check.MISSING)]
    assert report.differences[0].text == "blocks 1 to 3 are missing"


def test_a_config_envelope_of_nobody_halts() -> None:
    walk = Walk()
    forged = _reissue(walk.genesis.data.data[0], lambda payload: None)
    report = walk.take(forged, codes=bytes([VALID]))
    assert report.halted
    assert checks(report)[-1] == (Check.CONFIG, 0)
    assert "cannot validate config at sequence 0" in report.differences[-1].text


def _reissue(raw: bytes, change: Callable[[Any], None]) -> bytes:
    """The genesis configuration again, signed by the orderer."""
    envelope = common_pb2.Envelope.FromString(raw)
    payload = common_pb2.Payload.FromString(envelope.payload)
    header = common_pb2.SignatureHeader(creator=CONSORTIUM.orderer_signer.creator, nonce=NONCE)
    payload.header.signature_header = header.SerializeToString()
    change(payload)
    signed = payload.SerializeToString()
    return build_envelope(signed, CONSORTIUM.orderer_signer.sign(signed))
