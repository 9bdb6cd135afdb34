"""A peer as Fabric's documents describe it, written to be read and to be slow.

One transaction after another, one check after another; the whole state is a dictionary. It shares
no code with `network`: where both give the same codes and the same state, either both are right or
two people made the same mistake. Source: core/common/validation/msgvalidation.go,
core/committer/txvalidator/v20, core/common/validation/statebased,
core/ledger/kvledger/txmgmt/{validation,pvtstatepurgemgmt}.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from fabric_protos.common import common_pb2, policies_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    collection_pb2,
    policy_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from fabric_protos.peer.lifecycle import chaincode_definition_pb2, db_pb2
from google.protobuf.message import DecodeError

from tests.network.differential.naive_identity import NaiveChannel, Person, open_config

Code = transaction_pb2.TxValidationCode
POLICY_NAME = "VALIDATION_PARAMETER"


class Stored(NamedTuple):
    """A value, or a value's hash, with its version and its metadata."""

    value: bytes
    version: tuple[int, int]
    metadata: tuple[tuple[str, bytes], ...] = ()


State = dict[tuple[str, str, str | bytes], Stored]
"""(namespace, collection or "", key or hash of a private key) → what is stored."""


class Verdict(Exception):
    """A transaction is invalid."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.code = Code.Value(name)


class Opened(NamedTuple):
    """A well-formed endorser transaction."""

    chaincode: str
    rwset: list["Part"]
    people: list[Person]


class Part(NamedTuple):
    """What a transaction read and wrote in one namespace."""

    namespace: str
    public: Any
    private: list[tuple[str, Any]]

    def keys_written(self) -> Iterator[tuple[str, str, str | bytes]]:
        for write in [*self.public.writes, *self.public.metadata_writes]:
            yield self.namespace, "", write.key
        for name, hashed in self.private:
            for write in hashed.hashed_writes:
                yield self.namespace, name, write.key_hash
        for name, hashed in self.private:
            for write in hashed.metadata_writes:
                yield self.namespace, name, write.key_hash

    def policies_changed(self) -> set[tuple[str, str, str | bytes]]:
        found: set[tuple[str, str, str | bytes]] = {
            (self.namespace, "", write.key) for write in self.public.metadata_writes
        }
        for name, hashed in self.private:
            found |= {(self.namespace, name, w.key_hash) for w in hashed.metadata_writes}
        return found


class NaivePeer:
    """One channel at one peer."""

    def __init__(self, genesis: Any) -> None:
        payload = _envelope_payload(genesis.data.data[0])
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        self.channel_id = header.channel_id
        self.channel = NaiveChannel(open_config(payload.data))
        self.state: State = {}
        self.tx_ids: set[str] = set()
        self.expiring: dict[int, list[tuple[tuple[str, str, str | bytes], tuple[int, int]]]] = {}

    def commit(self, block: Any) -> list[int]:
        """The codes of a block's transactions; the state is what it is after them."""
        number = block.header.number
        codes: list[int] = []
        opened: list[Opened | None] = []
        repoliced: set[tuple[str, str, str | bytes]] = set()
        for raw in block.data.data:
            try:
                opened.append(self._validate(raw, repoliced))
                codes.append(Code.Value("VALID"))
            except Verdict as verdict:
                opened.append(None)
                codes.append(verdict.code)
        ids = [_read_tx_id(raw) for raw in block.data.data]
        for at, code in enumerate(codes):
            earlier = [i for i in range(at) if codes[i] == 0 and ids[i] == ids[at]]
            if code == 0 and earlier:
                codes[at] = Code.Value("DUPLICATE_TXID")
        touched: dict[tuple[str, str, str | bytes], Stored | None] = {}
        for at, found in enumerate(opened):
            if found is None or codes[at] != 0:
                continue
            try:
                for part in found.rwset:
                    self._validate_reads(part, touched)
                self._write(found.rwset, (number, at), touched)
            except Verdict as verdict:
                codes[at] = verdict.code
        self._store(number, touched)
        self.tx_ids |= {tx_id for tx_id in ids if tx_id}
        return codes

    # --- one transaction by itself ---

    def _validate(self, raw: bytes, repoliced: set[tuple[str, str, str | bytes]]) -> Opened:
        envelope = _parse(common_pb2.Envelope, raw, "INVALID_OTHER_REASON")
        payload = _parse(common_pb2.Payload, envelope.payload, "BAD_PAYLOAD")
        header, signed = self._validate_header(payload)
        person = self.channel.find(signed.creator)
        if (
            header.channel_id != self.channel_id
            or person is None
            or not self.channel.is_valid(person)
            or not self.channel.has_signed(person, envelope.payload, envelope.signature)
        ):
            raise Verdict("BAD_CREATOR_SIGNATURE")
        if header.type != common_pb2.ENDORSER_TRANSACTION:
            raise Verdict("UNSUPPORTED_TX_PAYLOAD")
        if header.tx_id != sha256(signed.nonce + signed.creator).hexdigest():
            raise Verdict("BAD_PROPOSAL_TXID")
        action = self._validate_form(payload)
        if header.tx_id in self.tx_ids:
            raise Verdict("DUPLICATE_TXID")
        found = self._open(header, action)
        self._validate_endorsement(found, repoliced)
        return found

    def _validate_header(self, payload: Any) -> tuple[Any, Any]:
        bad = "BAD_COMMON_HEADER"
        if not payload.HasField("header"):
            raise Verdict(bad)
        header = _parse(common_pb2.ChannelHeader, payload.header.channel_header, bad)
        signed = _parse(common_pb2.SignatureHeader, payload.header.signature_header, bad)
        if header.type not in (
            common_pb2.ENDORSER_TRANSACTION,
            common_pb2.CONFIG_UPDATE,
            common_pb2.CONFIG,
        ):
            raise Verdict(bad)
        if header.epoch or not signed.nonce or not signed.creator:
            raise Verdict(bad)
        return header, signed

    def _validate_form(self, payload: Any) -> Any:
        bad = "INVALID_ENDORSER_TRANSACTION"
        transaction = _parse(transaction_pb2.Transaction, payload.data, bad)
        if len(transaction.actions) != 1:
            raise Verdict(bad)
        outer = transaction.actions[0]
        signed = _parse(common_pb2.SignatureHeader, outer.header, bad)
        if not signed.nonce or not signed.creator:
            raise Verdict(bad)
        action = _parse(transaction_pb2.ChaincodeActionPayload, outer.payload, bad)
        if not action.HasField("action"):
            raise Verdict(bad)
        raw = action.action.proposal_response_payload
        response = _parse(proposal_response_pb2.ProposalResponsePayload, raw, bad)
        digest = sha256(
            payload.header.channel_header + outer.header + action.chaincode_proposal_payload
        ).digest()
        if response.proposal_hash != digest:
            raise Verdict(bad)
        return action

    def _open(self, header: Any, action: Any) -> Opened:
        extension = _parse(
            proposal_pb2.ChaincodeHeaderExtension, header.extension, "BAD_HEADER_EXTENSION"
        )
        raw = action.action.proposal_response_payload
        response = proposal_response_pb2.ProposalResponsePayload.FromString(raw)
        result = _parse(proposal_pb2.ChaincodeAction, response.extension, "BAD_RESPONSE_PAYLOAD")
        parts = _open_rwset(result.results)
        if not extension.HasField("chaincode_id") or not result.HasField("chaincode_id"):
            raise Verdict("INVALID_OTHER_REASON")
        name = extension.chaincode_id.name
        if not name or name != result.chaincode_id.name or not result.chaincode_id.version:
            raise Verdict("INVALID_CHAINCODE")
        if result.events:
            event = _parse(
                chaincode_event_pb2.ChaincodeEvent, result.events, "INVALID_OTHER_REASON"
            )
            if event.chaincode_id != name:
                raise Verdict("INVALID_OTHER_REASON")
        if len({part.namespace for part in parts}) < len(parts):
            raise Verdict("ILLEGAL_WRITESET")
        return Opened(name, parts, self.channel.endorsers(raw, action.action.endorsements))

    # --- endorsement ---

    def _validate_endorsement(
        self, found: Opened, repoliced: set[tuple[str, str, str | bytes]]
    ) -> None:
        parts = {part.namespace: part for part in found.rwset if any(part.keys_written())}
        judged = [found.chaincode, *(name for name in parts if name != found.chaincode)]
        failures = []
        for namespace in judged:
            try:
                self._validate_namespace(namespace, parts.get(namespace), found.people, repoliced)
            except Verdict as verdict:
                failures.append(verdict)
                continue
            if namespace in parts:
                repoliced |= parts[namespace].policies_changed()
        if failures:
            raise failures[0]

    def _validate_namespace(
        self,
        namespace: str,
        part: Part | None,
        people: list[Person],
        repoliced: set[tuple[str, str, str | bytes]],
    ) -> None:
        failure = Verdict("ENDORSEMENT_POLICY_FAILURE")
        whole = self._find_policy(namespace)
        if not whole:
            raise Verdict("INVALID_CHAINCODE")
        needs: list[bool] = []
        for key in part.keys_written() if part else ():
            if key in repoliced:
                raise failure
            stored = self.state.get(key)
            own = dict(stored.metadata).get(POLICY_NAME, b"") if stored else b""
            if own:
                envelope = policies_pb2.SignaturePolicyEnvelope.FromString(own)
                needs.append(self.channel.signed(envelope, people))
            elif key[1]:
                needs.append(self._allows_collection(namespace, key[1], whole, people))
            else:
                needs.append(self.channel.allows(whole, people))
        if not all(needs or [self.channel.allows(whole, people)]):
            raise failure

    def _allows_collection(
        self, namespace: str, name: str, whole: bytes, people: list[Person]
    ) -> bool:
        if name.startswith("_implicit_org_"):
            return bool(self.channel.org_endorsement(name.removeprefix("_implicit_org_"), people))
        config = self._find_collection(namespace, name)
        if config is None:
            return False
        if config.HasField("endorsement_policy"):
            whole = config.endorsement_policy.SerializeToString()
        return self.channel.allows(whole, people)

    def _find_policy(self, namespace: str) -> bytes:
        if namespace == "_lifecycle":
            path = "/Channel/Application/LifecycleEndorsement"
            policy = policy_pb2.ApplicationPolicy(channel_config_policy_reference=path)
            return bytes(policy.SerializeToString())
        info = chaincode_definition_pb2.ChaincodeValidationInfo.FromString(
            self._read_field(namespace, "ValidationInfo")
        )
        return bytes(info.validation_parameter)

    def _find_collection(self, namespace: str, name: str) -> Any:
        raw = self._read_field(namespace, "Collections")
        for config in collection_pb2.CollectionConfigPackage.FromString(raw).config:
            if config.static_collection_config.name == name:
                return config.static_collection_config
        return None

    def _read_field(self, chaincode: str, field: str) -> bytes:
        stored = self.state.get(("_lifecycle", "", f"namespaces/fields/{chaincode}/{field}"))
        return bytes(db_pb2.StateData.FromString(stored.value).Bytes) if stored else b""

    # --- reads ---

    def _validate_reads(
        self, part: Part, touched: dict[tuple[str, str, str | bytes], Stored | None]
    ) -> None:
        for read in part.public.reads:
            self._validate_read((part.namespace, "", read.key), read, touched)
        for info in part.public.range_queries_info:
            if not _is_same_range(info, self._read_range(part.namespace, info, touched)):
                raise Verdict("PHANTOM_READ_CONFLICT")
        for name, hashed in part.private:
            for read in hashed.hashed_reads:
                self._validate_read((part.namespace, name, read.key_hash), read, touched)

    def _validate_read(
        self,
        key: tuple[str, str, str | bytes],
        read: Any,
        touched: dict[tuple[str, str, str | bytes], Stored | None],
    ) -> None:
        stored = self.state.get(key)
        seen = (read.version.block_num, read.version.tx_num) if read.HasField("version") else None
        if key in touched or seen != (stored.version if stored else None):
            raise Verdict("MVCC_READ_CONFLICT")

    def _read_range(
        self,
        namespace: str,
        info: Any,
        touched: dict[tuple[str, str, str | bytes], Stored | None],
    ) -> list[tuple[str, tuple[int, int]]]:
        now: dict[tuple[str, str, str | bytes], Stored | None] = {**self.state, **touched}
        return sorted(
            (str(key), stored.version)
            for (name, collection, key), stored in now.items()
            if (name, collection) == (namespace, "") and stored is not None
            if info.start_key <= str(key)
            and (
                not info.end_key
                or str(key) < info.end_key
                or (str(key) == info.end_key and not info.itr_exhausted)
            )
        )

    # --- writes ---

    def _write(
        self,
        parts: list[Part],
        version: tuple[int, int],
        touched: dict[tuple[str, str, str | bytes], Stored | None],
    ) -> None:
        for part in parts:
            values = {(part.namespace, "", w.key): w.value for w in part.public.writes}
            gone = {
                (part.namespace, "", w.key)
                for w in part.public.writes
                if w.is_delete or not w.value
            }
            metadata = {
                (part.namespace, "", w.key): tuple((e.name, e.value) for e in w.entries)
                for w in part.public.metadata_writes
            }
            for name, hashed in part.private:
                for write in hashed.hashed_writes:
                    key = (part.namespace, name, write.key_hash)
                    values[key] = write.value_hash
                    if write.is_delete or not write.value_hash:
                        gone.add(key)
                for write in hashed.metadata_writes:
                    key = (part.namespace, name, write.key_hash)
                    metadata[key] = tuple((e.name, e.value) for e in write.entries)
            for at in values.keys() | metadata.keys():
                before = touched[at] if at in touched else self.state.get(at)
                if at in gone:
                    touched[at] = None
                elif at in values:
                    kept = metadata.get(at, before.metadata if before else ())
                    touched[at] = Stored(values[at], version, kept)
                elif before is not None:
                    touched[at] = Stored(before.value, version, metadata[at])

    def _store(
        self, number: int, touched: dict[tuple[str, str, str | bytes], Stored | None]
    ) -> None:
        for key, version in self.expiring.pop(number, ()):
            stored = self.state.get(key)
            if stored is not None and stored.version == version and key not in touched:
                del self.state[key]
        for key, after in touched.items():
            self.state.pop(key, None)
            if after is not None:
                self.state[key] = after
        for key, after in touched.items():
            if after is None or not key[1] or key[1].startswith("_implicit_org_"):
                continue
            lives = self._find_collection(key[0], key[1]).block_to_live
            if lives:
                self.expiring.setdefault(number + lives + 1, []).append((key, after.version))


