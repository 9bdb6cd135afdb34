"""How far a listener has read, kept in a file so that it goes on there after a restart."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from network.client.errors import ProfileError


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a channel's stream of events.

    Attributes:
        block_number: the block to go on with.
        transaction_id: the last transaction handled in it; empty when none was.
    """

    block_number: int
    transaction_id: str = ""


class Checkpoint:
    """A position in a file, written whole or not at all.

    The file is Fabric Gateway's own checkpoint form: `{"blockNumber": "7", "transactionId": "…"}`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._position: Position | None = None
        self._read = False

    @property
    def position(self) -> Position | None:
        """Where to go on; None when nothing was handled yet.

        Raises:
            ProfileError: the file is not a checkpoint.
        """
        if not self._read:
            self._position = self._load()
            self._read = True
        return self._position

    def record_block(self, block_number: int) -> None:
        """The whole block is handled: go on with the next."""
        self._save(Position(block_number + 1))

    def record_transaction(self, block_number: int, transaction_id: str) -> None:
        """The block is handled up to and including this transaction."""
        self._save(Position(block_number, transaction_id))

    def _load(self) -> Position | None:
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return None
        if not text.strip():
            return None
        try:
            kept = json.loads(text)
            return Position(int(kept["blockNumber"]), kept.get("transactionId") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as failure:
            raise ProfileError(
                f"{self.path} is not a checkpoint file",
                "name another file, or delete it to start from the beginning",
            ) from failure

    def _save(self, position: Position) -> None:
        kept = {"blockNumber": str(position.block_number), "transactionId": position.transaction_id}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(self.path.name + ".new")
        aside.write_text(json.dumps(kept))
        aside.replace(self.path)
        self._position, self._read = position, True
