"""Where deliveries go: an HTTPS address, looked up and judged at every connection.

A webhook's address is an outsider's text, and our machine stands inside a hospital's network: a
name that leads to a private, loopback or link-local address is refused unless that was allowed, and
the connection goes to exactly the address that was judged (no second look-up, so that a name cannot
lead elsewhere in between). Redirects are not followed, proxies of the environment not used, and
of the answer nothing but status and `Retry-After` is read.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[Address]]]

MAX_RETRY_AFTER = 3600.0
"""Seconds that a receiver may make us wait."""


class BadTarget(ValueError):
    """The address may not be a webhook's; the text says why."""


class BadCertificate(Exception):
    """A file of certificates or keys is of no use; the text says why, `file` which."""

    def __init__(self, said: str, file: str | None) -> None:
        super().__init__(said)
        self.file = file or ""


class Undelivered(Exception):
    """An attempt failed: nobody answered, or the address was refused. Holds no content."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said: its status, and how long to wait before the next attempt."""

    status: int
    retry_after: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether it has the delivery: any 2xx (Standard Webhooks)."""
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether it wants no more deliveries at all: 410."""
        return self.status == 410


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """How the target is reached.

    Attributes:
        ca_file: PEM certificates to trust instead of the system's.
        allow_private: also addresses that are not of the public internet.
        timeout: seconds for one attempt.
        client_certificate: PEM file with the certificate, and its chain, that we show.
        client_key: PEM file with its key, not encrypted; both are read anew when they change.
    """

    ca_file: str | None = None
    allow_private: bool = False
    timeout: float = 15.0
    client_certificate: str | None = None
    client_key: str | None = None


def validate_url(url: str) -> None:
    """Raise BadTarget unless the URL is `https`, has a host, and carries no user or fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadTarget(f"it is no URL: {error}") from None
    if parts.scheme != "https":
        raise BadTarget("it is not https: deliveries go over TLS only")
    if not host or port == 0:
        raise BadTarget("it names no host")
    if parts.username or parts.password:
        raise BadTarget("it holds a user name or password; deliveries are signed instead")
    if parts.fragment:
        raise BadTarget("it has a fragment, which no server sees")


def choose_address(addresses: list[Address], *, allow_private: bool) -> Address:
    """Return the address to connect to. Raises Undelivered if any of them is not allowed.

    One bad address among good ones refuses the name: it would be the next answer.
    """
    if not addresses:
        raise Undelivered("the host has no address")
    for address in addresses:
        if not allow_private and not _is_public(address):
            raise Undelivered("the host leads to an address that is not public (--allow-private)")
        if _embedded(address).is_multicast or _embedded(address).is_unspecified:
            raise Undelivered("the host leads to an address that is no host's")
    return addresses[0]


def _is_public(address: Address) -> bool:
    inner = _embedded(address)
    return inner.is_global and not inner.is_multicast


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, NAT64), or itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class Target:
    """One webhook. An async context manager; `send` may be called concurrently."""

    def __init__(
        self, url: str, options: TargetOptions | None = None, *, resolve: Resolve | None = None
    ) -> None:
        """Raises BadTarget, BadCertificate, or OSError for a file that cannot be read."""
        validate_url(url)
        self.url = url
        self._options = options or TargetOptions()
        try:
            context = ssl.create_default_context(cafile=self._options.ca_file)
        except ssl.SSLError:
            raise BadCertificate("it holds no PEM certificate", self._options.ca_file) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._shown = _ShownCertificate(context, self._options)
        self._shown.load()
        self._client = httpx.AsyncClient(
            transport=_Pinned(context, self._options.allow_private, resolve or look_up),
            timeout=httpx.Timeout(self._options.timeout),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Return the receiver's answer to one attempt. Raises Undelivered."""
        self._shown.renew()
        try:
            async with (
                asyncio.timeout(self._options.timeout),  # for all of it, also a slow answer
                self._client.stream("POST", self.url, content=body, headers=headers) as response,
            ):
                wait = _retry_after(response.headers.get("retry-after", ""))
                return Answer(response.status_code, wait)
        except Undelivered:
            raise
        except TimeoutError:
            raise Undelivered(f"no answer within {self._options.timeout:g} s") from None
        except (httpx.HTTPError, OSError) as failure:  # httpx lets TLS alerts of a read through
            raise Undelivered(_reason(failure)) from None

    async def close(self) -> None:
        """The connections are closed."""
        await self._client.aclose()

    async def __aenter__(self) -> "Target":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _ShownCertificate:
    """Our client certificate in a TLS context, read anew when its file has changed."""

    def __init__(self, context: ssl.SSLContext, options: TargetOptions) -> None:
        self._context = context
        self._certificate, self._key = options.client_certificate, options.client_key
        self._loaded: tuple[int, ...] = ()

    def load(self) -> None:
        """The context shows what is in the files. Raises BadCertificate, OSError."""
        if self._certificate is None:
            return
        self._loaded = self._state()
        try:
            self._context.load_cert_chain(self._certificate, self._key, _no_password)
        except _EncryptedKey:
            raise BadCertificate("the key is encrypted", self._key) from None
        except ssl.SSLError as failure:
            mismatch = "KEY_VALUES_MISMATCH" in str(failure)
            said = "the key is not the certificate's" if mismatch else "it holds no PEM"
            raise BadCertificate(said, self._key if mismatch else self._certificate) from None

    def renew(self) -> None:
        """Connections from now on show what is in the files; one that is half written waits."""
        with contextlib.suppress(BadCertificate, OSError):
            if self._certificate is not None and self._state() != self._loaded:
                self.load()

    def _state(self) -> tuple[int, ...]:
        files = [file for file in (self._certificate, self._key) if file]
        return tuple(os.stat(file).st_mtime_ns for file in files)


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKey  # else OpenSSL would ask at the terminal


class _Pinned(httpx.AsyncBaseTransport):
    """Connects to the address that was judged, with TLS for the name that was asked for."""

    def __init__(self, context: ssl.SSLContext, allow_private: bool, resolve: Resolve) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
        self._allow_private = allow_private
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        found = await self._resolve(host, request.url.port or 443)
        address = choose_address(found, allow_private=self._allow_private)
        # The Host header was made from the URL before; the certificate is checked for the name.
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(address))
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def look_up(host: str, port: int) -> list[Address]:
    """Return all addresses of a host. Raises Undelivered if there is no such host."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise Undelivered("there is no such host") from None
    # A scope (fe80::1%eth0) is of no use elsewhere.
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _retry_after(text: str) -> float:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3), 0 if it is none."""
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        wait = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


def _reason(failure: Exception) -> str:
    """What went wrong, in words of ours: a library's text may quote what it was given."""
    text = str(failure)
    if "ALERT" in text and "CERTIFICATE" in text:
        return "it asks for a client certificate that it trusts (--cert)"
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
        return "its TLS certificate is not trusted"
    if isinstance(failure, httpx.ConnectError):
        return "it cannot be reached"
    if isinstance(failure, httpx.TimeoutException):
        return "no answer in time"
    return f"the exchange broke ({type(failure).__name__})"
