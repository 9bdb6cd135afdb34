"""Random blocks of transactions, from honest ones to what only a forger would send.

`WildBlocks(consortium, seed)` makes one block after another for a channel whose state it is shown.
Read-write sets are written here by hand, as a dishonest endorser could, and signed with real keys.
"""

import random
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import utils
from fabric_protos.common import common_pb2, policies_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    collection_pb2,
    policy_pb2,
    proposal_response_pb2,
    transaction_pb2,
)

from network.rules.blocks.block import build_block, header_hash, sign_block
from network.rules.envelope import build_envelope
from network.rules.identity.certificates import Validity
from network.rules.identity.identity import Signer
from network.rules.lifecycle.definitions import DEFINITION_TYPE, ChaincodeDefinition
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.structures import NAMESPACES, build_metadata, field_key, metadata_key
from network.rules.policy.application import policy_reference
from network.rules.policy.dsl import parse_policy
from network.rules.proposal import build_proposal, open_proposal
from network.rules.state.rangequery import RangeSummary
from network.rules.state.snapshot import Version
from network.rules.transaction import build_response_payload, build_transaction_payload
from tests.network.consortium import CHANNEL, Consortium, make_org, now
from tests.network.differential.naive_peer import State

P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEYS = [f"k{at}" for at in range(8)]
OWNED = [f"m{at}" for at in range(4)]
"""Keys that get policies of their own."""
SECRETS = [sha256(f"s{at}".encode()).digest() for at in range(5)]
POLICIES = ["OR('Org1MSP.peer')", "OR('Org2MSP.peer')", "AND('Org1MSP.peer','Org2MSP.peer')"]
COLLECTIONS = {
    "both": ("OR('Org1MSP.member','Org2MSP.member')", "", 0),
    "only1": ("OR('Org1MSP.member')", "OR('Org1MSP.member')", 0),
    "short": ("OR('Org1MSP.member','Org2MSP.member')", "", 1),
}
IMPLICIT = ["_implicit_org_Org1MSP", "_implicit_org_Org2MSP"]


