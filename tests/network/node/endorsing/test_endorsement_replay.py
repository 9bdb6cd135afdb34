"""Every simulation in the vectors, run again on our recorder: the results are the same bytes.

The operations stand in the transactions (tests/vectors/ledger/README.md). Each is simulated on our
ledger as it is before the block, its public results are compared with what the real peers signed,
and its private results go into the commit, so that later private reads find them.
"""

import json
from pathlib import Path
from typing import Any

from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2

from network.node.ledger.ledger import Ledger
from network.rules.envelope import open_envelope
from network.rules.lifecycle.calls import invoke
from network.rules.lifecycle.collections import check_permission
from network.rules.lifecycle.definitions import get_sequence
from network.rules.lifecycle.invocation import Invocation
from network.rules.lifecycle.states import PublicState
from network.rules.state.recorder import Recorder, SimulationResults
from network.rules.state.rwset import VALIDATION_PARAMETER, open_rwset
from network.rules.transaction import open_response_payload, open_transaction
from tests.network.node.ledger.test_ledger_replay import as_ordered, read_ledger


class Endorser:
    """What an endorsing peer and its chaincode do with a proposal."""

    def __init__(self, ledger: Ledger, recorder: Recorder) -> None:
        self.ledger = ledger
        self.recorder = recorder
        self.permitted: set[tuple[str, str]] = set()

    def invoke(self, chaincode: str, args: list[bytes], msp_id: str) -> None:
        if chaincode == "_lifecycle":
            call = Invocation(msp_id, recorder=self.recorder, channel=self.ledger.channel_facts())
            invoke(args[0].decode(), args[1], call)
            return
        self.run(chaincode, json.loads(args[-1]))

    def run(self, chaincode: str, operations: list[list[Any]]) -> None:
        get_sequence(PublicState(self.recorder), chaincode)
        for name, *values in operations:
            getattr(self, "delete" if name == "del" else name)(chaincode, *values)

    def get(self, cc: str, key: str) -> None:
        self.recorder.get_state(cc, key)

    def put(self, cc: str, key: str, value: str) -> None:
        self.recorder.put_state(cc, key, value.encode())

    def delete(self, cc: str, key: str) -> None:
        self.recorder.delete_state(cc, key)

    def bulk(self, cc: str, prefix: str, start: int, stop: int) -> None:
        for index in range(start, stop):
            self.recorder.put_state(cc, f"{prefix}{index:05}", b"x")

    def range(self, cc: str, start: str, end: str, pages: int) -> None:
        iterator = self.recorder.range(cc, start, end)
        page, pulled = iterator.next_page(), 1
        while page.has_more and (pages == 0 or pulled < pages):
            page, pulled = iterator.next_page(), pulled + 1

    def meta(self, cc: str, collection: str, key: str, policy: str) -> None:
        metadata = {VALIDATION_PARAMETER: bytes.fromhex(policy)}
        if collection:
            self._permit(cc, collection)
            self.recorder.put_private_metadata(cc, collection, key, metadata)
        else:
            self.recorder.put_metadata(cc, key, metadata)

    def getmeta(self, cc: str, collection: str, key: str) -> None:
        if collection:
            self._permit(cc, collection)
            self.recorder.get_private_metadata(cc, collection, key)
        else:
            self.recorder.get_metadata(cc, key)

    def pget(self, cc: str, collection: str, key: str) -> None:
        self._permit(cc, collection)
        self.recorder.get_private(cc, collection, key)

    def pput(self, cc: str, collection: str, key: str, value: str) -> None:
        self._permit(cc, collection)
        self.recorder.put_private(cc, collection, key, value.encode())

    def pdel(self, cc: str, collection: str, key: str) -> None:
        self._permit(cc, collection)
        self.recorder.delete_private(cc, collection, key)

    def ppurge(self, cc: str, collection: str, key: str) -> None:
        self._permit(cc, collection)
        self.recorder.purge_private(cc, collection, key)

    def phash(self, cc: str, collection: str, key: str) -> None:
        self.recorder.get_private_hash(cc, collection, key)

    def cc(self, caller: str, callee: str, operations: list[list[Any]]) -> None:
        self.run(callee, operations)

    def event(self, cc: str, name: str, payload: str) -> None:
        """Events are no part of the read-write set."""

    def _permit(self, cc: str, collection: str) -> None:
        if (cc, collection) not in self.permitted:
            assert check_permission(self.recorder, "ch", cc, collection, lambda _: True).write
            self.permitted.add((cc, collection))


def open_proposal_of(raw: bytes) -> tuple[str, str, list[bytes], bytes]:
    """Return creator's MSP id, chaincode, arguments and the endorsed results."""
    envelope = open_envelope(raw)
    transaction = open_transaction(envelope.data)
    payload = proposal_pb2.ChaincodeProposalPayload.FromString(
        transaction.chaincode_proposal_payload
    )
    spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(payload.input).chaincode_spec
    creator = identities_pb2.SerializedIdentity.FromString(envelope.signature_header.creator)
    args = list(spec.input.args)
    results = open_response_payload(transaction.response_payload).results
    return creator.mspid, spec.chaincode_id.name, args, results


def simulate(ledger: Ledger, raw: bytes) -> tuple[SimulationResults, bytes]:
    msp_id, chaincode, args, expected = open_proposal_of(raw)
    with ledger.snapshot() as snapshot:
        recorder = ledger.recorder(snapshot)
        Endorser(ledger, recorder).invoke(chaincode, args, msp_id)
        return recorder.results(), expected


async def test_simulations_give_the_bytes_the_real_peers_signed(tmp_path: Path) -> None:
    blocks = read_ledger("behaviour")
    identity = find_peer_identity(blocks, "Org1MSP")
    ledger = await Ledger.create(tmp_path / "ledger", blocks[0], identity=identity)
    seen: set[str] = set()
    compared = 0
    for block in blocks[1:]:
        private: dict[int, bytes] = {}
        for index, raw in enumerate(block.data.data):
            tx_id = open_envelope(raw).channel_header.tx_id
            if tx_id in seen:
                continue
            seen.add(tx_id)
            results, expected = simulate(ledger, raw)
            where = f"block {block.header.number}, transaction {index}"
            assert open_rwset(results.public) == open_rwset(expected), where
            assert results.public == expected, where
            private[index] = results.private
            compared += 1
        committed = await ledger.commit(as_ordered(block), private)
        assert committed.raw == block.SerializeToString()
    assert compared == 76
    assert {entry.collection for entry in ledger.get_missing(100)} == set()
    await ledger.close()


def find_peer_identity(blocks: list[Any], msp_id: str) -> bytes:
    """Return the serialized identity of an organisation's peer, from an endorsement."""
    for block in blocks[1:]:
        for raw in block.data.data:
            for endorsement in open_transaction(open_envelope(raw).data).endorsements:
                found = identities_pb2.SerializedIdentity.FromString(endorsement.endorser)
                if found.mspid == msp_id:
                    return bytes(endorsement.endorser)
    raise AssertionError(f"nobody of {msp_id} endorsed anything")
