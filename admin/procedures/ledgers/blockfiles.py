"""A folder of block files, as `peer channel fetch` writes them under whatever names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admin.errors import input_error
from network.rules.blocks.block import get_channel_id, header_hash, open_block
from network.rules.envelope import MalformedMessage
from network.rules.validation.commit_hash import get_validation_codes

SUFFIX = ".block"


@dataclass(frozen=True, slots=True)
class BlockFolder:
    """Which file holds which block of one channel.

    Attributes:
        path: the folder.
        channel_id: the channel.
        files: the file of each block number.
        faults: files that stand against the chain: the file's name, and what is wrong with it.
        notes: what was passed over, a sentence each.
    """

    path: Path
    channel_id: str
    files: Mapping[int, Path]
    faults: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def read(self, number: int) -> Any:
        """The block (`common.Block`) of a number.

        Raises:
            FaultError: the file changed since the folder was looked through.
        """
        file = self.files[number]
        try:
            return open_block(file.read_bytes())
        except (MalformedMessage, OSError) as error:
            raise input_error(
                "this file changed while the folder was read", "start again", str(file)
            ) from error


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    number: int
    channel_id: str
    hash: bytes
    has_codes: bool


def open_folder(path: Path, channel_id: str | None = None) -> BlockFolder:
    """Look through a folder; files are told by what is in them, not by their names.

    A block that is there twice, from a peer and from an orderer, is read from the file with the
    validation codes. Files that hold no block are passed over, unless their name says `.block`.

    Raises:
        FaultError: there is no block, or blocks of several channels and none was chosen.
    """
    if not path.is_dir():
        raise input_error("no such folder", "give a folder of block files", str(path))
    looked = [(file, _look_into(file)) for file in sorted(path.iterdir()) if file.is_file()]
    found = [one for _, one in looked if one is not None]
    empty = [file for file, one in looked if one is None]
    faults = [(one.name, "it holds no whole block") for one in empty if one.suffix == SUFFIX]
    notes = [
        f"{one.name} holds no block and was passed over" for one in empty if one.suffix != SUFFIX
    ]
    chosen = channel_id or _choose_channel(found, path)
    files: dict[int, _Found] = {}
    for one in found:
        first = files.setdefault(one.number, one)
        if one.channel_id not in (chosen, ""):
            notes.append(f"{one.path.name} holds a block of channel {one.channel_id}")
            if first is one:
                del files[one.number]
        elif first.hash != one.hash:
            names = f"{first.path.name} and {one.path.name}"
            faults.append((one.path.name, f"{names} hold different blocks {one.number}"))
        elif one.has_codes and not first.has_codes:
            files[one.number] = one
        elif one.has_codes and first is not one:
            notes.append(f"{one.path.name} holds the block of {first.path.name} and was not read")
    if not files:
        raise input_error(f"there is no block of channel {chosen} here", where=str(path))
    paths = {number: one.path for number, one in files.items()}
    return BlockFolder(path, chosen, paths, tuple(faults), tuple(notes))


def read_block_file(file: Path) -> Any:
    """The block (`common.Block`) in a file.

    Raises:
        FaultError: there is no such file, or it holds no block.
    """
    try:
        return open_block(file.read_bytes())
    except OSError as error:
        raise input_error("this file cannot be read", "", str(file)) from error
    except MalformedMessage as error:
        raise input_error("this file holds no block", "", str(file)) from error


def _look_into(file: Path) -> _Found | None:
    try:
        block = open_block(file.read_bytes())
    except MalformedMessage:
        return None
    if not block.data.data:
        return None
    try:
        channel_id = get_channel_id(block)
    except MalformedMessage:
        channel_id = ""  # a spoilt block is not another channel's: it is to be found
    number = int(block.header.number)
    codes = bool(get_validation_codes(block))
    return _Found(file, number, channel_id, header_hash(block.header), codes)


def _choose_channel(found: list[_Found], path: Path) -> str:
    names = sorted({one.channel_id for one in found if one.channel_id})
    genesis = {one.channel_id for one in found if one.number == 0}
    if not found:
        raise input_error(
            "there is no block file here", "write some with: peer channel fetch", str(path)
        )
    if len(genesis) == 1:
        return genesis.pop()
    if len(names) > 1:
        raise input_error(
            f"there are blocks of several channels here: {', '.join(names)}",
            "choose one with --channel",
            str(path),
        )
    return names[0] if names else ""
