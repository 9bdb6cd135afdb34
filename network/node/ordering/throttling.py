"""How fast clients may hand messages in: Fabric's General.Throttling (orderer/common/throttle).

A rate of messages a second is shared evenly by the clients seen lately, and once more by their
organisations. Who has used up a share waits for the next second: its stream is not read meanwhile,
and HTTP/2's flow control holds its client. As in Fabric only clients known by a TLS certificate are
held; client and organisation are the certificate's subject and authority key identifiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

from cryptography import x509

SECOND = 1.0


@dataclass(slots=True)
class _Share:
    """What one client has done."""

    began: float  # the second that is counted
    used: int
    seen: float


class SharedRate:
    """A number of messages a second, divided by those who send."""

    def __init__(
        self,
        rate: int,
        inactivity: float,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """After `inactivity` seconds of silence a client has no share any more."""
        self._rate = rate
        self._inactivity = inactivity
        self._clock = clock
        self._sleep = sleep
        self._shares: dict[str, _Share] = {}

    async def wait(self, client: str) -> None:
        """Return when the client may send one more message."""
        while True:
            now = self._clock()
            self._forget(now)
            share = self._shares.setdefault(client, _Share(now, 0, now))
            share.seen = now
            if now - share.began >= SECOND:
                share.began, share.used = now, 0
            # At least one: many clients and a small rate must not stop everything.
            if share.used < max(1, self._rate // len(self._shares)):
                share.used += 1
                return
            await self._sleep(share.began + SECOND - now)

    def _forget(self, now: float) -> None:
        for client in [
            name for name, share in self._shares.items() if now - share.seen > self._inactivity
        ]:
            del self._shares[client]


class Throttle:
    """Holds streams to the rate; a rate of 0 holds none."""

    def __init__(self, rate: int = 0, inactivity: float = 5.0) -> None:
        """`rate`: messages a second of all clients; `inactivity`: see SharedRate."""
        self._rate = rate
        self._clients = SharedRate(rate, inactivity)
        self._organizations = SharedRate(rate, inactivity)

    def hold(self, get_certificate: Callable[[], bytes]) -> Callable[[], Awaitable[None]] | None:
        """What to await before each message of a stream, None where nothing is to be awaited;
        `get_certificate` gives the PEM of its client's certificate, b"" without one."""
        certificate = get_certificate() if self._rate else b""
        if not certificate:
            return None
        client, organization = _read_names(certificate)

        async def wait() -> None:
            await self._clients.wait(client)
            await self._organizations.wait(organization)

        return wait


def _read_names(certificate: bytes) -> tuple[str, str]:
    """Subject and authority key identifier in hex, "" where there is none."""
    subject = authority = b""
    try:
        extensions = list(x509.load_pem_x509_certificate(certificate).extensions)
    except ValueError:
        extensions = []  # TLS has accepted what we cannot read: all such clients share
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            subject = extension.value.digest
        elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
            authority = extension.value.key_identifier or b""
    return subject.hex(), authority.hex()
