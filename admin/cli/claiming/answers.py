"""X12 that goes out, in files that only their owner reads: they hold what claims hold."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from admin.errors import input_error

if TYPE_CHECKING:
    from admin.x12.writer import Envelope, SetOut


def control_number(at: datetime) -> int:
    """Nine digits that no interchange of this sender had before: seconds of a decade."""
    return int(at.timestamp()) % 1_000_000_000


def write_text(target: str, text: str) -> None:
    """The text is in the file, which only its owner reads: it holds what claims hold."""
    from network.topology.safefiles import write_file

    write_file(Path(target), text.encode(), secret=True)


def open_partial(target: str) -> TextIO:
    """A file beside the target that only its owner reads; `put_in_place` makes it the target."""
    partial = _partial_of(target)
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8")


def put_in_place(target: str) -> None:
    """What `open_partial` gave, closed by now, is the target."""
    _partial_of(target).replace(target)


def validate_target(target: str) -> None:
    """Raise FaultError if nothing can be written there: to be asked before anything is sent."""
    folder = Path(target).parent
    if not folder.is_dir() or Path(target).is_dir() or not os.access(folder, os.W_OK):
        raise input_error(
            "nothing can be written there; nothing was sent",
            "name a file in a folder that is there and yours",
            target,
        )


def _partial_of(target: str) -> Path:
    return Path(target).with_name(f".{Path(target).name}.partial")


class AnswerFile:
    """Interchanges that are written set by set, each held by its guide; `close` puts them in place.

    Until then the target is as it was.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._stream = open_partial(target)
        self._envelope: Envelope | None = None
        self._sets = 0
        self.interchanges = 0

    @property
    def control(self) -> int:
        """The control number of the interchange that is open."""
        return self._envelope.control if self._envelope else 0

    def begin(self, envelope: "Envelope", guide: str) -> None:
        """The next interchange; the one before is closed."""
        self._end()
        self._envelope, self._sets = envelope, 0
        self.interchanges += 1
        self._stream.write(envelope.open(guide))

    def add(self, one: "SetOut") -> None:
        """One more set of the interchange. Raises FaultError: its guide would refuse it."""
        from admin.x12.guides import find_faults
        from admin.x12.writer import build_set

        envelope = self._envelope
        assert envelope is not None  # begin was called
        alone = f"{envelope.open(one.guide)}{build_set(1, one)}{envelope.close(1)}"
        faults = find_faults(alone)
        if faults:
            raise input_error(
                f"the guide would refuse what was to be written: {faults[0].tell()}",
                "correct the claim; the file was not written",
                self._target,
                tuple(fault.tell() for fault in faults),
            )
        self._sets += 1
        self._stream.write(build_set(self._sets, one))

    def close(self) -> None:
        """The file is where it belongs."""
        self._end()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        put_in_place(self._target)

    def _end(self) -> None:
        if self._envelope is not None:
            self._stream.write(self._envelope.close(self._sets))
            self._envelope = None
