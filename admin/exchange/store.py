"""Where sealed records and releases lie: a folder by default, any fsspec URL otherwise.

`records/<record>/<version>.sealed` is a sealed file, `releases/<access>.json` the keys released for
one access. Names are random handles; nothing here can be read without a key.

A file appears whole or not at all: in a folder by a rename, in an object store by the upload's own
completion. Credentials of an object store come from its client's own environment (for S3:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`), never from the URL.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import fsspec

from admin.exchange.errors import ExchangeError, StoreAway

_HANDLE = re.compile(r"[0-9a-f]{8,128}")
_VERSION = re.compile(r"(\d{1,9})\.sealed")
STALE = 24 * 3600
"""Seconds after which a file that was never finished is taken for abandoned."""

UPLOAD_PART = 32 * 1024 * 1024
"""Bytes sent at a time to an object store: S3 takes 10,000 of them, 320 GB, for one file."""

_FLEETING = ("memory", "http", "https", "data", "zip", "tar", "github", "git", "reference")
"""Protocols that lose what they hold, or cannot be written."""


_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "google", "adlfs", "azure")
"""Packages of object stores' clients, whose errors are the store's."""


class NotStored(ExchangeError):
    """The store holds no such record version or release."""


class UnusableStore(ExchangeError):
    """The URL names no store that can keep records."""


def validate_store_url(url: str) -> None:
    """Raise UnusableStore unless records can be kept at the URL; nothing is opened."""
    parts = urlsplit(url)
    if not parts.scheme:
        raise UnusableStore(f"{url!r} is no URL: write file:///path or s3://bucket/prefix")
    if parts.scheme in _FLEETING:
        raise UnusableStore(f"{parts.scheme}: cannot keep records: use file: or an object store")
    if parts.password:
        raise UnusableStore("a store's URL carries no password: credentials come from environment")


class RecordStore:
    """Sealed records under one URL. Files appear whole or not at all.

    Raises NotStored, and StoreAway where an object store does not answer or refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            scheme = urlsplit(url).scheme
            extra = "; install medfabric[s3]" if scheme == "s3" else ""
            raise UnusableStore(f"the store {scheme}: cannot be opened: {error}{extra}") from error
        self._root = root.rstrip("/")
        self._place = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        self._is_folder = "file" in _protocols(self._files)

    @contextmanager
    def writing(self, record: str, version: int, *, durable: bool = True) -> Iterator[BinaryIO]:
        """Open a record version for writing; it is there once the block ends without an error.

        Without `durable` a power failure may still take it: call `flush` when many are written.
        """
        with self._writing(self._sealed(record, version), durable=durable) as target:
            yield target

    @contextmanager
    def reading(self, record: str, version: int, offset: int = 0) -> Iterator[BinaryIO]:
        """Open a sealed record version for reading from an offset on."""
        with self._telling():
            try:
                source = self._files.open(self._sealed(record, version), "rb")
            except FileNotFoundError as error:
                raise NotStored(f"record {record} version {version} is not stored here") from error
            with source:
                source.seek(offset)
                yield cast(BinaryIO, source)

    def size(self, record: str, version: int) -> int:
        """Return the sealed file's size in bytes."""
        with self._telling():
            try:
                return int(self._files.size(self._sealed(record, version)))
            except FileNotFoundError as error:
                raise NotStored(f"record {record} version {version} is not stored here") from error

    def holds(self, record: str, version: int, size: int) -> bool:
        """Whether the sealed file is here and has so many bytes."""
        try:
            return self.size(record, version) == size
        except NotStored:
            return False

    @property
    def durable_at_once(self) -> bool:
        """Whether what was written outlives a power failure without `flush`."""
        return not self._is_folder

    def versions(self, record: str) -> list[int]:
        """Return the versions of a record that are here, oldest first."""
        names = self._names(f"{self._root}/records/{_handle(record)}")
        return sorted(int(found[1]) for name in names if (found := _VERSION.fullmatch(name)))

    def erase(self, record: str, version: int) -> None:
        """Destroy a sealed record version."""
        path = self._sealed(record, version)
        self._remove(path)
        if self._is_folder:
            with suppress(OSError):  # other versions are still in it
                os.rmdir(path.rpartition("/")[0])

    def put_release(self, access: str, raw: bytes) -> None:
        """Keep the keys released for an access."""
        with self._writing(self._release(access), durable=True) as target:
            target.write(raw)

    def get_release(self, access: str) -> bytes:
        """Return the keys released for an access."""
        with self._telling():
            try:
                return cast(bytes, self._files.cat_file(self._release(access)))
            except FileNotFoundError as error:
                raise NotStored(f"access {access} has not been released") from error

    def releases(self) -> list[str]:
        """Return the accesses whose released keys are here."""
        names = self._names(f"{self._root}/releases")
        return sorted(n.removesuffix(".json") for n in names if n.endswith(".json"))

    def remove_release(self, access: str) -> None:
        """Destroy the keys released for an access."""
        self._remove(self._release(access))

    def flush(self) -> None:
        """What was written without `durable` outlives a power failure from now on."""
        if self._is_folder:
            os.sync()

    def remove_abandoned(self) -> None:
        """Delete what writers that were killed left unfinished, a day after they began."""
        if not self._is_folder:
            return  # an object store never shows an upload that was not completed
        folder = f"{self._root}/unfinished"
        for name in self._names(folder):
            path = f"{folder}/{name}"
            if time.time() - self._files.modified(path).timestamp() > STALE:
                self._remove(path)

    def _sealed(self, record: str, version: int) -> str:
        return f"{self._root}/records/{_handle(record)}/{int(version)}.sealed"

    def _release(self, access: str) -> str:
        return f"{self._root}/releases/{_handle(access)}.json"

    @contextmanager
    def _writing(self, path: str, *, durable: bool) -> Iterator[BinaryIO]:
        if self._is_folder:
            with self._renaming(path, durable=durable) as target:
                yield target
            return
        with self._telling():
            with self._uploading(path) as upload:
                yield upload
            self._files.invalidate_cache()

    @contextmanager
    def _uploading(self, path: str) -> Iterator[BinaryIO]:
        self._files.invalidate_cache()
        # Without autocommit closing a file does not complete its upload.
        upload = self._files.open(path, "wb", autocommit=False, block_size=UPLOAD_PART)
        try:
            yield cast(BinaryIO, upload)
            upload.close()
        except BaseException:
            with suppress(AttributeError):
                upload.closed = True  # else it would be flushed when it is collected
            # What cannot be reached keeps the parts until its own rules delete them.
            with suppress(Exception):
                upload.discard()
            raise
        upload.commit()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What an object store's client raises is the store's: StoreAway."""
        try:
            yield
        except Exception as error:
            # Some come translated to Python's own, such as FileNotFoundError where a bucket is not.
            if not (_is_clients(error) or _is_clients(error.__cause__)):
                raise
            raise StoreAway(
                f"the store {self._place} cannot be used ({type(error).__name__}): see to its "
                "address, its bucket and the credentials in the environment"
            ) from error

    @contextmanager
    def _renaming(self, path: str, *, durable: bool) -> Iterator[BinaryIO]:
        *_, record, name = path.split("/")
        part = f"{self._root}/unfinished/{os.getpid()}-{record}-{name}"
        _make_folder(f"{self._root}/unfinished")
        try:
            with open(part, "wb", opener=_private) as target:
                yield target
                if durable:
                    target.flush()
                    os.fsync(target.fileno())
            _make_folder(path.rpartition("/")[0])
            os.replace(part, path)
        except BaseException:
            self._remove(part)
            raise

    def _names(self, folder: str) -> list[str]:
        with self._telling():
            try:
                found = self._files.ls(folder, detail=False, refresh=True)
            except FileNotFoundError:
                return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def _remove(self, path: str) -> None:
        with self._telling():
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return
            self._files.invalidate_cache()


def _is_clients(error: BaseException | None) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENTS


def _protocols(files: Any) -> tuple[str, ...]:
    found = files.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _make_folder(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _handle(text: str) -> str:
    # Handles reach us over the network and become file names.
    if not _HANDLE.fullmatch(text):
        raise NotStored("a record or access handle is lower hex")
    return text
