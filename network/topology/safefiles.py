"""Files that are there completely or not at all, and readable by their owner only where secret."""

import os
from pathlib import Path

_PARTIAL = ".partial"


def make_folder(folder: Path) -> None:
    """Create the folder and those above it that are missing, mode 0700."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def write_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Write the file under another name, flush it to disk, then rename: mode 0600 or 0644."""
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    partial.unlink(missing_ok=True)
    mode = 0o600 if secret else 0o644
    # Created with its final mode, so that a key is at no moment readable by others.
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def remove_partial_files(folder: Path) -> None:
    """Delete what an interrupted `write_file` left behind below the folder."""
    for path in folder.rglob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)
