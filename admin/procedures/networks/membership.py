"""The organisations of a channel: who they are, taking one in, letting one go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fabric_protos.msp import msp_config_pb2
from fabric_protos.peer import collection_pb2

from admin.errors import input_error, refused_error
from admin.procedures.networks.configuration import (
    Submitted,
    list_local_admins,
    make_proposal,
    open_orderer,
    require_ready,
    review,
    sign_as_needed,
    submit_proposal,
)
from admin.procedures.networks.settings import edit
from network.client import lifecycle
from network.client.errors import GatewayError
from network.client.peer import PeerClient
from network.client.profile import Profile, Surroundings
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configdiff import describe_config
from network.rules.channel.configedit import (
    APPLICATION,
    ORDERER,
    Change,
    add_application_org,
    remove_org,
)
from network.rules.channel.spec import OrgSpec
from network.rules.identity.identity import IdentityError, Signer, load_certificate
from network.rules.identity.revocation import MalformedRevocationList, open_revocation_list
from network.topology.channelspec import build_org_spec
from network.topology.materials import generate_materials
from network.topology.mspfolder import load_msp_config
from network.topology.safefiles import write_file
from network.topology.values import Topology


@dataclass(frozen=True, slots=True)
class MembershipView:
    """An organisation of a channel.

    Attributes:
        name: its name in the channel.
        msp_id: its MSP id.
        parts: `member`, `orderers`, or both.
        anchor_peers: a member's anchor peers.
        endpoints: an orderer organisation's orderers.
        ca_expires: when its first CA certificate ends.
        revoked: how many certificates its revocation lists name.
    """

    name: str
    msp_id: str
    parts: tuple[str, ...]
    anchor_peers: tuple[str, ...]
    endpoints: tuple[str, ...]
    ca_expires: datetime | None
    revoked: int


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """Everything the channel says of an organisation; `settings` by path, in words."""

    summary: MembershipView
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Joining:
    """Who shall become a member.

    Attributes:
        spec: the organisation as the channel shall have it.
        in_topology: whether the network file describes it, so that its nodes are ours to start.
    """

    spec: OrgSpec
    in_topology: bool = field(default=False)


def list_memberships(config: ChannelConfig) -> list[MembershipView]:
    """The channel's organisations by name, members first."""
    return [_view(config, name) for name in name_msps(config)]


def show_membership(config: ChannelConfig, wanted: str) -> OrganizationView:
    """What the channel says of one organisation, by its name or MSP id; raises FaultError."""
    name = find_organization(config, wanted)
    settings = {
        path: text
        for path, text in describe_config(config.config).items()
        if path.split("/")[:2] in ([APPLICATION, name], [ORDERER, name])
    }
    return OrganizationView(_view(config, name), settings)


def find_organization(config: ChannelConfig, wanted: str) -> str:
    """The organisation's name in the channel; raises FaultError when there is none."""
    known = name_msps(config)
    for name, msp_id in known.items():
        if wanted.lower() in (name.lower(), msp_id.lower()):
            return name
    raise input_error(
        f"{wanted!r} is no organisation of channel {config.channel_id}",
        f"there are: {', '.join(known)}",
    )


def name_msps(config: ChannelConfig) -> dict[str, str]:
    """The MSP id of every organisation of the channel, by its name there."""
    known = {org.name: org.msp_id for org in config.application_orgs.values()}
    return known | {org.name: org.msp_id for org in config.orderer_orgs.values()}


def describe_joining(
    surroundings: Surroundings,
    name: str,
    *,
    msp: Path | None,
    msp_id: str,
    anchors: Sequence[tuple[str, int]],
    policies: Mapping[str, str],
) -> Joining:
    """Who shall become a member: from an MSP folder, or from the network file.

    For an organisation of the network file whose keys are not there yet they are made.

    Raises:
        FaultError: the network file does not describe it and no folder is given.
        InvalidMspFolder: the folder is no MSP.
    """
    if msp is not None:
        known = msp_id or f"{name}MSP"
        spec = OrgSpec(
            name,
            known,
            load_msp_config(msp, known),
            anchor_peers=tuple(anchors),
            policies=dict(policies),
        )
        return Joining(spec)
    topology = surroundings.topology
    org = next((one for one in topology.organizations if one.name == name), None)
    if org is None:
        raise input_error(
            f"the network file has no organisation {name!r}",
            "describe it there, or give its MSP folder: --msp FOLDER",
        )
    if not org.peers:
        raise input_error(f"{name} has no peers, so it cannot be a member", "add a peer to it")
    generate_materials(topology, surroundings.folder, datetime.now(UTC))
    found = build_org_spec(topology, org, surroundings.folder)
    spec = OrgSpec(
        name,
        org.msp_id,
        found.msp_config,
        anchor_peers=tuple(anchors) or found.anchor_peers,
        policies=dict(policies),
    )
    return Joining(spec, in_topology=True)


