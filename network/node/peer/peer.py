"""The peer: endorses, commits, and serves clients on every channel that it has joined.

Starts from what Fabric's `peer node start` starts from: core.yaml with CORE_* on top, a local MSP,
TLS files and a data folder. Keys of Fabric's that mean nothing here (gossip's inner workings, vm,
BCCSP, CouchDB) are ignored. It learns its channels from their genesis blocks, its orderers from
their configurations and the other peers from their anchor peers and from peer.gossip.bootstrap.

Start: settings → identity → ledgers from disk → operations and gRPC servers → block pullers and
announcements. Stop, on SIGTERM or SIGINT: say good-bye → no new calls → the block under way is
committed → done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

from fabric_protos.discovery import protocol_pb2_grpc
from fabric_protos.gateway import gateway_pb2_grpc
from fabric_protos.peer import chaincode_shim_pb2_grpc, peer_pb2_grpc, snapshot_pb2_grpc

from network.node.endorsing.acl import AccessControl
from network.node.endorsing.chaincode_registry import (
    ChaincodeRegistry,
    PackageStore,
    read_builder_variables,
)
from network.node.endorsing.chaincode_support import ChaincodeSupport
from network.node.endorsing.deployed_chaincodes import DeployedChaincodes
from network.node.endorsing.endorser import Endorser, EndorserService
from network.node.endorsing.execution import Executor, SystemChaincode
from network.node.endorsing.lifecycle_chaincode import InstalledPackages, LifecycleChaincode
from network.node.endorsing.state_indexes import StateIndexes
from network.node.endorsing.system_chaincodes import LedgerQueries, PeerConfiguration
from network.node.gateway.discovery import Discovery, DiscoveryService
from network.node.gateway.events import ChaincodeEvents
from network.node.gateway.gateway import Gateway, GatewayOptions
from network.node.gateway.orderer_streams import OrdererStreams
from network.node.gateway.peers import GatewayPeers
from network.node.gateway.service import GatewayService
from network.node.gateway.status import CommitStatuses
from network.node.ledger.block_commit import CommittedBlock
from network.node.ledger.channel import PeerChannel
from network.node.ledger.store import StoreError
from network.node.peer.deliver import build_peer_deliver
from network.node.peer.joined_channels import JoinedChannels
from network.node.peer.settings import (
    OrdererOverrides,
    get_data_folder,
    get_snapshots_folder,
    read_addresses,
    read_concurrency,
    read_features,
    read_identity,
    read_limits,
    read_private_options,
    read_state_options,
    read_time_window,
    read_tls,
)
from network.node.peer.snapshots import SnapshotService
from network.node.peering.block_puller import BlockPuller
from network.node.peering.membership import DEFAULT_PACE, Membership, MembershipService, Pace
from network.node.peering.private_exchange import PrivateDataService, PrivateExchange
from network.node.serving.connections import Connections
from network.node.serving.deliver import Deliver
from network.node.serving.folder_lock import FolderLock
from network.node.serving.grpc_server import RotatingTls, Server, make_server
from network.node.serving.http_server import HttpServer, read_http_tls
from network.node.serving.limits import ConcurrencyLimits
from network.node.serving.logs import LogSpec
from network.node.serving.metrics import CollectorRegistry, Readings
from network.node.serving.operations import build_operations
from network.node.serving.settings import Settings
from protos import membership_pb2_grpc, private_data_pb2_grpc

log = logging.getLogger("nodeCmd")

GRACE = 0.5
"""Seconds that calls under way get at the end; event streams never end by themselves."""


class Peer:
    """One peer; `start`, then `stop`. `port` and `operations_port` are those taken."""

    def __init__(self, settings: Settings, log_spec: LogSpec, pace: Pace = DEFAULT_PACE) -> None:
        """Raises SettingsError for whatever it cannot start with."""
        self._settings = settings
        self._identity = read_identity(settings)
        self._addresses = read_addresses(settings)
        self._tls = read_tls(settings)
        self._rotating = RotatingTls(self._tls.server) if self._tls.server else None
        self._overrides = OrdererOverrides(settings)
        self._time_window = read_time_window(settings)
        self._folder_lock = FolderLock(get_data_folder(settings), "peer.fileSystemPath")
        self._connections = Connections(self._tls.client)
        self._orderers = OrdererStreams(self._connections)
        self._tasks: list[asyncio.Task[None]] = []
        self._announced: dict[str, tuple[int, dict[str, str]]] = {}
        self.port = self.operations_port = self.chaincode_port = 0
        self._chaincode_server: Server | None = None
        self._build_channels()
        self._build_execution()
        self._build_exchange(pace)
        self._grpc = make_server(
            self._rotating,
            read_limits(settings),
            ConcurrencyLimits(read_concurrency(settings)),
        )
        self._add_services()
        self._operations = self._build_operations(log_spec)

    async def start(self) -> None:
        """Open the channels, serve, and follow the channels.

        Raises:
            SettingsError: the data folder cannot be used.
            ListenError: an address cannot be taken.
        """
        await self._folder_lock.take_and_open(self.channels.open, StoreError)
        self._follow_tls_roots()
        self.operations_port = await self._operations.start(
            self._settings.get_text("operations.listenAddress", "127.0.0.1:0")
        )
        self.port = await self._grpc.start(self._addresses.listen)
        await self._listen_for_chaincodes()
        self.channels.start()
        self._tasks = [
            asyncio.create_task(self.membership.run(), name="announce"),
            asyncio.create_task(self._exchange.run(), name="reconcile"),
        ]
        log.info(
            "Started peer with ID=[%s], network ID=[%s], address=[%s]",
            self._settings.get_text("peer.id", "jdoe"),
            self._settings.get_text("peer.networkId", "dev"),
            self._addresses.shown,
        )

    async def stop(self) -> None:
        """Say good-bye, take no new calls, finish the block under way, close everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._grpc.stop(GRACE)
        await self._registry.close()
        await self._indexes.close()
        await self.channels.close()
        await self._orderers.close()
        await self._connections.close()
        await self._operations.stop()
        self._folder_lock.release()

    async def _listen_for_chaincodes(self) -> None:
        """In development mode, where Fabric's samples let chaincodes dial."""
        if not self._development:
            return
        address = self._settings.get_text("peer.chaincodeListenAddress") or "127.0.0.1:7052"
        self._chaincode_server = make_server(self._tls.server_only)
        self._add_chaincode_support(self._chaincode_server)
        self.chaincode_port = await self._chaincode_server.start(address)
        log.warning(
            "Development mode: whoever reaches port %d may register as a chaincode",
            self.chaincode_port,
        )

    # --- building ---------------------------------------------------------------------------------

    def _build_channels(self) -> None:
        self.channels = JoinedChannels(
            get_data_folder(self._settings) / "channels",
            self._identity.signer.creator,
            self._build_puller,
            self._handle_join,
            self._handle_commit,
            get_snapshots_folder(self._settings),
            read_state_options(self._settings),
        )
        self._access = AccessControl(self._identity.msp, self.channels.get_config)

    def _build_puller(self, channel: PeerChannel) -> BlockPuller:
        return BlockPuller(
            channel,
            self._identity.signer,
            self._connections,
            tls_certificate=self._tls.bound_certificate,
            overrides=self._overrides,
        )

    def _build_execution(self) -> None:
        settings, msp_id = self._settings, self._identity.signer.msp_id
        self._packages = PackageStore(
            get_data_folder(settings) / "lifecycle" / "chaincodes",
            read_builder_variables(os.environ),
        )
        self._development = settings.get_text("chaincode.mode", "net") == "dev"
        self._deployed = DeployedChaincodes(
            msp_id,
            self._packages.has,
            self._get_lifecycle_height,
            development=self._development,
        )
        self._indexes = StateIndexes(self._packages, self._deployed)
        self._registry = ChaincodeRegistry(
            self._packages,
            read_features(settings),
            max(settings.get_duration("chaincode.startuptimeout", 300.0), 5.0),
        )
        store = InstalledPackages(self._packages, self._deployed, self.channels)
        system: dict[str, SystemChaincode] = {
            "qscc": LedgerQueries(self._access, self.channels.get_channel),
            "cscc": PeerConfiguration(self._access, self.channels),
            "_lifecycle": LifecycleChaincode(msp_id, self._access, store, self._handle_install),
        }
        self._executor = Executor(
            self._registry,
            self._deployed,
            system,
            self._access,
            self.channels.get_channel,
            timeout=settings.get_duration("chaincode.executetimeout", 30.0),
        )

    def _build_exchange(self, pace: Pace) -> None:
        signer = self._identity.signer
        self.membership = Membership(
            signer,
            self._addresses.advertised,
            self._connections,
            lambda: self.channels.joined,
            self._get_endorsable,
            bootstrap=self._settings.get_list("peer.gossip.bootstrap"),
            pace=pace,
            time_window=self._time_window,
        )
        self._exchange = PrivateExchange(
            signer,
            self.membership,
            self._connections,
            self.channels.get_channel,
            options=read_private_options(self._settings),
            time_window=self._time_window,
        )
        self.endorser = Endorser(
            signer,
            self._identity.msp,
            self.channels.get_channel,
            self._executor,
            self._access,
            self._exchange,
            time_window=self._time_window,
        )

    def _add_services(self) -> None:
        server, get_channel = self._grpc.grpc, self.channels.get_channel
        peer_pb2_grpc.add_EndorserServicer_to_server(EndorserService(self.endorser), server)
        snapshot_pb2_grpc.add_SnapshotServicer_to_server(
            SnapshotService(self._access, get_channel), server
        )
        deliver = Deliver(
            get_channel,
            time_window=self._time_window.total_seconds(),
            binds_tls=self._grpc.mutual_tls_required,
        )
        server.add_generic_rpc_handlers([build_peer_deliver(deliver, get_channel)])
        membership_pb2_grpc.add_MembershipServicer_to_server(
            MembershipService(self.membership), server
        )
        private_data_pb2_grpc.add_PrivateDataServicer_to_server(
            PrivateDataService(self._exchange), server
        )
        peers = GatewayPeers(
            self._identity.signer.msp_id, self.endorser, self.membership, self._connections
        )
        self._add_chaincode_support(self._grpc)
        if self._settings.get_bool("peer.gateway.enabled", True):
            gateway_pb2_grpc.add_GatewayServicer_to_server(self._build_gateway(peers), server)
        if self._settings.get_bool("peer.discovery.enabled", True):
            protocol_pb2_grpc.add_DiscoveryServicer_to_server(self._build_discovery(peers), server)

    def _add_chaincode_support(self, server: Server) -> None:
        chaincode_shim_pb2_grpc.add_ChaincodeSupportServicer_to_server(
            ChaincodeSupport(
                self._registry, read_features(self._settings), development=self._development
            ),
            server.grpc,
        )

    def _build_discovery(self, peers: GatewayPeers) -> DiscoveryService:
        members = self._settings.get_bool("peer.discovery.orgMembersAllowedAccess")
        discovery = Discovery(
            self._access,
            peers,
            self.membership,
            self.channels.get_channel,
            local_policy="Members" if members else "Admins",
        )
        return DiscoveryService(discovery, binds_tls=self._grpc.mutual_tls_required)

    def _build_gateway(self, peers: GatewayPeers) -> GatewayService:
        section, get_channel = "peer.gateway", self.channels.get_channel
        options = GatewayOptions(
            self._settings.get_duration(f"{section}.endorsementTimeout", 30.0),
            self._settings.get_duration(f"{section}.broadcastTimeout", 30.0),
        )
        return GatewayService(
            Gateway(peers, self._orderers, get_channel, options, self._overrides),
            CommitStatuses(self._access, get_channel),
            ChaincodeEvents(self._access, get_channel),
        )

    def _build_operations(self, log_spec: LogSpec) -> HttpServer:
        settings, registry = self._settings, CollectorRegistry(auto_describe=False)
        Readings(
            "ledger_blockchain_height", "Height of the chain in blocks.", ("channel",),
            registry, self._read_heights,
        )  # fmt: skip
        tls = read_http_tls(settings, "operations.tls")
        app = build_operations(
            checks={"ledger": self._check_health},
            log_spec=log_spec,
            registry=registry if settings.get_text("metrics.provider") == "prometheus" else None,
            needs_certificate=tls is not None,
        )
        return HttpServer(app, tls)

    # --- what happens ---------------------------------------------------------------------------

    def _handle_join(self, channel: PeerChannel) -> None:
        channel.ledger.fetch_private = lambda needs: self._exchange.fetch(channel, needs)
        self._follow_tls_roots()
        self._indexes.follow([channel])
        self.membership.wake()
        self._exchange.wake()

    def _handle_commit(self, channel: PeerChannel, block: CommittedBlock) -> None:
        if block.config_changed:
            self._follow_tls_roots()
        if block.defined_chaincodes:
            self._indexes.follow([channel])
        if block.defined_chaincodes or block.config_changed:
            self.membership.wake()
        log.info(
            "[%s] Committed block [%d] with %d transaction(s)",
            channel.channel_id, block.number, len(block.codes),
        )  # fmt: skip

    def _handle_install(self) -> None:
        self._deployed.forget()
        self._announced.clear()
        self._indexes.follow(self.channels.joined)
        self.membership.wake()

    def _get_endorsable(self, channel_id: str) -> dict[str, str]:
        """Chaincode → sequence of what this peer can endorse on the channel."""
        channel = self.channels.get_channel(channel_id)
        if channel is None:
            return {}
        since, found = self._announced.get(channel_id, (-1, {}))
        if since == channel.ledger.lifecycle_height:
            return found
        with channel.snapshot() as snapshot:
            deployed = self._deployed.list(channel_id, snapshot)
            height = snapshot.height
        found = {
            name: str(one.definition.sequence)
            for name, one in deployed.items()
            if one.approved and one.package_id
        }
        since = channel.ledger.lifecycle_height
        if height >= since and len(found) == len(deployed):
            self._announced[channel_id] = (since, found)
        return found

    def _get_lifecycle_height(self, channel_id: str) -> int:
        channel = self.channels.get_channel(channel_id)
        return channel.ledger.lifecycle_height if channel else 0

    def _follow_tls_roots(self) -> None:
        """Let clients of every channel's organisations in, where client certificates are asked."""
        server = self._tls.server
        if self._rotating is None or server is None or not server.client_auth_required:
            return
        roots = {
            root: None
            for channel in self.channels.joined
            for msp in channel.config.msps.msps.values()
            for root in msp.tls_certificates
        }
        self._rotating.tls = replace(server, client_roots=b"\n".join([server.client_roots, *roots]))

    def _read_heights(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for channel in self.channels.joined:
            yield (channel.channel_id,), float(channel.height)

    async def _check_health(self) -> str:
        return self.channels.check_health()


async def serve(settings: Settings, log_spec: LogSpec) -> None:
    """Run a peer until SIGTERM or SIGINT.

    Raises:
        SettingsError, ListenError: it cannot start.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    peer = Peer(settings, log_spec)
    try:
        await peer.start()
        await stopping.wait()
        log.info("Stopping")
    finally:
        await peer.stop()
