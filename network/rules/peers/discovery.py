"""What the discovery service says: peers as gossip messages, configurations, endorsement layouts.

Clients read peers out of gossip envelopes (discovery/client/client.go fn validateAliveMessage,
validateStateInfoMessage; fabric-common's DiscoveryService). None of them verifies the envelopes'
signatures, and a peer could not sign for another one anyway: they are left empty, and what stands
in them is worth what the connection to the answering peer is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric_protos.common import configtx_pb2, configuration_pb2
from fabric_protos.discovery import protocol_pb2
from fabric_protos.gossip import message_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig

FABRIC_MSP = 0


class RequestRefused(ValueError):
    """The whole request is answered with a gRPC error; the text is Fabric's."""


class QueryRefused(ValueError):
    """One query is answered with an error; the text is Fabric's."""


@dataclass(frozen=True, slots=True)
class DiscoveredPeer:
    """A peer as it is told to clients; `chaincodes` is name → version."""

    msp_id: str
    endpoint: str
    identity: bytes = field(repr=False)
    height: int = 0
    chaincodes: Mapping[str, str] = field(default_factory=dict)


def open_request(
    signed: protocol_pb2.SignedRequest, tls_hashes: Collection[bytes] | None
) -> protocol_pb2.Request:
    """The request, complete and bound to the connection (service.go fn validateStructure).

    `tls_hashes` are those of the certificate the client has shown, of which the request names one
    (empty if it has shown none), None where clients are not asked for one: nothing is bound then.

    Raises:
        RequestRefused: it is not.
    """
    try:
        request = protocol_pb2.Request.FromString(signed.payload)
    except DecodeError as error:
        raise RequestRefused(f"failed parsing request: {error}") from None
    if not request.HasField("authentication"):
        raise RequestRefused("access denied, no authentication info in request")
    if not request.authentication.client_identity:
        raise RequestRefused("access denied, client identity wasn't supplied")
    if tls_hashes is None:
        return request
    if not tls_hashes:
        raise RequestRefused("client didn't send a TLS certificate")
    if request.authentication.client_tls_cert_hash not in tls_hashes:
        raise RequestRefused(
            "client claimed TLS hash doesn't match computed TLS hash from gRPC stream"
        )
    return request


def validate_chaincode_query(query: protocol_pb2.ChaincodeQuery) -> None:
    """The query asks for something (service.go fn validateCCQuery). Raises QueryRefused."""
    if not query.interests:
        raise QueryRefused("chaincode query must have at least one chaincode interest")
    for interest in query.interests:
        if not interest.chaincodes:
            raise QueryRefused("chaincode interest must contain at least one chaincode")
        if not all(call.name for call in interest.chaincodes):
            raise QueryRefused("chaincode name in interest cannot be empty")


def compute_pki_id(msp_id: str, identity: bytes) -> bytes:
    """What gossip calls a peer: SHA-256 over MSP id and certificate bytes."""
    id_bytes = identities_pb2.SerializedIdentity.FromString(identity).id_bytes
    return hashlib.sha256(msp_id.encode() + id_bytes).digest()


def build_peer(peer: DiscoveredPeer, channel_id: str, moment: int) -> protocol_pb2.Peer:
    """The peer with its alive message, and with its state on the channel unless that is "".

    `moment` is the time in nanoseconds since 1970.
    """
    pki_id = compute_pki_id(peer.msp_id, peer.identity)
    time = message_pb2.PeerTime(inc_num=moment, seq_num=1)
    alive = message_pb2.GossipMessage(
        tag=message_pb2.GossipMessage.EMPTY,
        alive_msg=message_pb2.AliveMessage(
            membership=message_pb2.Member(endpoint=peer.endpoint, pki_id=pki_id), timestamp=time
        ),
    )
    built = protocol_pb2.Peer(membership_info=_wrap(alive), identity=peer.identity)
    if channel_id:
        state = message_pb2.GossipMessage(
            tag=message_pb2.GossipMessage.CHAN_OR_ORG,
            state_info=message_pb2.StateInfo(
                timestamp=time,
                pki_id=pki_id,
                channel_MAC=hashlib.sha256(pki_id + channel_id.encode()).digest(),
                properties=_build_properties(peer),
            ),
        )
        built.state_info.CopyFrom(_wrap(state))
    return built


def build_membership(
    peers: Iterable[DiscoveredPeer], channel_id: str, moment: int
) -> protocol_pb2.PeerMembershipResult:
    """The peers by organisation."""
    result = protocol_pb2.PeerMembershipResult()
    for peer in peers:
        built = build_peer(peer, channel_id, moment)
        result.peers_by_org[peer.msp_id].peers.append(built)
    return result


def build_config_result(config: ChannelConfig) -> protocol_pb2.ConfigResult:
    """The channel's MSPs and orderers (discovery/support/config/support.go).

    Raises:
        QueryRefused: the configuration lacks orderers or members.
    """
    root = config.config.channel_group
    if not {"Orderer", "Application"} <= set(root.groups):
        raise QueryRefused(f"failed fetching config for channel {config.channel_id}")
    result = protocol_pb2.ConfigResult()
    for group in (root.groups["Orderer"], root.groups["Application"]):
        for org in group.groups.values():
            msp = _open_msp(org)
            if msp is not None and msp.name not in result.msps:
                result.msps[msp.name].CopyFrom(msp)
    own = {org.msp_id: org.endpoints for org in config.orderer_orgs.values()}
    if not any(own.values()):
        everywhere = _read_addresses(root)
        own = dict.fromkeys(own, everywhere)
    for msp_id, addresses in own.items():
        endpoints = result.orderers[msp_id]
        for address in addresses:
            host, _, port = address.rpartition(":")
            if host and port.isdigit():
                endpoints.endpoint.add(host=host.strip("[]"), port=int(port))
    return result


def build_error(text: str) -> protocol_pb2.QueryResult:
    """The answer to a query that is refused."""
    return protocol_pb2.QueryResult(error=protocol_pb2.Error(content=text))


def _build_properties(peer: DiscoveredPeer) -> message_pb2.Properties:
    return message_pb2.Properties(
        ledger_height=peer.height,
        chaincodes=[
            message_pb2.Chaincode(name=name, version=version)
            for name, version in sorted(peer.chaincodes.items())
        ],
    )


def _wrap(message: message_pb2.GossipMessage) -> message_pb2.Envelope:
    return message_pb2.Envelope(payload=message.SerializeToString())


def _open_msp(org: configtx_pb2.ConfigGroup) -> Any | None:
    """The FabricMSPConfig of an organisation; None for another kind of MSP."""
    config = msp_config_pb2.MSPConfig.FromString(org.values["MSP"].value)
    if config.type != FABRIC_MSP:
        return None
    return msp_config_pb2.FabricMSPConfig.FromString(config.config)


def _read_addresses(root: configtx_pb2.ConfigGroup) -> tuple[str, ...]:
    if "OrdererAddresses" not in root.values:
        return ()
    raw = root.values["OrdererAddresses"].value
    return tuple(configuration_pb2.OrdererAddresses.FromString(raw).addresses)
