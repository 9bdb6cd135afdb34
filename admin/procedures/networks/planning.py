"""What `network apply` would do: the difference between the network file and what runs."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fabric_protos.peer import collection_pb2

from admin.errors import FaultError
from admin.procedures.networks.configuration import find_reader, list_local_admins
from admin.procedures.networks.deploy import build_definition
from network.client import lifecycle
from network.client.configuration import propose
from network.client.errors import ClientError
from network.client.peer import PeerClient
from network.client.profile import Surroundings
from network.engines.engine import Engine, NodeStatus
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configdiff import find_doubts
from network.rules.channel.configedit import ImpossibleChange, edit_config
from network.rules.channel.configtx import NoDifference
from network.rules.channel.signing import Requirement
from network.topology.plan import ChannelPlan, Phase, plan_channel
from network.topology.values import Chaincode, Channel, Node, NodeKind


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do.

    Attributes:
        kind: `keys`, `node`, `channel`, `config`, `join` or `chaincode`.
        text: what, a sentence without its first capital.
        channel: the channel concerned; empty for nodes and keys.
        missing: MSP ids whose administrators must sign and are not on this machine.
    """

    kind: str
    text: str
    channel: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The difference between the network file and what runs.

    Attributes:
        steps: what to do, in order.
        refusals: what the network file asks for that is not possible or not safe.
        notes: what else to know.
    """

    steps: tuple[Step, ...]
    refusals: tuple[str, ...]
    notes: tuple[str, ...]


async def plan_network(engine: Engine) -> NetworkPlan:
    """What is different; nothing is changed or written.

    Raises:
        EngineError: the engine cannot be asked.
    """
    surroundings = engine.surroundings
    nodes = [_to_step(text) for text in engine.plan()]
    stops = [step for step in nodes if step.text.startswith("stop ")]
    steps = [step for step in nodes if step not in stops]
    late: list[Step] = []
    refusals: list[str] = []
    notes: list[str] = []
    statuses = await engine.status()
    for channel in surroundings.topology.channels:
        if not _is_up(statuses, surroundings, channel):
            notes.append(
                f"channel {channel.name}: none of its orderers runs; what differs in it shows when "
                "it is up"
            )
            continue
        try:
            _, config = await find_reader(surroundings, channel.name)
        except FaultError:
            steps.append(Step("channel", f"create channel {channel.name}", channel.name))
            continue
        plan = plan_channel(surroundings.topology, channel, surroundings.folder, config)
        refusals += plan.refusals
        notes += _find_doubts(plan, config)
        steps += _tell_updates(surroundings, plan, config, (Phase.CERTIFY, Phase.GROW))
        late += _tell_updates(surroundings, plan, config, (Phase.SHRINK,))
        steps += _plan_joins(surroundings, channel, statuses)
        told = await plan_chaincodes(engine, channel, config)
        steps += told.steps
        refusals += told.refusals
        notes += told.notes
    return NetworkPlan((*steps, *late, *stops), tuple(refusals), tuple(notes))


async def plan_chaincodes(engine: Engine, channel: Channel, config: ChannelConfig) -> NetworkPlan:
    """What deploying the channel's chaincodes would do, and what of it Fabric would refuse."""
    surroundings = engine.surroundings
    steps: list[Step] = []
    refusals: list[str] = []
    notes: list[str] = []
    newcomers = [name for name in channel.members if name not in config.application_orgs]
    asker = _find_asker(surroundings, channel, config)
    if asker is None:
        return NetworkPlan((), (), ("no present member has a peer here to ask about chaincodes",))
    node, identity = asker
    served = {one.name for one in engine.chaincodes()} if _has_keys(surroundings) else set()
    try:
        async with PeerClient(surroundings.endpoint(node), surroundings.signer(identity)) as peer:
            names = [one.name for one in await lifecycle.get_committed(peer, channel.name)]
            found = [await lifecycle.get_committed(peer, channel.name, name) for name in names]
    except ClientError as failure:
        return NetworkPlan((), (), (f"chaincodes of {channel.name} cannot be read: {failure}",))
    committed = {one[0].name: one[0] for one in found if one}
    for chaincode in channel.chaincodes:
        present = committed.get(chaincode.name)
        if present is not None:
            refusals += _refuse_collections(chaincode, present)
        elif not served or chaincode.name in served:
            text = f"deploy chaincode {chaincode.name} {chaincode.version}"
            steps.append(Step("chaincode", text, channel.name))
            continue
        if present is None:
            continue
        definition = build_definition(surroundings, chaincode)
        if not lifecycle.is_same(definition, present):
            text = (
                f"change chaincode {chaincode.name} from {present.version} to {chaincode.version}, "
                f"sequence {present.sequence + 1}"
            )
            steps.append(Step("chaincode", text, channel.name))
        steps += [
            Step("chaincode", f"install and approve {chaincode.name} for {name}", channel.name)
            for name in newcomers
        ]
    known = {chaincode.name for chaincode in channel.chaincodes}
    notes += [
        f"chaincode {name} stays on channel {channel.name}: Fabric takes none away"
        for name in sorted(committed)
        if name not in known
    ]
    return NetworkPlan(tuple(steps), tuple(refusals), tuple(notes))


