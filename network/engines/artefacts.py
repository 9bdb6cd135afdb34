"""Everything a network's nodes need on disk before they start, made once and then kept.

Keys and certificates, genesis blocks, and per organisation the package that tells its peers where
its chaincode server listens.
"""

import secrets
from datetime import datetime

from network.client.package import Connection, build_service_package
from network.engines.engine import ServedChaincode
from network.engines.nodefiles import LOG, Layout
from network.engines.processplan import NodeProcess
from network.rules.envelope import NONCE_BYTES
from network.rules.lifecycle.package import compute_package_id
from network.topology.channelspec import build_genesis
from network.topology.materials import generate_materials
from network.topology.safefiles import write_file
from network.topology.values import Chaincode, Organization, Topology

CHAINCODE_MODULE = "chaincode"


def get_missing(layout: Layout, topology: Topology) -> list[str]:
    """What `make` would make anew, in words."""
    missing = []
    for organization in topology.organizations:
        if not (layout.keys.organization_msp(organization) / "config.yaml").exists():
            missing.append(f"keys and certificates of {organization.name}")
    for channel in topology.channels:
        if not (layout.channels / f"{channel.name}.block").exists():
            missing.append(f"the genesis block of channel {channel.name}")
    return missing


def make(layout: Layout, topology: Topology, now: datetime) -> None:
    """Keys, certificates and genesis blocks are there; those that were there are kept.

    Raises:
        MissingKey: a certificate is missing and its CA's key is not here.
        OSError: the disk refuses.
    """
    generate_materials(topology, layout.folder, now)
    for channel in topology.channels:
        path = layout.channels / f"{channel.name}.block"
        if not path.exists():
            nonce = secrets.token_bytes(NONCE_BYTES)
            block = build_genesis(topology, channel, layout.folder, nonce, now)
            write_file(path, block.SerializeToString(deterministic=True))


def build_packages(layout: Layout, topology: Topology) -> list[ServedChaincode]:
    """What each organisation's chaincode server runs, and the package that points to it.

    A server runs one chaincode: the first of the channels its organisation is a member of.
    """
    served = []
    for organization in topology.organizations:
        chaincode = first_chaincode(topology, organization)
        if organization.chaincode is None or chaincode is None:
            continue
        label = f"{chaincode.name}_{chaincode.version}"
        package = build_service_package(label, _connection(layout, topology, organization))
        served.append(
            ServedChaincode(
                organization=organization.name,
                name=chaincode.name,
                label=label,
                package=package,
                package_id=compute_package_id(label, package),
            )
        )
    return served


def chaincode_process(layout: Layout, topology: Topology, served: ServedChaincode) -> NodeProcess:
    """The process of an organisation's chaincode server, configured as Fabric's samples do."""
    organization = topology.organization(served.organization)
    assert organization.chaincode is not None
    name = f"chaincode.{organization.domain}"
    folder = layout.node(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tls = layout.keys.chaincode_tls(organization)
    return NodeProcess(
        name=name,
        module=CHAINCODE_MODULE,
        arguments=(),
        folder=str(folder),
        log=str(folder / LOG),
        environment={
            "CHAINCODE_SERVER_ADDRESS": _address(topology, organization),
            "CHAINCODE_ID": served.package_id,
            "CORE_CHAINCODE_ID_NAME": served.package_id,
            "CHAINCODE_TLS_DISABLED": "false",
            "CHAINCODE_TLS_KEY": str(tls / "server.key"),
            "CHAINCODE_TLS_CERT": str(tls / "server.crt"),
            "CHAINCODE_CLIENT_CA_CERT": str(tls / "ca.crt"),
        },
    )


def first_chaincode(topology: Topology, organization: Organization) -> Chaincode | None:
    """What the organisation's chaincode server runs; None where no channel of it has any."""
    for channel in topology.channels:
        if organization.name in channel.members and channel.chaincodes:
            return channel.chaincodes[0]
    return None


def _address(topology: Topology, organization: Organization) -> str:
    assert organization.chaincode is not None
    return f"{organization.chaincode.host or topology.host}:{organization.chaincode.port}"


def _connection(layout: Layout, topology: Topology, organization: Organization) -> Connection:
    tls = layout.keys.chaincode_tls(organization)
    return Connection(
        address=_address(topology, organization),
        root_cert=(tls / "ca.crt").read_text(),
        client_cert=(tls / "client.crt").read_text(),
        client_key=(tls / "client.key").read_text(),
    )
