"""The files of a snapshot, byte for byte as Fabric writes them.

A snapshot is a folder. Each of up to four things stands in a pair of files, `<name>.data` and
`<name>.metadata`; what is empty has no files:

    txids                 every transaction id, shortest first; the metadata: how many
    confighistory         collection configurations by chaincode and block; how many
    public_state          records of every public key; namespaces with how many records each has
    private_state_hashes  records of every hashed private key; the same, of hashed namespaces

Every file begins with the format byte 1. Numbers are unsigned varints, strings and messages are
preceded by their size. Sources: common/ledger/snapshot/file.go, …/blkstorage/blockindex.go,
core/ledger/confighistory, …/txmgmt/privacyenabledstate/{snapshot.go,snapshot_record.proto}.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from network.rules.state.snapshot import Version
from network.rules.wire import encode_bytes, encode_field, encode_varint

FORMAT = 1
"""The first byte of every file."""
TXIDS = "txids"
CONFIG_HISTORY = "confighistory"
PUBLIC_STATE = "public_state"
PRIVATE_HASHES = "private_state_hashes"

LIMIT = 1 << 31
"""Bytes of one entry at most: Fabric cannot marshal a larger message."""

_BYTES = 2
_HASHED = "$$h"
_COLLECTIONS = b"slscc\x00"
_SUFFIX = b"~collection"
_NUMBER = 8


class MalformedSnapshot(ValueError):
    """A snapshot's file does not hold what it should; the text says where."""


class Record(NamedTuple):
    """One key of public or hashed state (SnapshotRecord)."""

    key: bytes
    value: bytes
    metadata: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class CollectionsEntry:
    """The collections that a chaincode's definition had from the end of a block on.

    `package` is a marshalled CollectionConfigPackage.
    """

    chaincode: str
    block: int
    package: bytes


Read = Callable[[int], bytes]
"""Gives the next so many bytes of a file, fewer at its end."""


# --- writing -------------------------------------------------------------------------------------


def encode_record(record: Record) -> bytes:
    """Return the marshalled SnapshotRecord, which is private to Fabric's ledger."""
    fields = (record.key, record.value, record.metadata, record.version.encode())
    return b"".join(encode_field(number, value) for number, value in enumerate(fields, 1) if value)


def encode_namespaces(rows: list[tuple[str, int]]) -> bytes:
    """Return what the metadata of state holds: each namespace and its records, in their order."""
    return encode_varint(len(rows)) + b"".join(
        encode_bytes(namespace.encode()) + encode_varint(count) for namespace, count in rows
    )


def hashed_namespace(namespace: str, collection: str) -> str:
    """Return the name under which a collection's hashes stand beside the namespaces."""
    return f"{namespace}{_HASHED}{collection}"


def encode_collections(entry: CollectionsEntry) -> tuple[bytes, bytes]:
    """Return key and value of the config history: the newest block of a chaincode comes first."""
    place = ((1 << 64) - 1 - entry.block).to_bytes(_NUMBER, "big")
    return _COLLECTIONS + entry.chaincode.encode() + _SUFFIX + place, entry.package


# --- reading -------------------------------------------------------------------------------------


def open_format(read: Read) -> None:
    """Take the first byte of a file. Raises MalformedSnapshot."""
    first = read(1)
    if first != bytes([FORMAT]):
        raise MalformedSnapshot(f"unexpected data format: {first.hex() or 'an empty file'}")


def open_number(read: Read) -> int:
    """Take a varint. Raises MalformedSnapshot."""
    number = shift = 0
    while True:
        byte = read(1)
        if not byte or shift > 63:
            raise MalformedSnapshot("the file ends inside a number, or the number is too large")
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
        shift += 7
    if number >= 1 << 64:
        raise MalformedSnapshot("the file ends inside a number, or the number is too large")
    return number


def open_bytes(read: Read) -> bytes:
    """Take bytes after their size. Raises MalformedSnapshot."""
    size = open_number(read)
    raw = read(size) if size < LIMIT else b""
    if len(raw) != size:
        raise MalformedSnapshot("the file ends inside an entry")
    return raw


def open_text(read: Read) -> str:
    """Take a string. Raises MalformedSnapshot."""
    try:
        return open_bytes(read).decode()
    except UnicodeDecodeError as error:
        raise MalformedSnapshot("a name or an id is not UTF-8") from error


def open_record(raw: bytes) -> Record:
    """Return the SnapshotRecord in `raw`. Raises MalformedSnapshot."""
    fields = {1: b"", 2: b"", 3: b"", 4: b""}
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        taken = raw[position : position + size]
        position += size
        return taken

    while position < len(raw):
        tag = open_number(read)
        if tag & 7 != _BYTES or tag >> 3 not in fields:
            raise MalformedSnapshot("a record has a field that is not known")
        fields[tag >> 3] = open_bytes(read)
    return Record(fields[1], fields[2], fields[3], open_version(fields[4]))


def open_version(raw: bytes) -> Version:
    """Return the version in its order-preserving bytes. Raises MalformedSnapshot."""
    numbers, rest = [], raw
    for _ in range(2):
        size = rest[0] if rest else _NUMBER + 1
        if size > _NUMBER or size >= len(rest) + (size == 0):
            raise MalformedSnapshot("a record's version cannot be read")
        numbers.append(int.from_bytes(rest[1 : 1 + size], "big"))
        rest = rest[1 + size :]
    if rest or max(numbers) >= 1 << 63:
        raise MalformedSnapshot("a record's version cannot be read")
    return Version(*numbers)


def open_namespaces(read: Read) -> list[tuple[str, int]]:
    """Take what `encode_namespaces` gives. Raises MalformedSnapshot."""
    return [(open_text(read), open_number(read)) for _ in range(open_number(read))]


def open_hashed_namespace(name: str) -> tuple[str, str]:
    """Return namespace and collection. Raises MalformedSnapshot."""
    namespace, separator, collection = name.partition(_HASHED)
    if not separator:
        raise MalformedSnapshot(f"{name!r} is not the name of a collection's hashes")
    return namespace, collection


def open_collections(key: bytes, package: bytes) -> CollectionsEntry:
    """Return what stands under a key of the config history. Raises MalformedSnapshot."""
    middle, place = key[len(_COLLECTIONS) : -_NUMBER], key[-_NUMBER:]
    if not key.startswith(_COLLECTIONS) or not middle.endswith(_SUFFIX):
        raise MalformedSnapshot("the config history has a key that is not a chaincode's")
    try:
        name = middle[: -len(_SUFFIX)].decode()
    except UnicodeDecodeError as error:
        raise MalformedSnapshot("the config history has a key that is not UTF-8") from error
    return CollectionsEntry(name, (1 << 64) - 1 - int.from_bytes(place, "big"), package)
