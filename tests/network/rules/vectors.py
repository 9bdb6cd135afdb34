"""Blocks that a real Fabric 3.1.5 network made; see tests/vectors/blocks/README.md."""

from pathlib import Path
from typing import Any

from network.rules.blocks.block import open_block

BLOCKS = Path(__file__).parents[2] / "vectors" / "blocks"
GENESIS, APPROVE, COMMIT, CONFIG, APPROVE_AGAIN = range(5)


def read_raw_block(number: int, source: str = "orderer") -> bytes:
    return (BLOCKS / source / f"{number}.block").read_bytes()


def read_block(number: int, source: str = "orderer") -> Any:
    return open_block(read_raw_block(number, source))


def read_chain(source: str = "orderer") -> list[Any]:
    return [read_block(number, source) for number in range(5)]