def _refuse_collections(chaincode: Chaincode, present: lifecycle.Committed) -> list[str]:
    """A committed collection stays, and keeps its blockToLive
    (core/chaincode/lifecycle/scc.go fn validateCollConfigsAgainstCommittedDef)."""
    wanted = {one.name: one for one in chaincode.collections}
    package = collection_pb2.CollectionConfigPackage.FromString(present.collections)
    refusals = []
    for entry in package.config:
        old = entry.static_collection_config
        if old.name not in wanted:
            refusals.append(
                f"chaincode {chaincode.name}: collection {old.name} cannot be taken away; keep it "
                "in the network file"
            )
        elif wanted[old.name].block_to_live != old.block_to_live:
            refusals.append(
                f"chaincode {chaincode.name}: blockToLive of collection {old.name} is "
                f"{old.block_to_live} and cannot be changed"
            )
    return refusals


def _tell_updates(
    surroundings: Surroundings,
    plan: ChannelPlan,
    config: ChannelConfig,
    phases: tuple[Phase, ...],
) -> list[Step]:
    here = {one.msp_id for one in list_local_admins(surroundings, config)}
    steps = []
    for update in plan.updates:
        if update.phase not in phases:
            continue
        try:
            proposal = propose(config, edit_config(config.config, update.changes))
            missing = _find_missing(proposal.judge(config), here)
        except (ImpossibleChange, NoDifference, ValueError):
            missing = ()  # what it builds on is still to come, or its keys are
        steps.append(Step("config", f"{update.text}", plan.channel, missing))
    return steps


def _find_doubts(plan: ChannelPlan, config: ChannelConfig) -> list[str]:
    """What the channel's updates would close to everybody, once all are in force."""
    updated = config.config
    for update in plan.updates:
        with suppress(ImpossibleChange, ValueError):  # what it builds on is still to come
            updated = edit_config(updated, update.changes)
    try:
        doubts = find_doubts(config, ChannelConfig(plan.channel, updated))
    except InvalidConfig:
        return []
    return [f"channel {plan.channel}: {doubt}" for doubt in doubts]


def _find_missing(requirements: list[Requirement], here: set[str]) -> tuple[str, ...]:
    """Organisations that are needed beside those whose administrators are here."""
    missing: dict[str, None] = {}
    for one in requirements:
        able = [name for name in one.candidates if name in here]
        if len(able) < one.missing:
            missing |= dict.fromkeys(name for name in one.candidates if name not in here)
    return tuple(missing)


def _plan_joins(
    surroundings: Surroundings, channel: Channel, statuses: list[NodeStatus]
) -> list[Step]:
    heights = {status.name: status.heights for status in statuses}
    running = {status.name for status in statuses if status.state == "running"}
    steps = []
    for node in surroundings.nodes(NodeKind.PEER):
        if node.organization.name not in channel.members:
            continue
        is_new = not (surroundings.folder / "nodes" / node.fqdn).exists()
        if is_new or (node.fqdn in running and channel.name not in heights[node.fqdn]):
            steps.append(Step("join", f"join {node.fqdn} to it", channel.name))
    return steps


def _is_up(statuses: list[NodeStatus], surroundings: Surroundings, channel: Channel) -> bool:
    running = {status.name for status in statuses if status.state == "running"}
    return any(node.fqdn in running for node in surroundings.nodes(NodeKind.ORDERER))


def _find_asker(
    surroundings: Surroundings, channel: Channel, config: ChannelConfig
) -> tuple[Node, str] | None:
    """A peer of a present member, and who may ask it."""
    for name in channel.members:
        if name in config.application_orgs:
            peers = surroundings.nodes(NodeKind.PEER, surroundings.topology.organization(name))
            if peers:
                return peers[0], f"{name}/Admin"
    return None


def _has_keys(surroundings: Surroundings) -> bool:
    """Whether every organisation's chaincode server has its keys, which its package names."""
    return all(
        (surroundings.folders.chaincode_tls(org) / "client.key").exists()
        for org in surroundings.topology.organizations
        if org.chaincode is not None
    )


def _to_step(text: str) -> Step:
    return Step("keys" if text.startswith("make ") else "node", text)


def get_proposal_file(folder: Path, channel: str, sequence: int) -> Path:
    """Where a change that lacks signatures is kept."""
    return folder / "channels" / "updates" / f"{channel}-{sequence}.pb"
