"""The exchange's gRPC face: sealed records to whoever the ledger let have them, places to members.

Each fetch is checked against the ledger anew: that the access is this caller's, released, in force,
that the record still stands and that consent still permits it. One fetch gives a limited stretch of
the file, so that a revocation stops a transfer that is under way at the next stretch.

TLS asks for a client certificate of a member of the channel. Requests are signed by the requester's
MSP identity; they name this custodian, the time and that TLS certificate, so that a request shown
to one service opens nothing at another, nor later, nor in anybody else's hands.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from admin.errors import get_chaincode_answer
from admin.exchange.custodian import Custodian
from admin.exchange.errors import ExchangeError
from admin.exchange.store import NotStored
from chaincode import canonical
from chaincode.directory.rules import user_digest
from chaincode.identity import read_client_identity
from chaincode.records.model import AccessStanding
from network.client import errors as client
from network.node.serving.grpc_server import get_tls_cert_hash, get_tls_certificate
from network.rules.identity.identity import Identity, verify_signature
from protos import exchange_pb2, exchange_pb2_grpc

log = logging.getLogger("medfabric.exchange")

WINDOW = timedelta(minutes=15)
PART = 1024 * 1024
MAX_STRETCH = 64 * 1024 * 1024
"""Bytes after which the ledger is asked again."""
MAX_LOCATED = 100
"""Records that one request may name."""


class Refused(ExchangeError):
    """The request is not served; `status` is gRPC's."""

    def __init__(self, status: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RecordExchange(exchange_pb2_grpc.RecordExchangeServicer):  # type: ignore[misc]
    """Serves one custodian's records."""

    def __init__(self, custodian: Custodian, *, stretch: int = MAX_STRETCH) -> None:
        self._custodian = custodian
        self._stretch = stretch

    async def Fetch(self, signed: Any, context: Any) -> AsyncIterator[Any]:
        """The opening, then a stretch of the sealed file from the requested offset on."""
        try:
            request = _open(signed, exchange_pb2.FetchRequest)
            await self._validate(request, signed, context)
            opening = await asyncio.to_thread(self._opening, request)
            if request.offset > opening.size:
                raise Refused(
                    grpc.StatusCode.OUT_OF_RANGE, f"the sealed file has {opening.size} bytes"
                )
        except Refused as refusal:
            await _abort(context, refusal.status, str(refusal))
        except NotStored as missing:
            await _abort(context, grpc.StatusCode.NOT_FOUND, str(missing))
        except client.GatewayError as failure:
            await _abort(context, *_ledger_refusal(failure))
        except Exception as failure:
            await _abort_store(context, failure)
        yield exchange_pb2.FetchResponse(opening=opening)
        length = min(request.length or self._stretch, self._stretch)
        try:
            async for part in self._content(request, length):
                yield exchange_pb2.FetchResponse(content=part)
        except Exception as failure:
            await _abort_store(context, failure)
        log.info("access %s fetched from %d on", request.access_id, request.offset)

    async def Locate(self, signed: Any, context: Any) -> Any:
        """Where the records that are known here stand in their batches."""
        try:
            request = _open(signed, exchange_pb2.LocateRequest)
            self._identify(request, signed, context)
            if not 0 < len(request.record_ids) <= MAX_LOCATED:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"name 1 to {MAX_LOCATED} records")
        except Refused as refusal:
            await _abort(context, refusal.status, str(refusal))
        locate = self._custodian.locate
        found = await asyncio.to_thread(lambda: [locate(one) for one in request.record_ids])
        known = [canonical.encode(membership) for membership in found if membership is not None]
        return exchange_pb2.LocateResponse(memberships=known)

    def _identify(self, request: Any, signed: Any, context: Any) -> Identity:
        """Return who asks, on this channel. Raises Refused."""
        custodian = self._custodian
        identity = _authenticate(custodian, request, signed)
        _validate_tls(custodian, request, identity, context)
        if request.channel_id != custodian.health.channel_id:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such channel here")
        return identity

    async def _validate(self, request: Any, signed: Any, context: Any) -> None:
        custodian = self._custodian
        identity = self._identify(request, signed, context)
        standing = await custodian.health.evaluate(
            "records:CheckAccess", request.access_id, result=AccessStanding
        )
        access = standing.view.access
        caller = user_digest(identity.msp_id, read_client_identity(request.identity).id)
        if access.custodian != custodian.msp_id:
            raise Refused(grpc.StatusCode.NOT_FOUND, "another organisation keeps these records")
        if (access.msp_id, access.user) != (identity.msp_id, caller):
            raise _denied("the access belongs to another requester")
        wanted = (request.record_id, request.version)
        found = [one for one in standing.records if (one.record, one.version) == wanted]
        if not found:
            raise _denied("the access does not permit this record version")
        if standing.view.release is None and access.decision.permitted:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION, "the access is not released yet: try again"
            )
        if not found[0].stands:
            raise _denied(found[0].reason)

    def _opening(self, request: Any) -> Any:
        store = self._custodian.store
        return exchange_pb2.Opening(
            release=store.get_release(request.access_id),
            size=store.size(request.record_id, request.version),
        )

    async def _content(self, request: Any, length: int) -> AsyncIterator[bytes]:
        store = self._custodian.store
        with store.reading(request.record_id, request.version, request.offset) as source:
            while length and (part := await asyncio.to_thread(source.read, min(PART, length))):
                yield part
                length -= len(part)


