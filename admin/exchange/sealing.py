"""Sealing and opening a record as a stream, in constant memory.

A sealed file is MAGIC, the length of the header (4 bytes, big endian), the header, then the content
in chunks of AES-256-GCM. Chunk i has the nonce prefix(7) ‖ i(4, big endian) ‖ last(1), the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): a chunk that was changed, dropped,
repeated, moved or cut off is not the chunk its nonce stands for and does not open.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from admin.exchange.errors import NotSealed, SealBroken
from admin.exchange.header import (
    NONCE_PREFIX_LENGTH,
    Header,
    Manifest,
    Recipient,
    Sign,
    Verify,
    build_header,
    encode_header,
    key_id,
    open_header,
    wrap_context,
)
from admin.exchange.keywrap import (
    DATA_KEY_LENGTH,
    SALT_LENGTH,
    RecordSecret,
    public_key_spki,
    unwrap_secret,
    wrap_secret,
)

MAGIC = b"MEDFABRIC SEALED\x00\x01"
TAG_LENGTH = 16
MAX_HEADER_LENGTH = 16 * 1024 * 1024
_MAX_CHUNKS = 2**32


class Digest(Protocol):
    """What the plain content is fed to while it streams past: a hashlib object or a commitment."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes of the content."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is true of a record once it is sealed; `secret` is kept, or given away, in secret."""

    header: Header
    secret: RecordSecret
    size: int
    sealed_digest: bytes


def new_secret(random: Callable[[int], bytes] = os.urandom) -> RecordSecret:
    """Return a fresh data key and commitment salt; never use one for two versions."""
    return RecordSecret(random(DATA_KEY_LENGTH), random(SALT_LENGTH))


def wrap_for(manifest: Manifest, secret: RecordSecret, recipient_spki: bytes) -> Recipient:
    """Return the header entry that lets the holder of `recipient_spki` open the record."""
    name = key_id(recipient_spki)
    return Recipient(name, wrap_secret(secret, recipient_spki, wrap_context(manifest, name)))


def seal(
    source: BinaryIO,
    target: BinaryIO,
    *,
    record: str,
    version: int,
    media_type: str,
    recipients: Sequence[bytes],
    sender: bytes,
    sign: Sign,
    secret: RecordSecret,
    digests: Iterable[Digest] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Sealed:
    """Write `source` sealed for `recipients` (DER SPKIs) to `target`.

    `digests` see the plain content on its way; `progress` gets the number of plain bytes done.
    Raises ValueError if there are no recipients: what nobody can open is not a record.
    """
    if not recipients:
        raise ValueError("a record needs at least one recipient who can open it")
    manifest = Manifest(record, version, media_type, os.urandom(NONCE_PREFIX_LENGTH))
    wraps = [wrap_for(manifest, secret, spki) for spki in recipients]
    header = build_header(manifest, wraps, sender, sign)
    sealed_digest = hashlib.sha256()
    write = _writer(target, sealed_digest)
    raw_header = encode_header(header)
    write(MAGIC + len(raw_header).to_bytes(4, "big") + raw_header)
    size = 0
    cipher = AESGCM(secret.data_key)
    for index, chunk, last in _chunks(source, manifest.chunk_size):
        for digest in digests:
            digest.update(chunk)
        write(cipher.encrypt(_nonce(manifest, index, last), chunk, manifest.digest))
        size += len(chunk)
        progress(size)
    return Sealed(header, secret, size, sealed_digest.digest())


def read_header(source: BinaryIO, verify: Verify) -> Header:
    """Return the verified header; `source` then stands at the first chunk.

    Raises NotSealed or SealBroken.
    """
    if source.read(len(MAGIC)) != MAGIC:
        raise NotSealed("this is not a sealed record")
    length = int.from_bytes(_exactly(source, 4), "big")
    if length > MAX_HEADER_LENGTH:
        raise NotSealed("the sealed record's header is too long to be one")
    return open_header(_exactly(source, length), verify)


def unwrap_for(header: Header, private_key: ec.EllipticCurvePrivateKey) -> RecordSecret:
    """Return the record's secret as wrapped for this key in the header, or raise NotARecipient."""
    name = key_id(public_key_spki(private_key))
    return unwrap_secret(
        header.recipient(name).wrapped_key, private_key, wrap_context(header.manifest, name)
    )


def unseal(
    source: BinaryIO,
    header: Header,
    secret: RecordSecret,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[bytes]:
    """Yield the plain content chunk by chunk, each authenticated before it is given out.

    Only after the last chunk is it certain that nothing was cut off, so a caller keeps what it got
    aside until the iterator ends. Raises SealBroken.
    """
    manifest = header.manifest
    cipher = AESGCM(secret.data_key)
    done = 0
    for index, chunk, last in _chunks(source, manifest.chunk_size + TAG_LENGTH):
        try:
            plain = cipher.decrypt(_nonce(manifest, index, last), chunk, manifest.digest)
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                f"record {manifest.record} version {manifest.version} was changed or cut off "
                f"in chunk {index}: fetch it again"
            ) from error
        done += len(plain)
        yield plain
        progress(done)


def _chunks(source: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (index, bytes, is last); an empty source is one empty last chunk."""
    index = 0
    chunk = _up_to(source, size)
    while True:
        following = _up_to(source, size) if len(chunk) == size else b""
        yield index, chunk, not following
        if not following:
            return
        chunk = following
        index += 1
        if index >= _MAX_CHUNKS:
            raise ValueError("a record can have at most 2^32 chunks")


def _up_to(source: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes, fewer only at the end: pipes and sockets give short reads."""
    block = source.read(size)
    if len(block) in (0, size):
        return block
    parts = [block]
    missing = size - len(block)
    while missing and (block := source.read(missing)):
        parts.append(block)
        missing -= len(block)
    return b"".join(parts)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = _up_to(source, size)
    if len(data) != size:
        raise SealBroken("the sealed record is cut off in its header")
    return data


def _nonce(manifest: Manifest, index: int, last: bool) -> bytes:
    return manifest.nonce_prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _writer(target: BinaryIO, digest: Digest) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        digest.update(data)
        target.write(data)

    return write