def _envelope_payload(raw: bytes) -> Any:
    return common_pb2.Payload.FromString(common_pb2.Envelope.FromString(raw).payload)


def _read_tx_id(raw: bytes) -> str:
    """The id in a transaction's header, however bad the rest is; "" where there is none."""
    try:
        header = _envelope_payload(raw).header
        common_pb2.SignatureHeader.FromString(header.signature_header)
        return str(common_pb2.ChannelHeader.FromString(header.channel_header).tx_id)
    except DecodeError:
        return ""


def _open_rwset(raw: bytes) -> list[Part]:
    bad = "BAD_RWSET"
    return [
        Part(
            outer.namespace,
            _parse(kv_rwset_pb2.KVRWSet, outer.rwset, bad),
            [
                (one.collection_name, _parse(kv_rwset_pb2.HashedRWSet, one.hashed_rwset, bad))
                for one in outer.collection_hashed_rwset
            ],
        )
        for outer in _parse(rwset_pb2.TxReadWriteSet, raw, bad).ns_rwset
    ]


def _parse(kind: Any, raw: bytes, code: str) -> Any:
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise Verdict(code) from None


# --- range summaries ----------------------------------------------------------------------------


def _is_same_range(info: Any, rows: list[tuple[str, tuple[int, int]]]) -> bool:
    if info.WhichOneof("reads_info") == "reads_merkle_hashes":
        summary = info.reads_merkle_hashes
        found = summarize(rows, summary.max_degree)
        return found == (summary.max_level, list(summary.max_level_hashes))
    recorded = [
        (read.key, (read.version.block_num, read.version.tx_num))
        for read in info.raw_reads.kv_reads
    ]
    return recorded == rows


