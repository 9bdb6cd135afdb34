"""Tell the health chaincode's directory who the consortium is."""

from admin.errors import get_chaincode_answer
from admin.procedures.health import Health
from chaincode.directory.model import Organization, OrganizationList, OrganizationRole
from network.client import Gateway
from network.client.errors import EndorseError, EvaluateError
from network.client.profile import OPERATOR, Surroundings
from network.topology.values import Channel

CONFLICT = 409


async def bootstrap_directory(surroundings: Surroundings, channel: Channel) -> bool:
    """The directory knows the channel's members and their roles; whether it did not before.

    Raises:
        EndorseError: the contract refused.
        CommitError: the ledger refused.
    """
    members = [surroundings.topology.organization(name) for name in channel.members]
    organizations = [
        Organization(
            msp_id=member.msp_id,
            name=member.name,
            role=OrganizationRole(member.role.value),
            domain=member.domain,
            endorses=bool(member.peers),
        )
        for member in members
    ]
    founder = next(member for member in members if member.peers)
    profile = surroundings.profile(f"{founder.name}/{OPERATOR}")
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        health = Health(gateway, channel.name)
        if await _is_founded(health):
            return False
        try:
            await health.submit("directory:Bootstrap", organizations, result=OrganizationList)
        except EndorseError as failure:
            answer = get_chaincode_answer(failure)
            if answer is None or answer[0] != CONFLICT:
                raise
            return False  # another founder was quicker
    return True


async def _is_founded(health: Health) -> bool:
    try:
        known = await health.evaluate("directory:ListOrganizations", result=OrganizationList)
    except EvaluateError as failure:
        if get_chaincode_answer(failure) is None:
            raise
        return False
    return bool(known.organizations)
