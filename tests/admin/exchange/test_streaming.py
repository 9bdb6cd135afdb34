"""Records of any length in constant memory, and in whatever pieces a source gives them."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.exchange.chunks import Hashing, read_chunks
from admin.exchange.errors import NotARecipient, SealBroken
from admin.exchange.header import CHUNK_SIZE, Header
from admin.exchange.keywrap import public_key_spki
from admin.exchange.pipes import piped
from admin.exchange.rewrapping import rewrap
from admin.exchange.sealing import new_secret, read_header, seal, unseal, unwrap_for
from admin.exchange.store import RecordStore
from tests.admin.exchange.test_sealing import CLINIC, SENDER_ID, STRANGER, sealed, sign, verify

ROOT = Path(__file__).resolve().parents[3]
LARGE = int(os.environ.get("STREAM_MIB", "256")) << 20
BOUND = 64 << 20

# One process seals a file and opens it again; it says by how much it grew, and both digests.
_PROGRAM = """
import hashlib, resource, sys
from pathlib import Path
from tests.admin.exchange.test_sealing import CLINIC, SENDER_ID, sign, verify
from admin.exchange.keywrap import public_key_spki
from admin.exchange.sealing import new_secret, read_header, seal, unseal, unwrap_for

folder = Path(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
sent, came = hashlib.sha256(), hashlib.sha256()
with open(folder / "large", "rb") as source, open(folder / "sealed", "wb") as target:
    seal(source, target, record="ab" * 16, version=1, media_type="application/dicom",
         recipients=[public_key_spki(CLINIC)], sender=SENDER_ID, sign=sign, secret=new_secret(),
         digests=[sent])
with open(folder / "sealed", "rb") as source, open("/dev/null", "wb") as target:
    header = read_header(source, verify)
    size = unseal(source, target, header=header, secret=unwrap_for(header, CLINIC), digests=[came])
print(peak() - before, size, sent.hexdigest() == came.hexdigest())
"""


def test_a_large_sparse_file_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """As large as STREAM_MIB says; the bound is the same for every size."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE)
        for at in (0, LARGE // 2, LARGE - 8):
            file.seek(at)
            file.write(at.to_bytes(8, "big"))
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    grown, size, same = done.stdout.split()
    assert int(size) == LARGE
    assert same == "True"
    assert int(grown) < BOUND


class Dribble(io.RawIOBase):
    """A pipe that gives as few bytes as it likes."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content = io.BytesIO(content)
        self._sizes = sizes
        self._turn = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        self._turn += 1
        want = min(len(buffer), self._sizes[self._turn % len(self._sizes)])
        block = self._content.read(want)
        buffer[: len(block)] = block
        return len(block)


class ReadOnly:
    """A source that can only `read`."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        return self._content.read(max(size // 2, 1))


@settings(max_examples=60)
@given(st.binary(max_size=200), st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1))
def test_chunks_do_not_depend_on_how_the_source_gives_them(
    content: bytes, size: int, sizes: list[int]
) -> None:
    expected = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    for source in (io.BytesIO(content), Dribble(content, sizes), ReadOnly(content)):
        found = [
            (index, bytes(chunk), last)
            for index, chunk, last in read_chunks(source, size)  # type: ignore[arg-type]
        ]
        assert [chunk for _, chunk, _ in found] == expected
        assert [index for index, _, _ in found] == list(range(len(expected)))
        assert [last for _, _, last in found] == [False] * (len(expected) - 1) + [True]


def test_a_digest_sees_every_chunk_although_buffers_are_used_again() -> None:
    content = hashlib.shake_256(b"hash").digest(50_000)
    digest = hashlib.sha256()
    with Hashing([digest]) as hashing:
        for _, chunk, last in read_chunks(io.BytesIO(content), 4096):
            hashing.update(chunk, last=last)
    assert digest.digest() == hashlib.sha256(content).digest()


def test_a_digest_that_fails_is_not_kept_quiet() -> None:
    class Broken:
        def update(self, data: memoryview) -> None:
            raise OSError("no more")

    def work() -> None:
        with Hashing([Broken()]) as hashing:
            for _, chunk, last in read_chunks(io.BytesIO(bytes(10_000)), 4096):
                hashing.update(chunk, last=last)

    with pytest.raises(OSError, match="no more"):
        work()


def test_the_digests_are_of_the_plain_content_on_both_sides() -> None:
    content = hashlib.shake_256(b"both").digest(2 * CHUNK_SIZE + 77)
    sent, came, target = hashlib.sha256(), hashlib.sha256(), io.BytesIO()
    seal(
        io.BytesIO(content),
        target,
        record="ab" * 16,
        version=1,
        media_type="text/plain",
        recipients=[public_key_spki(CLINIC)],
        sender=SENDER_ID,
        sign=sign,
        secret=new_secret(),
        digests=[sent],
    )
    target.seek(0)
    header = read_header(target, verify)
    secret = unwrap_for(header, CLINIC)
    unseal(target, io.BytesIO(), header=header, secret=secret, digests=[came])
    assert sent.digest() == came.digest() == hashlib.sha256(content).digest()


def test_what_progress_raises_ends_the_work() -> None:
    class Stop(Exception):
        pass

    def progress(done: int) -> None:
        if done >= CHUNK_SIZE:
            raise Stop

    with pytest.raises(Stop):
        seal(
            io.BytesIO(bytes(3 * CHUNK_SIZE)),
            io.BytesIO(),
            record="ab" * 16,
            version=1,
            media_type="text/plain",
            recipients=[public_key_spki(CLINIC)],
            sender=SENDER_ID,
            sign=sign,
            secret=new_secret(),
            progress=progress,
        )


# -- pipes and re-wrapping -------------------------------------------------------------------------


def test_a_pipe_carries_a_writers_output() -> None:
    content = hashlib.shake_256(b"pipe").digest(300_000)

    def write(target: BinaryIO) -> None:
        target.write(content)

    with piped(write) as source:
        assert source.read() == content


def test_a_writers_error_reaches_the_reader() -> None:
    def write(target: BinaryIO) -> None:
        target.write(b"half")
        raise SealBroken("cut off")

    def read() -> None:
        with piped(write) as source:
            assert source.read() == b"half"

    with pytest.raises(SealBroken, match="cut off"):
        read()


def test_a_reader_that_stops_ends_the_writer() -> None:
    def write(target: BinaryIO) -> None:
        while True:
            target.write(bytes(100_000))

    with piped(write) as source:
        assert source.read(10)


def test_rewrapping_changes_who_opens_it_and_nothing_else(tmp_path: Path) -> None:
    store = RecordStore(tmp_path.as_uri())
    content = hashlib.shake_256(b"rewrap").digest(CHUNK_SIZE + 9)
    file = sealed(content)
    with store.writing("ab" * 16, 1) as target:
        target.write(file)
    before, after = rewrap(
        store,
        "ab" * 16,
        1,
        recipients=[public_key_spki(STRANGER)],
        sender=SENDER_ID,
        sign=sign,
        unwrap=lambda header: unwrap_for(header, CLINIC),
        verify=verify,
    )
    assert after.manifest == before.manifest
    with store.reading("ab" * 16, 1) as source:
        header = read_header(source, verify)
        assert header == after
        target = io.BytesIO()
        unseal(source, target, header=header, secret=unwrap_for(header, STRANGER))
    assert target.getvalue() == content
    with pytest.raises(NotARecipient):
        unwrap_for(header, CLINIC)


def test_a_rewrapping_that_is_refused_leaves_the_file(tmp_path: Path) -> None:
    store = RecordStore(tmp_path.as_uri())
    with store.writing("ab" * 16, 1) as target:
        target.write(sealed(b"content"))

    def refuse(header: Header) -> object:
        raise NotARecipient("no key")

    with store.reading("ab" * 16, 1) as source:
        before = source.read()
    with pytest.raises(NotARecipient):
        rewrap(
            store,
            "ab" * 16,
            1,
            recipients=[public_key_spki(ec.generate_private_key(ec.SECP256R1()))],
            sender=SENDER_ID,
            sign=sign,
            unwrap=refuse,  # type: ignore[arg-type]
            verify=verify,
        )
    with store.reading("ab" * 16, 1) as source:
        assert source.read() == before
