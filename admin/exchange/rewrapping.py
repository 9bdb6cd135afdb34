"""A sealed record's keys wrapped for others, its content untouched."""

import shutil
from collections.abc import Callable, Sequence
from typing import BinaryIO, cast

from admin.exchange.header import Header, Sign, Verify, build_header
from admin.exchange.keywrap import RecordSecret
from admin.exchange.sealing import (
    NO_PROGRESS,
    Progress,
    encode_sealed_header,
    read_header,
    wrap_for,
)
from admin.exchange.store import RecordStore

_BLOCK = 1024 * 1024


def rewrap(
    store: RecordStore,
    record: str,
    version: int,
    *,
    recipients: Sequence[bytes],
    sender: bytes,
    sign: Sign,
    unwrap: Callable[[Header], RecordSecret],
    verify: Verify,
    progress: Progress = NO_PROGRESS,
) -> tuple[Header, Header]:
    """The stored version opens for `recipients` (DER SPKIs) and no one else; returns both headers.

    The chunks are bound to the manifest, which stays, so they are copied as they are.

    Raises:
        NotStored: it is not here. SealBroken: its header does not hold.
        NotARecipient: `unwrap` has no key for it.
    """
    with store.reading(record, version) as source:
        before = read_header(source, verify)
        secret = unwrap(before)
        wraps = [wrap_for(before.manifest, secret, spki) for spki in recipients]
        after = build_header(before.manifest, wraps, sender, sign)
        with store.writing(record, version) as target:
            target.write(encode_sealed_header(after))
            shutil.copyfileobj(source, cast(BinaryIO, _Counted(target, progress)), _BLOCK)
    return before, after


class _Counted:
    def __init__(self, target: BinaryIO, progress: Progress) -> None:
        self._target = target
        self._progress = progress
        self._done = 0

    def write(self, data: bytes) -> int:
        self._done += len(data)
        self._progress(self._done)
        return self._target.write(data)
