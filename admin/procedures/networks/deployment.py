"""Deploying what a network file describes, and what is deployed on a channel."""

from collections.abc import Callable
from dataclasses import dataclass

from fabric_protos.peer import collection_pb2

from admin.procedures.ledgers.explanation import describe_policy
from admin.procedures.networks.deploy import Deployed, Package, build_definition, deploy
from network.client import lifecycle
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Profile, Surroundings
from network.engines.engine import Engine
from network.topology.values import Channel, NodeKind


@dataclass(frozen=True, slots=True)
class DeployedView:
    """A chaincode on a channel.

    Attributes:
        name: its name.
        version: its version.
        sequence: its definition's sequence.
        endorsement: the endorsement policy in words.
        collections: its private data collections.
        approved_by: MSP ids of the organisations that approved.
    """

    name: str
    version: str
    sequence: int
    endorsement: str
    collections: tuple[str, ...]
    approved_by: tuple[str, ...]


async def deploy_channel(
    engine: Engine, channel: Channel, say: Callable[[str], None], name: str | None = None
) -> list[Deployed]:
    """The channel's chaincodes (or one) that the organisations' servers run are deployed.

    Others are left alone: nobody here has their package.

    Raises:
        ClientError: a step failed; those before it stay done.
    """
    done = []
    served = engine.chaincodes()
    for chaincode in channel.chaincodes:
        packages = {
            one.organization: Package(one.label, one.package)
            for one in served
            if one.name == chaincode.name and name in (None, chaincode.name)
        }
        if packages:
            definition = build_definition(engine.surroundings, chaincode)
            done.append(await deploy(engine.surroundings, channel, definition, packages, say))
    return done


async def plan_deployment(engine: Engine, channel: Channel, name: str | None = None) -> list[str]:
    """What `deploy_channel` would do, a sentence each."""
    surroundings = engine.surroundings
    profile = surroundings.profile(_asker(surroundings, channel))
    steps = []
    async with PeerClient(profile.endpoint, profile.signer) as peer:
        for chaincode in channel.chaincodes:
            if name not in (None, chaincode.name):
                continue
            definition = build_definition(surroundings, chaincode)
            found = await lifecycle.get_committed(peer, channel.name, chaincode.name)
            if not found:
                steps.append(f"deploy {chaincode.name} {chaincode.version} as sequence 1")
            elif not lifecycle.is_same(definition, found[0]):
                steps.append(
                    f"change {chaincode.name} from {found[0].version} to {chaincode.version} "
                    f"as sequence {found[0].sequence + 1}"
                )
    return steps


async def list_deployed(profile: Profile, channel_id: str) -> list[DeployedView]:
    """The channel's chaincodes, by name."""
    async with PeerClient(profile.endpoint, profile.signer) as peer:
        names = [one.name for one in await lifecycle.get_committed(peer, channel_id)]
        found = [await lifecycle.get_committed(peer, channel_id, name) for name in sorted(names)]
    return [_view(one[0]) for one in found if one]


def _view(committed: lifecycle.Committed) -> DeployedView:
    package = collection_pb2.CollectionConfigPackage.FromString(committed.collections)
    return DeployedView(
        name=committed.name,
        version=committed.version,
        sequence=committed.sequence,
        endorsement=describe_policy(committed.validation_parameter),
        collections=tuple(one.static_collection_config.name for one in package.config),
        approved_by=tuple(sorted(msp for msp, yes in committed.approvals.items() if yes)),
    )


def _asker(surroundings: Surroundings, channel: Channel) -> str:
    """The administrator of the first member that has a peer."""
    peers = surroundings.nodes(NodeKind.PEER)
    members = set(channel.members)
    return next(
        f"{one.organization.name}/{OPERATOR}" for one in peers if one.organization.name in members
    )
