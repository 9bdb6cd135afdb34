"""Sockets, TLS and keepalive around `connection`; calls are handed to services by their path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from protos.http2 import frames
from protos.http2.budget import Budget
from protos.http2.connection import MAX_STREAMS, Call, Connection, Receiver
from protos.http2.frames import ConnectionFault

Service = Callable[[Call, str], Receiver]
"""Takes a call and its client's address."""


class Services(Protocol):
    """Who serves which path; a dict of paths will do."""

    def get(self, path: str, /) -> Service | None:
        """The path's service, None for none."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. The defaults are those of Go's chaincode shim.

    After `silence` without a word the client is asked for a sign of life; `answer` is how long it
    may take to give one, and `begin` how long to begin at all, TLS included. A client that pings
    more often than every `ping_interval` and does nothing else is thrown out (0: it may).
    """

    silence: float = 60.0
    answer: float = 20.0
    begin: float = 20.0
    ping_interval: float = 0.0


DEFAULT_PACE = Pace()
MAX_PINGS = 2
"""Pings in a row that may come too soon (gRPC's max_ping_strikes)."""
GOODBYE_SECONDS = 2.0
"""How long a stopping server waits for its last words to leave."""
_LOOK_SECONDS = 0.02
HIGH_WATER_BYTES = 1024 * 1024
"""A client that does not read what we send is not read from either beyond this."""


class Http2Server:
    """A gRPC server: paths such as `/protos.Chaincode/Connect` and who serves them."""

    def __init__(
        self,
        services: Services,
        max_message: int,
        *,
        max_streams: int = MAX_STREAMS,
        pace: Pace = DEFAULT_PACE,
        budget: Budget | None = None,
    ) -> None:
        """`budget`: the bytes that may be held for all clients."""
        self.budget = budget or Budget()
        self.services = services
        self.max_message = max_message
        self.max_streams = max_streams
        self.pace = pace
        self.connections: set[_Protocol] = set()
        self.idle = asyncio.Event()
        """Set while there is no connection."""
        self.idle.set()
        self._listeners: list[asyncio.Server] = []

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, share_port: bool = False
    ) -> int:
        """Listen; the port. Raises OSError: the address cannot be bound.

        With `share_port` other processes may listen on it too.
        """
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: _Protocol(self),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=self.pace.begin if tls is not None else None,
            backlog=128,
            reuse_port=share_port or None,
        )
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def listen(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take what comes to a socket that is bound already."""
        listener = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(self),
            sock=listening,
            ssl=tls,
            ssl_handshake_timeout=self.pace.begin if tls is not None else None,
            backlog=1024,
        )
        self._listeners.append(listener)

    async def stop(self, grace: float = 0.0) -> None:
        """Nothing is listened to and no connection is left; calls get `grace` seconds to end."""
        for listener in self._listeners:
            listener.close()
        if grace > 0:
            for connection in list(self.connections):
                connection.leave()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    # Polled: nobody but a server that ends asks for this.
                    while not all(one.is_idle for one in self.connections):  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_SECONDS)
        for connection in list(self.connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), GOODBYE_SECONDS)
        for connection in list(self.connections):
            connection.abort()
        for listener in self._listeners:
            await listener.wait_closed()


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
        self._last_ping = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._speaks_something_else():
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._address = _describe_address(transport.get_extra_info("peername"))
        self._server.connections.add(self)
        self._server.idle.clear()
        self._connection = Connection(
            self._accept,
            self._wake,
            self._server.max_message,
            self._server.max_streams,
            self._server.budget,
        )
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None:
            self._connection.certificate = tls.getpeercert(binary_form=True) or b""
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._server.pace.begin, self._expect_preface)

    def data_received(self, data: bytes) -> None:
        connection = self._connection
        if connection is None:
            return
        self._heard = self._loop.time()
        try:
            connection.receive(data)
        except ConnectionFault as fault:
            self.close(fault.code, fault.reason)
        else:
            if connection.pings:
                self._judge_pings(connection)

    def _judge_pings(self, connection: Connection) -> None:
        interval = self._server.pace.ping_interval
        if self._heard - self._last_ping >= interval:
            connection.pings = 0
        elif connection.pings > MAX_PINGS:
            self.close(frames.ENHANCE_YOUR_CALM, "too_many_pings")
        self._last_ping = self._heard

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
        if self._connection is not None:
            self._connection.block()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        if self._connection is not None:
            self._connection.unblock()

    def close(self, code: int = frames.NO_ERROR, reason: str = "") -> None:
        """Say goodbye and hang up."""
        connection, self._connection = self._connection, None
        if connection is None or self._transport is None:
            return
        connection.close(code, reason)
        self._transport.write(connection.take())
        self._transport.close()

    @property
    def is_idle(self) -> bool:
        """Whether no call is open."""
        return self._connection is None or self._connection.is_idle

    def leave(self) -> None:
        """Take no new calls."""
        if self._connection is not None:
            self._connection.leave()

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
            self._connection.go_on()

    def _speaks_something_else(self) -> bool:
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        return tls is not None and tls.selected_alpn_protocol() != "h2"

    def _expect_preface(self) -> None:
        if self._connection is not None and not self._connection.began:
            self.close(frames.PROTOCOL_ERROR, "no preface")
            return
        self._expect_word()

    def _expect_word(self) -> None:
        """Ask for a sign of life when the client has been silent for the pace's silence."""
        left = self._heard + self._server.pace.silence - self._loop.time()
        if left > 0 or self._connection is None:
            self._timer = self._loop.call_later(max(left, 0.01), self._expect_word)
            return
        asked = self._loop.time()
        self._connection.ping()
        self._timer = self._loop.call_later(self._server.pace.answer, self._expect_answer, asked)

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
    with as_file(certificate) as certificate_file, as_file(key) as key_file:
        context.load_cert_chain(certificate_file, key_file)
    if client_roots is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a root need not be self-signed
        context.load_verify_locations(cadata=client_roots.decode("ascii", "replace"))
    return context


@contextlib.contextmanager
def as_file(content: bytes) -> Iterator[str]:
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
