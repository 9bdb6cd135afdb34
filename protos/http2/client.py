"""Sockets, TLS and keepalive around `calling`: one server's address, dialled when it is needed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import cast

from protos.http2 import frames
from protos.http2.calling import Caller, Listener, OutgoingCall
from protos.http2.frames import ConnectionFault
from protos.http2.server import DEFAULT_PACE, HIGH_WATER_BYTES, Pace, as_file

RETRY_SECONDS = 0.1
"""So long after a failure to connect, further calls fail with it, too."""


class Unreachable(Exception):
    """The server cannot be connected to; the text says why."""


class Http2Client:
    """Makes calls to one server, over one connection at a time; use it from one event loop."""

    def __init__(
        self,
        address: str,
        build_tls: Callable[[], ssl.SSLContext] | None,
        max_message: int,
        *,
        user_agent: str = "medfabric",
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """`address` is "host:port", the host also the name that the server's certificate has.

        `build_tls` is asked once, when it is first dialled; what it raises is why it cannot be.
        """
        self.address = address
        self._host, _, self._port = address.rpartition(":")
        self._host = self._host.removeprefix("[").removesuffix("]")
        self._build_tls = build_tls
        self._tls: ssl.SSLContext | None = None
        self._max_message = max_message
        self._pace = pace
        self._headers = (
            (":method", "POST"),
            (":scheme", "http" if build_tls is None else "https"),
            (":authority", address),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", user_agent),
        )
        self._current: _Protocol | None = None
        self._all: set[_Protocol] = set()
        self._dialling: asyncio.Task[_Protocol] | None = None
        self._freed = asyncio.Event()
        self._failed = (0.0, "")
        self._closed = False

    async def connect(self) -> None:
        """There is a connection. Raises Unreachable."""
        await self._get()

    async def begin(
        self, path: str, headers: Iterable[tuple[str, str]], listener: Listener
    ) -> OutgoingCall:
        """A call, once the server lets us have one more. Raises Unreachable."""
        while True:
            protocol = self._current
            if protocol is None or not protocol.is_usable:
                protocol = await self._get()
            if protocol.caller.open_calls < protocol.caller.max_calls:
                return protocol.caller.call(path, (*self._headers, *headers), listener)
            self._freed.clear()
            await self._freed.wait()

    async def close(self, grace: float | None = None) -> None:
        """No connection is left; calls get `grace` seconds to end."""
        self._closed = True
        if self._dialling is not None:
            self._dialling.cancel()
        if grace:
            loop = asyncio.get_running_loop()
            end = loop.time() + grace
            while any(one.caller.open_calls for one in self._all) and loop.time() < end:
                self._freed.clear()
                try:
                    async with asyncio.timeout_at(end):
                        await self._freed.wait()
                except TimeoutError:
                    break
        for protocol in list(self._all):
            protocol.close()
        self._freed.set()

    async def _get(self) -> _Protocol:
        if self._closed:
            raise Unreachable("the channel is closed")
        if self._current is not None and self._current.is_usable:
            return self._current
        if self._dialling is None:
            when, why = self._failed
            if asyncio.get_running_loop().time() - when < RETRY_SECONDS and why:
                raise Unreachable(why)
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
            self._dialling.add_done_callback(self._note_dialled)
        try:
            return await asyncio.shield(self._dialling)
        except asyncio.CancelledError:
            if self._closed:
                raise Unreachable("the channel is closed") from None
            raise

    def _note_dialled(self, task: asyncio.Task[_Protocol]) -> None:
        self._dialling = None
        if not task.cancelled():
            task.exception()  # those who waited have it; there may be none left

    async def _dial(self) -> _Protocol:
        loop = asyncio.get_running_loop()
        try:
            if self._tls is None and self._build_tls is not None:
                self._tls = self._build_tls()
            async with asyncio.timeout(self._pace.begin):
                _, protocol = await loop.create_connection(
                    lambda: _Protocol(self),
                    self._host,
                    int(self._port),
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
            if not protocol.speaks_http2:
                protocol.close()
                raise OSError("it does not speak HTTP/2 over TLS")
        except TimeoutError:
            raise self._fail("timed out") from None
        except (OSError, ValueError) as error:
            raise self._fail(str(error) or type(error).__name__) from None
        self._failed = (0.0, "")
        self._current = protocol
        return protocol

    def _fail(self, why: str) -> Unreachable:
        text = f"failed to connect to all addresses; last error: {self.address}: {why}"
        self._failed = (asyncio.get_running_loop().time(), text)
        return Unreachable(text)

    # --- what connections tell ---

    def add(self, protocol: _Protocol) -> Caller:
        """A connection has been made."""
        self._all.add(protocol)
        caller = Caller(protocol.wake, self._max_message)
        caller.on_free = self._freed.set
        return caller

    def remove(self, protocol: _Protocol) -> None:
        """A connection is gone."""
        self._all.discard(protocol)
        if self._current is protocol:
            self._current = None
        self._freed.set()

    @property
    def pace(self) -> Pace:
        """When a silent server is asked for a sign of life."""
        return self._pace


class _Protocol(asyncio.Protocol):
    """One connection to the server."""

    caller: Caller

    def __init__(self, client: Http2Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._woken = False
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "the connection is lost"
        self.speaks_http2 = True

    @property
    def is_usable(self) -> bool:
        """Whether a call can begin on it."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self.caller.is_leaving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        tls = transport.get_extra_info("ssl_object")
        self.speaks_http2 = tls is None or tls.selected_alpn_protocol() == "h2"
        self.caller = self._client.add(self)
        self._timer = self._loop.call_later(self._client.pace.silence, self._expect_word)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            self.caller.receive(data)
        except ConnectionFault as fault:
            self._reason = f"the server broke HTTP/2: {fault.reason}"
            self.caller.emit(frames.build_goaway(0, fault.code, fault.reason))
            self.close()
            return
        if self.caller.is_leaving and not self.caller.open_calls:
            self.close()

    def eof_received(self) -> bool:
        return False  # close: HTTP/2 knows no half-closed connections

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._client.remove(self)
        self.caller.lose(self.caller.goodbye or (str(error) if error else "") or self._reason)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()
        self.caller.block()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self.caller.unblock()

    def wake(self) -> None:
        """There is something to send: once a turn of the loop."""
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Hang up after what is to be sent."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def _flush(self) -> None:
        self._woken = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self.caller.take())
            self.caller.go_on()

    def _expect_word(self) -> None:
        left = self._heard + self._client.pace.silence - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(max(left, 0.01), self._expect_word)
            return
        self.caller.ping()
        asked = self._loop.time()
        self._timer = self._loop.call_later(self._client.pace.answer, self._expect_answer, asked)

    def _expect_answer(self, asked: float) -> None:
        if self._heard >= asked:
            self._expect_word()
        elif self._transport is not None:
            self._reason = "keepalive watchdog timeout"
            self._transport.abort()


def build_client_context(
    roots: bytes | None, key: bytes = b"", certificate: bytes = b""
) -> ssl.SSLContext:
    """TLS 1.2 or later to servers whose certificates chain to the PEM `roots` (None: the system's).

    A root need not be self-signed, as Go has it. Raises ssl.SSLError or ValueError: not PEM, or the
    key belongs to another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if roots is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=roots.decode("ascii", "replace"))
    if key and certificate:
        with as_file(certificate) as certificate_file, as_file(key) as key_file:
            context.load_cert_chain(certificate_file, key_file)
    return context
