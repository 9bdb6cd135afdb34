"""Hashes, signatures and the judgement of blocks, on a real chain and on built ones."""

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fabric_protos.common import common_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.blocks.block import (
    InvalidBlock,
    block_signed_data,
    build_block,
    data_hash,
    get_channel_id,
    header_bytes,
    header_hash,
    is_config_block,
    last_config_index,
    open_block,
    sign_block,
    validate_block,
)
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import MalformedMessage, build_envelope
from network.rules.identity.identity import read_identity, verify_signature
from tests.network.rules.vectors import (
    APPROVE,
    APPROVE_AGAIN,
    COMMIT,
    CONFIG,
    GENESIS,
    read_block,
    read_chain,
    read_raw_block,
)


@pytest.mark.parametrize("source", ["orderer", "peer"])
class TestRealChain:
    def test_each_header_names_the_one_before(self, source: str) -> None:
        chain = read_chain(source)
        for block, following in pairwise(chain):
            assert following.header.previous_hash == header_hash(block.header)

    def test_each_header_names_its_data(self, source: str) -> None:
        for block in read_chain(source):
            assert block.header.data_hash == data_hash(block.data.data)

    def test_the_orderer_signed_each_block_but_the_genesis(self, source: str) -> None:
        for block in read_chain(source)[1:]:
            (signed,) = block_signed_data(block)
            verify_signature(read_identity(signed.identity), signed.data, signed.signature)
        assert block_signed_data(read_block(GENESIS, source)) == []

    def test_the_chain_is_valid_under_its_own_config(self, source: str) -> None:
        policy, previous = None, None
        for block in read_chain(source):
            if policy is None:
                policy = get_validation_policy(block)
            validate_block(block, previous, policy)
            if is_config_block(block):
                policy = get_validation_policy(block)
            previous = block

    def test_serialising_gives_the_fetched_bytes(self, source: str) -> None:
        for number in range(5):
            raw = read_raw_block(number, source)
            assert open_block(raw).SerializeToString() == raw

    def test_a_config_block_names_itself_as_last_config(self, source: str) -> None:
        indexes = [last_config_index(block) for block in read_chain(source)]
        assert indexes == [GENESIS, GENESIS, GENESIS, CONFIG, CONFIG]
        assert [is_config_block(b) for b in read_chain(source)] == [True, False, False, True, False]


class FixedSigner:
    """Signs nothing: answers what a real orderer did, and keeps what it was asked."""

    def __init__(self, creator: bytes, signature: bytes) -> None:
        self.creator = creator
        self.signature = signature
        self.asked = b""

    def sign(self, data: bytes) -> bytes:
        self.asked = data
        return self.signature


@pytest.mark.parametrize("number", [APPROVE, COMMIT, CONFIG, APPROVE_AGAIN])
def test_building_and_signing_again_gives_the_real_block(number: int) -> None:
    """All of a block but the signature's own randomness follows from its parts."""
    real = read_block(number)
    metadata = common_pb2.Metadata.FromString(real.metadata.metadata[common_pb2.SIGNATURES])
    value = common_pb2.OrdererBlockMetadata.FromString(metadata.value)
    consenter = common_pb2.Metadata.FromString(value.consenter_metadata).value
    (signed,) = block_signed_data(real)
    nonce = common_pb2.SignatureHeader.FromString(metadata.signatures[0].signature_header).nonce
    signer = FixedSigner(signed.identity, signed.signature)

    built = build_block(number, header_hash(read_block(number - 1).header), real.data.data)
    sign_block(built, last_config_index(real), signer, nonce, consenter)

    assert signer.asked == signed.data
    assert built.SerializeToString() == read_raw_block(number)


