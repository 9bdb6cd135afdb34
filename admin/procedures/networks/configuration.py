"""A channel's configuration: read it, propose a change, collect signatures, submit it.

A change travels between organisations as one file, in the form that Fabric's own `peer channel
signconfigtx` and `peer channel update` read and write.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from fabric_protos.common import configtx_pb2

from admin.errors import ExitCode, Fault, FaultError, input_error, refused_error
from network.client.configuration import (
    Proposal,
    fetch_config,
    propose,
    submit,
    wait_for_sequence,
)
from network.client.errors import EventsError, GatewayError, ProfileError
from network.client.orderer import OrdererClient
from network.client.peer import PeerClient
from network.client.profile import OPERATOR, Surroundings
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configdiff import (
    ConfigChange,
    describe_changes,
    find_doubts,
    find_lockouts,
)
from network.rules.channel.configtx import NoDifference, RefusedUpdate, apply_update
from network.rules.channel.signing import Requirement, Signature
from network.rules.identity.identity import Identity, IdentityError, Signer, serialize_identity
from network.rules.identity.principals import role_principal
from network.rules.policy.manager import CHANNEL_WRITERS
from network.topology.mspfolder import InvalidMspFolder, load_signer
from network.topology.values import Node, NodeKind

ARRIVAL = 30.0  # seconds for a config block to reach the nodes
_ADMIN = 1  # msp.MSPRole.ADMIN


@dataclass(frozen=True, slots=True)
class LocalAdmin:
    """An administrator of an organisation of the channel whose key is on this machine.

    Attributes:
        name: `organisation/user`; the organisation as the channel names it.
        msp_id: its MSP id.
        signer: signs in its name.
    """

    name: str
    msp_id: str
    signer: Signer = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProposalView:
    """A proposed change as people see it.

    Attributes:
        channel: the channel.
        sequence: the configuration's sequence that it was compared with.
        changes: what it changes.
        signatures: who has signed.
        requirements: the policies it must satisfy, and whom each still lacks.
        missing: MSP ids of organisations some of which must still sign.
        ready: whether an orderer would accept it now.
        refusal: why not, other than for want of signatures; the orderer's text.
        doubts: what an orderer would accept and would close something to everybody.
    """

    channel: str
    sequence: int
    changes: tuple[ConfigChange, ...]
    signatures: tuple[Signature, ...]
    requirements: tuple[Requirement, ...]
    missing: tuple[str, ...]
    ready: bool
    refusal: str = ""
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submitted:
    """A change that is in force.

    Attributes:
        channel: the channel.
        sequence: its configuration's sequence now.
        changes: what changed.
        signed_by: the MSP ids that signed.
    """

    channel: str
    sequence: int
    changes: tuple[ConfigChange, ...]
    signed_by: tuple[str, ...]


@asynccontextmanager
async def open_orderer(
    surroundings: Surroundings, signer: Signer, channel_id: str
) -> AsyncIterator[tuple[OrdererClient, ChannelConfig]]:
    """The first of the network's orderers that answers for the channel, and its configuration.

    Raises:
        FaultError: the network has no orderer.
        GatewayError: none answers, or they refuse the caller.
    """
    orderers = surroundings.nodes(NodeKind.ORDERER)
    if not orderers:
        raise input_error("the network file names no orderer", "add the channel's orderers to it")
    trouble: GatewayError | None = None
    for node in orderers:
        async with OrdererClient(surroundings.endpoint(node), signer) as orderer:
            try:
                config = await fetch_config(orderer, channel_id)
            except GatewayError as failure:
                trouble = _worst(trouble, failure)
                continue
            yield orderer, config
            return
    assert trouble is not None
    if isinstance(trouble, EventsError) and trouble.status == "NOT_FOUND":
        raise input_error(
            f"no orderer serves a channel {channel_id!r}", "see: medfabric channel list"
        ) from trouble
    raise trouble


async def read_config(surroundings: Surroundings, signer: Signer, channel_id: str) -> ChannelConfig:
    """The channel's configuration as its orderers have it; raises as `open_orderer`."""
    async with open_orderer(surroundings, signer, channel_id) as (_, config):
        return config


async def find_reader(surroundings: Surroundings, channel_id: str) -> tuple[Signer, ChannelConfig]:
    """The first administrator on this machine whom the channel lets read it, and write to it
    where one may, and its configuration.

    Raises:
        FaultError: no orderer serves the channel, or nobody here may read it.
        GatewayError: no orderer answers.
    """
    trouble: GatewayError | None = None
    for organization in surroundings.topology.organizations:
        try:
            signer = surroundings.signer(f"{organization.name}/{OPERATOR}")
        except ProfileError:
            continue  # its keys are elsewhere, or still to be made
        try:
            config = await read_config(surroundings, signer, channel_id)
        except GatewayError as failure:
            if failure.unreachable:
                raise
            trouble = failure
            continue
        admins = list_local_admins(surroundings, config)
        writers = [one.signer for one in admins if _may_write(config, one.signer)]
        return (writers or [signer])[0], config
    if trouble is not None:
        raise trouble
    raise input_error(
        "no administrator's key is on this machine", "enrol one: medfabric identity enroll"
    )


