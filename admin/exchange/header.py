"""The header of a sealed record: what it is, who sealed it, and for whom.

`Manifest` is bound to every chunk of the content, so that it cannot be exchanged; the list of
recipients is not, so that a record can be re-wrapped without encrypting it anew. The sender signs
both (ECDSA P-256 over SHA-256, low S, as Fabric signs).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import rfc8785

from admin.exchange.errors import NotARecipient, NotSealed, SealBroken

FORMAT = "medfabric-sealed/1"
CHUNK_SIZE = 1024 * 1024
MAX_CHUNK_SIZE = 16 * 1024 * 1024
NONCE_PREFIX_LENGTH = 7

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], None]
"""Takes the sender's SerializedIdentity, signed bytes and signature; raises on a mismatch."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was sealed: bound to every chunk through its digest."""

    record: str
    version: int
    media_type: str
    nonce_prefix: bytes
    chunk_size: int = CHUNK_SIZE

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that is signed."""
        return {
            "format": FORMAT,
            "record": self.record,
            "version": self.version,
            "mediaType": self.media_type,
            "noncePrefix": self.nonce_prefix.hex(),
            "chunkSize": self.chunk_size,
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON (RFC 8785): the associated data of every chunk."""
        return _digest(self)


@lru_cache(maxsize=64)  # asked for at each wrap and for the content
def _digest(manifest: Manifest) -> bytes:
    return hashlib.sha256(rfc8785.dumps(manifest.to_json())).digest()


@dataclass(frozen=True, slots=True)
class Recipient:
    """One key that can open the record: `key_id` is the lower hex SHA-256 of its DER SPKI."""

    key_id: str
    wrapped_key: bytes

    def to_json(self) -> dict[str, str]:
        """Return the JSON form that is signed."""
        return {"keyId": self.key_id, "wrappedKey": self.wrapped_key.hex()}


@dataclass(frozen=True, slots=True)
class Header:
    """Manifest and recipients with the sender's identity and signature over them."""

    manifest: Manifest
    recipients: tuple[Recipient, ...]
    sender: bytes
    signature: bytes = field(repr=False)

    def recipient(self, key_id: str) -> Recipient:
        """Return the entry of the key, or raise NotARecipient."""
        for recipient in self.recipients:
            if recipient.key_id == key_id:
                return recipient
        raise NotARecipient(
            f"record {self.manifest.record} version {self.manifest.version} was sealed for "
            f"{len(self.recipients)} other key(s), not for {key_id[:12]}…: request access to it"
        )


def key_id(spki: bytes) -> str:
    """Return the name of a public key: lower hex SHA-256 of its DER SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).hexdigest()


def wrap_context(manifest: Manifest, recipient_key_id: str) -> bytes:
    """Return what a wrapped key is bound to: this record, this version, this recipient."""
    return manifest.digest + bytes.fromhex(recipient_key_id)


def build_header(
    manifest: Manifest, recipients: Sequence[Recipient], sender: bytes, sign: Sign
) -> Header:
    """Return the header signed by `sender` (a SerializedIdentity)."""
    unsigned = _signed_bytes(manifest, recipients, sender)
    return Header(manifest, tuple(recipients), sender, sign(unsigned))


def encode_header(header: Header) -> bytes:
    """Return the header as canonical JSON."""
    document = _document(header.manifest, header.recipients, header.sender)
    return rfc8785.dumps({**document, "signature": header.signature.hex()})


def open_header(raw: bytes, verify: Verify) -> Header:
    """Return the header if its sender signed it.

    Raises NotSealed if it is no header of ours, SealBroken if it is unsigned or was changed.
    """
    header = _decode(raw)
    if not header.signature:
        raise SealBroken("the sealed record carries no signature of its sender")
    try:
        verify(
            header.sender,
            _signed_bytes(header.manifest, header.recipients, header.sender),
            header.signature,
        )
    except Exception as error:
        raise SealBroken(f"the sender's signature does not hold: {error}") from error
    return header


def _document(manifest: Manifest, recipients: Sequence[Recipient], sender: bytes) -> dict[str, Any]:
    return {
        "manifest": manifest.to_json(),
        "recipients": [recipient.to_json() for recipient in recipients],
        "sender": sender.hex(),
    }


def _signed_bytes(manifest: Manifest, recipients: Sequence[Recipient], sender: bytes) -> bytes:
    return b"medfabric/sealed-header/v1\x00" + rfc8785.dumps(
        _document(manifest, recipients, sender)
    )


def _decode(raw: bytes) -> Header:
    try:
        document = json.loads(raw)
        manifest = document["manifest"]
        if manifest["format"] != FORMAT:
            raise NotSealed(f"the sealed record has format {manifest['format']}, not {FORMAT}")
        header = Header(
            Manifest(
                record=_text(manifest["record"]),
                version=_count(manifest["version"]),
                media_type=_text(manifest["mediaType"]),
                nonce_prefix=_nonce_prefix(manifest["noncePrefix"]),
                chunk_size=_chunk_size(manifest["chunkSize"]),
            ),
            tuple(
                Recipient(_text(entry["keyId"]), bytes.fromhex(entry["wrappedKey"]))
                for entry in document["recipients"]
            ),
            bytes.fromhex(document["sender"]),
            bytes.fromhex(document.get("signature", "")),
        )
        canonical = encode_header(header)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise NotSealed("the sealed record's header cannot be read") from error
    if canonical != raw:
        # One header, one byte form: anything else in it would be outside the signature.
        raise SealBroken("the sealed record's header is not in canonical form")
    return header


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError("a positive whole number expected")
    return value


def _chunk_size(value: object) -> int:
    size = _count(value)
    if size > MAX_CHUNK_SIZE:
        raise ValueError("a chunk is at most 16 MiB")
    return size


def _nonce_prefix(value: str) -> bytes:
    prefix = bytes.fromhex(value)
    if len(prefix) != NONCE_PREFIX_LENGTH:
        raise ValueError("a nonce prefix has 7 bytes")
    return prefix
