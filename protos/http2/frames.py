"""HTTP/2 frames as bytes (RFC 9113, sections 4 and 6) and the header blocks that a server sends."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1
SMALLEST_FRAME_LIMIT = 16_384
LARGEST_FRAME_LIMIT = 2**24 - 1

_SETTING = struct.Struct(">HI")
_UINT32 = struct.Struct(">I")
_DATA_HEADER = struct.Struct(">IBI")  # 24 bits of length, type DATA = 0, flags, stream
_TWO_UINT32 = struct.Struct(">II")


class ConnectionFault(Exception):
    """The peer broke HTTP/2 in a way that ends the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def build_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    size = len(payload)
    return (
        bytes((size >> 16, size >> 8 & 0xFF, size & 0xFF, kind, flags))
        + _UINT32.pack(stream)
        + payload
    )


def build_data_header(size: int, stream: int) -> bytes:
    """What stands before the payload of a DATA frame of `size` bytes."""
    return _DATA_HEADER.pack(size << 8, 0, stream)


def build_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in settings)
    return build_frame(SETTINGS, 0, 0, payload)


def build_window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the whole connection."""
    return build_frame(WINDOW_UPDATE, 0, stream, _UINT32.pack(increment))


def build_reset(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return build_frame(RST_STREAM, 0, stream, _UINT32.pack(code))


def build_goaway(last_stream: int, code: int, reason: str = "") -> bytes:
    """A GOAWAY frame."""
    return build_frame(GOAWAY, 0, 0, _TWO_UINT32.pack(last_stream, code) + reason.encode())


def build_header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """Literal header fields, never indexed into the table and not Huffman-coded (RFC 7541, 6.2.2).

    A server sends a handful of them a stream, so that their size does not matter.
    """
    block = bytearray()
    for name, value in headers:
        for part in (b"\x00" + _build_string(name)), _build_string(value):
            block += part
    return bytes(block)


def _build_string(text: str) -> bytes:
    raw = text.encode()
    return _build_integer(len(raw), 7) + raw


def _build_integer(value: int, prefix: int) -> bytes:
    """RFC 7541, 5.1, with the bits above the prefix 0."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((value,))
    parts = bytearray((limit,))
    value -= limit
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The settings of a SETTINGS frame. Raises ConnectionFault: not of whole settings."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    return _SETTING.iter_unpack(payload)


def read_uint32(payload: bytes, name: str) -> int:
    """The only number of a RST_STREAM or WINDOW_UPDATE frame. Raises ConnectionFault."""
    if len(payload) != _UINT32.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, f"{name} of a wrong size")
    value: int = _UINT32.unpack(payload)[0]
    return value


def strip_padding(flags: int, payload: bytes) -> bytes:
    """The content of a DATA or HEADERS frame. Raises ConnectionFault: more padding than frame."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]
