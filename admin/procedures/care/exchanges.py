"""Record exchanges: each with an identity of its own, a published key, and a place to run."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from admin.exchange.place import SERVICE_USER, store_url
from admin.procedures.care.keys import ensure_key
from admin.procedures.networks.enrolment import enroll, register_or_reset
from admin.procedures.networks.health import Health
from chaincode.directory.model import ORGANIZATION_SUBJECT
from network.client import Gateway
from network.client.errors import ProfileError
from network.client.profile import OPERATOR, Surroundings
from network.engines.nodefiles import LOG
from network.engines.processplan import NodeProcess, Service
from network.rules.identity.enrollment import Attribute
from network.topology.values import Channel, Organization

Say = Callable[[str], None]

MODULE = "admin.exchange"
KIND = "exchange"


async def prepare_exchanges(
    surroundings: Surroundings, network: Path, channel: Channel, say: Say
) -> list[Service]:
    """Every member with an exchange has its identity and key; returns the programs to run.

    Args:
        surroundings: the network.
        network: its file, from which the programs start.
        channel: the channel whose members they serve.
        say: told what is being done.
    """
    members = [surroundings.topology.organization(name) for name in channel.members]
    owners = [member for member in members if member.exchange is not None]
    if owners:
        say("enrolling the record exchanges")
    await asyncio.gather(*(_prepare(surroundings, channel, owner) for owner in owners))
    return [_service(surroundings, owner, network) for owner in owners]


async def _prepare(surroundings: Surroundings, channel: Channel, owner: Organization) -> None:
    name = f"{owner.name}/{SERVICE_USER}"
    try:
        surroundings.wallet.find(name)
    except ProfileError:
        await _enroll(surroundings, owner, name)
    profile = surroundings.profile(name)
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        health = Health(gateway, channel.name)
        await ensure_key(surroundings, profile, health, subject=ORGANIZATION_SUBJECT)


async def _enroll(surroundings: Surroundings, owner: Organization, name: str) -> None:
    registrar = surroundings.signer(f"{owner.name}/{OPERATOR}")
    role = Attribute("role", "service", ecert=True)
    secret = await register_or_reset(surroundings, registrar, name, attributes=[role])
    await enroll(surroundings, name, secret)


def _service(surroundings: Surroundings, owner: Organization, network: Path) -> Service:
    assert owner.exchange is not None
    name = f"{KIND}.{owner.domain}"
    folder = surroundings.folder / "nodes" / name
    return Service(
        process=NodeProcess(
            name=name,
            module=MODULE,
            # Named, so that an exchange whose store is another from now on is started anew.
            arguments=(str(network), owner.name, store_url(surroundings, owner)),
            folder=str(folder),
            log=str(folder / LOG),
        ),
        kind=KIND,
        organization=owner.name,
        host=owner.exchange.host or surroundings.topology.host,
        port=owner.exchange.port,
    )
