"""Sealing and opening a record as a stream, in constant memory.

A sealed file is MAGIC, the length of the header (4 bytes, big endian), the header, then the content
in chunks of AES-256-GCM. Chunk i has the nonce prefix(7) ‖ i(4, big endian) ‖ last(1), the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015): a chunk that was changed, dropped,
repeated, moved or cut off is not the chunk its nonce stands for and does not open.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from admin.exchange.chunks import Digest, Hashing, read_chunks
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
MAX_CHUNKS = 2**32

Progress = Callable[[int], None]
"""Gets the number of plain bytes done so far; what it raises ends the work."""

NO_PROGRESS: Progress = lambda done: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is true of a record once it is sealed; `secret` is kept, or given away, in secret.

    `size` is the content's, `sealed_size` the file's, in bytes.
    """

    header: Header
    secret: RecordSecret
    size: int
    sealed_size: int


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
    progress: Progress = NO_PROGRESS,
) -> Sealed:
    """Write `source` sealed for `recipients` (DER SPKIs) to `target`.

    `digests` see the plain content on its way, in a thread of their own.

    Raises:
        ValueError: there are no recipients (what nobody can open is no record), or the content is
            longer than 2^32 chunks.
    """
    if not recipients:
        raise ValueError("a record needs at least one recipient who can open it")
    manifest = Manifest(record, version, media_type, os.urandom(NONCE_PREFIX_LENGTH))
    wraps = [wrap_for(manifest, secret, spki) for spki in recipients]
    header = build_header(manifest, wraps, sender, sign)
    head = encode_sealed_header(header)
    target.write(head)
    size, sealed_size = 0, len(head)
    cipher, bound = AESGCM(secret.data_key), manifest.digest
    buffer = memoryview(b"")
    with Hashing(digests) as hashing:
        for index, chunk, last in read_chunks(source, manifest.chunk_size):
            hashing.update(chunk, last=last)
            length = len(chunk) + TAG_LENGTH
            if len(buffer) < length:  # the first chunk is the longest
                buffer = memoryview(bytearray(length))
            sealed = buffer[:length]
            cipher.encrypt_into(_nonce(manifest, index, last), chunk, bound, sealed)
            target.write(sealed)
            size += len(chunk)
            sealed_size += len(sealed)
            progress(size)
    return Sealed(header, secret, size, sealed_size)


def encode_sealed_header(header: Header) -> bytes:
    """Return what a sealed file begins with, up to its first chunk."""
    raw = encode_header(header)
    return MAGIC + len(raw).to_bytes(4, "big") + raw


def read_header(source: BinaryIO, verify: Verify) -> Header:
    """Return the verified header; `source` then stands at the first chunk.

    Raises NotSealed or SealBroken.
    """
    if _up_to(source, len(MAGIC)) != MAGIC:
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
    target: BinaryIO,
    *,
    header: Header,
    secret: RecordSecret,
    digests: Iterable[Digest] = (),
    progress: Progress = NO_PROGRESS,
) -> int:
    """Write the plain content to `target`, each chunk once it is authentic; returns its size.

    `source` stands at the first chunk. `digests` see the content in a thread of their own. Only
    when this returns is it certain that nothing was cut off: a caller keeps what was written aside
    until then. Raises SealBroken.
    """
    manifest = header.manifest
    cipher, bound = AESGCM(secret.data_key), manifest.digest
    buffers: list[memoryview] = []
    size = 0
    with Hashing(digests) as hashing:
        for index, chunk, last in read_chunks(source, manifest.chunk_size + TAG_LENGTH):
            length = max(len(chunk) - TAG_LENGTH, 0)
            if len(buffers) < 2:  # a digest may still look at the one before
                buffers.append(memoryview(bytearray(length)))
            plain = buffers[index % 2][:length]
            try:
                cipher.decrypt_into(_nonce(manifest, index, last), chunk, bound, plain)
            except (InvalidTag, ValueError) as error:
                raise SealBroken(
                    f"record {manifest.record} version {manifest.version} was changed or cut off "
                    f"in chunk {index}: fetch it again"
                ) from error
            hashing.update(plain, last=last)
            target.write(plain)
            size += len(plain)
            progress(size)
    return size


def _nonce(manifest: Manifest, index: int, last: bool) -> bytes:
    if index >= MAX_CHUNKS:
        raise ValueError("a record can have at most 2^32 chunks")
    return manifest.nonce_prefix + index.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def _up_to(source: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes, fewer only at the end: pipes and sockets give short reads."""
    parts = []
    missing = size
    while missing and (block := source.read(missing)):
        parts.append(block)
        missing -= len(block)
    return b"".join(parts)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = _up_to(source, size)
    if len(data) != size:
        raise SealBroken("the sealed record is cut off in its header")
    return data
