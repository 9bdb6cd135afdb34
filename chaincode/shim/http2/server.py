"""Sockets, TLS and keepalive around `connection`; calls are handed to services by their path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

from chaincode.shim.http2 import frames
from chaincode.shim.http2.connection import Call, Connection, Receiver
from chaincode.shim.http2.frames import ConnectionFault

Service = Callable[[Call, str], Receiver]
"""Takes a call and its client's address."""

PING_SECONDS = 60.0
"""After so long without a word the client is asked for a sign of life, as Go's shim does."""
ANSWER_SECONDS = 20.0
"""How long it may take to answer, and to begin at all."""
GOODBYE_SECONDS = 2.0
"""How long a stopping server waits for its last words to leave."""
HIGH_WATER_BYTES = 1024 * 1024
"""A client that does not read what we send is not read from either beyond this."""


class Http2Server:
    """A gRPC server: paths such as `/protos.Chaincode/Connect` and who serves them."""

    def __init__(self, services: Mapping[str, Service], max_message: int) -> None:
        self.services = services
        self.max_message = max_message
        self.connections: set[_Protocol] = set()
        self.idle = asyncio.Event()
        """Set while there is no connection."""
        self.idle.set()
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, share_port: bool = False
    ) -> int:
        """Listen; the port. Raises OSError: the address cannot be bound.

        With `share_port` other processes may listen on it too.
        """
        loop = asyncio.get_running_loop()
        timeout = ANSWER_SECONDS if tls is not None else None
        self._server = await loop.create_server(
            lambda: _Protocol(self),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=timeout,
            backlog=128,
            reuse_port=share_port or None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Nothing is listened to and no connection is left; what was open is cancelled."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), GOODBYE_SECONDS)
        for connection in list(self.connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()


class _Protocol(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: Http2Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._woken = False
        self._address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._speaks_something_else():
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._address = _describe_address(transport.get_extra_info("peername"))
        self._server.connections.add(self)
        self._server.idle.clear()
        self._connection = Connection(self._accept, self._wake, self._server.max_message)
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(ANSWER_SECONDS, self._expect_preface)

    def data_received(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        self._heard = self._loop.time()
        try:
            connection.receive(data)
        except ConnectionFault as fault:
            self.close(fault.code, fault.reason)

    def eof_received(self) -> bool:
        return False  # close: HTTP/2 knows no half-closed connections

    def connection_lost(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        self._server.connections.discard(self)
        if not self._server.connections:
            self._server.idle.set()
        if self._timer is not None:
            self._timer.cancel()
        if connection is not None:
            connection.lose()

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, code: int = frames.NO_ERROR, reason: str = "") -> None:
        """Say goodbye and hang up."""
        connection, self._connection = self._connection, None
        if connection is None or self._transport is None:
            return
        connection.close(code, reason)
        self._transport.write(connection.take())
        self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _accept(self, call: Call) -> Receiver | None:
        service = self._server.services.get(call.path)
        return service(call, self._address) if service is not None else None

    def _wake(self) -> None:
        # Once a turn of the loop: what many transactions send in it leaves in one write.
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._woken = False
        if self._connection is not None and self._transport is not None:
            self._transport.write(self._connection.take())

    def _speaks_something_else(self) -> bool:
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        return tls is not None and tls.selected_alpn_protocol() != "h2"

    def _expect_preface(self) -> None:
        if self._connection is not None and not self._connection.began:
            self.close(frames.PROTOCOL_ERROR, "no preface")
            return
        self._expect_word()

    def _expect_word(self) -> None:
        """Ask for a sign of life when the client has been silent for `PING_SECONDS`."""
        left = self._heard + PING_SECONDS - self._loop.time()
        if left > 0 or self._connection is None:
            self._timer = self._loop.call_later(max(left, 0.01), self._expect_word)
            return
        asked = self._loop.time()
        self._connection.ping()
        self._timer = self._loop.call_later(ANSWER_SECONDS, self._expect_answer, asked)

    def _expect_answer(self, asked: float) -> None:
        if self._heard >= asked:
            self._expect_word()
        else:
            self.abort()


def build_tls_context(
    key: bytes, certificate: bytes, client_roots: bytes | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or later; with `client_roots` (PEM) a client has to show a certificate of theirs.

    Raises ssl.SSLError or ValueError: not PEM, or the key belongs to another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    with _as_file(certificate) as certificate_file, _as_file(key) as key_file:
        context.load_cert_chain(certificate_file, key_file)
    if client_roots is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_roots.decode("ascii", "replace"))
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that OpenSSL can read; in memory where the system can, so that no key is written."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("medfabric")
        try:
            os.write(number, content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.TemporaryDirectory() as folder:  # 0700
        path = Path(folder) / "content"
        path.write_bytes(content)
        yield str(path)


def _describe_address(address: object) -> str:
    """As gRPC writes it: `ipv4:127.0.0.1:4242`."""
    if isinstance(address, tuple) and len(address) == 4:
        return f"ipv6:[{address[0]}]:{address[1]}"
    if isinstance(address, tuple) and len(address) == 2:
        return f"ipv4:{address[0]}:{address[1]}"
    return str(address or "unknown")
