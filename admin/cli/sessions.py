"""A command's session with the health chaincode: gateway, channel and identity at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from admin.cli.context import Context

if TYPE_CHECKING:
    from admin.procedures.networks.health import Health
    from network.client.profile import Profile, Surroundings


@dataclass(frozen=True, slots=True)
class HealthSession:
    """The network, who acts, and the chaincode called in their name."""

    surroundings: "Surroundings"
    profile: "Profile"
    health: "Health"


@asynccontextmanager
async def open_health(context: Context, channel: str | None) -> AsyncIterator[HealthSession]:
    """The chaincode on a channel (the network's first), in the name of who acts."""
    from admin.procedures.networks.health import Health
    from network.client import Gateway

    name = context.channel(channel)
    profile = context.profile()
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        yield HealthSession(context.surroundings, profile, Health(gateway, name))
