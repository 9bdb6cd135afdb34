"""A chaincode's events off the ledger, from an exact place on, over restarts of the peer and of us.

`follow` yields each event with a place to come back to. The caller says when an event is handled,
by keeping that place (`Checkpoint.record_transaction`): what is not kept comes again.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from network.client import ChaincodeEvent
from network.client.channel import get_chain_info
from network.client.checkpoint import Position
from network.client.endpoint import Endpoint
from network.client.errors import UNREACHABLE, EventsError, NodeError
from network.client.network import Network
from network.client.peer import PeerClient
from network.rules.identity.identity import Signing

DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the stream is opened again; the last one repeats."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted: by name (`records.*`) and by what their payload names.

    Without names every event is wanted. `about` holds beginnings of handles, of at least eight
    characters, or whole MSP ids; an event is wanted if its payload holds any of them.
    """

    names: tuple[str, ...] = ()
    about: tuple[str, ...] = ()

    def wants(self, event: ChaincodeEvent) -> bool:
        """Whether the event passes."""
        if self.names and not any(fnmatchcase(event.name, name) for name in self.names):
            return False
        if not self.about:
            return True
        texts = list(_texts(read_payload(event)))
        return any(text == one or _begins(text, one) for text in texts for one in self.about)


@dataclass(slots=True)
class Follower:
    """One chaincode's events as one identity may read them.

    Attributes:
        network: the channel.
        chaincode: the chaincode's name.
        endpoint: the peer behind the gateway, asked for its height.
        signer: who listens.
        say: told when the gateway is away and when it is back.
    """

    network: Network
    chaincode: str
    endpoint: Endpoint
    signer: Signing
    say: Say = field(default=lambda text: None)

    async def find_end(self) -> Position:
        """Return the place after everything that is committed now."""
        async with PeerClient(self.endpoint, self.signer) as peer:
            info = await get_chain_info(peer, self.network.channel_id)
        return Position(info.height)

    async def follow(self, start: Position) -> AsyncIterator[ChaincodeEvent]:
        """Yield the events after `start`, for ever; a gateway that goes away is waited for.

        Raises:
            EventsError: the gateway cannot be reached at first, or refuses.
        """
        position, failures, opened = start, 0, False
        while True:
            try:
                if not opened:
                    await self.find_end()  # a gateway that is not there is told at once
                    opened = True
                async with aclosing(self._listen(position)) as events:
                    async for event in events:
                        if failures:
                            self.say("the gateway is back")
                        failures = 0
                        yield event
                        position = Position(event.block_number, event.transaction_id)
            except (EventsError, NodeError) as failure:
                if not opened or failure.status not in (*UNREACHABLE, "UNKNOWN", "INTERNAL"):
                    raise
            # A peer that stops in peace ends the stream without an error.
            if not failures:
                self.say("the gateway is away; trying again")
            delay = DELAYS[min(failures, len(DELAYS) - 1)]
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 spreads load only
            failures += 1

    def _listen(self, position: Position) -> Any:
        return self.network.chaincode_events(
            self.chaincode,
            start_block=position.block_number,
            after_transaction=position.transaction_id,
        )


def read_payload(event: ChaincodeEvent) -> Any:
    """Return the payload as JSON; an empty object where it is none (another chaincode's)."""
    try:
        return event.json() or {}
    except ValueError:
        return {}


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _begins(text: str, beginning: str) -> bool:
    return len(beginning) >= 8 and text.startswith(beginning)
