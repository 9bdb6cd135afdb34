"""The exchange's gRPC face: sealed records to whoever the ledger let have them.

Each fetch is checked against the ledger anew: that the access is this caller's, permitted,
released, in force, and that the record still stands. Requests are signed by the requester's MSP
identity and name this custodian and the time, so that a request shown to one service opens nothing
at another, nor later.
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
from chaincode.directory.rules import user_digest
from chaincode.identity import read_client_identity
from chaincode.records.model import AccessView, Record, Status
from network.client import errors as client
from network.rules.identity.identity import Identity, verify_signature
from protos import exchange_pb2, exchange_pb2_grpc

log = logging.getLogger("medfabric.exchange")

WINDOW = timedelta(minutes=15)
PART = 256 * 1024


class Refused(ExchangeError):
    """The request is not served; `status` is gRPC's."""

    def __init__(self, status: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RecordExchange(exchange_pb2_grpc.RecordExchangeServicer):  # type: ignore[misc]
    """Serves one custodian's records."""

    def __init__(self, custodian: Custodian) -> None:
        self._custodian = custodian

    async def Fetch(self, signed: Any, context: Any) -> AsyncIterator[Any]:
        """The opening, then the sealed file from the requested offset on."""
        try:
            request = _open(signed)
            await self._validate(request, signed)
            opening = self._opening(request)
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
        yield exchange_pb2.FetchResponse(opening=opening)
        async for part in self._content(request):
            yield exchange_pb2.FetchResponse(content=part)
        log.info("access %s fetched", request.access_id)

    async def _validate(self, request: Any, signed: Any) -> None:
        custodian = self._custodian
        identity = _authenticate(custodian, request, signed)
        if request.channel_id != custodian.health.channel_id:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such channel here")
        view = await custodian.health.evaluate(
            "records:GetAccess", request.access_id, result=AccessView
        )
        access = view.access
        caller = user_digest(identity.msp_id, read_client_identity(request.identity).id)
        wanted = (request.record_id, request.version)
        if access.custodian != custodian.msp_id:
            raise Refused(grpc.StatusCode.NOT_FOUND, "another organisation keeps these records")
        if (access.msp_id, access.user) != (identity.msp_id, caller):
            raise _denied("the access belongs to another requester")
        if wanted not in [(item.record, item.version) for item in access.permitted_records]:
            raise _denied("the access does not permit this record version")
        if view.release is None:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION, "the access is not released yet: try again"
            )
        if access.expires_at < datetime.now(UTC):
            raise _denied("the access has expired: request it again")
        record = await custodian.health.evaluate("records:Get", request.record_id, result=Record)
        if record.status is not Status.CURRENT:
            raise _denied(f"the record is {record.status.value}")

    def _opening(self, request: Any) -> Any:
        store = self._custodian.store
        return exchange_pb2.Opening(
            release=store.get_release(request.access_id),
            size=store.size(request.record_id, request.version),
        )

    async def _content(self, request: Any) -> AsyncIterator[bytes]:
        with self._custodian.store.reading(request.record_id, request.version) as source:
            source.seek(request.offset)
            while part := await asyncio.to_thread(source.read, PART):
                yield part


def _open(signed: Any) -> Any:
    try:
        return exchange_pb2.FetchRequest.FromString(signed.request)
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


def _denied(reason: str) -> Refused:
    return Refused(grpc.StatusCode.PERMISSION_DENIED, reason)


def _ledger_refusal(failure: client.GatewayError) -> tuple[grpc.StatusCode, str]:
    answer = get_chaincode_answer(failure)
    if answer is not None:
        status, text = answer
        known = {404: grpc.StatusCode.NOT_FOUND, 403: grpc.StatusCode.PERMISSION_DENIED}
        return known.get(status, grpc.StatusCode.INVALID_ARGUMENT), text
    return grpc.StatusCode.UNAVAILABLE, "the custodian's peer does not answer: try again"


async def _abort(context: Any, status: grpc.StatusCode, reason: str) -> NoReturn:
    log.info("fetch refused: %s", status.name)
    await context.abort(status, reason)
    raise AssertionError("abort does not return")
