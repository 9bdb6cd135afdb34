"""Questions to an orderer whose answers a real Fabric orderer gave first.

`run_probes` asks over gRPC and notes status, text and block numbers. The answers of Fabric 3.1.5
are in tests/vectors/orderer/answers.json; the tests ask ours the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.rules.envelope import (
    build_envelope,
    build_payload,
    build_signature_header,
    open_envelope,
)
from network.rules.identity.identity import Signer
from tests.network.consortium import CHANNEL, build_message, now

MAX_UINT64 = 2**64 - 1
# After this long without an answer the orderer is waiting, where it may.
SILENCE = 0.4
PATIENCE = 60
WAITING = {"next commit to oldest"}


@dataclass(frozen=True)
class Asker:
    """Who asks: a member's admin, a stranger, and how to reach the orderer."""

    channel: Any  # grpc.aio.Channel
    admin: Signer
    stranger: Signer


def oldest() -> Any:
    return ab_pb2.SeekPosition(oldest=ab_pb2.SeekOldest())


def newest() -> Any:
    return ab_pb2.SeekPosition(newest=ab_pb2.SeekNewest())


def next_commit() -> Any:
    return ab_pb2.SeekPosition(next_commit=ab_pb2.SeekNextCommit())


def at(number: int) -> Any:
    return ab_pb2.SeekPosition(specified=ab_pb2.SeekSpecified(number=number))


def build_seek(
    signer: Signer,
    start: Any,
    stop: Any,
    *,
    fail: bool = False,
    content: int = 0,
    channel_id: str = CHANNEL,
    moment: datetime | None = None,
    tls_cert_hash: bytes = b"",
) -> bytes:
    info = ab_pb2.SeekInfo(
        start=start,
        stop=stop,
        behavior=ab_pb2.SeekInfo.FAIL_IF_NOT_READY if fail else ab_pb2.SeekInfo.BLOCK_UNTIL_READY,
        content_type=content,
    )
    return build_message(
        signer,
        info.SerializeToString(),
        channel_id=channel_id,
        type=common_pb2.DELIVER_SEEK_INFO,
        moment=moment,
        tls_cert_hash=tls_cert_hash,
    )


async def run_probes(asker: Asker) -> dict[str, list[str]]:
    """Every question's answer; the channel must hold its genesis block alone before."""
    answers = {}
    for name, raw in build_broadcasts(asker).items():
        answers[f"broadcast {name}"] = await ask(
            asker.channel, "Broadcast", raw, describe_broadcast, lambda answer: True
        )
    for name, requests in build_delivers(asker).items():
        waits = name in WAITING
        answers[f"deliver {name}"] = await deliver(asker.channel, *requests, waits=waits)
    return answers


def build_broadcasts(asker: Asker) -> dict[str, list[bytes]]:
    good = build_message(asker.admin)
    opened = open_envelope(good)
    header = common_pb2.Header(
        channel_header=opened.channel_header_bytes, signature_header=b"\xff\xff"
    )
    broken_creator = common_pb2.Payload(header=header, data=b"data").SerializeToString()
    unreadable = build_payload(
        opened.channel_header_bytes, build_signature_header(b"nobody", b"nonce"), b"data"
    )
    return {
        "nothing": [b""],
        "garbage payload": [build_envelope(b"\xff\xff", b"signature")],
        "no header": [build_envelope(common_pb2.Payload(data=b"d").SerializeToString(), b"s")],
        "unknown channel": [build_message(asker.admin, channel_id="nowhere")],
        "type CONFIG": [build_message(asker.admin, type=common_pb2.CONFIG)],
        "type ORDERER_TRANSACTION": [
            build_message(asker.admin, type=common_pb2.ORDERER_TRANSACTION)
        ],
        "wrong signature": [build_envelope(opened.payload, b"signature")],
        "no signature": [build_envelope(opened.payload, b"")],
        "stranger": [build_message(asker.stranger)],
        "broken signature header": [build_envelope(broken_creator, b"signature")],
        "unreadable creator": [build_envelope(unreadable, b"signature")],
        "too large": [build_message(asker.admin, bytes(600 * 1024))],
        "garbage config update": [
            build_message(asker.admin, b"\xff\xff", type=common_pb2.CONFIG_UPDATE)
        ],
        "empty config update": [build_message(asker.admin, b"", type=common_pb2.CONFIG_UPDATE)],
        "good": [good],
        "two good, one bad, one good": [
            build_message(asker.admin),
            build_message(asker.admin),
            build_message(asker.stranger),
            build_message(asker.admin),
        ],
    }


