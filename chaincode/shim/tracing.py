"""Optional OpenTelemetry spans, one a transaction; they carry no data of it.

    opentelemetry-instrument python -m chaincode --tracing     # pip install 'medfabric[tracing]'

A span has the transaction's id, its channel and the response status (`fabric.transaction_id`,
`fabric.channel`, `fabric.status`); never a function, argument, key, value, result or error text.
This module speaks to the API only: which exporter takes the spans is the SDK's configuration
(`OTEL_*`), and without an SDK nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chaincode.errors import ConfigurationError, ContractError
from chaincode.shim.interface import Chaincode
from chaincode.shim.response import ERROR, Response
from chaincode.shim.stub import Stub

TRACER = "medfabric.chaincode"
SPAN = "chaincode.transaction"


class Traced:
    """A chaincode whose transactions are spans; what runs inside may add spans of its own."""

    def __init__(self, inner: Chaincode, provider: Any = None) -> None:
        """Uses `provider`, or OpenTelemetry's global one.

        Raises ConfigurationError: the package `opentelemetry-api` is not installed.
        """
        try:
            from opentelemetry import trace
        except ImportError:
            raise ConfigurationError(
                "--tracing needs the package opentelemetry-api: pip install 'medfabric[tracing]'"
            ) from None
        self._inner = inner
        self._tracer = trace.get_tracer(TRACER, tracer_provider=provider)
        self._server = trace.SpanKind.SERVER
        self._failed = trace.StatusCode.ERROR

    async def init(self, stub: Stub) -> Response:
        """See `interface.Chaincode`."""
        return await self._trace(self._inner.init, stub)

    async def invoke(self, stub: Stub) -> Response:
        """See `interface.Chaincode`."""
        return await self._trace(self._inner.invoke, stub)

    async def _trace(self, answer: Callable[[Stub], Awaitable[Response]], stub: Stub) -> Response:
        attributes = {
            "fabric.transaction_id": stub.get_tx_id(),
            "fabric.channel": stub.get_channel_id(),
        }
        with self._tracer.start_as_current_span(
            SPAN,
            kind=self._server,
            attributes=attributes,
            # An exception's text may hold a value.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            status = ERROR
            try:
                response = await answer(stub)
                status = response.status
                return response
            except ContractError as refusal:
                status = refusal.status
                raise
            except Exception as failure:
                span.set_attribute("error.type", type(failure).__name__)
                raise
            finally:
                span.set_attribute("fabric.status", status)
                if status >= ERROR:
                    span.set_status(self._failed)
