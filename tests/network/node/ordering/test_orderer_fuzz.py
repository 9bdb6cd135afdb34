"""Nothing a client can send stops the orderer: mutants of good messages, on every entry."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from network.node.ordering.block_store import BlockStore
from network.node.ordering.broadcast import Broadcast
from network.node.ordering.chain import Chain, Node
from network.node.ordering.participation import open_form
from network.node.serving.connections import Connections, Credentials
from network.node.serving.deliver import BlockFormat, Deliver, send_block
from network.node.serving.metrics import CollectorRegistry
from network.rules.blocks.block import open_block, validate_block
from network.rules.ordering.admission import get_readers_policy, open_message
from tests.network.consortium import CHANNEL, Consortium, build_message
from tests.network.node.probes import build_seek, newest
from tests.network.updates import build_update, set_batch_size

CONSORTIUM = Consortium()
FORM = BlockFormat(get_readers_policy, send_block)
GOOD = [
    build_message(CONSORTIUM.alice),
    build_update(CONSORTIUM, CONSORTIUM.config, set_batch_size, [CONSORTIUM.orderer_admin]),
    build_seek(CONSORTIUM.alice, newest(), newest()),
]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good message with a few pieces cut out, changed or doubled."""
    raw = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(raw)))
        raw[start : start + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(raw) * draw(st.integers(1, 2))


class Context:
    def peer(self) -> str:
        return "test"

    def invocation_metadata(self) -> tuple[()]:
        return ()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(raws=st.lists(mutants() | st.binary(max_size=60), max_size=12))
def test_whatever_comes_the_chain_goes_on(raws: list[bytes], tmp_path_factory: Any) -> None:
    asyncio.run(offer(raws, tmp_path_factory.mktemp("fuzz")))


async def offer(raws: list[bytes], folder: Path) -> None:
    genesis = CONSORTIUM.build_genesis().SerializeToString()
    store = await BlockStore.create(folder, CHANNEL, genesis)
    chain = await Chain.open(store, Node(CONSORTIUM.orderer_signer))
    broadcast = Broadcast(
        {CHANNEL: chain}.get, CollectorRegistry(), Connections(Credentials(enabled=False))
    )
    deliver = Deliver({CHANNEL: chain}.get)
    for raw in raws:
        (answer,) = [one async for one in broadcast.serve(send(raw), Context())]
        status = ab_pb2.BroadcastResponse.FromString(answer).status
        assert status in (common_pb2.SUCCESS, common_pb2.BAD_REQUEST, common_pb2.FORBIDDEN)
        answers = [one async for one in deliver.serve(send(raw), Context(), FORM)]
        last = ab_pb2.DeliverResponse.FromString(answers[-1])
        assert last.status != common_pb2.INTERNAL_SERVER_ERROR
    assert await chain.submit(open_good()) == chain.height - 1
    assert chain.failure == ""
    await validate_chain(chain)
    await chain.close()


async def validate_chain(chain: Chain) -> None:
    blocks = [open_block(await chain.get_block(number)) for number in range(chain.height)]
    policy = chain.config.policies.get("/Channel/Orderer/BlockValidation")
    for previous, block in zip([None, *blocks], blocks, strict=False):
        validate_block(block, previous, policy)


def open_good() -> Any:
    return open_message(build_message(CONSORTIUM.alice))


async def send(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


@given(content_type=st.text(max_size=60), body=st.binary(max_size=200))
def test_any_form_is_read_or_refused(content_type: str, body: bytes) -> None:
    try:
        files, values = open_form(content_type, body)
    except ValueError:
        return
    assert isinstance(files, dict)
    assert isinstance(values, dict)


@given(content=st.binary(max_size=200), boundary=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True))
def test_a_file_in_a_form_comes_out_as_it_went_in(content: bytes, boundary: str) -> None:
    line = f"--{boundary}".encode()
    if line in content:
        return
    head = b'Content-Disposition: form-data; name="config-block"; filename="b"'
    body = line + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" + line + b"--\r\n"
    files, values = open_form(f"multipart/form-data; boundary={boundary}", body)
    assert (files, values) == ({"config-block": content}, {})


@pytest.mark.parametrize("body", [b"", b"--b", b"--b\r\n\r\n--b--", b"--other--"])
def test_broken_forms_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="multipart: "):
        open_form("multipart/form-data; boundary=b", body)
