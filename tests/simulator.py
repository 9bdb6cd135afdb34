"""A whole network in one process: an orderer, a peer for each organisation, a chaincode, clients.

Everything is real: TLS on ports of this machine, keys from `network.topology`, Fabric's protocols
between all parts. Only the chaincode is scripted (`tests.network.node.scripted_chaincode`), unless
a test brings another server. `running_network` is the whole of it:

    async with running_network(tmp_path) as network:
        await network.deploy()
        client = network.client("Alpha")
        await client.submit("put", "key", "value")
        assert (await client.evaluate("get", "key")) == b"value"
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    collection_pb2,
    peer_pb2_grpc,
    policy_pb2,
    proposal_pb2,
    transaction_pb2,
)
from fabric_protos.peer.lifecycle import lifecycle_pb2
from fabric_protos.peer.proposal_response_pb2 import ProposalResponse

from network.client.package import Connection, build_service_package
from network.node.ordering.orderer import Orderer
from network.node.peer.peer import Peer
from network.node.peering.membership import Pace
from network.node.serving.logs import LogSpec
from network.node.serving.settings import Settings
from network.rules.identity.identity import Signer
from network.rules.lifecycle.package import compute_package_id
from network.rules.policy.dsl import parse_policy
from network.rules.proposal import build_proposal
from network.topology.channelspec import build_genesis
from network.topology.errors import TopologyError
from network.topology.folders import Folders
from network.topology.materials import generate_materials
from network.topology.model import parse_topology
from network.topology.mspfolder import load_signer
from network.topology.values import Node, NodeKind, Topology
from tests.network.node.scripted_chaincode import ScriptedChaincode
from tests.ports import free_ports

CHANNEL = "care"
CHAINCODE = "demo"
FAST = Pace(interval=0.2, lonely_interval=0.05, expiry=2.0)
_DOCUMENT = """
version: 1
name: simulated
engine: embedded
fabricVersion: "{fabric_version}"
host: 127.0.0.1
organizations:
  - {{name: Office, mspId: OfficeMSP, domain: office.example, role: orderer,
     orderers: [{{name: orderer0, host: 127.0.0.1, port: {orderer}}}]}}
{members}
channels:
  - name: care
    orderers: [Office]
    members: [{names}]
    batch: {{timeout: 200ms, maxMessages: 50, preferredBytes: 2MB}}
    policies: {{lifecycleEndorsement: MAJORITY Endorsement}}
"""
_MEMBER = (
    "  - {{name: {name}, mspId: {name}MSP, domain: {domain}, role: provider,\n"
    "     peers: [{peers}]}}"
)


@dataclass
class Collection:
    """A private data collection to deploy with."""

    name: str
    members: Sequence[str]
    required: int = 0
    maximum: int = 5
    member_only: bool = True


@dataclass
class Definition:
    """How the chaincode is deployed; `policy` is a signature policy, "" the channel's default."""

    name: str = CHAINCODE
    version: str = "1"
    sequence: int = 1
    policy: str = ""
    collections: Sequence[Collection] = ()
    init_required: bool = False


def build_topology(orgs: Mapping[str, int], fabric_version: str = "3.1") -> Topology:
    """A topology with these organisations and numbers of peers, on free ports."""
    for _ in range(20):
        # Ports that follow from those drawn may by chance be one of them.
        with suppress(TopologyError):
            return _draw_topology(orgs, fabric_version)
    return _draw_topology(orgs, fabric_version)


def _draw_topology(orgs: Mapping[str, int], fabric_version: str) -> Topology:
    ports = iter(free_ports(1 + sum(orgs.values())))
    orderer = next(ports)
    members = "\n".join(
        _MEMBER.format(
            name=name,
            domain=f"{name.lower()}.example",
            peers=", ".join(
                f"{{name: peer{number}, host: 127.0.0.1, port: {next(ports)}}}"
                for number in range(count)
            ),
        )
        for name, count in orgs.items()
    )
    text = _DOCUMENT.format(
        orderer=orderer, members=members, names=", ".join(orgs), fabric_version=fabric_version
    )
    return parse_topology(text, "simulated.yaml")


