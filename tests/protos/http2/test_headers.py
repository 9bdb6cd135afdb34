"""Header blocks that are remembered mean what they would mean to a decoder without a memory."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from protos.http2 import headers
from protos.http2.fields import MalformedFields, validate_fields
from protos.http2.headers import HeaderReader

PSEUDO = frozenset({":path"})
NAMES = st.sampled_from([":path", "te", "user-agent", "grpc-timeout", "x-one", "x-two"])
FIELDS = st.dictionaries(NAMES, st.sampled_from(["", "a", "b", "trailers", "z" * 300]), max_size=4)


@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 64, 4096])), max_size=30))
def test_blocks_mean_the_same_with_and_without_a_memory(
    sent: list[tuple[dict[str, str], int | None]],
) -> None:
    encoder, plain, reader = Encoder(), Decoder(), HeaderReader(65536, PSEUDO)
    for fields, table_size in sent:
        if table_size is not None:
            encoder.header_table_size = table_size
        block = encoder.encode(list(fields.items()))
        assert [(str(name), str(value)) for name, value in plain.decode(block)] == list(
            fields.items()
        )
        try:
            validate_fields(fields.items(), PSEUDO)
        except MalformedFields:
            with pytest.raises(MalformedFields):
                reader.decode(block)
        else:
            assert reader.decode(block) == fields


def test_it_remembers_no_more_than_it_may() -> None:
    encoder, reader = Encoder(), HeaderReader(65536, PSEUDO)
    for number in range(10 * headers.KEPT):
        reader.decode(b"\x00\x01x" + bytes((3,)) + b"%03d" % number)
    assert len(reader._known) <= headers.KEPT
    for _ in range(3):
        assert reader.decode(encoder.encode([(":path", "/a")])) == {":path": "/a"}
