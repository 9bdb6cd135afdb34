"""Tell the health chaincode's directory who the consortium is."""

import asyncio
import time
from dataclasses import replace

from admin.errors import get_chaincode_answer
from admin.procedures.networks.health import Health
from chaincode.directory.model import Organization, OrganizationList, OrganizationRole
from network.client import Gateway
from network.client.errors import EndorseError, EvaluateError
from network.client.profile import OPERATOR, Surroundings
from network.topology.values import Channel

CONFLICT = 409
PATIENCE = 20.0  # seconds for the peers to know one another's chaincodes
EARLY = frozenset({"FAILED_PRECONDITION", "UNAVAILABLE"})


async def bootstrap_directory(surroundings: Surroundings, channel: Channel) -> bool:
    """The directory knows the channel's members and their roles; whether it did not before.

    Who came since it was founded is added, who left is set inactive.

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
        known = await _list_known(health)
        if known:
            return await _update(health, known, organizations)
        return await _found(health, organizations)


async def _found(health: Health, organizations: list[Organization]) -> bool:
    """The consortium is founded; whether by us."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await health.submit("directory:Bootstrap", organizations, result=OrganizationList)
        except EndorseError as failure:
            answer = get_chaincode_answer(failure)
            if answer is not None and answer[0] == CONFLICT:
                return False  # another founder was quicker
            # Peers hear of one another's new chaincodes a moment after the definition is committed.
            if failure.status not in EARLY or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return True


async def _update(
    health: Health, known: tuple[Organization, ...], wanted: list[Organization]
) -> bool:
    """Members that came or left since are told; most of those who stay have to endorse it."""
    listed = {one.msp_id: one for one in known}
    members = {one.msp_id for one in wanted}
    changes = [
        replace(one, version=listed[one.msp_id].version if one.msp_id in listed else 0)
        for one in wanted
        if one.msp_id not in listed or not listed[one.msp_id].active
    ]
    changes += [
        replace(one, active=False) for one in known if one.active and one.msp_id not in members
    ]
    for change in changes:
        endorsers = tuple(
            one.msp_id for one in known if one.endorses and one.active and one.msp_id in members
        )
        await health.submit(
            "directory:SetOrganization", change, result=Organization, organizations=endorsers
        )
    return bool(changes)


async def _list_known(health: Health) -> tuple[Organization, ...]:
    try:
        known = await health.evaluate("directory:ListOrganizations", result=OrganizationList)
    except EvaluateError as failure:
        if get_chaincode_answer(failure) is None:
            raise
        return ()
    return known.organizations