def make_proposal(config: ChannelConfig, updated: configtx_pb2.Config) -> Proposal:
    """The unsigned change from the channel's configuration to another, checked as far as it can
    be without signatures.

    Raises:
        FaultError: they say the same, or the other one is not valid, would lock its makers out,
            or asks for capabilities that no Fabric has.
    """
    try:
        proposal = propose(config, updated)
        following = ChannelConfig(config.channel_id, updated)
    except NoDifference:
        raise input_error(
            f"nothing would change: channel {config.channel_id} is so already"
        ) from None
    except InvalidConfig as error:
        raise input_error(f"the changed configuration is not valid: {error}") from None
    unsupported = following.capabilities.unsupported()
    if unsupported:
        raise refused_error(
            f"{unsupported[0]}: peers and orderers would stop at this configuration",
            "leave the capability out until every node is of a version that has it",
        )
    locked = find_lockouts(config, following)
    if locked:
        raise refused_error(
            f"nobody could satisfy {locked[0]} afterwards"
            + (f", nor {len(locked) - 1} more policies" if len(locked) > 1 else "")
            + ": what it guards could never be changed again",
            "change that policy in the same step",
        )
    return proposal


def review(config: ChannelConfig, proposal: Proposal) -> ProposalView:
    """What a proposal changes and whose signatures it has and lacks; nothing is sent."""
    validate_channel(config, proposal)
    refusal = ""
    try:
        requirements = tuple(proposal.judge(config))
        signatures = tuple(proposal.signed_by(config))
        update = configtx_pb2.ConfigUpdate.FromString(proposal.update)
        after = apply_update(config, update)
    except RefusedUpdate as error:
        return ProposalView(
            config.channel_id, config.sequence, (), (), (), (), False, _explain(str(error))
        )
    missing = {name: None for one in requirements for name in one.candidates}
    changes = tuple(describe_changes(config.config, after))
    if all(one.satisfied for one in requirements):
        try:
            proposal.preview(config)
        except RefusedUpdate as error:
            refusal = _explain(str(error))
    else:
        impossible = [one for one in requirements if not one.satisfied and not one.candidates]
        refusal = str(impossible[0]) if impossible else ""
    ready = not refusal and all(one.satisfied for one in requirements)
    return ProposalView(
        config.channel_id,
        config.sequence,
        changes,
        signatures,
        requirements,
        tuple(missing),
        ready,
        refusal,
        _find_doubts(config, after),
    )


def _find_doubts(config: ChannelConfig, updated: configtx_pb2.Config) -> tuple[str, ...]:
    try:
        return tuple(find_doubts(config, ChannelConfig(config.channel_id, updated)))
    except InvalidConfig:
        return ()  # the refusal says so


def list_local_admins(surroundings: Surroundings, config: ChannelConfig) -> list[LocalAdmin]:
    """The administrators, by the channel's own word, whose valid certificate and key are here.

    They are found in the network's folder whatever the network file says: an organisation may
    just have left it.
    """
    names = {org.msp_id: org.name for org in config.orderer_orgs.values()}
    names |= {org.msp_id: org.name for org in config.application_orgs.values()}
    now = datetime.now(UTC)
    found = []
    for folder in sorted((surroundings.folder / "organizations").glob("*/*/users/*/msp")):
        pem = _read_certificate(folder)
        if pem is None or pem[1].not_valid_after_utc < now:
            continue
        for msp_id, name in names.items():
            if _is_admin(config, msp_id, pem[0]):
                try:
                    signer = load_signer(folder, msp_id)
                except InvalidMspFolder:
                    continue  # its key is kept elsewhere
                user = folder.parent.name.partition("@")[0]
                found.append(LocalAdmin(f"{name}/{user}", msp_id, signer))
    return found


def sign_as_needed(
    config: ChannelConfig, proposal: Proposal, admins: Iterable[LocalAdmin]
) -> Proposal:
    """The proposal with as many of these administrators' signatures as it needs, no more."""
    remaining = list(admins)
    while True:
        missing = {name for one in proposal.judge(config) for name in one.candidates}
        helper = next((one for one in remaining if one.msp_id in missing), None)
        if helper is None:
            return proposal
        remaining.remove(helper)
        proposal = proposal.sign(helper.signer)


