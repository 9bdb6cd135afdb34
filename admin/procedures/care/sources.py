"""What is to become a record: a file or standard input as a stream, and what is known of it.

A FHIR resource is read whole, because it is validated and has a canonical form; anything else
passes as a stream, however long it is.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from admin.errors import input_error
from admin.fhir.reading import Resource, SourceFile, parse_resource

FHIR_JSON = "application/fhir+json"
FHIR_NDJSON = "application/fhir+ndjson"
BINARY = "application/octet-stream"
MAX_RESOURCE = 64 * 1024 * 1024
"""Bytes of a single FHIR resource; longer exports are NDJSON, sealed as they are."""

_SPACE = rb"[ \t\r\n]*"
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?" + _SPACE + rb"\{" + _SPACE + rb"(?:[\"}]|\Z)")
"""JSON's object. A brace alone may as well begin a letter in RTF, or an image."""

_SUFFIXES = {
    ".json": FHIR_JSON,
    ".rtf": "application/rtf",
    ".ndjson": FHIR_NDJSON,
    ".dcm": "application/dicom",
    ".pdf": "application/pdf",
    ".xml": "application/xml",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A content about to be sealed; `size` is None where it is not known beforehand."""

    name: str
    stream: BinaryIO
    media_type: str
    size: int | None = None
    resource: Resource | None = None


@contextmanager
def open_source(path: str, media_type: str = "") -> Iterator[Source]:
    """A file, or standard input for `-`.

    Without a media type JSON is taken for a FHIR resource, and anything else by the file's ending.
    Raises FaultError: there is no such file, or the FHIR resource in it is not valid.
    """
    if path == "-":
        yield _read_source("standard input", _peekable(sys.stdin.buffer), None, media_type)
        return
    file = Path(path)
    if not file.exists():
        raise input_error("no such file", "check the path", path)
    if file.is_dir():
        raise input_error(
            "this is a folder", "seal each file, or all: medfabric record anchor-batch", path
        )
    with file.open("rb") as stream:
        size = file.stat().st_size if file.is_file() else None
        yield _read_source(path, stream, size, media_type or _SUFFIXES.get(file.suffix, ""))


def read_resource_source(name: str, raw: bytes) -> Source:
    """Return the FHIR resource in the bytes as a source. Raises FaultError if it is not valid."""
    resource = parse_resource(SourceFile(name, raw))
    return Source(name, io.BytesIO(raw), FHIR_JSON, len(raw), resource)


def _read_source(name: str, stream: io.BufferedReader, size: int | None, media_type: str) -> Source:
    is_resource = media_type == FHIR_JSON or (not media_type and _begins_object(stream))
    if not is_resource:
        return Source(name, stream, media_type or BINARY, size)
    raw = stream.read(MAX_RESOURCE + 1)
    if len(raw) > MAX_RESOURCE:
        raise input_error(
            f"a FHIR resource has at most {MAX_RESOURCE >> 20} MiB",
            f"seal it as it is: --media-type {FHIR_NDJSON}, or {BINARY}",
            name,
        )
    return read_resource_source(name, raw)


def _begins_object(stream: io.BufferedReader) -> bool:
    return _OBJECT.match(stream.peek(1)) is not None


def _peekable(stream: BinaryIO) -> io.BufferedReader:
    if isinstance(stream, io.BufferedReader):
        return stream
    return io.BufferedReader(cast(io.RawIOBase, stream))
