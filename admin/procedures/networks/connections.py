"""How others' tools and clients reach the network: shell variables, connection profiles.

The variables are those that Fabric's own programs and samples read, the profile is the common
connection profile of Fabric's older SDKs and of the tools around them.
"""

from collections.abc import Mapping
from typing import Any

from admin.errors import input_error
from network.client.profile import OPERATOR, Surroundings
from network.client.wallet import KnownIdentity
from network.engines.nodefiles import Layout
from network.topology.values import Node, NodeKind, Organization, Topology


def build_tool_environment(
    surroundings: Surroundings, identity: KnownIdentity
) -> Mapping[str, str]:
    """What `peer` and `osnadmin` need to act as the identity at its organisation's first peer.

    ORDERER_* are not read by `peer`: they are for its flags, named as in Fabric's samples.

    Raises:
        FaultError: the network has no peer.
    """
    folders, organization = surroundings.folders, _organization(surroundings, identity)
    peer = _first_peer(surroundings, organization)
    found = {
        "FABRIC_CFG_PATH": str(Layout(surroundings.folder).node(peer.fqdn)),
        "CORE_PEER_TLS_ENABLED": "true",
        "CORE_PEER_LOCALMSPID": organization.msp_id,
        "CORE_PEER_MSPCONFIGPATH": str(identity.msp_folder),
        "CORE_PEER_TLS_ROOTCERT_FILE": str(folders.tls_root(peer.organization)),
        "CORE_PEER_ADDRESS": peer.address,
    }
    for orderer in surroundings.nodes(NodeKind.ORDERER)[:1]:
        tls = folders.user_tls(orderer.organization, OPERATOR)
        found |= {
            "ORDERER_ADDRESS": orderer.address,
            "ORDERER_CA": str(folders.tls_root(orderer.organization)),
            "ORDERER_ADMIN_ADDRESS": f"{orderer.host}:{orderer.admin_port}",
            "ORDERER_ADMIN_TLS_SIGN_CERT": str(tls / "client.crt"),
            "ORDERER_ADMIN_TLS_PRIVATE_KEY": str(tls / "client.key"),
        }
    return found


def build_sample_environment(
    surroundings: Surroundings, identity: KnownIdentity
) -> Mapping[str, str]:
    """What the gateway applications of Fabric's samples read; raises as the other."""
    organization = _organization(surroundings, identity)
    peer = _first_peer(surroundings, organization)
    found = {
        "MSP_ID": organization.msp_id,
        "CRYPTO_PATH": str(surroundings.folders.organization(organization)),
        "KEY_DIRECTORY_PATH": str(identity.msp_folder / "keystore"),
        "CERT_DIRECTORY_PATH": str(identity.msp_folder / "signcerts"),
        "TLS_CERT_PATH": str(surroundings.folders.tls_root(peer.organization)),
        "PEER_ENDPOINT": peer.address,
        "PEER_HOST_ALIAS": peer.fqdn,
    }
    for channel in surroundings.topology.channels[:1]:
        found["CHANNEL_NAME"] = channel.name
        for chaincode in channel.chaincodes[:1]:
            found["CHAINCODE_NAME"] = chaincode.name
    return found


def build_connection_profile(surroundings: Surroundings, organization: Organization) -> Any:
    """The organisation's common connection profile, certificates inside, as JSON values.

    Raises:
        ProfileError: the network has no certificates yet.
    """
    topology = surroundings.topology
    peers = surroundings.nodes(NodeKind.PEER, organization)
    authorities = surroundings.nodes(NodeKind.CA, organization)
    orderers = surroundings.nodes(NodeKind.ORDERER)
    return {
        "name": f"{topology.name}-{organization.name}",
        "version": "1.0.0",
        "client": {"organization": organization.name},
        "organizations": {
            organization.name: {
                "mspid": organization.msp_id,
                "peers": [peer.fqdn for peer in peers],
                "certificateAuthorities": [authority.fqdn for authority in authorities],
            }
        },
        "peers": {peer.fqdn: _grpc_entry(surroundings, peer) for peer in peers},
        "orderers": {one.fqdn: _grpc_entry(surroundings, one) for one in orderers},
        "certificateAuthorities": {
            one.fqdn: {
                "url": f"https://{one.address}",
                "caName": one.organization.ca_name,
                "tlsCACerts": {"pem": [_tls_root(surroundings, one)]},
                "httpOptions": {"verify": True},
            }
            for one in authorities
        },
        "channels": _list_channels(topology, organization, peers, orderers),
    }


def _list_channels(
    topology: Topology, organization: Organization, peers: list[Node], orderers: list[Node]
) -> Any:
    return {
        channel.name: {
            "orderers": [one.fqdn for one in orderers if one.organization.name in channel.orderers],
            "peers": {peer.fqdn: {} for peer in peers},
        }
        for channel in topology.channels
        if organization.name in channel.members
    }


def _grpc_entry(surroundings: Surroundings, node: Node) -> Any:
    return {
        "url": f"grpcs://{node.address}",
        "tlsCACerts": {"pem": _tls_root(surroundings, node)},
        "grpcOptions": {"ssl-target-name-override": node.fqdn, "hostnameOverride": node.fqdn},
    }


def _tls_root(surroundings: Surroundings, node: Node) -> str:
    return (surroundings.endpoint(node).tls_roots or b"").decode()


def _organization(surroundings: Surroundings, identity: KnownIdentity) -> Organization:
    return surroundings.topology.organization(identity.organization)


def _first_peer(surroundings: Surroundings, organization: Organization) -> Node:
    peers = surroundings.nodes(NodeKind.PEER, organization) or surroundings.nodes(NodeKind.PEER)
    if not peers:
        raise input_error("the network has no peer to talk to", "add one to the network file")
    return peers[0]