class TestRefusals:
    """Each change to a real block that a peer must notice."""

    def judge(self, block: Any) -> None:
        validate_block(block, read_block(APPROVE), get_validation_policy(read_block(GENESIS)))

    def test_the_block_as_it_is_passes(self) -> None:
        self.judge(read_block(COMMIT))

    def test_another_number(self) -> None:
        with pytest.raises(InvalidBlock, match=r"expected block number is \[2\] but"):
            self.judge(read_block(APPROVE_AGAIN))

    def test_another_predecessor(self) -> None:
        block = read_block(COMMIT)
        block.header.previous_hash = bytes(32)
        with pytest.raises(InvalidBlock, match="PreviousHash"):
            self.judge(block)

    def test_too_few_metadata_slots(self) -> None:
        block = read_block(COMMIT)
        del block.metadata.metadata[4]
        with pytest.raises(InvalidBlock, match="too few metadata"):
            self.judge(block)

    def test_other_data(self) -> None:
        block = read_block(COMMIT)
        block.data.data[0] = read_block(APPROVE).data.data[0]
        with pytest.raises(InvalidBlock, match="DataHash"):
            self.judge(block)

    def test_no_data(self) -> None:
        block = read_block(COMMIT)
        del block.data.data[:]
        with pytest.raises(InvalidBlock, match="is empty"):
            self.judge(block)

    def test_a_forged_header(self) -> None:
        block = read_block(COMMIT)
        block.data.data.append(block.data.data[0])
        block.header.data_hash = data_hash(block.data.data)
        with pytest.raises(InvalidBlock, match="BlockValidation"):
            self.judge(block)

    def test_no_signature(self) -> None:
        block = read_block(COMMIT)
        block.metadata.metadata[common_pb2.SIGNATURES] = b""
        with pytest.raises(InvalidBlock, match="BlockValidation"):
            self.judge(block)

    def test_unreadable_signatures(self) -> None:
        block = read_block(COMMIT)
        block.metadata.metadata[common_pb2.SIGNATURES] = b"\xff"
        with pytest.raises(InvalidBlock, match="error unmarshalling Metadata"):
            self.judge(block)

    @pytest.mark.parametrize(
        ("raw", "text"),
        [
            (b"\xff", "transaction 0 is invalid"),
            (build_envelope(b"", b"signature"), "has no payload"),
            (build_envelope(b"payload", b""), "has no signature"),
            (build_envelope(b"", b"s") + build_envelope(b"p", b""), "does not match its raw form"),
        ],
    )
    def test_an_envelope_that_is_not_well_formed(self, raw: bytes, text: str) -> None:
        block = read_block(COMMIT)
        block.data.data[0] = raw
        block.header.data_hash = data_hash(block.data.data)
        with pytest.raises(InvalidBlock, match=text):
            self.judge(block)


def test_the_signatures_of_bft_consenters_are_found_by_their_number() -> None:
    block = build_block(7, b"p" * 32, [b"envelope"])
    header = common_pb2.IdentifierHeader(identifier=2, nonce=b"n").SerializeToString()
    unknown = common_pb2.IdentifierHeader(identifier=9, nonce=b"n").SerializeToString()
    block.metadata.metadata[common_pb2.SIGNATURES] = common_pb2.Metadata(
        value=b"value",
        signatures=[
            common_pb2.MetadataSignature(identifier_header=header, signature=b"s2"),
            common_pb2.MetadataSignature(identifier_header=unknown, signature=b"s9"),
        ],
    ).SerializeToString()
    (signed,) = block_signed_data(block, {2: b"consenter two"})
    assert signed.identity == b"consenter two"
    assert signed.data == b"value" + header + header_bytes(block.header)


@given(
    number=st.integers(0, 2**64 - 1),
    previous=st.binary(max_size=300),
    digest=st.binary(max_size=300),
)
def test_the_header_is_der_that_reads_back(number: int, previous: bytes, digest: bytes) -> None:
    header = common_pb2.BlockHeader(number=number, previous_hash=previous, data_hash=digest)
    tag, body, rest = read_der(header_bytes(header))
    assert (tag, rest) == (0x30, b"")
    tag, encoded, body = read_der(body)
    assert tag == 0x02
    assert int.from_bytes(encoded, "big", signed=True) == number
    assert len(encoded) == 1 or not (encoded[0] == 0 and encoded[1] < 0x80)  # shortest form
    tag, first, body = read_der(body)
    assert (tag, first) == (0x04, previous)
    tag, second, body = read_der(body)
    assert (tag, second, body) == (0x04, digest, b"")


def read_der(raw: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows; written apart from the code it checks."""
    tag, length, offset = raw[0], raw[1], 2
    if length & 0x80:
        count = length & 0x7F
        length, offset = int.from_bytes(raw[2 : 2 + count], "big"), 2 + count
        assert length >= 0x80
    return tag, raw[offset : offset + length], raw[offset + length :]


def test_the_data_hash_is_flat() -> None:
    assert data_hash([b"ab", b"c"]) == data_hash([b"a", b"bc"]) == hashlib.sha256(b"abc").digest()


@given(st.binary(max_size=300))
def test_any_bytes_are_a_block_or_malformed(raw: bytes) -> None:
    assert "\n" not in get_refusal(raw)


def get_refusal(raw: bytes) -> str:
    try:
        block = open_block(raw)
        is_config_block(block)
        get_channel_id(block)
        last_config_index(block)
        block_signed_data(block)
    except MalformedMessage as error:
        return str(error)
    return ""


def test_real_orderers_sign_with_low_s() -> None:
    (signed,) = block_signed_data(read_block(COMMIT))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    _, s = decode_dss_signature(signed.signature)
    assert isinstance(read_identity(signed.identity).public_key, ec.EllipticCurvePublicKey)
    assert s <= order // 2


def get_validation_policy(config_block: Any) -> Any:
    config = ChannelConfig.from_block(config_block)
    return config.policies.get("/Channel/Orderer/BlockValidation")
