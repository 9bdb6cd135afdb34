"""The requester's side: fetch what was released, resume where a transfer broke, check all of it."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from admin.exchange.errors import SealBroken
from admin.exchange.release import Release, ReleasedKey, open_release
from network.client.endpoint import Endpoint, open_channel
from network.client.errors import NodeError
from network.rules.identity.identity import Signer
from protos import exchange_pb2, exchange_pb2_grpc


@dataclass(frozen=True, slots=True)
class Wanted:
    """A record version that an access permits, and where it is kept."""

    channel_id: str
    access: str
    record: str
    version: int
    custodian: str
    release_digest: bytes


async def fetch_record(
    endpoint: Endpoint,
    wanted: Wanted,
    signer: Signer,
    target: Path,
    *,
    now: datetime,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> ReleasedKey:
    """The sealed file is at `target`, whole and as released; returns its key.

    An earlier attempt's `<target>.part` is taken up. `progress` gets bytes done and size.

    Raises:
        NodeError: the exchange refused or went away; try again to go on.
        BrokenRelease, SealBroken: what came is not what the ledger recorded.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    offset = part.stat().st_size if part.exists() else 0
    async with open_channel(endpoint) as channel:
        stub = exchange_pb2_grpc.RecordExchangeStub(channel)
        request = _build_request(wanted, signer, offset, now)
        try:
            release = await _receive(stub.Fetch(request), wanted, part, progress)
        except grpc.aio.AioRpcError as failure:
            raise NodeError(
                failure.code().name, failure.details() or "", address=endpoint.address
            ) from failure
    key = release.key(wanted.record)
    await asyncio.to_thread(_validate_digest, part, key.sealed_digest)
    part.replace(target)
    return key


async def _receive(
    call: Any, wanted: Wanted, part: Path, progress: Callable[[int, int], None]
) -> Release:
    release: Release | None = None
    size = 0
    with part.open("ab") as file:
        async for response in call:
            if release is None:
                release = open_release(response.opening.release, wanted.release_digest)
                size = response.opening.size
            else:
                file.write(response.content)
            progress(file.tell(), size)
    if release is None:
        raise SealBroken("the exchange sent nothing")
    return release


def _build_request(wanted: Wanted, signer: Signer, offset: int, now: datetime) -> Any:
    timestamp = Timestamp()
    timestamp.FromDatetime(now)
    request = exchange_pb2.FetchRequest(
        channel_id=wanted.channel_id,
        access_id=wanted.access,
        record_id=wanted.record,
        version=wanted.version,
        offset=offset,
        identity=signer.creator,
        custodian=wanted.custodian,
        timestamp=timestamp,
    )
    raw = request.SerializeToString()
    return exchange_pb2.SignedRequest(request=raw, signature=signer.sign(raw))


def _validate_digest(file: Path, expected: bytes) -> None:
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").digest()
    if digest != expected:
        file.unlink()  # a broken part would be taken up again and again
        raise SealBroken("the sealed file is not the one that was released: fetch it again")