@dataclass
class Client:
    """A user of one organisation, speaking to one peer's gateway with bare gRPC stubs."""

    signer: Signer
    channel: Any
    channel_id: str = CHANNEL
    chaincode: str = CHAINCODE
    tls_cert_hash: bytes = b""

    @property
    def gateway(self) -> Any:
        return gateway_pb2_grpc.GatewayStub(self.channel)

    @property
    def endorser(self) -> Any:
        return peer_pb2_grpc.EndorserStub(self.channel)

    def propose(
        self,
        *args: str | bytes,
        chaincode: str | None = None,
        channel_id: str | None = None,
        transient: Mapping[str, bytes] | None = None,
        is_init: bool = False,
        timestamp: datetime | None = None,
    ) -> tuple[proposal_pb2.SignedProposal, str]:
        built = build_proposal(
            channel_id=self.channel_id if channel_id is None else channel_id,
            chaincode=chaincode or self.chaincode,
            args=[arg.encode() if isinstance(arg, str) else arg for arg in args],
            creator=self.signer.creator,
            nonce=secrets.token_bytes(24),
            timestamp=timestamp or datetime.now(UTC),
            transient=transient or {},
            is_init=is_init,
        )
        signature = self.signer.sign(built.raw)
        return proposal_pb2.SignedProposal(
            proposal_bytes=built.raw, signature=signature
        ), built.tx_id

    async def process(self, *args: str | bytes, **options: Any) -> ProposalResponse:
        """Straight to this peer's endorser."""
        signed, _ = self.propose(*args, **options)
        return await self.endorser.ProcessProposal(signed)

    async def evaluate(self, *args: str | bytes, **options: Any) -> bytes:
        orgs = options.pop("orgs", [])
        signed, tx_id = self.propose(*args, **options)
        request = gateway_pb2.EvaluateRequest(
            transaction_id=tx_id,
            channel_id=self.channel_id,
            proposed_transaction=signed,
            target_organizations=orgs,
        )
        return bytes((await self.gateway.Evaluate(request)).result.payload)

    async def endorse(self, *args: str | bytes, **options: Any) -> tuple[common_pb2.Envelope, str]:
        orgs = options.pop("orgs", [])
        signed, tx_id = self.propose(*args, **options)
        request = gateway_pb2.EndorseRequest(
            transaction_id=tx_id,
            channel_id=self.channel_id,
            proposed_transaction=signed,
            endorsing_organizations=orgs,
        )
        envelope = (await self.gateway.Endorse(request)).prepared_transaction
        envelope.signature = self.signer.sign(envelope.payload)
        return envelope, tx_id

    async def send(self, envelope: common_pb2.Envelope, tx_id: str) -> None:
        await self.gateway.Submit(
            gateway_pb2.SubmitRequest(
                transaction_id=tx_id, channel_id=self.channel_id, prepared_transaction=envelope
            )
        )

    async def status(self, tx_id: str, timeout: float = 20.0) -> gateway_pb2.CommitStatusResponse:
        request = gateway_pb2.CommitStatusRequest(
            transaction_id=tx_id, channel_id=self.channel_id, identity=self.signer.creator
        ).SerializeToString()
        signed = gateway_pb2.SignedCommitStatusRequest(
            request=request, signature=self.signer.sign(request)
        )
        return await self.gateway.CommitStatus(signed, timeout=timeout)

    async def submit(
        self, *args: str | bytes, code: int = transaction_pb2.VALID, **options: Any
    ) -> gateway_pb2.CommitStatusResponse:
        """Endorse, order, wait; the transaction must end with the given code."""
        envelope, tx_id = await self.endorse(*args, **options)
        await self.send(envelope, tx_id)
        status = await self.status(tx_id)
        assert status.result == code, transaction_pb2.TxValidationCode.Name(status.result)
        return status

    def events(
        self, start: int | None = None, after: str = "", chaincode: str | None = None
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        request = gateway_pb2.ChaincodeEventsRequest(
            channel_id=self.channel_id,
            chaincode_id=chaincode or self.chaincode,
            identity=self.signer.creator,
            after_transaction_id=after,
        )
        if start is not None:
            request.start_position.specified.CopyFrom(ab_pb2.SeekSpecified(number=start))
        raw = request.SerializeToString()
        signed = gateway_pb2.SignedChaincodeEventsRequest(
            request=raw, signature=self.signer.sign(raw)
        )
        stream: AsyncIterator[gateway_pb2.ChaincodeEventsResponse]
        stream = self.gateway.ChaincodeEvents(signed)
        return stream

    async def lifecycle(self, function: str, args: Any, channel_id: str = "") -> bytes:
        """One `_lifecycle` call at this peer."""
        reply = await self.process(
            function, args.SerializeToString(), chaincode="_lifecycle", channel_id=channel_id
        )
        assert reply.response.status == 200, reply.response.message
        return bytes(reply.response.payload)


@dataclass
class Network:
    """The running parts, by name ("peer0.alpha.example"), and where their files are."""

    topology: Topology
    folder: Path
    orderer: Orderer | None = None
    peers: dict[str, Peer] = field(default_factory=dict)
    chaincode: ScriptedChaincode = field(default_factory=ScriptedChaincode)
    chaincode_port: int = 0
    package: bytes = b""
    package_id: str = ""
    genesis: common_pb2.Block | None = None
    overrides: dict[str, str] = field(default_factory=dict)
    _channels: list[Any] = field(default_factory=list)

    @property
    def folders(self) -> Folders:
        return Folders(self.folder)

    def node(self, fqdn: str) -> Node:
        return next(node for node in self.topology.nodes() if node.fqdn == fqdn)

    @property
    def peer_names(self) -> list[str]:
        return [node.fqdn for node in self.topology.nodes() if node.kind is NodeKind.PEER]

    # --- nodes ------------------------------------------------------------------------------------

    async def start_orderer(self) -> None:
        node = next(node for node in self.topology.nodes() if node.kind is NodeKind.ORDERER)
        msp, tls = self.folders.node_msp(node), self.folders.node_tls(node)
        environment = {
            "ORDERER_GENERAL_LISTENADDRESS": "127.0.0.1",
            "ORDERER_GENERAL_LISTENPORT": str(node.port),
            "ORDERER_GENERAL_LOCALMSPID": node.organization.msp_id,
            "ORDERER_GENERAL_LOCALMSPDIR": str(msp),
            "ORDERER_GENERAL_TLS_ENABLED": "true",
            "ORDERER_GENERAL_TLS_PRIVATEKEY": str(tls / "server.key"),
            "ORDERER_GENERAL_TLS_CERTIFICATE": str(tls / "server.crt"),
            "ORDERER_FILELEDGER_LOCATION": str(self.folder / "data" / node.fqdn),
        }
        self.orderer = Orderer(Settings("orderer", {}, environment, None), LogSpec())
        await self.orderer.start()

    async def start_peer(self, fqdn: str) -> Peer:
        node = self.node(fqdn)
        msp, tls = self.folders.node_msp(node), self.folders.node_tls(node)
        environment = {
            "CORE_PEER_ID": fqdn,
            "CORE_PEER_LISTENADDRESS": f"127.0.0.1:{node.port}",
            "CORE_PEER_ADDRESS": f"127.0.0.1:{node.port}",
            "CORE_PEER_LOCALMSPID": node.organization.msp_id,
            "CORE_PEER_MSPCONFIGPATH": str(msp),
            "CORE_PEER_FILESYSTEMPATH": str(self.folder / "data" / fqdn),
            "CORE_PEER_TLS_ENABLED": "true",
            "CORE_PEER_TLS_CERT_FILE": str(tls / "server.crt"),
            "CORE_PEER_TLS_KEY_FILE": str(tls / "server.key"),
            "CORE_PEER_TLS_ROOTCERT_FILE": str(tls / "ca.crt"),
            **self.overrides,
        }
        peer = Peer(Settings("core", {}, environment, None), LogSpec(), FAST)
        await peer.start()
        self.peers[fqdn] = peer
        return peer

    async def stop_peer(self, fqdn: str) -> None:
        await self.peers.pop(fqdn).stop()

    async def stop(self) -> None:
        for channel in self._channels:
            await channel.close()
        await asyncio.gather(*(peer.stop() for peer in self.peers.values()))
        if self.orderer is not None:
            await self.orderer.stop()
        await self.chaincode.stop()

    # --- clients ----------------------------------------------------------------------------------

    def client(self, org: str, user: str = "User1", peer: str = "") -> Client:
        """A user of the organisation, at its first peer unless another is named."""
        organization = self.topology.organization(org)
        fqdn = peer or f"peer0.{organization.domain}"
        node = self.node(fqdn)
        signer = load_signer(self.folders.user_msp(organization, user), organization.msp_id)
        roots = (self.folders.node_tls(node) / "ca.crt").read_bytes()
        tls = self.folders.user_tls(organization, user)
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{node.port}",
            grpc.ssl_channel_credentials(
                roots, (tls / "client.key").read_bytes(), (tls / "client.crt").read_bytes()
            ),
            options=[("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)],
        )
        self._channels.append(channel)
        return Client(signer, channel)

    def admin(self, fqdn: str) -> Client:
        """The administrator of a peer's organisation, at that peer."""
        return self.client(self.node(fqdn).organization.name, "Admin", fqdn)

    # --- channels and chaincode -------------------------------------------------------------------

    async def join(self, *fqdns: str) -> None:
        """The peers (all, if none is named) join the channel."""
        if self.genesis is None:
            channel = self.topology.channels[0]
            self.genesis = build_genesis(
                self.topology, channel, self.folder, secrets.token_bytes(24), datetime.now(UTC)
            )
            assert self.orderer is not None
            await self.orderer.registrar.join(self.genesis)
        block = self.genesis.SerializeToString()
        for fqdn in fqdns or self.peers:
            reply = await self.admin(fqdn).process(
                "JoinChain", block, chaincode="cscc", channel_id=""
            )
            assert reply.response.status == 200, reply.response.message

    async def install(self, *fqdns: str) -> None:
        args = lifecycle_pb2.InstallChaincodeArgs(chaincode_install_package=self.package)
        for fqdn in fqdns or self.peers:
            await self.admin(fqdn).lifecycle("InstallChaincode", args)

    async def deploy(self, definition: Definition | None = None, *, install: bool = True) -> None:
        """Install everywhere, approve by every organisation, commit, and wait for every peer."""
        definition = definition or Definition()
        if install:
            await self.install()
        fields = self._build_fields(definition)
        approval = lifecycle_pb2.ApproveChaincodeDefinitionForMyOrgArgs(**fields)
        approval.source.local_package.package_id = self.package_id
        for fqdn in self._first_peers():
            await self._run_lifecycle(
                fqdn, "ApproveChaincodeDefinitionForMyOrg", approval, [self._msp_id(fqdn)]
            )
        first = self._first_peers()[0]
        commit = lifecycle_pb2.CommitChaincodeDefinitionArgs(**fields)
        await self._run_lifecycle(first, "CommitChaincodeDefinition", commit, [])
        await self.settle()

    async def settle(self) -> None:
        """Every peer has the same height and knows what the others can endorse."""
        async with asyncio.timeout(60):
            while not self._is_settled():
                await asyncio.sleep(0.02)

    def _is_settled(self) -> bool:
        views = [peer.membership.members(CHANNEL) for peer in self.peers.values()]
        heights = {member.height for view in views for member in view}
        chaincodes = {tuple(member.chaincodes.items()) for view in views for member in view}
        complete = all(len(view) == len(self.peers) for view in views)
        return complete and len(heights) <= 1 and len(chaincodes) <= 1

    async def _run_lifecycle(
        self, fqdn: str, function: str, args: Any, orgs: Sequence[str]
    ) -> None:
        client = self.admin(fqdn)
        await client.submit(function, args.SerializeToString(), chaincode="_lifecycle", orgs=orgs)
        await self.settle()

    def _build_fields(self, definition: Definition) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "name": definition.name,
            "version": definition.version,
            "sequence": definition.sequence,
            "init_required": definition.init_required,
            "collections": self._build_collections(definition.collections),
        }
        if definition.policy:
            policy = policy_pb2.ApplicationPolicy()
            policy.signature_policy.CopyFrom(parse_policy(definition.policy))
            fields["validation_parameter"] = policy.SerializeToString()
        return fields

    def _build_collections(
        self, collections: Sequence[Collection]
    ) -> collection_pb2.CollectionConfigPackage:
        package = collection_pb2.CollectionConfigPackage()
        for collection in collections:
            config = package.config.add().static_collection_config
            config.name = collection.name
            members = ", ".join(f"'{name}MSP.member'" for name in collection.members)
            config.member_orgs_policy.signature_policy.CopyFrom(parse_policy(f"OR({members})"))
            config.required_peer_count = collection.required
            config.maximum_peer_count = collection.maximum
            config.member_only_read = config.member_only_write = collection.member_only
        return package

    def _first_peers(self) -> list[str]:
        first: dict[str, str] = {}
        for fqdn in self.peers:
            first.setdefault(self._msp_id(fqdn), fqdn)
        return list(first.values())

    def _msp_id(self, fqdn: str) -> str:
        return str(self.node(fqdn).organization.msp_id)


@asynccontextmanager
async def running_network(
    folder: Path,
    orgs: Mapping[str, int] | None = None,
    *,
    elsewhere: Sequence[str] = (),
    fabric_version: str = "3.1",
    **overrides: str,
) -> AsyncIterator[Network]:
    """A network whose peers have joined the channel; `overrides` are CORE_* settings of all.

    Peers named in `elsewhere` have ports and keys, but somebody else starts them. The channel has
    the capabilities of Fabric's `fabric_version`.
    """
    topology = build_topology(orgs or {"Alpha": 1, "Beta": 1}, fabric_version)
    generate_materials(topology, folder, datetime.now(UTC))
    network = Network(topology, folder, overrides=overrides)
    try:
        await network.start_orderer()
        for fqdn in network.peer_names:
            if fqdn not in elsewhere:
                await network.start_peer(fqdn)
        network.chaincode_port = await network.chaincode.start()
        address = f"127.0.0.1:{network.chaincode_port}"
        network.package = build_service_package("demo_1", Connection(address))
        network.package_id = compute_package_id("demo_1", network.package)
        network.chaincode.package_id = network.package_id
        await network.join()
        await network.settle()
        yield network
    finally:
        await network.stop()
        # A server that is collected after its event loop has closed complains of that.
        network.peers.clear()
        network.orderer = None
        network.chaincode = ScriptedChaincode()
        gc.collect()


def event_names(response: gateway_pb2.ChaincodeEventsResponse) -> list[str]:
    """The names of a response's events."""
    events: list[chaincode_event_pb2.ChaincodeEvent] = list(response.events)
    return [event.event_name for event in events]
