"""The operations endpoint of orderer and peer: /healthz, /version, /metrics, /logspec.

As Fabric's (core/operations/system.go): health and version answer anyone; metrics and the log
specification need a client certificate where the endpoint speaks TLS. Metrics answer only where
the settings name Prometheus as their provider.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from network.node.serving.http_server import get_client_certificate
from network.node.serving.logs import InvalidLogSpec, LogSpec

VERSION = "3.1.5"
COMMIT = "medfabric"
MAX_BODY = 64 * 1024

# What is wrong with a component, empty when it is well.
HealthCheck = Callable[[], Awaitable[str]]


def build_operations(
    *,
    checks: Mapping[str, HealthCheck],
    log_spec: LogSpec,
    registry: CollectorRegistry | None,
    needs_certificate: bool,
) -> Starlette:
    """The ASGI application; `registry` None leaves /metrics out, `checks` may grow later."""
    handlers = {
        "/healthz": _build_health(checks),
        "/version": _version,
        "/logspec": _guard(_build_log_spec(log_spec), needs_certificate),
    }
    if registry is not None:
        handlers["/metrics"] = _guard(_build_metrics(registry), needs_certificate)
    methods = ["GET", "PUT", "POST", "DELETE", "PATCH"]
    routes = [Route(path, handler, methods=methods) for path, handler in handlers.items()]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


Handler = Callable[[Request], Awaitable[Response]]


def _build_health(checks: Mapping[str, HealthCheck]) -> Handler:
    async def health(request: Request) -> Response:
        if request.method != "GET":
            return Response(status_code=405)
        failed = [
            {"component": component, "reason": reason}
            for component, check in list(checks.items())
            if (reason := await check())
        ]
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if failed:
            body = {"status": "Service Unavailable", "time": moment, "failed_checks": failed}
            return _json(body, 503)
        return _json({"status": "OK", "time": moment}, end="")

    return health


async def _version(request: Request) -> Response:
    if request.method != "GET":
        return _json({"error": f"invalid request method: {request.method}"}, 400)
    return _json({"CommitSHA": COMMIT, "Version": VERSION}, end="")


def _build_log_spec(spec: LogSpec) -> Handler:
    async def log_spec(request: Request) -> Response:
        if request.method == "GET":
            return _json({"spec": spec.text})
        if request.method != "PUT":
            return _json({"error": f"invalid request method: {request.method}"}, 400)
        try:
            wanted = await _read_spec(request)
            spec.activate(wanted)
        except (InvalidLogSpec, ValueError) as error:
            return _json({"error": str(error)}, 400)
        return Response(status_code=204)

    return log_spec


async def _read_spec(request: Request) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise ValueError("the request is too large")
    try:
        wanted = json.loads(body)
    except ValueError:
        raise ValueError("the request is not JSON") from None
    spec = wanted.get("spec", "") if isinstance(wanted, dict) else None
    if not isinstance(spec, str):
        raise ValueError('the request is not of the form {"spec": "<levels>"}')
    return spec


def _build_metrics(registry: CollectorRegistry) -> Handler:
    async def metrics(request: Request) -> Response:
        del request
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return metrics


def _guard(handler: Handler, needs_certificate: bool) -> Handler:
    async def guarded(request: Request) -> Response:
        if needs_certificate and not get_client_certificate(request):
            return Response(status_code=401)
        return await handler(request)

    return guarded


async def _not_found(request: Request, error: Exception) -> Response:
    del request, error
    return PlainTextResponse("404 page not found\n", 404)


def _json(body: Any, status: int = 200, end: str = "\n") -> Response:
    text = json.dumps(body, separators=(",", ":")) + end
    return Response(text, status, media_type="application/json")
