"""The channel participation REST API that `osnadmin` speaks.

Paths, methods, statuses, headers and texts are Fabric's
(orderer/common/channelparticipation/restapi.go). Who may call it is decided by TLS: the admin
endpoint requires a client certificate.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from email.message import Message
from typing import Any

from fabric_protos.common import common_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from network.node.ordering.block_store import StoreError
from network.node.ordering.chain import Chain
from network.node.ordering.forwarding import Forwarding
from network.node.ordering.registrar import ChannelExists, ChannelUnknown, Registrar
from network.node.serving.connections import Connections
from network.rules.channel.configtree import InvalidConfigTree, validate_channel_id
from network.rules.envelope import MalformedMessage, OpenedEnvelope, parse_message
from network.rules.ordering.admission import Refused
from network.rules.ordering.joining import InvalidRequest, open_config_update
from network.rules.ordering.leadership import Part

BASE = "/participation/v1/"
CHANNELS = f"{BASE}channels"
CONFIG_BLOCK = "config-block"
CONFIG_UPDATE = "config-update-envelope"
DEFAULT_MAX_BODY = 1024 * 1024
# Seconds that an update ordered by another orderer may take to come back as a block.
BLOCK_PATIENCE = 3.0
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
_BLOCK_ID = re.compile(r"newest|oldest|config|[+-]?[0-9]+")


class _Refusal(Exception):
    """An answer other than success: its status, text and, for 405, what is allowed."""

    def __init__(self, status: int, text: str, allow: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.allow = status, text, allow


def build_participation(
    registrar: Registrar, connections: Connections, max_body: int = DEFAULT_MAX_BODY
) -> Starlette:
    """The ASGI application over `registrar`; request bodies above `max_body` bytes are refused.

    Updates of a channel that another orderer leads reach it over `connections`.
    """
    api = _Participation(registrar, connections, max_body)
    handlers = {
        CHANNELS: api.serve_channels,
        CHANNELS + "/{channel}": api.serve_channel,
        CHANNELS + "/{channel}/blocks/{block}": api.serve_block,
    }
    routes = [Route(path, _answer(one), methods=_METHODS) for path, one in handlers.items()]
    routes.append(Route(BASE, _redirect, methods=["GET"]))
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})


Handler = Callable[[Request], Awaitable[Response]]


class _Participation:
    """The handlers, one for each path."""

    def __init__(self, registrar: Registrar, connections: Connections, max_body: int) -> None:
        self._registrar = registrar
        self._connections = connections
        self._max_body = max_body

    async def serve_channels(self, request: Request) -> Response:
        if request.method == "GET":
            return self._list()
        if request.method not in ("POST", "PUT"):
            raise _not_allowed(request, "GET, POST, PUT")
        if "multipart/form-data" not in request.headers.get("content-type", ""):
            sent = " ".join(request.headers.getlist("content-type"))
            raise _Refusal(400, f"unsupported Content-Type: [{sent}]")
        return await (self._join(request) if request.method == "POST" else self._update(request))

    async def serve_channel(self, request: Request) -> Response:
        if request.method not in ("GET", "DELETE"):
            raise _not_allowed(request, "GET, DELETE")
        channel_id = _get_channel_id(request)
        if request.method == "DELETE":
            return await self._remove(channel_id)
        chain = self._registrar.get(channel_id)
        if chain is None:
            raise _Refusal(404, "channel does not exist")
        return _json(_describe(chain), 200, {"Cache-Control": "no-store"})

    async def serve_block(self, request: Request) -> Response:
        if request.method != "GET":
            raise _not_allowed(request, "GET")
        channel_id = _get_channel_id(request)
        wanted = request.path_params["block"]
        if not _BLOCK_ID.fullmatch(wanted):
            raise _Refusal(
                400,
                f"invalid block ID: '{wanted}' not equal <newest|oldest|config|(number)>",
            )
        chain = self._registrar.get(channel_id)
        if chain is None:
            raise _Refusal(404, "channel does not exist")
        number = _resolve_block(wanted, chain)
        if not 0 <= number < chain.height:
            raise _Refusal(404, f"no such block number [{number}] in index")
        headers = {"Cache-Control": "no-store"}
        block = await chain.get_block(number)
        return Response(block, 200, headers, media_type="application/octet-stream")

    def _list(self) -> Response:
        channels = [
            {"name": chain.channel_id, "url": f"{CHANNELS}/{chain.channel_id}"}
            for chain in self._registrar.list()
        ]
        body = {"systemChannel": None, "channels": channels or None}
        return _json(body, 200, {"Cache-Control": "no-store"})

    async def _join(self, request: Request) -> Response:
        raw = await self._read_part(request, CONFIG_BLOCK)
        try:
            block = parse_message(common_pb2.Block, raw)
        except MalformedMessage as error:
            raise _Refusal(
                400, f"cannot unmarshal file part {CONFIG_BLOCK} into a block: {error}"
            ) from None
        try:
            chain = await self._registrar.join(block)
        except InvalidRequest as error:
            raise _Refusal(400, f"invalid join block: {error}") from None
        except ChannelExists:
            raise _Refusal(405, "cannot join: channel already exists", "GET, DELETE") from None
        except StoreError as error:
            raise _Refusal(500, f"cannot join: {error}") from None
        return _created(chain)

    async def _update(self, request: Request) -> Response:
        raw = await self._read_part(request, CONFIG_UPDATE)
        try:
            envelope = open_config_update(raw)
        except InvalidRequest as error:
            raise _Refusal(400, f"invalid config update envelope: {error}") from None
        channel_id = envelope.channel_header.channel_id
        chain = self._registrar.get(channel_id)
        if chain is None:
            raise _Refusal(405, "cannot update: channel does not exist")
        if chain.is_onboarding or chain.part is Part.OUTSIDER:
            raise _Refusal(403, "cannot update: channel is not ready, he is a follower")
        try:
            await self._order(chain, envelope)
        except Refused as refusal:
            raise _Refusal(
                400, f"cannot update: failed update config of channel {channel_id}: {refusal.info}"
            ) from None
        return _created(chain)

    async def _order(self, chain: Chain, update: OpenedEnvelope) -> None:
        """Have the update ordered here or by the leader, and see its block. Raises Refused."""
        height = chain.height
        forwarding = Forwarding(self._connections)
        try:
            await chain.submit(update, forwarding)
        finally:
            await forwarding.close()
        # Ordered elsewhere, the block is on its way: the answer tells the height with it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BLOCK_PATIENCE):
                await chain.wait_for(height)

    async def _remove(self, channel_id: str) -> Response:
        try:
            await self._registrar.remove(channel_id)
        except ChannelUnknown:
            raise _Refusal(404, "cannot remove: channel does not exist") from None
        except StoreError as error:
            raise _Refusal(400, f"cannot remove: {error}") from None
        return Response(status_code=204)

    async def _read_part(self, request: Request, key: str) -> bytes:
        """The one form part `key`, a file, of a multipart/form-data body."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body:
                raise _Refusal(
                    400, "cannot read form from request body: http: request body too large"
                )
        try:
            files, values = open_form(request.headers["content-type"], body)
        except ValueError as error:
            raise _Refusal(400, f"cannot read form from request body: {error}") from None
        if key not in files:
            raise _Refusal(400, f"form does not contains part key: {key}")
        if len(files) != 1 or values:
            raise _Refusal(400, "form contains too many parts")
        return files[key]


