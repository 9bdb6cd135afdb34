"""Where sealed records and releases lie: a folder by default, any fsspec URL otherwise.

`records/<record>/<version>.sealed` is a sealed file, `releases/<access>.json` the keys released for
one access. Names are random handles; nothing here can be read without a key.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import fsspec

from admin.exchange.errors import ExchangeError

_HANDLE = re.compile(r"[0-9a-f]{8,128}")


class NotStored(ExchangeError):
    """The store holds no such record version or release."""


class RecordStore:
    """Sealed records under one URL. Files appear whole or not at all. Raises NotStored."""

    def __init__(self, url: str) -> None:
        self._files, root = fsspec.core.url_to_fs(url, auto_mkdir=True)
        self._root = root.rstrip("/")

    @contextmanager
    def writing(self, record: str, version: int) -> Iterator[BinaryIO]:
        """Open a record version for writing; it is there once the block ends without an error."""
        with self._writing(self._sealed(record, version)) as target:
            yield target

    @contextmanager
    def reading(self, record: str, version: int) -> Iterator[BinaryIO]:
        """Open a sealed record version for reading."""
        try:
            source = self._files.open(self._sealed(record, version), "rb")
        except FileNotFoundError as error:
            raise NotStored(f"record {record} version {version} is not stored here") from error
        with source:
            yield cast(BinaryIO, source)

    def size(self, record: str, version: int) -> int:
        """Return the sealed file's size in bytes."""
        try:
            return int(self._files.size(self._sealed(record, version)))
        except FileNotFoundError as error:
            raise NotStored(f"record {record} version {version} is not stored here") from error

    def put_release(self, access: str, raw: bytes) -> None:
        """Keep the keys released for an access."""
        with self._writing(self._release(access)) as target:
            target.write(raw)

    def get_release(self, access: str) -> bytes:
        """Return the keys released for an access."""
        try:
            return cast(bytes, self._files.cat_file(self._release(access)))
        except FileNotFoundError as error:
            raise NotStored(f"access {access} has not been released") from error

    def remove_release(self, access: str) -> None:
        """Destroy the keys released for an access."""
        self._remove(self._release(access))

    def erase(self, record: str, version: int) -> None:
        """Destroy a sealed record version."""
        self._remove(self._sealed(record, version))

    def _sealed(self, record: str, version: int) -> str:
        return f"{self._root}/records/{_handle(record)}/{int(version)}.sealed"

    def _release(self, access: str) -> str:
        return f"{self._root}/releases/{_handle(access)}.json"

    @contextmanager
    def _writing(self, path: str) -> Iterator[BinaryIO]:
        part = f"{path}.part"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(part, "wb") as target:
                yield cast(BinaryIO, target)
        except BaseException:
            self._remove(part)
            raise
        self._files.mv(part, path)

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path)


def _handle(text: str) -> str:
    # Handles reach us over the network and become file names.
    if not _HANDLE.fullmatch(text):
        raise NotStored("a record or access handle is lower hex")
    return text
