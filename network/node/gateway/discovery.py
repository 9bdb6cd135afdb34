"""Fabric's discovery service: clients ask who is on a channel and whose endorsements they need.

Answers come from the membership (`node.peering.membership`) and from the same layouts that the
gateway plans with. Source: discovery/service.go.

Fabric binds a request to the TLS certificate that the client has shown. A server of ours sees one
only where client certificates are required (`node.serving.grpc_server`); requests are bound there
and nowhere else, as with Deliver.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import grpc
from fabric_protos.discovery import protocol_pb2, protocol_pb2_grpc
from fabric_protos.peer import proposal_response_pb2

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.gateway.peers import GatewayPeers
from network.node.ledger.channel import PeerChannel
from network.node.peering.membership import Member, Membership
from network.node.serving.grpc_server import get_tls_cert_hash, get_tls_certificate
from network.rules.endorsement.layouts import NoLayout
from network.rules.envelope import SignedData
from network.rules.peers.discovery import (
    DiscoveredPeer,
    QueryRefused,
    RequestRefused,
    build_config_result,
    build_error,
    build_membership,
    build_peer,
    open_request,
    validate_chaincode_query,
)
from network.rules.policy.manager import APPLICATION_WRITERS

log = logging.getLogger("discovery")

ACCESS_DENIED = "access denied"
_QUOTED = re.compile(r'("(?:\\.|[^"\\])*")')


class Discovery:
    """Answers discovery queries of those who may ask."""

    def __init__(
        self,
        access: AccessControl,
        peers: GatewayPeers,
        membership: Membership,
        get_channel: Callable[[str], PeerChannel | None],
        *,
        local_policy: str = "Admins",
    ) -> None:
        """`local_policy`: which of the own organisation ask without a channel."""
        self._access = access
        self._peers = peers
        self._membership = membership
        self._get_channel = get_channel
        self._local_policy = local_policy

    def answer(
        self, signed: protocol_pb2.SignedRequest, tls_hashes: Collection[bytes] | None
    ) -> protocol_pb2.Response:
        """One result for each query, in their order; `tls_hashes` as in `open_request`.

        Raises:
            RequestRefused: the request as a whole cannot be answered.
        """
        request = open_request(signed, tls_hashes)
        data = SignedData(signed.payload, request.authentication.client_identity, signed.signature)
        return protocol_pb2.Response(
            results=[self._answer_query(query, data) for query in request.queries]
        )

    def _answer_query(
        self, query: protocol_pb2.Query, signed: SignedData
    ) -> protocol_pb2.QueryResult:
        try:
            self._validate_access(query.channel, signed)
            return self._dispatch(query)
        except AccessDenied as denied:
            # Why is for the log only: strangers do not learn which channels there are.
            log.warning(
                "got query for channel %r, but it isn't eligible: %s", query.channel, denied
            )
            return build_error(ACCESS_DENIED)
        except QueryRefused as refused:
            return build_error(str(refused))

    def _validate_access(self, channel_id: str, signed: SignedData) -> None:
        if channel_id:
            self._access.validate_policy(APPLICATION_WRITERS, channel_id, signed)
        else:
            self._access.validate_local(self._local_policy, signed)

    def _dispatch(self, query: protocol_pb2.Query) -> protocol_pb2.QueryResult:
        kind = query.WhichOneof("query")
        if not query.channel:
            if kind == "local_peers":
                return protocol_pb2.QueryResult(members=self._list_local())
            raise QueryRefused("unknown or missing request type")
        channel = self._get_channel(query.channel)
        if channel is None:
            raise AccessDenied("the channel does not exist")
        if kind == "config_query":
            return protocol_pb2.QueryResult(config_result=build_config_result(channel.config))
        if kind == "peer_query":
            members = self._list_members(channel, query.peer_query.filter)
            return protocol_pb2.QueryResult(members=members)
        if kind == "cc_query":
            validate_chaincode_query(query.cc_query)
            found = [self._describe(channel, interest) for interest in query.cc_query.interests]
            return protocol_pb2.QueryResult(
                cc_query_res=protocol_pb2.ChaincodeQueryResult(content=found)
            )
        raise QueryRefused("unknown or missing request type")

    def _list_local(self) -> protocol_pb2.PeerMembershipResult:
        """Every live peer that this one knows, of whichever channel."""
        known = {self._membership.peer_id: self._membership.get_self()}
        for channel_id in self._membership.channel_ids:
            for member in self._membership.members(channel_id):
                known.setdefault(member.endorser.peer_id, member)
        peers = [
            DiscoveredPeer(m.endorser.msp_id, m.endorser.address, m.serialized_identity)
            for m in known.values()
        ]
        return build_membership(peers, "", time.time_ns())

    def _list_members(
        self, channel: PeerChannel, interest: proposal_response_pb2.ChaincodeInterest
    ) -> protocol_pb2.PeerMembershipResult:
        try:
            members = self._peers.members(channel, interest)
        except NoLayout as error:
            raise QueryRefused(str(error)) from None
        peers = [_build_discovered(channel, member) for member in members]
        return build_membership(peers, channel.channel_id, time.time_ns())

    def _describe(
        self, channel: PeerChannel, interest: proposal_response_pb2.ChaincodeInterest
    ) -> protocol_pb2.EndorsementDescriptor:
        """Whose endorsements satisfy the interest."""
        try:
            found = self._peers.layouts(channel, interest)
        except NoLayout as error:
            log.error("Failed constructing descriptor for chaincode %s: %s", interest, error)
            raise QueryRefused(
                f"failed constructing descriptor for {_format_interest(interest)}"
            ) from None
        descriptor = protocol_pb2.EndorsementDescriptor(
            chaincode=interest.chaincodes[0].name,
            layouts=[protocol_pb2.Layout(quantities_by_group=one) for one in found.layouts],
        )
        members = {
            member.endorser.peer_id: member
            for member in self._membership.members(channel.channel_id)
        }
        for name, endorsers in found.groups.items():
            group = descriptor.endorsers_by_groups[name]
            group.peers.extend(self._build_peers(channel, (members[e.peer_id] for e in endorsers)))
        return descriptor

    def _build_peers(
        self, channel: PeerChannel, members: Iterable[Member]
    ) -> Iterable[protocol_pb2.Peer]:
        now = time.time_ns()
        for member in members:
            yield build_peer(_build_discovered(channel, member), channel.channel_id, now)


class DiscoveryService(protocol_pb2_grpc.DiscoveryServicer):  # type: ignore[misc]
    """`discovery.Discovery` over gRPC."""

    def __init__(self, discovery: Discovery, *, binds_tls: bool) -> None:
        """`binds_tls`: every client has shown a certificate, which its request must name."""
        self._discovery = discovery
        self._binds_tls = binds_tls

    async def Discover(  # noqa: D102  the service's method
        self, request: protocol_pb2.SignedRequest, context: Any
    ) -> protocol_pb2.Response:
        tls_hashes = _hash_certificate(context) if self._binds_tls else None
        try:
            return self._discovery.answer(request, tls_hashes)
        except RequestRefused as refused:
            log.warning("discovery request is malformed or invalid: %s", refused)
            await context.abort(grpc.StatusCode.UNKNOWN, str(refused))
            raise AssertionError("abort raises") from None


def _build_discovered(channel: PeerChannel, member: Member) -> DiscoveredPeer:
    # Members announce sequences; clients want the versions that stand in the definitions.
    versions = {
        name: definition.version
        for name, sequence in member.chaincodes.items()
        if (definition := channel.find_definition(name)) is not None
        and str(definition.sequence) == sequence
    }
    return DiscoveredPeer(
        member.endorser.msp_id,
        member.endorser.address,
        member.serialized_identity,
        member.height,
        versions,
    )


def _format_interest(interest: proposal_response_pb2.ChaincodeInterest) -> str:
    """On one line, as Go prints a message: `chaincodes:{name:"a"}`."""
    parts = _QUOTED.split(" ".join(str(interest).split()))
    parts[::2] = (
        part.replace(" {", ":{").replace("{ ", "{").replace(" }", "}").replace(": ", ":")
        for part in parts[::2]
    )
    return "".join(parts)


def _hash_certificate(context: Any) -> tuple[bytes, ...]:
    """What a request may name the shown certificate by; empty if none was shown.

    Fabric's peers and SDKs take the DER, its `discover` program the PEM (cmd/common/comm); each
    stands for this certificate and no other.
    """
    pem = get_tls_certificate(context)
    return (get_tls_cert_hash(context), hashlib.sha256(pem).digest()) if pem else ()
