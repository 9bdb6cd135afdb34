"""Where sealed records and their releases lie: a folder by default, any fsspec URL otherwise.

`<record>/<version>.sealed` is the sealed file, `<record>/<version>/<access>.release` a data key
wrapped for one requester. Names are random handles; nothing here can be read without a key.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

import fsspec

from admin.exchange.errors import ExchangeError

_HANDLE = re.compile(r"[0-9a-f]{8,128}")


class NotStored(ExchangeError):
    """The store holds no such record version or release."""


@dataclass(frozen=True, slots=True)
class Release:
    """A data key wrapped for the requester of one access, and what it opens."""

    access: str
    key_id: str
    wrapped_key: bytes
    sealed_digest: bytes


class RecordStore:
    """Sealed records under one URL. Files appear whole or not at all. Raises NotStored."""

    def __init__(self, url: str) -> None:
        self._files, root = fsspec.core.url_to_fs(url, auto_mkdir=True)
        self._root = root.rstrip("/")

    @contextmanager
    def writing(self, record: str, version: int) -> Iterator[BinaryIO]:
        """Open a record version for writing; it is there once the block ends without an error."""
        path = self._sealed(record, version)
        part = f"{path}.part"
        try:
            with self._files.open(part, "wb") as target:
                yield cast(BinaryIO, target)
        except BaseException:
            self._remove(part)
            raise
        self._files.mv(part, path)

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

    def put_release(self, record: str, version: int, release: Release) -> None:
        """Keep a wrapped key for the requester to fetch."""
        document = {
            "access": release.access,
            "keyId": release.key_id,
            "wrappedKey": release.wrapped_key.hex(),
            "sealedDigest": release.sealed_digest.hex(),
        }
        path = self._release(record, version, release.access)
        with self._files.open(f"{path}.part", "wb") as target:
            target.write(json.dumps(document).encode())
        self._files.mv(f"{path}.part", path)

    def get_release(self, record: str, version: int, access: str) -> Release:
        """Return the wrapped key of one access."""
        try:
            document = json.loads(self._files.cat_file(self._release(record, version, access)))
        except FileNotFoundError as error:
            raise NotStored(f"access {access} has not been released yet") from error
        return Release(
            document["access"],
            document["keyId"],
            bytes.fromhex(document["wrappedKey"]),
            bytes.fromhex(document["sealedDigest"]),
        )

    def withdraw_releases(self, record: str, version: int) -> None:
        """Destroy every wrapped key given out for a record version."""
        self._remove(f"{self._root}/{_handle(record)}/{version}", recursive=True)

    def erase(self, record: str, version: int) -> None:
        """Destroy a sealed record version with every wrapped key: nobody can open it again."""
        self.withdraw_releases(record, version)
        self._remove(self._sealed(record, version))

    def _sealed(self, record: str, version: int) -> str:
        return f"{self._root}/{_handle(record)}/{int(version)}.sealed"

    def _release(self, record: str, version: int, access: str) -> str:
        return f"{self._root}/{_handle(record)}/{int(version)}/{_handle(access)}.release"

    def _remove(self, path: str, *, recursive: bool = False) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=recursive)


def _handle(text: str) -> str:
    # Handles reach us over the network and become file names.
    if not _HANDLE.fullmatch(text):
        raise NotStored("a record or access handle is lower hex")
    return text
