"""An 837 of any length, as a stream that is made while it is read: nobody holds it."""

from __future__ import annotations

import io
from collections.abc import Iterator

from tests.admin.x12.test_intake import raw

_TEXT = raw().decode()
_CLAIM = _TEXT[_TEXT.index("HL*2*1*22") : _TEXT.index("SE*")]
_HEAD = _TEXT[: _TEXT.index("HL*2*1*22")]
_IN_HEAD = _HEAD[_HEAD.index("ST*") :].count("~")


def segments(claims: int) -> Iterator[bytes]:
    """One transaction set with so many subscribers, a claim each."""
    yield _HEAD.encode()
    for number in range(claims):
        text = _CLAIM.replace("HL*2*1*22", f"HL*{number + 2}*1*22")
        yield text.replace("CLM*", f"CLM*{number}-").encode()
    count = _IN_HEAD + claims * _CLAIM.count("~") + 1
    yield f"SE*{count}*0001~GE*1*1~IEA*1*000000001~".encode()


class Long837(io.RawIOBase):
    """The set as a file that can be read once."""

    def __init__(self, claims: int) -> None:
        self._parts = segments(claims)
        self._held = b""
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while size < 0 or len(self._held) < size:
            part = next(self._parts, b"")
            if not part:
                break
            self._held += part
        given, self._held = (
            (self._held, b"") if size < 0 else (self._held[:size], self._held[size:])
        )
        self.size += len(given)
        return given
