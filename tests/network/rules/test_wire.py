"""Fields written by hand are those that protobuf's own library writes and reads."""

from fabric_protos.common import common_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.wire import encode_field, encode_varint, has_field


@given(st.integers(0, 2**64 - 1))
def test_varint(number: int) -> None:
    message = common_pb2.BlockHeader(number=number)
    expected = message.SerializeToString()
    assert (b"\x08" + encode_varint(number) if number else b"") == expected


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_fields(payload: bytes, signature: bytes) -> None:
    raw = encode_field(1, payload) + encode_field(2, signature)
    assert common_pb2.Envelope.FromString(raw) == common_pb2.Envelope(
        payload=payload, signature=signature
    )
    assert has_field(raw, 1)
    assert has_field(raw, 2)
    assert not has_field(raw, 3)


@given(number=st.integers(1, 2**63 - 1), value=st.binary(max_size=20), present=st.booleans())
def test_presence_beyond_other_fields(number: int, value: bytes, *, present: bool) -> None:
    header = common_pb2.BlockHeader(number=number, previous_hash=value or b"x")
    raw = header.SerializeToString() + (encode_field(3, b"") if present else b"")
    assert has_field(raw, 3) == present