def summarize(rows: list[tuple[str, tuple[int, int]]], degree: int) -> tuple[int, list[bytes]]:
    """Level and hashes at the top of Fabric's tree over a whole range; level 0 of too short a one.

    A level that has grown beyond the degree is hashed into one of the next, again and again; what
    is left over at the end is folded up, level by level (rwsetutil/query_results_helper.go).
    """
    if len(rows) <= degree:
        return 0, []
    levels = [[_hash_reads(rows[at : at + degree + 1]) for at in range(0, len(rows), degree + 1)]]
    while len(levels[-1]) > degree:
        below = levels[-1]
        whole = len(below) // (degree + 1) * (degree + 1)
        groups = [below[at : at + degree + 1] for at in range(0, whole, degree + 1)]
        levels.append([sha256(b"".join(group)).digest() for group in groups])
        levels[-2] = below[whole:]
    for at in range(len(levels) - 1):
        left = levels[at]
        if left:
            levels[at + 1].append(left[0] if len(left) == 1 else sha256(b"".join(left)).digest())
    if len(levels[-1]) > degree:
        return len(levels) + 1, [sha256(b"".join(levels[-1])).digest()]
    return len(levels), levels[-1]


def _hash_reads(rows: list[tuple[str, tuple[int, int]]]) -> bytes:
    reads = kv_rwset_pb2.QueryReads()
    for key, (block, tx) in rows:
        read = reads.kv_reads.add(key=key)
        read.version.SetInParent()
        read.version.block_num, read.version.tx_num = block, tx
    return sha256(reads.SerializeToString()).digest()
