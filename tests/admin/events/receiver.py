"""A real webhook on 127.0.0.1: HTTPS, checks signatures, answers as the test wants."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from admin.events.deliveries import validate_delivery
from tests.chaincode.authority import Authority

Decide = Callable[[str, bytes], tuple[int, Mapping[str, str]]]


@dataclass
class Receiver:
    """What it was sent, and what it says; `seen` holds authentic deliveries it accepted."""

    url: str
    ca_file: str
    secrets: tuple[bytes, ...]
    decide: Decide = lambda delivery_id, body: (204, {})
    attempts: list[tuple[str, bytes]] = field(default_factory=list)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


@contextmanager
def receiving(
    folder: Path, secrets: tuple[bytes, ...], clients: Authority | None = None
) -> Iterator[Receiver]:
    """A receiver that is up within; with `clients` it asks for a certificate of theirs.

    The serial numbers of certificates that it was shown are in `shown`.
    """
    authority = Authority(folder, "hooks")
    key, certificate = authority.issue("receiver")
    receiver = Receiver("", str(authority.path), secrets)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(receiver))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"https://127.0.0.1:{server.server_port}/in"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.headers.append(dict(self.headers))
            shown = self.connection.getpeercert()
            receiver.shown += [shown["serialNumber"]] if shown else []
            delivery_id = validate_delivery(
                dict(self.headers), body, receiver.secrets, datetime.now(UTC)
            )
            receiver.attempts.append((delivery_id, body))
            status, headers = receiver.decide(delivery_id, body)
            if 200 <= status < 300:
                receiver.seen.append((delivery_id, body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Nothing is logged."""

    return Handler
