"""A channel as a client sees it: its contracts, and what is committed to it."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from network.client import events
from network.client.checkpoint import Checkpoint, Position
from network.client.commit import Commit, new_commit
from network.client.contract import Contract
from network.client.events import ChaincodeEvent
from network.client.seek import FOREVER, Seek
from network.client.session import Session

CheckpointFile = Checkpoint | str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class Network:
    """The peers of one channel, behind the gateway."""

    session: Session
    channel_id: str

    def contract(self, chaincode: str, name: str = "") -> Contract:
        """A contract of a chaincode on this channel; nothing is asked of the network yet.

        Args:
            chaincode: the chaincode's name.
            name: the contract's name in a chaincode that has several.
        """
        return Contract(self.session, self.channel_id, chaincode, name)

    def commit(self, transaction_id: str) -> Commit:
        """The commit of any transaction on this channel, by its id."""
        return new_commit(self.session, self.channel_id, transaction_id)

    def chaincode_events(
        self,
        chaincode: str,
        *,
        start_block: int | None = None,
        after_transaction: str = "",
        checkpoint: CheckpointFile = None,
        reconnect: bool = False,
    ) -> AsyncIterator[ChaincodeEvent]:
        """A chaincode's events, from the next commit on unless told otherwise.

        Args:
            chaincode: the chaincode's name.
            start_block: the first block to look into.
            after_transaction: pass over events up to this transaction's, in the start block.
            checkpoint: a file (or `Checkpoint`) that remembers how far this listener came.
            reconnect: go on when the gateway was away.

        Raises:
            EventsError: when iterated and the stream breaks.
        """
        start = None if start_block is None else Position(start_block, after_transaction)
        return events.chaincode_events(
            self.session,
            self.channel_id,
            chaincode,
            start=start,
            checkpoint=_checkpoint(checkpoint),
            reconnect=reconnect,
        )

    def block_events(
        self,
        *,
        start_block: int | None = None,
        stop_block: int = FOREVER,
        checkpoint: CheckpointFile = None,
    ) -> AsyncIterator[Any]:
        """Whole blocks (`common.Block`), from the next commit on unless told otherwise."""
        return self._blocks("Deliver", start_block, stop_block, checkpoint)

    def filtered_block_events(
        self,
        *,
        start_block: int | None = None,
        stop_block: int = FOREVER,
        checkpoint: CheckpointFile = None,
    ) -> AsyncIterator[Any]:
        """Blocks reduced to ids, codes and event names (`protos.FilteredBlock`)."""
        return self._blocks("DeliverFiltered", start_block, stop_block, checkpoint)

    def block_and_private_data_events(
        self,
        *,
        start_block: int | None = None,
        stop_block: int = FOREVER,
        checkpoint: CheckpointFile = None,
    ) -> AsyncIterator[Any]:
        """Blocks with the private data the peer may show (`protos.BlockAndPrivateData`)."""
        return self._blocks("DeliverWithPrivateData", start_block, stop_block, checkpoint)

    def _blocks(
        self, method: str, start: int | None, stop: int, checkpoint: CheckpointFile
    ) -> AsyncIterator[Any]:
        return events.blocks(
            self.session, self.channel_id, method, Seek(start, stop), _checkpoint(checkpoint)
        )


def _checkpoint(given: CheckpointFile) -> Checkpoint | None:
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(given)
