"""A CA's revocation list where it counts: in the channels' configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from admin.errors import input_error, refused_error
from admin.procedures.networks.configuration import (
    find_reader,
    list_local_admins,
)
from admin.procedures.networks.membership import change_channel
from network.client.profile import Surroundings
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configedit import add_revocation_lists, edit_config
from network.rules.identity.revocation import MalformedRevocationList, open_revocation_list
from network.topology.safefiles import write_file
from network.topology.values import NodeKind, Organization

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Published:
    """Where a revocation list counts now.

    Attributes:
        organization: whose CA made it.
        revoked: how many certificates it names.
        channels: those that heed it since this run.
        already: those that did before.
    """

    organization: str
    revoked: int
    channels: tuple[str, ...]
    already: tuple[str, ...]


async def publish_revocations(
    surroundings: Surroundings, organization: str, crl: bytes, say: Say
) -> Published:
    """Every channel of the network that knows the organisation heeds the list, and so do its MSP
    folders here, from which its nodes start.

    Raises:
        FaultError: the list cannot be read, or a signature is missing.
        ClientError: an orderer refused it.
    """
    try:
        revoked = len(open_revocation_list(crl).serials)
    except MalformedRevocationList as error:
        raise input_error(f"the CA's revocation list cannot be used: {error}") from None
    org = surroundings.topology.organization(organization)
    for folder in _list_msp_folders(surroundings, org):
        write_file(folder / "crls" / f"ca.{org.domain}-crl.pem", crl)
    changed, already = [], []
    for channel in surroundings.topology.channels:
        if organization not in (*channel.members, *channel.orderers):
            continue
        signer, config = await find_reader(surroundings, channel.name)
        if org.msp_id not in config.msps.msps:
            continue
        change = add_revocation_lists(org.msp_id, [crl])
        if edit_config(config.config, [change]) == config.config:
            already.append(channel.name)
            continue
        say(f"channel {channel.name}: the revocation list of {organization}")
        await change_channel(
            surroundings,
            signer,
            channel.name,
            [change],
            file=Path(f"{channel.name}_{organization}_crl.pb"),
        )
        changed.append(channel.name)
    return Published(organization, revoked, tuple(changed), tuple(already))


async def validate_not_last_admin(surroundings: Surroundings, name: str) -> None:
    """Somebody else on this machine could still administer the organisation.

    Raises:
        FaultError: the identity is its last administrator here; once revoked, nobody could change
            what is the organisation's own in a channel, nor sign for it.
    """
    known = surroundings.wallet.find(name)
    for channel in surroundings.topology.channels:
        if known.organization not in (*channel.members, *channel.orderers):
            continue
        _, config = await find_reader(surroundings, channel.name)
        if _is_last(surroundings, config, known.msp_id, f"{known.organization}/{known.user}"):
            raise refused_error(
                f"{known.name} is the last administrator of {known.organization} on this machine",
                f"enrol another first: medfabric identity enroll {known.organization}/NAME "
                "--type admin",
            )


def _is_last(surroundings: Surroundings, config: ChannelConfig, msp_id: str, name: str) -> bool:
    admins = [one for one in list_local_admins(surroundings, config) if one.msp_id == msp_id]
    return bool(admins) and all(one.name.lower() == name.lower() for one in admins)


def _list_msp_folders(surroundings: Surroundings, org: Organization) -> list[Path]:
    folders = [surroundings.folders.organization_msp(org)]
    for kind in (NodeKind.PEER, NodeKind.ORDERER):
        folders += [surroundings.folders.node_msp(one) for one in surroundings.nodes(kind, org)]
    return [folder for folder in folders if folder.is_dir()]
