"""The two metadata files of a snapshot: what it is of, and the hashes that vouch for it.

The signable one names every other file's SHA-256; its own hash, which stands in the additional one,
is the hash of the whole snapshot: peers that made a snapshot of the same block at the same state
database agree on it. Source: core/ledger/kvledger/snapshot.go.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from network.rules.snapshots.form import MalformedSnapshot

SIGNABLE = "_snapshot_signable_metadata.json"
ADDITIONAL = "_snapshot_additional_metadata.json"
KEY_VALUE = "SimpleKeyValueDB"
"""The state database of a snapshot whose values are as they were written (CouchDB's are not)."""

_INDENT = 4


@dataclass(frozen=True, slots=True)
class SnapshotMetadata:
    """What a snapshot says of itself; hashes are bytes, `files` maps names to SHA-256."""

    channel_id: str
    last_block: int
    last_hash: bytes
    previous_hash: bytes
    files: Mapping[str, bytes]
    commit_hash: bytes
    state_database: str = KEY_VALUE

    def build_signable(self) -> bytes:
        """Return the signable file, as Go's encoder sets it out."""
        return _build_json(
            {
                "channel_name": self.channel_id,
                "last_block_number": self.last_block,
                "last_block_hash": self.last_hash.hex(),
                "previous_block_hash": self.previous_hash.hex(),
                "snapshot_files_raw_hashes": {
                    name: self.files[name].hex() for name in sorted(self.files)
                },
                "state_db_type": self.state_database,
            }
        )

    @property
    def digest(self) -> bytes:
        """The hash of the whole snapshot."""
        return sha256(self.build_signable()).digest()

    def build_additional(self) -> bytes:
        """Return the additional file."""
        return _build_json(
            {
                "snapshot_hash": self.digest.hex(),
                "last_block_commit_hash": self.commit_hash.hex(),
            }
        )


def open_metadata(signable: bytes, additional: bytes) -> SnapshotMetadata:
    """Return what two files say, the hash of the first being what the second says.

    Raises:
        MalformedSnapshot: they cannot be read or do not belong together.
    """
    try:
        first, second = json.loads(signable), json.loads(additional)
        expected = str(second["snapshot_hash"])
        found = SnapshotMetadata(
            channel_id=str(first["channel_name"]),
            last_block=int(first["last_block_number"]),
            last_hash=bytes.fromhex(first["last_block_hash"]),
            previous_hash=bytes.fromhex(first["previous_block_hash"]),
            files={
                str(name): bytes.fromhex(digest)
                for name, digest in (first["snapshot_files_raw_hashes"] or {}).items()
            },
            commit_hash=bytes.fromhex(second["last_block_commit_hash"]),
            state_database=str(first["state_db_type"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedSnapshot(
            f"error while unmarshalling metadata: {type(error).__name__}: {error}"
        ) from error
    actual = sha256(signable).hexdigest()
    if actual != expected:
        raise MalformedSnapshot(build_mismatch(SIGNABLE, expected, actual))
    if not 0 <= found.last_block < 1 << 62:
        raise MalformedSnapshot("the number of the last block is none")
    return found


def build_mismatch(file: str, expected: str, actual: str) -> str:
    """Return Fabric's text for a file that is not the one vouched for."""
    return (
        f"hash mismatch for file [{file}]. Expected hash = [{expected}], Actual hash = [{actual}]"
    )


def _build_json(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, indent=_INDENT, ensure_ascii=False).encode()
