"""What cryptogen and configtxgen are told of a real network: crypto-config and configtx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conformance.real_fabric import RealFabric


def describe_crypto() -> dict[str, Any]:
    """An orderer and two organisations with a peer each, for cryptogen."""
    addresses = ["localhost", "127.0.0.1"]
    return {
        "OrdererOrgs": [
            {
                "Name": "Orderer",
                "Domain": "example.com",
                "EnableNodeOUs": True,
                "Specs": [{"Hostname": "orderer", "SANS": addresses}],
            }
        ],
        "PeerOrgs": [
            {
                "Name": f"Org{number}",
                "Domain": f"org{number}.example.com",
                "EnableNodeOUs": True,
                "Template": {"Count": 1, "SANS": addresses},
                "Users": {"Count": 1},
            }
            for number in (1, 2)
        ],
    }


def describe_channel(fabric: RealFabric) -> dict[str, Any]:
    """The profile "Channel" for configtxgen; its capabilities follow from the version."""
    orderer_folder = fabric.folder / "crypto/ordererOrganizations/example.com"
    orderer_tls = str(orderer_folder / "orderers/orderer.example.com/tls/server.crt")
    orderer_address = f"127.0.0.1:{fabric.orderer_port}"
    implicit = {
        "Readers": {"Type": "ImplicitMeta", "Rule": "ANY Readers"},
        "Writers": {"Type": "ImplicitMeta", "Rule": "ANY Writers"},
        "Admins": {"Type": "ImplicitMeta", "Rule": "MAJORITY Admins"},
    }
    majority = {"Type": "ImplicitMeta", "Rule": "MAJORITY Endorsement"}
    return {
        "Profiles": {
            "Channel": {
                "Policies": implicit,
                "Capabilities": {"V3_0" if fabric.version >= (3, 0) else "V2_0": True},
                "Orderer": {
                    "OrdererType": "etcdraft",
                    "BatchTimeout": "200ms",
                    "BatchSize": {
                        "MaxMessageCount": 500,
                        "AbsoluteMaxBytes": "99 MB",
                        "PreferredMaxBytes": "2 MB",
                    },
                    "EtcdRaft": {
                        "Consenters": [
                            {
                                "Host": "127.0.0.1",
                                "Port": fabric.orderer_port,
                                "ClientTLSCert": orderer_tls,
                                "ServerTLSCert": orderer_tls,
                            }
                        ]
                    },
                    "Organizations": [
                        {
                            "Name": "Orderer",
                            "ID": "OrdererMSP",
                            "MSPDir": str(orderer_folder / "msp"),
                            "OrdererEndpoints": [orderer_address],
                            "Policies": signature_policies("OrdererMSP"),
                        }
                    ],
                    "Policies": implicit
                    | {"BlockValidation": {"Type": "ImplicitMeta", "Rule": "ANY Writers"}},
                    "Capabilities": {"V2_0": True},
                },
                "Application": {
                    "Organizations": [
                        {
                            "Name": organization.name,
                            "ID": organization.msp_id,
                            "MSPDir": str(organization.folder / "msp"),
                            "Policies": signature_policies(organization.msp_id),
                            "AnchorPeers": [{"Host": "127.0.0.1", "Port": organization.peer_port}],
                        }
                        for organization in fabric.organizations
                    ],
                    "Policies": implicit
                    | {"LifecycleEndorsement": majority, "Endorsement": majority},
                    "Capabilities": {"V2_5": True},
                },
            }
        }
    }


def signature_policies(msp_id: str) -> dict[str, Any]:
    """An organisation's own policies, as configtx.yaml writes them."""
    rules = {
        "Readers": f"OR('{msp_id}.member')",
        "Writers": f"OR('{msp_id}.member')",
        "Admins": f"OR('{msp_id}.admin')",
        "Endorsement": f"OR('{msp_id}.peer')",
    }
    return {name: {"Type": "Signature", "Rule": rule} for name, rule in rules.items()}