def build_delivers(asker: Asker) -> dict[str, list[bytes]]:
    admin = asker.admin
    no_time = open_envelope(build_seek(admin, newest(), newest()))
    header = common_pb2.ChannelHeader.FromString(no_time.channel_header_bytes)
    header.ClearField("timestamp")
    payload = build_payload(
        header.SerializeToString(), no_time.signature_header_bytes, no_time.data
    )
    hour = timedelta(hours=1)
    return {
        "nothing": [b""],
        "no timestamp": [build_envelope(payload, admin.sign(payload))],
        "an hour old": [build_seek(admin, newest(), newest(), moment=now() - hour)],
        "an hour early": [build_seek(admin, newest(), newest(), moment=now() + hour)],
        "unknown channel": [build_seek(admin, newest(), newest(), channel_id="nowhere")],
        "garbage seek": [build_message(admin, b"\xff\xff", type=common_pb2.DELIVER_SEEK_INFO)],
        "stranger": [build_seek(asker.stranger, newest(), newest())],
        "no start": [build_seek(admin, None, newest())],
        "no stop": [build_seek(admin, newest(), None)],
        "empty start": [build_seek(admin, ab_pb2.SeekPosition(), newest())],
        "empty stop": [build_seek(admin, oldest(), ab_pb2.SeekPosition())],
        "stop before start": [build_seek(admin, at(2), at(1))],
        "start beyond height": [build_seek(admin, at(1000), at(MAX_UINT64))],
        "start beyond height, fail": [build_seek(admin, at(1000), at(1001), fail=True)],
        "oldest to oldest": [build_seek(admin, oldest(), oldest())],
        "newest to oldest": [build_seek(admin, newest(), oldest())],
        "first two": [build_seek(admin, at(0), at(1))],
        "twice on a stream": [
            build_seek(admin, at(0), at(0)),
            build_seek(admin, at(1), at(1)),
        ],
        "refused, then good": [
            build_seek(admin, None, None),
            build_seek(admin, at(1), at(1)),
        ],
        "header with signature": [build_seek(admin, at(0), at(1), content=1)],
        "next commit to oldest": [build_seek(admin, next_commit(), oldest())],
        "oldest to next commit": [build_seek(admin, oldest(), next_commit())],
        "any type of header": [
            build_message(
                admin,
                ab_pb2.SeekInfo(start=at(0), stop=at(0)).SerializeToString(),
                type=common_pb2.MESSAGE,
            )
        ],
    }


async def broadcast(channel: Any, raws: list[bytes]) -> list[str]:
    """The answers to messages that are sent without waiting for any."""
    stream = channel.stream_stream("/orderer.AtomicBroadcast/Broadcast")(timeout=PATIENCE)
    try:
        for raw in raws:
            await stream.write(raw)
        answers: list[str] = []
        while len(answers) < len(raws) and (found := await stream.read()) is not grpc.aio.EOF:
            answers.append(describe_broadcast(found))
        return answers
    finally:
        stream.cancel()


def describe_broadcast(raw: bytes) -> str:
    answer = ab_pb2.BroadcastResponse.FromString(raw)
    return f"{common_pb2.Status.Name(answer.status)} {answer.info}".strip()


async def deliver(channel: Any, *raws: bytes, waits: bool = False) -> list[str]:
    """The answers to seeks; with `waits` the orderer may wait for blocks, and ends with nothing."""
    return await ask(
        channel, "Deliver", raws, describe, lambda answer: not answer.startswith(BLOCKS), waits
    )


async def ask(
    channel: Any,
    method: str,
    raws: Sequence[bytes],
    describe: Callable[[bytes], str],
    is_last: Callable[[str], bool],
    waits: bool = False,
) -> list[str]:
    """What is answered to each before the next is sent, and then until the stream ends; with
    `waits` until the orderer is silent.

    A stream that the orderer has ended takes nothing more, and grpcio would drop what it has.
    """
    stream = channel.stream_stream(f"/orderer.AtomicBroadcast/{method}")(timeout=2 * PATIENCE)
    answers: list[str] = []
    try:
        for raw in raws:
            await stream.write(raw)
            while True:
                async with asyncio.timeout(SILENCE if waits else PATIENCE):
                    found = await stream.read()
                if found is grpc.aio.EOF:
                    return answers
                answers.append(describe(found))
                if is_last(answers[-1]):
                    break
        await stream.done_writing()
        async with asyncio.timeout(PATIENCE):
            while (found := await stream.read()) is not grpc.aio.EOF:
                answers.append(describe(found))
    except TimeoutError:
        assert waits, answers
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):  # it takes nothing more
        if not answers:
            raise
    finally:
        stream.cancel()
    return answers


BLOCKS = ("block ", "header ")


def describe(raw: bytes) -> str:
    answer = ab_pb2.DeliverResponse.FromString(raw)
    if answer.WhichOneof("Type") == "status":
        return str(common_pb2.Status.Name(answer.status))
    block = answer.block
    kind = "block" if block.HasField("data") else "header"
    return f"{kind} {block.header.number}"