def open_form(content_type: str, body: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files and the plain values of a multipart/form-data body, by name (RFC 7578).

    Raises:
        ValueError: it is not one.
    """
    boundary = _get_parameter(content_type, "boundary")
    if not boundary:
        raise ValueError("multipart: boundary is empty")
    segments = (b"\r\n" + body).split(b"\r\n--" + boundary.encode())
    if len(segments) < 2 or not segments[-1].startswith(b"--"):
        raise ValueError("multipart: NextPart: EOF")
    files: dict[str, bytes] = {}
    values: dict[str, bytes] = {}
    for segment in segments[1:-1]:
        head, found, content = segment.partition(b"\r\n\r\n")
        if not found:
            raise ValueError("multipart: malformed part")
        lines = head.decode("utf-8", "replace").split("\r\n")
        fields = dict(line.partition(":")[::2] for line in lines if ":" in line)
        disposition = {key.lower(): value for key, value in fields.items()}.get(
            "content-disposition", ""
        )
        name = _get_parameter(disposition, "name")
        is_file = _get_parameter(disposition, "filename") != ""
        (files if is_file else values)[name] = content
    return files, values


def _get_parameter(header: str, name: str) -> str:
    message = Message()
    message["Content-Disposition"] = header.strip()
    value = message.get_param(name, "", header="Content-Disposition")
    return value if isinstance(value, str) else value[2]


def _answer(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            _validate_accept(request)
            return await handler(request)
        except _Refusal as refusal:
            headers = {"Allow": refusal.allow} if refusal.allow else None
            return _json({"error": refusal.text}, refusal.status, headers)

    return answer


def _validate_accept(request: Request) -> None:
    accepted = request.headers.get("accept", "")
    wanted = ("application/json", "application/*", "*/*")
    if accepted and not any(kind in accepted for kind in wanted):
        raise _Refusal(406, "response Content-Type is application/json only")


def _not_allowed(request: Request, allow: str) -> _Refusal:
    return _Refusal(405, f"invalid request method: {request.method}", allow)


def _get_channel_id(request: Request) -> str:
    channel_id: str = request.path_params["channel"]
    try:
        validate_channel_id(channel_id)
    except InvalidConfigTree as error:
        raise _Refusal(400, f"invalid channel ID: {error}") from None
    return channel_id


def _resolve_block(wanted: str, chain: Chain) -> int:
    names = {"oldest": 0, "newest": chain.height - 1, "config": chain.last_config}
    # As many digits as a block number can have: Python refuses to convert absurd ones.
    return names[wanted] if wanted in names else int(wanted[:21])


def _describe(chain: Chain) -> dict[str, Any]:
    listed = chain.part is not Part.OUTSIDER
    return {
        "name": chain.channel_id,
        "url": f"{CHANNELS}/{chain.channel_id}",
        "consensusRelation": "consenter" if listed else "follower",
        "status": _describe_status(chain),
        "height": chain.height,
    }


def _describe_status(chain: Chain) -> str:
    if chain.failure:
        return "failed"
    return "onboarding" if chain.is_onboarding else "active"


def _created(chain: Chain) -> Response:
    return _json(_describe(chain), 201, {"Location": f"{CHANNELS}/{chain.channel_id}"})


async def _redirect(request: Request) -> Response:
    del request
    body = f'<a href="{CHANNELS}">Found</a>.\n\n'
    return Response(body, 302, {"Location": CHANNELS}, media_type="text/html; charset=utf-8")


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    del request
    return PlainTextResponse("404 page not found\n" if status == 404 else "", status)


def _json(body: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    # json.Encoder ends with a newline.
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False) + "\n"
    return Response(text, status, headers, media_type="application/json")
