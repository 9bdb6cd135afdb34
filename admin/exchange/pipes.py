"""A writer's output as somebody else's input, in memory and in constant space."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def piped(write: Callable[[BinaryIO], object]) -> Iterator[BinaryIO]:
    """What `write` writes can be read; its error is raised when the block ends.

    The reader must take nothing for whole before the block has ended without an error.
    """
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with os.fdopen(writing, "wb") as target:
                write(target)
        except BaseException as failure:  # told to the reader's thread
            failures.append(failure)

    thread = threading.Thread(target=work, name="piped", daemon=True)
    with os.fdopen(reading, "rb") as source:
        thread.start()
        try:
            yield source
        finally:
            source.close()  # a writer that is still at it gets a broken pipe and ends
            thread.join()
    broken = [one for one in failures if not isinstance(one, BrokenPipeError)]
    if broken:
        raise broken[0]
