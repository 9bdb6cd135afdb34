"""Gateway failures as gRPC carries them: a code, a text and one ErrorDetail a node that failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import grpc
from fabric_protos.gateway import gateway_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2

from network.rules.endorsement.plan import ErrorDetail
from network.rules.endorsement.reply import StatusCode

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_DETAILS_KEY = "grpc-status-details-bin"
_MAX_DETAILS = 6 * 1024
"""Bytes: metadata of more than 8 KiB is refused by most gRPC stacks."""


class GatewayError(Exception):
    """A gateway call failed; the client sees the code, the text and the details."""

    def __init__(self, code: StatusCode, message: str, details: Iterable[ErrorDetail] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)


async def abort(context: Any, error: GatewayError) -> NoReturn:
    """The call ends with the error."""
    if error.details:
        context.set_trailing_metadata(((_DETAILS_KEY, build_details(error)),))
    await context.abort(_CODES[int(error.code)], error.message)
    raise AssertionError("abort raises")


def build_details(error: GatewayError) -> bytes:
    """google.rpc.Status bytes; messages are cut where all of them would not fit into metadata."""
    status = status_pb2.Status(code=int(error.code), message=error.message)
    allowance = max(200, _MAX_DETAILS // max(len(error.details), 1) - 200)
    for detail in error.details:
        packed = any_pb2.Any()
        text = detail.message
        if len(text) > allowance:
            text = f"{text[:allowance]}…"
        packed.Pack(
            gateway_pb2.ErrorDetail(address=detail.address, msp_id=detail.msp_id, message=text)
        )
        status.details.append(packed)
    return bytes(status.SerializeToString())
