"""The requester's side: find what is in batches, fetch what was released, go on where it broke."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from admin.exchange.errors import SealBroken
from admin.exchange.release import Release, ReleasedKey, open_release
from chaincode import canonical
from chaincode.records.model import Membership
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


LOCATE_TIMEOUT = 30.0
"""Seconds; the first request after a batch of a million makes its index."""

Progress = Callable[[int, int], None]
"""Gets the bytes that are here and the sealed file's size; what it raises ends the transfer."""

NO_PROGRESS: Progress = lambda done, size: None  # noqa: E731


async def fetch_record(
    endpoint: Endpoint,
    wanted: Wanted,
    signer: Signer,
    target: Path,
    *,
    progress: Progress = NO_PROGRESS,
    stretch: int = 0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ReleasedKey:
    """The sealed file is at `target`, as long as its custodian says; returns its key.

    What an earlier attempt left at `<target>.part` is taken up. Whether the file is the released
    one shows when it is opened: every chunk is bound to what the key is bound to.

    Args:
        endpoint: the custodian's exchange, with our TLS client certificate.
        wanted: what to fetch.
        signer: the access's requester.
        target: where the sealed file goes.
        progress: told after each part.
        stretch: bytes to ask for at once; 0 leaves it to the exchange.
        now: the clock, which each request names.

    Raises:
        NodeError: the exchange refused or went away; call again to go on.
        BrokenRelease: the keys that came are not those that the ledger recorded.
        SealBroken: the exchange ended before the file did.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with _connected(endpoint) as stub:
        while True:
            offset = part.stat().st_size if part.exists() else 0
            request = _build_request(wanted, signer, endpoint, offset, stretch, now())
            release, size = await _receive(stub.Fetch(request), wanted, part, progress)
            done = part.stat().st_size
            if done == size:
                break
            if done > size:
                part.unlink()
                raise SealBroken("more came than the sealed file holds: fetch it again")
            if done == offset:
                raise SealBroken("the exchange gives no more of the sealed file: try again")
    part.replace(target)
    return release.key(wanted.record)


async def locate_records(
    endpoint: Endpoint,
    channel_id: str,
    custodian: str,
    records: Sequence[str],
    signer: Signer,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Membership]:
    """Return where records stand in the custodian's batches; of those that it knows.

    What it says is not believed: the ledger checks each proof when the record is asked for.

    Raises:
        NodeError: the exchange refused or does not answer.
        InvalidArgument: what came is no membership.
    """
    request = exchange_pb2.LocateRequest(
        channel_id=channel_id,
        identity=signer.creator,
        custodian=custodian,
        timestamp=_timestamp(now()),
        tls_cert_hash=endpoint.tls_cert_hash,
        record_ids=records,
    )
    async with _connected(endpoint) as stub:
        answer = await stub.Locate(_sign(request, signer), timeout=LOCATE_TIMEOUT)
    found = [canonical.decode(Membership, raw, "membership") for raw in answer.memberships]
    return [one for one in found if one.anchor.record in records]


@asynccontextmanager
async def _connected(endpoint: Endpoint) -> AsyncIterator[Any]:
    async with open_channel(endpoint) as channel:
        try:
            yield exchange_pb2_grpc.RecordExchangeStub(channel)
        except grpc.aio.AioRpcError as failure:
            raise NodeError(
                failure.code().name, failure.details() or "", address=endpoint.address
            ) from failure


async def _receive(
    call: Any, wanted: Wanted, part: Path, progress: Progress
) -> tuple[Release, int]:
    release: Release | None = None
    size = 0
    with _append(part) as file:
        async for response in call:
            if release is None:
                release = open_release(response.opening.release, wanted.release_digest)
                size = response.opening.size
            else:
                file.write(response.content)
            progress(file.tell(), size)
    if release is None:
        raise SealBroken("the exchange sent nothing")
    return release, size


def _append(part: Path) -> BinaryIO:
    return open(part, "ab", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _build_request(
    wanted: Wanted, signer: Signer, endpoint: Endpoint, offset: int, length: int, now: datetime
) -> Any:
    return _sign(
        exchange_pb2.FetchRequest(
            channel_id=wanted.channel_id,
            access_id=wanted.access,
            record_id=wanted.record,
            version=wanted.version,
            offset=offset,
            identity=signer.creator,
            custodian=wanted.custodian,
            timestamp=_timestamp(now),
            tls_cert_hash=endpoint.tls_cert_hash,
            length=length,
        ),
        signer,
    )


def _sign(request: Any, signer: Signer) -> Any:
    raw = request.SerializeToString()
    return exchange_pb2.SignedRequest(request=raw, signature=signer.sign(raw))


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