class Mix:
    """A read-write set in the making."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}
        self.hashed: dict[tuple[str, str], Any] = {}

    def kv(self, namespace: str) -> Any:
        return self.parts.setdefault(namespace, kv_rwset_pb2.KVRWSet())

    def collection(self, namespace: str, name: str) -> Any:
        self.kv(namespace)
        return self.hashed.setdefault((namespace, name), kv_rwset_pb2.HashedRWSet())

    @property
    def changes_policies(self) -> bool:
        return any(kv.metadata_writes for kv in self.parts.values()) or any(
            hashed.metadata_writes for hashed in self.hashed.values()
        )

    def build(self) -> bytes:
        message = rwset_pb2.TxReadWriteSet()
        for namespace, kv in sorted(self.parts.items()):
            part = message.ns_rwset.add(namespace=namespace, rwset=kv.SerializeToString())
            for (owner, name), hashed in sorted(self.hashed.items()):
                if owner == namespace:
                    part.collection_hashed_rwset.add(
                        collection_name=name, hashed_rwset=hashed.SerializeToString()
                    )
        return bytes(message.SerializeToString())


class WildBlocks:
    """Makes the blocks of one channel.

    `survivable` leaves out what makes a real Fabric 3.1 peer panic or wait for ever.
    """

    def __init__(self, consortium: Consortium, seed: int, *, survivable: bool = False) -> None:
        self.random = random.Random(seed)
        self.consortium = consortium
        self.survivable = survivable
        self.genesis = consortium.build_genesis(
            application_policies={"LifecycleEndorsement": "ANY Endorsement"}
        )
        self.previous = self.genesis
        self.past: list[State] = []
        self.sent: list[bytes] = []
        self.peer1, self.peer2 = consortium.peer, consortium.org2.enrol("peer0", "peer")
        expired = Validity(now() - timedelta(hours=9), now() - timedelta(hours=8))
        self.expired = consortium.org1.enrol("old", "client", expired)
        before_its_authority = Validity(now() - timedelta(days=3), now() + timedelta(days=2))
        self.elder = consortium.org1.enrol("elder", "client", before_its_authority)
        self.pretender = make_org("Org1MSP").enrol("eve", "peer")
        self.creators = [consortium.alice, consortium.org2.enrol("bob"), consortium.admin1]

    # --- blocks ---

    def setup(self) -> Any:
        """Block 1: the chaincodes `maj`, with collections, and `any` are defined."""
        mix = Mix()
        either = policy_pb2.ApplicationPolicy()
        either.signature_policy.CopyFrom(parse_policy("OR('Org1MSP.peer','Org2MSP.peer')"))
        for name, policy, collections in (
            ("maj", policy_reference("/Channel/Application/Endorsement"), _build_collections()),
            ("any", either.SerializeToString(), b""),
        ):
            definition = ChaincodeDefinition(1, "1", False, "escc", "vscc", policy, collections)
            fields = definition.fields()
            writes = {metadata_key(NAMESPACES, name): build_metadata(DEFINITION_TYPE, fields)}
            writes |= {field_key(NAMESPACES, name, field): raw for field, raw in fields.items()}
            for key, value in sorted(writes.items()):
                mix.kv(LIFECYCLE).writes.add(key=key, value=value)
        return self.order([self.build(LIFECYCLE, mix, [self.peer1], self.consortium.alice)])

    def next_block(self, state: State, size: int) -> Any:
        """A block of random transactions on top of `state`."""
        self.past = [*self.past[-3:], dict(state)]
        self.deleted: set[tuple[str, str]] = set()
        self.repoliced: set[tuple[str, str]] = set()
        made = [self.make() for _ in range(size)]
        if self.random.random() < 0.4:
            # Last, because nothing after it is ever judged by a real peer. One that is no
            # envelope at all would have a real peer refuse the whole block.
            unreadable = [self.envelope(b"\xff\xff"), *([] if self.survivable else [b"\xff\xff"])]
            made.append(self.random.choice(unreadable))
        return self.order(made)

    def order(self, envelopes: list[bytes]) -> Any:
        number = self.previous.header.number + 1
        block = build_block(number, header_hash(self.previous.header), envelopes)
        sign_block(block, 0, self.consortium.orderer_signer, secrets.token_bytes(24))
        self.previous = block
        return block

    # --- one transaction ---

    def make(self) -> bytes:
        draw = self.random.random()
        if draw < 0.06 and self.sent:
            return self.random.choice(self.sent)
        mix, chaincode = Mix(), self.random.choice(["maj"] * 10 + ["any"] * 5 + ["ghost"])
        if draw < 0.12:
            self.fill_range(mix, chaincode)
        else:
            self.fill(mix, chaincode)
        creator = self.random.choice(self.creators)
        endorsers = self.choose_endorsers()
        plain = not mix.changes_policies or not self.survivable
        alone = self.survivable and chaincode == "ghost"
        if plain and not alone and self.random.random() < 0.1:
            # Fabric judges namespaces in the random order of a Go map, so that two peers give
            # different codes where they fail for different reasons; ours has an order.
            others = ["any", "maj", *([] if self.survivable else ["ghost", "other"])]
            self.fill(mix, self.random.choice(others), keys=KEYS)
        if plain and self.random.random() < 0.22:
            return self.random.choice(self.spoilers())(chaincode, mix, endorsers, creator)
        raw = self.build(chaincode, mix, endorsers, creator)
        if plain:
            self.sent.append(raw)
        return raw

    def choose_endorsers(self) -> list[Signer]:
        draw = self.random.random()
        if draw < 0.65:
            return [self.peer1, self.peer2]
        crowd = [
            self.peer1, self.peer2, self.consortium.alice, self.pretender, self.peer1,
            self.consortium.orderer_signer, self.consortium.stranger, self.expired,
        ]  # fmt: skip
        return self.random.sample(crowd, self.random.randint(0, 3))

    # --- what it reads and writes ---

    def fill(self, mix: Mix, namespace: str, keys: list[str] | None = None) -> None:
        for _ in range(self.random.randint(1, 3)):
            steps: list[Callable[[Mix, str], None]] = [
                self.read, self.read, self.write, self.write, self.write, self.query,
            ]  # fmt: skip
            if keys is None and namespace == "maj":
                steps += [self.write_owned, self.set_policy, self.touch_private]
                steps += [self.touch_private]
            self.random.choice(steps)(mix, namespace)

    def snapshot(self) -> State:
        """What the endorser saw: mostly the newest state."""
        return self.past[-1] if self.random.random() < 0.8 else self.random.choice(self.past)

    def read(self, mix: Mix, namespace: str) -> None:
        key = self.random.choice(KEYS + OWNED)
        if key in [read.key for read in mix.kv(namespace).reads]:
            return
        read = mix.kv(namespace).reads.add(key=key)
        self.set_version(read, (namespace, "", key))

    def set_version(self, read: Any, at: tuple[str, str, str | bytes]) -> None:
        stored = self.snapshot().get(at)
        if stored is not None:
            read.version.SetInParent()
            read.version.block_num, read.version.tx_num = stored.version

    def write(self, mix: Mix, namespace: str) -> None:
        self.put(mix, namespace, self.random.choice(KEYS))

    def write_owned(self, mix: Mix, namespace: str) -> None:
        self.put(mix, namespace, self.random.choice(OWNED))

    def put(self, mix: Mix, namespace: str, key: str) -> None:
        if key in [write.key for write in mix.kv(namespace).writes]:
            return
        value = self.random.choice([b"", b"1", b"2", b"3", b"4"])
        deletes = not value or self.random.random() < 0.1
        if deletes and self.survivable and (namespace, key) in self.repoliced:
            return
        if deletes:
            self.deleted.add((namespace, key))
        mix.kv(namespace).writes.add(
            key=key, value=b"" if deletes and value else value, is_delete=deletes
        )

    def set_policy(self, mix: Mix, namespace: str) -> None:
        key = self.random.choice(OWNED)
        kv = mix.kv(namespace)
        if key in [write.key for write in kv.metadata_writes]:
            return
        if self.survivable and (namespace, key) in self.deleted:
            return
        self.repoliced.add((namespace, key))
        self.add_entries(kv.metadata_writes.add(key=key))

    def add_entries(self, write: Any) -> None:
        if self.random.random() < 0.2:
            return
        policy = parse_policy(self.random.choice(POLICIES)).SerializeToString()
        write.entries.add(name="VALIDATION_PARAMETER", value=policy)

    def touch_private(self, mix: Mix, namespace: str) -> None:
        names = [*COLLECTIONS, *IMPLICIT]
        if not self.survivable:
            names.append("nowhere")
        name, key = self.random.choice(names), self.random.choice(SECRETS)
        hashed = mix.collection(namespace, name)
        used = [*hashed.hashed_reads, *hashed.hashed_writes, *hashed.metadata_writes]
        if key in [one.key_hash for one in used]:
            return
        draw = self.random.random()
        place = (f"{namespace}/{name}", key.hex())
        if draw < 0.35:
            self.set_version(hashed.hashed_reads.add(key_hash=key), (namespace, name, key))
        elif draw < 0.75:
            value = sha256(self.random.choice([b"1", b"2"])).digest()
            hashed.hashed_writes.add(key_hash=key, value_hash=value)
        elif draw < 0.9:
            if self.survivable and place in self.repoliced:
                return
            self.deleted.add(place)
            hashed.hashed_writes.add(key_hash=key, is_delete=True, is_purge=draw > 0.85)
        elif not (self.survivable and place in self.deleted):
            self.repoliced.add(place)
            self.add_entries(hashed.metadata_writes.add(key_hash=key))

    def query(self, mix: Mix, namespace: str) -> None:
        start, end = sorted(self.random.sample([*KEYS, "", "l", "r", "r04", "s"], 2))
        if self.random.random() < 0.2:
            end = ""
        self.add_range(mix, namespace, start, end)

    def add_range(self, mix: Mix, namespace: str, start: str, end: str) -> None:
        state = self.snapshot()
        rows = sorted(
            (str(key), stored.version)
            for (name, collection, key), stored in state.items()
            if (name, collection) == (namespace, "") and start <= str(key)
            if not end or str(key) < end
        )
        info = kv_rwset_pb2.RangeQueryInfo(start_key=start, end_key=end, itr_exhausted=True)
        if rows and self.random.random() < 0.3:
            rows = rows[: self.random.randint(1, len(rows))]
            info.itr_exhausted, info.end_key = False, rows[-1][0]
        # An honest peer's degree is 50; a small one makes high trees of few keys.
        degree = self.random.choice([50, 50, 2, 3])
        summary = RangeSummary(degree)
        for key, version in rows:
            summary.add(key, Version(*version))
        reads, hashes = summary.finish()
        if hashes is None and reads:
            info.raw_reads.kv_reads.extend(reads)
        elif hashes is not None:
            info.reads_merkle_hashes.max_degree = degree
            info.reads_merkle_hashes.max_level = summary.max_level
            info.reads_merkle_hashes.max_level_hashes.extend(hashes)
        mix.kv(namespace).range_queries_info.append(info)

    def fill_range(self, mix: Mix, namespace: str) -> None:
        """Many keys at once, written or read."""
        if self.random.random() < 0.5:
            first = self.random.randint(0, 60)
            for at in range(first, first + self.random.randint(1, 60)):
                mix.kv(namespace).writes.add(key=f"r{at:03}", value=b"x")
        else:
            self.add_range(mix, namespace, "r", self.random.choice(["s", "r1", ""]))
            self.write(mix, namespace)

    # --- bytes ---

    def build(
        self,
        chaincode: str,
        mix: Mix,
        endorsers: Sequence[Signer],
        creator: Signer,
        *,
        results: bytes | None = None,
        version: str = "1",
        event: bytes = b"",
        called: str = "",
        change: Callable[[Any], None] = lambda transaction: None,
        spoil: Callable[[bytes], bytes] = lambda signature: signature,
        channel: str = CHANNEL,
        sign: Callable[[Signer, bytes], bytes] = lambda signer, data: signer.sign(data),
    ) -> bytes:
        """A transaction; the keywords say what is wrong with it."""
        proposal = build_proposal(
            channel_id=channel,
            chaincode=called or chaincode,
            args=[b"f"],
            creator=creator.creator,
            nonce=secrets.token_bytes(24),
            timestamp=now(),
        )
        payload = build_response_payload(
            proposal_hash=open_proposal(proposal.raw).proposal_hash,
            results=mix.build() if results is None else results,
            event=event,
            response=proposal_response_pb2.Response(status=200),
            chaincode_name=chaincode,
            chaincode_version=version,
        )
        endorsements = [
            proposal_response_pb2.Endorsement(
                endorser=one.creator, signature=spoil(one.sign(payload + one.creator))
            )
            for one in endorsers or [self.peer1]
        ]
        raw = build_transaction_payload(proposal.raw, payload, endorsements)
        opened = common_pb2.Payload.FromString(raw)
        if not endorsers:
            _drop_endorsements(opened)
        change(opened)
        raw = opened.SerializeToString()
        return build_envelope(raw, sign(creator, raw))

    def envelope(self, payload: bytes) -> bytes:
        return build_envelope(payload, self.consortium.alice.sign(payload))

    def spoilers(self) -> list[Callable[..., bytes]]:
        """Ways to build a transaction badly; each takes chaincode, set, endorsers, creator."""

        def with_creator(signer: Signer) -> Callable[..., bytes]:
            return lambda cc, mix, by, creator: self.build(cc, mix, by, signer)

        def with_change(change: Callable[[Any], None]) -> Callable[..., bytes]:
            return lambda *one: self.build(*one, change=change)

        def with_more(**more: Any) -> Callable[..., bytes]:
            return lambda *one: self.build(*one, **more)

        event = chaincode_event_pb2.ChaincodeEvent(chaincode_id="other", event_name="e")
        twice = Mix()
        self.write(twice, "maj")
        part = rwset_pb2.TxReadWriteSet.FromString(twice.build()).ns_rwset
        doubled = rwset_pb2.TxReadWriteSet(ns_rwset=[*part, *part]).SerializeToString()
        found = [
            with_creator(self.consortium.stranger),
            with_creator(self.pretender),
            with_creator(self.expired),
            with_creator(self.elder),
            with_more(sign=lambda signer, data: signer.sign(data + b"x")),
            with_more(sign=lambda signer, data: _raise_s(signer.sign(data))),
            with_more(spoil=lambda signature: signature[:-1] + bytes([signature[-1] ^ 1])),
            with_more(spoil=_raise_s),
            with_more(version=""),
            with_more(called="any2"),
            with_more(event=event.SerializeToString()),
            with_more(results=b"\xff\xff"),
            with_more(results=doubled),
            with_more(channel="elsewhere"),
            with_change(_set_header(tx_id="0" * 64)),
            with_change(_set_header(epoch=1)),
            with_change(_set_header(type=common_pb2.CONFIG_UPDATE)),
            with_change(_set_header(type=77)),
            with_change(_drop_nonce),
            with_change(_change_hash),
            with_change(_double_action),
        ]
        if not self.survivable:
            found += [
                with_change(lambda opened: opened.ClearField("header")),
                with_change(lambda opened: setattr(opened, "data", b"\xff")),
                with_change(lambda opened: setattr(opened, "data", b"")),
            ]
        return found


def _build_collections() -> bytes:
    package = collection_pb2.CollectionConfigPackage()
    for name, (members, endorsement, lives) in COLLECTIONS.items():
        config = package.config.add().static_collection_config
        config.name, config.block_to_live = name, lives
        config.maximum_peer_count = 1
        config.member_orgs_policy.signature_policy.CopyFrom(parse_policy(members))
        if endorsement:
            policy: policies_pb2.SignaturePolicyEnvelope = parse_policy(endorsement)
            config.endorsement_policy.signature_policy.CopyFrom(policy)
    return bytes(package.SerializeToString())


def _raise_s(signature: bytes) -> bytes:
    """The same signature with the other S, which Fabric refuses."""
    r, s = utils.decode_dss_signature(signature)
    return utils.encode_dss_signature(r, P256 - s)


def _set_header(**fields: Any) -> Callable[[Any], None]:
    def change(opened: Any) -> None:
        header = common_pb2.ChannelHeader.FromString(opened.header.channel_header)
        for name, value in fields.items():
            setattr(header, name, value)
        opened.header.channel_header = header.SerializeToString()

    return change


def _drop_nonce(opened: Any) -> None:
    header = common_pb2.SignatureHeader.FromString(opened.header.signature_header)
    header.nonce = b""
    opened.header.signature_header = header.SerializeToString()


def _change_hash(opened: Any) -> None:
    transaction = transaction_pb2.Transaction.FromString(opened.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
    action.chaincode_proposal_payload += b"\x12\x00"
    transaction.actions[0].payload = action.SerializeToString()
    opened.data = transaction.SerializeToString()


def _drop_endorsements(opened: Any) -> None:
    transaction = transaction_pb2.Transaction.FromString(opened.data)
    action = transaction_pb2.ChaincodeActionPayload.FromString(transaction.actions[0].payload)
    del action.action.endorsements[:]
    transaction.actions[0].payload = action.SerializeToString()
    opened.data = transaction.SerializeToString()


def _double_action(opened: Any) -> None:
    transaction = transaction_pb2.Transaction.FromString(opened.data)
    transaction.actions.add().CopyFrom(transaction.actions[0])
    opened.data = transaction.SerializeToString()
