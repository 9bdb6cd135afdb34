"""Who calls: fabric-ca's authorisation header, by name and secret or by a signed token.

A token is `base64(certificate PEM).base64(signature)`, the ECDSA signature over
`METHOD.base64(URI).base64(body).base64(certificate PEM)`. Source: fabric-ca `util/util.go`
(GenECDSAToken, VerifyToken).
"""

import base64
import binascii
from collections.abc import Callable

from network.rules.identity.identity import (
    Identity,
    IdentityError,
    read_identity,
    serialize_identity,
)
from network.rules.identity.identity import verify_signature as verify_identity_signature


class BadToken(ValueError):
    """The authorisation header is not what it has to be; the text says why."""


def build_token(
    method: str, uri: str, body: bytes, certificate_pem: bytes, sign: Callable[[bytes], bytes]
) -> str:
    """Return the header value with which the certificate's holder makes this one request."""
    certificate = _encode(certificate_pem)
    signature = sign(_signed_text(method, uri, body, certificate))
    return f"{certificate}.{_encode(signature)}"


def open_token(header: str, method: str, uri: str, body: bytes) -> Identity:
    """Return the identity that signed this request. Raises BadToken.

    Whether its certificate is known, in force and not revoked is the caller's to check.
    """
    certificate, dot, signature = header.partition(".")
    if not dot:
        raise BadToken("the token has no signature part")
    try:
        identity = read_identity(serialize_identity("", _decode(certificate)))
        verify_identity_signature(
            identity, _signed_text(method, uri, body, certificate), _decode(signature)
        )
    except (IdentityError, binascii.Error) as error:
        raise BadToken(str(error)) from error
    return identity


def open_basic(header: str) -> tuple[str, str]:
    """Return name and secret of a Basic authorisation header (RFC 7617). Raises BadToken."""
    scheme, _, value = header.partition(" ")
    try:
        name, colon, secret = _decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadToken("the header is not base64 text") from error
    if scheme.lower() != "basic" or not colon:
        raise BadToken("No user/pass in authorization header")
    return name, secret


def _signed_text(method: str, uri: str, body: bytes, certificate: str) -> bytes:
    return f"{method}.{_encode(uri.encode())}.{_encode(body)}.{certificate}".encode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