def require_ready(view: ProposalView, file: Path | None = None) -> None:
    """The proposal would be accepted.

    Raises:
        FaultError: it would not; says whose signatures it lacks, or why else.
    """
    where = str(file) if file else ""
    if view.refusal:
        raise refused_error(view.refusal, "propose the change anew", where)
    if view.ready:
        return
    lacking = [str(one) for one in view.requirements if not one.satisfied]
    carry = f"carry {file} to them" if file else "write it to a file with --out, carry it to them"
    raise FaultError(
        Fault(
            ExitCode.REFUSED,
            "signatures-missing",
            f"not signed by enough: {'; '.join(lacking)}",
            where,
            f"{carry}: medfabric channel sign FILE; then submit it",
            tuple(f"{one.msp_id}/{one.name} has signed" for one in view.signatures if one.valid),
        )
    )


async def submit_proposal(
    surroundings: Surroundings,
    proposal: Proposal,
    sender: Signer,
    *,
    file: Path | None = None,
    timeout: float = ARRIVAL,
    countersign: bool = True,
) -> Submitted:
    """The change is in force at the orderer, and at every peer of the network that answers.

    With `countersign` the sender's signature is added, as `peer channel update` does.

    Raises:
        FaultError: it lacks signatures or does not fit the channel; nothing was sent.
        SubmitError: the orderer refused it.
        CommitStatusError: it was accepted but did not arrive in time.
    """
    async with open_orderer(surroundings, sender, proposal.channel_id) as (orderer, config):
        signed = proposal.sign(sender) if countersign else proposal
        view = review(config, signed)
        require_ready(view, file)
        await submit(orderer, signed, sender)
        wanted = config.sequence + 1
        following = await wait_for_sequence(orderer, proposal.channel_id, wanted, timeout=timeout)
    await _await_peers(surroundings, following, wanted, timeout)
    return Submitted(
        proposal.channel_id,
        following.sequence,
        view.changes,
        tuple(dict.fromkeys(one.msp_id for one in view.signatures if one.valid)),
    )


async def _await_peers(
    surroundings: Surroundings, config: ChannelConfig, sequence: int, timeout: float
) -> None:
    """Every peer of a member that is up and in the channel has the configuration."""
    members = {org.msp_id for org in config.application_orgs.values()}
    admins = {one.msp_id: one.signer for one in list_local_admins(surroundings, config)}
    peers = [
        (node, admins[node.organization.msp_id])
        for node in surroundings.nodes(NodeKind.PEER)
        if node.organization.msp_id in members and node.organization.msp_id in admins
    ]

    async def wait(node: Node, signer: Signer) -> None:
        async with PeerClient(surroundings.endpoint(node), signer) as peer:
            try:
                await fetch_config(peer, config.channel_id)
            except (GatewayError, InvalidConfig):
                return  # down, or not in the channel: it catches up when it comes
            await wait_for_sequence(peer, config.channel_id, sequence, timeout=timeout)

    await asyncio.gather(*(wait(node, signer) for node, signer in peers))


def validate_channel(config: ChannelConfig, proposal: Proposal) -> None:
    """The proposal is for this channel; raises FaultError."""
    if proposal.channel_id != config.channel_id:
        raise input_error(
            f"the proposal is for channel {proposal.channel_id}, not {config.channel_id}",
            f"name that channel: --channel {proposal.channel_id}",
        )


def _explain(text: str) -> str:
    """Fabric's text, with what it means where that is not plain."""
    if "currently at version" in text or "but key is at version" in text:
        return f"{text}. The channel has changed since this was proposed"
    return text


def _may_write(config: ChannelConfig, signer: Signer) -> bool:
    try:
        identity = config.msps.identity(signer.creator)
    except IdentityError:
        return False
    return config.policies.get(CHANNEL_WRITERS).check_identities([identity])


def _worst(first: GatewayError | None, second: GatewayError) -> GatewayError:
    """What says more: a refusal rather than silence."""
    return second if first is None or first.unreachable else first


def _read_certificate(folder: Path) -> tuple[bytes, x509.Certificate] | None:
    for path in sorted((folder / "signcerts").glob("*.pem")):
        try:
            pem = path.read_bytes()
            return pem, x509.load_pem_x509_certificate(pem)
        except (OSError, ValueError):
            continue
    return None


def _is_admin(config: ChannelConfig, msp_id: str, pem: bytes) -> bool:
    try:
        identity: Identity = config.msps.identity(serialize_identity(msp_id, pem))
        config.msps.satisfies(identity, role_principal(msp_id, _ADMIN))
    except IdentityError:
        return False
    return True
