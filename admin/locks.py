"""One process at a time, where two would undo each other's work."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from admin.errors import input_error
from network.topology.safefiles import make_folder


@contextmanager
def hold_alone(lock: Path, message: str) -> Iterator[None]:
    """No other process holds this lock file meanwhile; it is freed also by a crash.

    Raises:
        FaultError: another one holds it; `message` says what it does.
    """
    make_folder(lock.parent)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise input_error(message, "wait for it, or stop it first", str(lock)) from None
        yield  # the file stays: taking it away would let two others in