def _open(signed: Any, kind: Any) -> Any:
    try:
        return kind.FromString(signed.request)
    except DecodeError as error:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be read") from error


def _authenticate(custodian: Custodian, request: Any, signed: Any) -> Identity:
    now = datetime.now(UTC)
    try:
        identity = custodian.trust.identify(request.identity, now=now)
        verify_signature(identity, signed.request, signed.signature)
    except ValueError as error:
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error
    if abs(request.timestamp.ToDatetime(tzinfo=UTC) - now) > WINDOW:
        raise Refused(
            grpc.StatusCode.UNAUTHENTICATED,
            "the request's time is more than 15 minutes off: check the clocks",
        )
    if request.custodian != custodian.msp_id:
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, "the request is for another custodian")
    return identity


def _validate_tls(custodian: Custodian, request: Any, identity: Identity, context: Any) -> None:
    """The caller holds the TLS certificate that the request names, and it is the signer's own."""
    if not request.tls_cert_hash or request.tls_cert_hash != get_tls_cert_hash(context):
        raise Refused(
            grpc.StatusCode.UNAUTHENTICATED, "the request was signed for another TLS certificate"
        )
    try:
        custodian.trust.validate_tls_client(get_tls_certificate(context), identity)
    except ValueError as error:
        raise Refused(grpc.StatusCode.UNAUTHENTICATED, str(error)) from error


def _denied(reason: str) -> Refused:
    return Refused(grpc.StatusCode.PERMISSION_DENIED, reason)


def _ledger_refusal(failure: client.GatewayError) -> tuple[grpc.StatusCode, str]:
    answer = get_chaincode_answer(failure)
    if answer is not None:
        status, text = answer
        known = {404: grpc.StatusCode.NOT_FOUND, 403: grpc.StatusCode.PERMISSION_DENIED}
        return known.get(status, grpc.StatusCode.INVALID_ARGUMENT), text
    return grpc.StatusCode.UNAVAILABLE, "the custodian's peer does not answer: try again"


async def _abort_store(context: Any, failure: Exception) -> NoReturn:
    """An object store has errors of its own, whose text is nobody's business."""
    log.warning("the store does not answer: %s", type(failure).__name__)
    await _abort(
        context, grpc.StatusCode.UNAVAILABLE, "the custodian's store does not answer: try again"
    )


async def _abort(context: Any, status: grpc.StatusCode, reason: str) -> NoReturn:
    log.info("refused: %s", status.name)
    await context.abort(status, reason)
    raise AssertionError("abort does not return")