async def change_channel(
    surroundings: Surroundings,
    sender: Signer,
    channel_id: str,
    changes: Sequence[Change],
    *,
    file: Path | None = None,
) -> Submitted:
    """The changes are in force, signed by as many administrators as are needed and here.

    Args:
        surroundings: the network.
        sender: who sends the update.
        channel_id: the channel.
        changes: what to change, in one update.
        file: takes the proposal where signatures are missing; those of who is here are on it.

    Raises:
        FaultError: not possible, or signatures are missing; nothing was sent.
    """
    async with open_orderer(surroundings, sender, channel_id) as (_, config):
        proposal = make_proposal(config, edit(config, changes))
        proposal = sign_as_needed(config, proposal, list_local_admins(surroundings, config))
        view = review(config, proposal)
    if not view.ready and file is not None and not view.refusal:
        write_file(file, proposal.to_bytes())
    require_ready(view, file)
    return await submit_proposal(surroundings, proposal, sender, countersign=False)


def plan_addition(config: ChannelConfig, joining: Joining) -> list[Change]:
    """The change that takes an organisation in.

    Raises:
        FaultError: its MSP id is another organisation's.
    """
    for name, msp_id in name_msps(config).items():
        if msp_id == joining.spec.msp_id and name != joining.spec.name:
            raise refused_error(
                f"the MSP id {msp_id} is {name}'s already",
                "every organisation has an MSP id of its own",
            )
    return [add_application_org(joining.spec)]


def plan_removal(config: ChannelConfig, name: str) -> list[Change]:
    """The change that lets an organisation go, as a member and as one that may run orderers.

    Raises:
        FaultError: it still runs orderers of the channel.
    """
    changes = []
    if name in config.application_orgs:
        changes.append(remove_org(APPLICATION, name))
    if name in config.orderer_orgs:
        if any(_belongs(config, name, one.server_tls_certificate) for one in config.consenters):
            raise refused_error(
                f"{name} still orders the channel",
                "remove its orderers first: take them out of the network file, then "
                "medfabric network apply",
            )
        changes.append(remove_org(ORDERER, name))
    return changes


async def list_dependents(profile: Profile, channel_id: str, msp_id: str) -> list[str]:
    """What of the channel's chaincodes names an MSP id, a sentence each; a removed organisation
    can satisfy none of it."""
    try:
        async with PeerClient(profile.endpoint, profile.signer) as peer:
            names = [one.name for one in await lifecycle.get_committed(peer, channel_id)]
            found = [await lifecycle.get_committed(peer, channel_id, name) for name in names]
    except GatewayError:
        return []
    told = []
    for committed in (one[0] for one in found if one):
        needle = msp_id.encode()
        if needle in committed.validation_parameter:
            told.append(f"the endorsement policy of chaincode {committed.name} names {msp_id}")
        package = collection_pb2.CollectionConfigPackage.FromString(committed.collections)
        for entry in package.config:
            static = entry.static_collection_config
            if any(needle in one.principal for one in _principals(static)):
                told.append(f"collection {static.name} of {committed.name} has {msp_id} as member")
    return told


def with_member(topology: Topology, channel_id: str, name: str) -> Topology:
    """The topology with the organisation among the channel's members."""
    channels = tuple(
        channel.model_copy(update={"members": (*channel.members, name)})
        if channel.name == channel_id and name not in channel.members
        else channel
        for channel in topology.channels
    )
    return topology.model_copy(update={"channels": channels})


def _principals(collection: Any) -> list[Any]:
    return list(collection.member_orgs_policy.signature_policy.identities)


def _belongs(config: ChannelConfig, name: str, certificate: bytes) -> bool:
    """Whether a TLS certificate is by one of the organisation's TLS roots."""
    try:
        issuer = load_certificate(certificate).issuer
        roots = config.tls_roots(config.orderer_orgs[name].msp_id)
        return any(load_certificate(root).subject == issuer for root in roots)
    except IdentityError:
        return False


def _view(config: ChannelConfig, name: str) -> MembershipView:
    member, orderers = config.application_orgs.get(name), config.orderer_orgs.get(name)
    msp_id = member.msp_id if member else orderers.msp_id if orderers else ""
    msp = config.msps.msp(msp_id).config
    parts = [part for part, found in (("member", member), ("orderers", orderers)) if found]
    return MembershipView(
        name,
        msp_id,
        tuple(parts),
        tuple(f"{host}:{port}" for host, port in member.anchor_peers) if member else (),
        orderers.endpoints if orderers else (),
        _find_expiry(msp),
        sum(_count_revoked(crl) for crl in msp.revocation_list),
    )


def _find_expiry(msp: msp_config_pb2.FabricMSPConfig) -> datetime | None:
    try:
        return min(load_certificate(pem).not_valid_after_utc for pem in msp.root_certs)
    except (IdentityError, ValueError):
        return None


def _count_revoked(crl: bytes) -> int:
    try:
        return len(open_revocation_list(crl).serials)
    except MalformedRevocationList:
        return 0
