"""One request to a node's REST interface, with mutual TLS where the node asks for it.

Written on the standard library: a handful of small requests need no HTTP client package, and
`ssl` reads keys from files, so that none passes through this program.
"""

import asyncio
import http.client
import json
import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network.client.errors import NodeError


@dataclass(frozen=True, slots=True)
class RestEndpoint:
    """A node's REST interface.

    Attributes:
        address: `host:port`.
        tls_root: file of PEM certificates that the node's must chain to; None for plain HTTP.
        client_certificate: file with our PEM certificate, for mutual TLS.
        client_key: file with its key.
        timeout: seconds a request may take.
    """

    address: str
    tls_root: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """An answer's status and body, read as JSON where it is JSON and as text elsewhere."""

    status: int
    body: Any


async def request(
    endpoint: RestEndpoint,
    method: str,
    path: str,
    *,
    form: tuple[str, bytes] | None = None,
    document: bytes | None = None,
    authorization: str = "",
) -> RestAnswer:
    """The node's answer, whatever its status.

    Args:
        endpoint: the node.
        method: the HTTP method.
        path: path and query.
        form: one file to send as `multipart/form-data`: the field's name and its bytes.
        document: a JSON document to send instead.
        authorization: the `Authorization` header's value.

    Raises:
        NodeError: the node could not be reached, or its certificate is not trusted.
    """
    headers, body = _encode(form) if document is None else _encode_document(document)
    if authorization:
        headers["Authorization"] = authorization
    return await asyncio.to_thread(_request, endpoint, method, path, headers, body)


def _request(
    endpoint: RestEndpoint, method: str, path: str, headers: dict[str, str], body: bytes | None
) -> RestAnswer:
    connection = _connect(endpoint)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        raw = answer.read()
    except TimeoutError as failure:
        raise NodeError(
            "DEADLINE_EXCEEDED", "no answer in time", address=endpoint.address
        ) from failure
    except (OSError, http.client.HTTPException) as failure:
        raise NodeError("UNAVAILABLE", _reason(failure), address=endpoint.address) from failure
    finally:
        connection.close()
    return RestAnswer(answer.status, _decode(raw))


def _connect(endpoint: RestEndpoint) -> http.client.HTTPConnection:
    if endpoint.tls_root is None:
        return http.client.HTTPConnection(endpoint.address, timeout=endpoint.timeout)
    context = ssl.create_default_context(cafile=str(endpoint.tls_root))
    if endpoint.client_certificate is not None:
        context.load_cert_chain(endpoint.client_certificate, endpoint.client_key)
    return http.client.HTTPSConnection(endpoint.address, timeout=endpoint.timeout, context=context)


def _encode(form: tuple[str, bytes] | None) -> tuple[dict[str, str], bytes | None]:
    if form is None:
        return {"Accept": "application/json"}, None
    name, content = form
    boundary = uuid.uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def _encode_document(document: bytes) -> tuple[dict[str, str], bytes]:
    return {"Accept": "application/json", "Content-Type": "application/json"}, document


def _decode(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw.strip() else None
    except ValueError:
        return raw.decode(errors="replace")


def _reason(failure: Exception) -> str:
    if isinstance(failure, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not trusted: {failure.verify_message}"
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror
    return str(failure) or type(failure).__name__
