"""How fast records are sealed and opened, beside plain AES-256-GCM on the same file.

Every contender reads a file in chunks of one size and writes another, and takes its turn in each
round, so that what else the machine does is shared by all. The plain ones do nothing but encrypt or
decrypt: no commitment, no key wrapping, no signature.
"""

import hashlib
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import BinaryIO

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from admin.exchange.chunks import read_chunks
from admin.exchange.header import CHUNK_SIZE
from admin.exchange.keywrap import public_key_spki
from admin.exchange.sealing import TAG_LENGTH, new_secret, read_header, seal, unseal, unwrap_for
from chaincode import commitment

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """One contender: medians over the rounds.

    Attributes:
        what: its name.
        rate: bytes of content a second of wall-clock time.
        cpu_rate: bytes of content a second of processor time.
        ratio: its rate over that of the plain contender it is beside, round by round; None for a
            plain one.
        rates: of each round.
    """

    what: str
    rate: float
    cpu_rate: float
    ratio: float | None
    rates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sealing:
    """A whole run.

    Attributes:
        size: bytes of content.
        contenders: in the order they took turns.
        peak_memory: the most that this process had resident, bytes.
    """

    size: int
    contenders: tuple[Bandwidth, ...]
    peak_memory: int


class Course:
    """The contenders over one content in a folder of its own."""

    def __init__(self, folder: Path, size: int) -> None:
        self._content = folder / "content"
        self._plain = folder / "plain.gcm"
        self._sealed = folder / "record.sealed"
        self._target = folder / "opened"
        self.size = size
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._cipher = AESGCM(AESGCM.generate_key(256))
        _fill(self._content, size)

    @property
    def contenders(self) -> tuple[tuple[str, Callable[[], None], str], ...]:
        """Name, act, and the name of the plain contender it is compared with."""
        return (
            ("plain AES-GCM, encrypt", self.encrypt, ""),
            ("seal", self.seal, "plain AES-GCM, encrypt"),
            ("plain AES-GCM, decrypt", self.decrypt, ""),
            ("open", self.open, "plain AES-GCM, decrypt"),
            ("SHA-256 alone", self.hash, ""),
        )

    def encrypt(self) -> None:
        """AES-256-GCM, file to file."""
        buffer = memoryview(bytearray(CHUNK_SIZE + TAG_LENGTH))
        with self._content.open("rb") as source, self._plain.open("wb") as target:
            for index, chunk, _ in read_chunks(source, CHUNK_SIZE):
                sealed = buffer[: len(chunk) + TAG_LENGTH]
                self._cipher.encrypt_into(index.to_bytes(12, "big"), chunk, b"", sealed)
                target.write(sealed)

    def decrypt(self) -> None:
        """The same back."""
        buffer = memoryview(bytearray(CHUNK_SIZE))
        with self._plain.open("rb") as source, self._target.open("wb") as target:
            for index, chunk, _ in read_chunks(source, CHUNK_SIZE + TAG_LENGTH):
                plain = buffer[: len(chunk) - TAG_LENGTH]
                self._cipher.decrypt_into(index.to_bytes(12, "big"), chunk, b"", plain)
                target.write(plain)

    def seal(self) -> None:
        """What `record seal` does with a file: wrap, sign, encrypt, commit."""
        secret = new_secret()
        with self._content.open("rb") as source, self._sealed.open("wb") as target:
            seal(
                source,
                target,
                record="00" * 16,
                version=1,
                media_type="application/octet-stream",
                recipients=[public_key_spki(self._key)],
                sender=b"bench",
                sign=lambda data: self._key.sign(data, ec.ECDSA(hashes.SHA256())),
                secret=secret,
                digests=[hashlib.sha256(commitment.RECORD + secret.salt)],
            )

    def open(self) -> None:
        """What `record open` does with a sealed file: verify, unwrap, decrypt, recompute."""
        with self._sealed.open("rb") as source, self._target.open("wb") as target:
            header = read_header(source, self._verify)
            secret = unwrap_for(header, self._key)
            digest = hashlib.sha256(commitment.RECORD + secret.salt)
            unseal(source, target, header=header, secret=secret, digests=[digest])

    def hash(self) -> None:
        """The commitment's hash alone, reading only: its share of the work."""
        digest = hashlib.sha256()
        with self._content.open("rb") as source:
            for _, chunk, _ in read_chunks(source, CHUNK_SIZE):
                digest.update(chunk)

    def _verify(self, sender: bytes, data: bytes, signature: bytes) -> None:
        self._key.public_key().verify(signature, data, ec.ECDSA(hashes.SHA256()))


def run_sealing(
    folder: Path, size: int, rounds: int, step: Callable[[str], None] = lambda text: None
) -> Sealing:
    """Return what every contender did, in turns, with one uncounted round before."""
    course = Course(folder, size)
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        step(f"round {number} of {rounds}" if number else "warming up")
        for name, act, _ in course.contenders:
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            if number:
                walls.setdefault(name, []).append(time.perf_counter() - wall)
                cpus.setdefault(name, []).append(time.process_time() - cpu)
    return Sealing(
        size,
        tuple(
            _summarize(name, size, walls[name], cpus[name], walls.get(beside))
            for name, _, beside in course.contenders
        ),
        _peak_memory(),
    )


def _summarize(
    name: str, size: int, wall: Sequence[float], cpu: Sequence[float], beside: list[float] | None
) -> Bandwidth:
    ratio = None
    if beside is not None:
        ratio = median(plain / own for plain, own in zip(beside, wall, strict=True))
    return Bandwidth(
        name, size / median(wall), size / median(cpu), ratio, tuple(size / one for one in wall)
    )


def _fill(file: Path, size: int) -> None:
    """Random bytes, so that no disk or cipher can make it easy for itself."""
    block = os.urandom(_BLOCK)
    with file.open("wb") as target:
        _write_repeated(target, block, size)


def _write_repeated(target: BinaryIO, block: bytes, size: int) -> None:
    while size > 0:
        target.write(block[:size])
        size -= len(block)


def _peak_memory() -> int:
    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
