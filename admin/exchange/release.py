"""What a custodian hands to a requester: the data keys of an access, wrapped for that requester."""

import hashlib
import json
from dataclasses import dataclass

import rfc8785

from admin.exchange.errors import ExchangeError, NotARecipient


class BrokenRelease(ExchangeError):
    """The release is not the one that the ledger recorded, or cannot be read."""


@dataclass(frozen=True, slots=True)
class ReleasedKey:
    """One record version's key, wrapped for the requester.

    `manifest_digest` is that of the sealed file's manifest, which every chunk is bound to: with the
    key it admits this sealing of this version and nothing else, whoever else it is wrapped for.
    """

    record: str
    version: int
    key_id: str
    wrapped_key: bytes
    manifest_digest: bytes


@dataclass(frozen=True, slots=True)
class Release:
    """All keys of one access. Its digest goes on the ledger before anything is handed out."""

    access: str
    keys: tuple[ReleasedKey, ...]

    def encode(self) -> bytes:
        """Return the canonical JSON (RFC 8785)."""
        return rfc8785.dumps(
            {
                "access": self.access,
                "keys": [
                    {
                        "record": key.record,
                        "version": key.version,
                        "keyId": key.key_id,
                        "wrappedKey": key.wrapped_key.hex(),
                        "manifestDigest": key.manifest_digest.hex(),
                    }
                    for key in self.keys
                ],
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON, as `records:Release` records it."""
        return hashlib.sha256(self.encode()).digest()

    def key(self, record: str) -> ReleasedKey:
        """Return the record's key. Raises NotARecipient if it was not released."""
        for key in self.keys:
            if key.record == record:
                return key
        raise NotARecipient(f"access {self.access} releases no record {record}")


def open_release(raw: bytes, recorded_digest: bytes) -> Release:
    """Return the release whose digest the ledger recorded. Raises BrokenRelease."""
    if hashlib.sha256(raw).digest() != recorded_digest:
        raise BrokenRelease("the release is not the one that the ledger recorded")
    return open_keys(raw)


def open_keys(raw: bytes) -> Release:
    """Return the release in the bytes, whatever the ledger says of it. Raises BrokenRelease."""
    try:
        document = json.loads(raw)
        keys = tuple(
            ReleasedKey(
                str(key["record"]),
                int(key["version"]),
                str(key["keyId"]),
                bytes.fromhex(key["wrappedKey"]),
                bytes.fromhex(key["manifestDigest"]),
            )
            for key in document["keys"]
        )
        return Release(str(document["access"]), keys)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BrokenRelease("the release cannot be read") from error
