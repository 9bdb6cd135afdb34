"""The endorsers that a gateway can ask: this peer and those that announced themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import grpc
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import peer_pb2_grpc, proposal_pb2, proposal_response_pb2

from network.node.ledger.channel import PeerChannel
from network.node.peering.membership import Member, Membership
from network.node.serving.connections import Connections
from network.rules.endorsement.interest import get_member_policies, get_policies
from network.rules.endorsement.layouts import Layouts, NoLayout, build_layouts
from network.rules.endorsement.plan import Endorser
from network.rules.endorsement.proposals import SYSTEM_CHAINCODES, ProposalRefused
from network.rules.endorsement.reply import (
    Verdict,
    judge_rejected,
    judge_reply,
    judge_unreachable,
)
from network.rules.identity.identity import IdentityError
from network.rules.policy.evaluation import MalformedPolicy, compile_signature_policy
from network.rules.proposal import OpenedProposal

log = logging.getLogger("gateway")


class LocalEndorser(Protocol):
    """This peer's endorser."""

    async def process(
        self,
        signed: proposal_pb2.SignedProposal,
        opened: OpenedProposal | None = None,
        *,
        endorses: bool = True,
    ) -> proposal_response_pb2.ProposalResponse:
        """The reply; raises ProposalRefused."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What an endorser is asked: a proposal, which this peer has opened already.

    Unless it `endorses`, the answer is only to be read; other peers sign theirs all the same.
    """

    signed: proposal_pb2.SignedProposal
    opened: OpenedProposal
    endorses: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of asking one endorser."""

    verdict: Verdict
    response: proposal_response_pb2.ProposalResponse


@dataclass(frozen=True, slots=True)
class _Found:
    """The layouts of an interest, and all that they follow from besides."""

    basis: object
    layouts: Layouts


_KEPT = 256
"""Interests whose layouts are remembered."""
_LONGEST = 4096
"""Bytes of an interest that is worth remembering: key policies make them long, and rare."""
_NO_RESPONSE = proposal_response_pb2.ProposalResponse()


class GatewayPeers:
    """Finds endorsers and asks them."""

    def __init__(
        self,
        msp_id: str,
        local: LocalEndorser,
        membership: Membership,
        connections: Connections,
    ) -> None:
        self.msp_id = msp_id
        self._local = local
        self._membership = membership
        self._connections = connections
        self._asked: dict[str, set[asyncio.Timeout]] = {}
        self._found: dict[tuple[str, bytes], _Found] = {}
        membership.when_silent(self._give_up)

    def by_org(self, channel: PeerChannel, chaincode: str) -> dict[str, list[Endorser]]:
        """MSP id → endorsers that have the chaincode: highest ledger first, this peer on ties."""
        found: dict[str, list[Endorser]] = {}
        for member in self._ranked(channel):
            if chaincode in SYSTEM_CHAINCODES or chaincode in member.chaincodes:
                found.setdefault(member.endorser.msp_id, []).append(member.endorser)
        return found

    def evaluators(
        self, channel: PeerChannel, chaincode: str, msp_ids: Iterable[str] = ()
    ) -> list[Endorser]:
        """Who can evaluate, the own organisation first; only the given organisations, if any."""
        members = [
            member
            for member in self._ranked(channel)
            if chaincode in SYSTEM_CHAINCODES or chaincode in member.chaincodes
        ]
        wanted = set(msp_ids)
        own = [m.endorser for m in members if m.endorser.msp_id == self.msp_id]
        others = [m.endorser for m in members if m.endorser.msp_id != self.msp_id]
        return [e for e in (*own, *others) if not wanted or e.msp_id in wanted]

    def layouts(
        self, channel: PeerChannel, interest: proposal_response_pb2.ChaincodeInterest
    ) -> Layouts:
        """Which sets of endorsers satisfy the interest.

        Raises:
            NoLayout: none of the known ones does.
        """
        ranked = self._ranked(channel)
        key = (channel.channel_id, bytes(interest.SerializeToString()))
        basis = (
            channel.config,
            [channel.find_definition(call.name) for call in interest.chaincodes],
            [(member.endorser, member.chaincodes) for member in ranked],
        )
        found = self._found.get(key)
        if found is None or found.basis != basis:
            found = _Found(basis, self._build_layouts(channel, interest, ranked))
            self._keep(key, found)
        return found.layouts

    def _keep(self, key: tuple[str, bytes], found: _Found) -> None:
        if len(key[1]) <= _LONGEST:
            if len(self._found) >= _KEPT:
                self._found.clear()
            self._found[key] = found

    def _build_layouts(
        self,
        channel: PeerChannel,
        interest: proposal_response_pb2.ChaincodeInterest,
        ranked: list[Member],
    ) -> Layouts:
        members = {member.endorser.peer_id: member for member in ranked}
        get_definition = channel.find_definition
        policies = get_policies(interest, get_definition, channel.config)
        able = _build_reader_check(channel, get_member_policies(interest, get_definition))
        needed = _list_sequences(channel, interest)
        return build_layouts(
            policies,
            [member.endorser for member in members.values() if able(member)],
            _build_principal_check(channel, members),
            lambda endorser: needed.items() <= members[endorser.peer_id].chaincodes.items(),
        )

    def members(
        self, channel: PeerChannel, interest: proposal_response_pb2.ChaincodeInterest
    ) -> list[Member]:
        """The peers that have the interest's chaincodes and belong to the collections it reads.

        Raises:
            NoLayout: a chaincode or a collection is unknown.
        """
        get_definition = channel.find_definition
        for call in interest.chaincodes:
            if call.name not in SYSTEM_CHAINCODES and get_definition(call.name) is None:
                raise NoLayout(
                    f"No metadata was found for chaincode {call.name} in channel "
                    f"{channel.channel_id}"
                )
        able = _build_reader_check(channel, get_member_policies(interest, get_definition))
        needed = _list_sequences(channel, interest)
        return [
            member
            for member in self._ranked(channel)
            if able(member) and needed.items() <= member.chaincodes.items()
        ]

    async def ask(
        self,
        channel: PeerChannel,
        endorser: Endorser,
        asked: Asked,
        timeout: float,
    ) -> Reply:
        """The endorser's reply to the proposal within `timeout` seconds.

        A peer that hangs is given up as soon as it counts as silent: another one should answer
        before the client's patience ends.
        """
        waiting = self._asked.setdefault(endorser.peer_id, set())
        try:
            async with asyncio.timeout(timeout) as limit:
                waiting.add(limit)
                try:
                    response = await self._ask(channel, endorser, asked)
                finally:
                    waiting.discard(limit)
        except TimeoutError:
            return Reply(judge_unreachable("context deadline exceeded"), _NO_RESPONSE)
        except ProposalRefused as refusal:
            judge = judge_unreachable if refusal.filtered else judge_rejected
            return Reply(judge(str(refusal)), _NO_RESPONSE)
        except grpc.aio.AioRpcError as error:
            verdict = judge_unreachable(describe_rpc_error(error))
            self._forget(channel, endorser, error)
            return Reply(verdict, _NO_RESPONSE)
        return Reply(judge_reply(response), response)

    def _give_up(self, peer_id: str) -> None:
        for limit in self._asked.pop(peer_id, ()):
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def _ask(
        self, channel: PeerChannel, endorser: Endorser, asked: Asked
    ) -> proposal_response_pb2.ProposalResponse:
        if endorser.peer_id == self._membership.peer_id:
            return await self._local.process(asked.signed, asked.opened, endorses=asked.endorses)
        roots = channel.config.tls_roots(endorser.msp_id)
        connection = self._connections.get(endorser.address, roots)
        return await peer_pb2_grpc.EndorserStub(connection).ProcessProposal(asked.signed)

    def _forget(
        self, channel: PeerChannel, endorser: Endorser, error: grpc.aio.AioRpcError
    ) -> None:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            log.warning("peer %s (%s) is unreachable", endorser.address, endorser.msp_id)
            self._membership.suspect(channel.channel_id, endorser.peer_id)

    def _ranked(self, channel: PeerChannel) -> list[Member]:
        members = self._membership.members(channel.channel_id)
        own = self._membership.peer_id
        return sorted(members, key=lambda m: (-m.height, m.endorser.peer_id != own))


Check = Callable[[Member], bool]


def _list_sequences(
    channel: PeerChannel, interest: proposal_response_pb2.ChaincodeInterest
) -> dict[str, str]:
    """Chaincode → sequence, as members announce it, of those that the channel has defined."""
    return {
        call.name: str(definition.sequence)
        for call in interest.chaincodes
        if (definition := channel.find_definition(call.name)) is not None
    }


def _build_reader_check(channel: PeerChannel, policies: Iterable[object]) -> Check:
    """Whether a peer belongs to every collection that the transaction reads."""
    msps = channel.config.msps
    try:
        compiled = [compile_signature_policy(policy, msps) for policy in policies]
    except MalformedPolicy as error:
        raise NoLayout(str(error)) from None

    def check(member: Member) -> bool:
        return all(policy.check_identities([member.identity]) for policy in compiled)

    return check


def _build_principal_check(
    channel: PeerChannel, members: dict[str, Member]
) -> Callable[[Endorser, msp_principal_pb2.MSPPrincipal], bool]:
    msps = channel.config.msps

    def check(endorser: Endorser, principal: msp_principal_pb2.MSPPrincipal) -> bool:
        try:
            msps.satisfies(members[endorser.peer_id].identity, principal)
        except IdentityError:
            return False
        return True

    return check


def describe_rpc_error(error: grpc.aio.AioRpcError) -> str:
    """A gRPC error as Go prints it."""
    name = "".join(part.capitalize() for part in error.code().name.split("_"))
    return f"rpc error: code = {name} desc = {error.details()}"
