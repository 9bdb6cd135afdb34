"""The orderer: orderer.AtomicBroadcast over channels that `osnadmin` joins it to.

Starts from what Fabric's `orderer` starts from: orderer.yaml with ORDERER_* on top, a local MSP,
TLS files and a folder for blocks. Keys of Fabric's that mean nothing here (Consensus, BCCSP,
Profile, Debug) are ignored. It orders the channels that it leads and follows the
others (see `network.rules.ordering.leadership`).

Start: settings → identity → channels from disk → operations, admin and gRPC servers. Stop, on
SIGTERM or SIGINT: no new calls → what was accepted is ordered and stored → done.
"""

import asyncio
import logging
import platform
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc

from network.node.ordering.block_store import StoreError
from network.node.ordering.broadcast import Broadcast
from network.node.ordering.chain import Node
from network.node.ordering.channel_metrics import ChannelMetrics
from network.node.ordering.participation import DEFAULT_MAX_BODY, build_participation
from network.node.ordering.registrar import Registrar
from network.node.ordering.throttling import Throttle
from network.node.serving.connections import Connections, Credentials
from network.node.serving.deliver import BlockFormat, Deliver, send_block
from network.node.serving.folder_lock import FolderLock
from network.node.serving.grpc_server import (
    DEFAULT_LIMITS,
    Limits,
    RotatingTls,
    ServerTls,
    make_server,
    read_server_tls,
)
from network.node.serving.http_server import HttpServer, read_http_tls
from network.node.serving.logs import LogSpec
from network.node.serving.metrics import CollectorRegistry
from network.node.serving.operations import COMMIT, VERSION, HealthCheck, build_operations
from network.node.serving.settings import Settings, SettingsError
from network.rules.identity.identity import Signer
from network.rules.ordering.admission import get_readers_policy
from network.topology.mspfolder import InvalidMspFolder, load_signer

logger = logging.getLogger("orderer.common.server")

# Seconds that streams under way get at the end; Deliver streams never end by themselves.
GRACE = 0.5


class Orderer:
    """One ordering node; `start`, then `stop`. `port`, `admin_port`, `operations_port` are taken
    when started."""

    def __init__(self, settings: Settings, log_spec: LogSpec) -> None:
        """Raises SettingsError for whatever it cannot start with."""
        _validate_bootstrap(settings)
        self._settings = settings
        self._folder_lock = FolderLock(_get_location(settings), "FileLedger.Location")
        self._metrics = CollectorRegistry(auto_describe=False)
        self._metrics_of_channels = ChannelMetrics(self._metrics, lambda: self.registrar.list())
        self._checks: dict[str, HealthCheck] = {}
        tls = read_server_tls(settings, "General.TLS")
        self._tls = RotatingTls(tls) if tls else None
        self._own_roots = tls.client_roots if tls else b""
        cluster = read_cluster(settings, tls)
        self.connections = Connections(cluster.client)
        self._cluster_address = cluster.listen
        self._cluster_tls = cluster.server
        self.registrar = Registrar(
            _get_location(settings),
            Node(
                load_local_signer(settings),
                cluster.server.certificate if cluster.server else b"",
                cluster.client.certificate,
                self.connections,
                checks_expiry=not settings.get_bool("General.Authentication.NoExpirationChecks"),
                on_config=self._follow_configs,
                on_cut=self._metrics_of_channels.observe_cut,
            ),
        )
        self._checks["orderer"] = self.registrar.check_health
        self._grpc = make_server(self._tls, _read_limits(settings))
        self._add_services(settings)
        self._operations = self._build_operations(log_spec)
        self._admin = self._build_admin()
        self.port = self.admin_port = self.operations_port = 0

    async def start(self) -> None:
        """Open the channels and serve.

        Raises:
            SettingsError: the block folder cannot be used.
            ListenError: an address cannot be taken.
        """
        await self._folder_lock.take_and_open(self.registrar.open, StoreError)
        self._follow_configs()
        settings = self._settings
        self.operations_port = await self._operations.start(
            settings.get_text("Operations.ListenAddress", "127.0.0.1:0")
        )
        self.admin_port = await self._admin.start(
            settings.get_text("Admin.ListenAddress", "127.0.0.1:0")
        )
        host = settings.get_text("General.ListenAddress", "127.0.0.1")
        port = settings.get_port("General.ListenPort", 7050)
        if self._cluster_address and self._cluster_tls:
            self._grpc.add_port(self._cluster_address, self._cluster_tls)
        self.port = await self._grpc.start(f"{host}:{port}")
        logger.info(
            "Starting orderer:\n Version: %s\n Commit SHA: %s\n Python version: %s\n OS/Arch: %s",
            VERSION, COMMIT, platform.python_version(),
            f"{platform.system().lower()}/{platform.machine()}",
        )  # fmt: skip
        logger.info("Beginning to serve requests")

    async def stop(self) -> None:
        """Take no new calls, order and store what was accepted, close everything."""
        await self._grpc.stop(GRACE)
        await self.registrar.close()
        await self.connections.close()
        await self._admin.stop()
        await self._operations.stop()
        self._folder_lock.release()

    def _add_services(self, settings: Settings) -> None:
        throttle = Throttle(
            settings.get_int("General.Throttling.Rate", 0),
            settings.get_duration("General.Throttling.InactivityTimeout", 5.0),
        )
        broadcast = Broadcast(self.registrar.get_serving, self._metrics, self.connections, throttle)
        deliver = Deliver(
            self.registrar.get_serving,
            time_window=settings.get_duration("General.Authentication.TimeWindow", 900.0),
            binds_tls=self._grpc.mutual_tls_required,
            checks_expiry=not settings.get_bool("General.Authentication.NoExpirationChecks"),
            registry=self._metrics,
        )
        self._grpc.grpc.add_generic_rpc_handlers([build_atomic_broadcast(broadcast, deliver)])

    def _build_operations(self, log_spec: LogSpec) -> HttpServer:
        settings = self._settings
        uses_prometheus = settings.get_text("Metrics.Provider") == "prometheus"
        tls = read_http_tls(settings, "Operations.TLS")
        app = build_operations(
            checks=self._checks,
            log_spec=log_spec,
            registry=self._metrics if uses_prometheus else None,
            needs_certificate=tls is not None,
        )
        return HttpServer(app, tls)

    def _build_admin(self) -> HttpServer:
        settings = self._settings
        tls = read_http_tls(settings, "Admin.TLS")
        if tls and not tls.client_auth_required:
            raise SettingsError(
                "Admin.TLS.ClientAuthRequired must be set to true if Admin.TLS.Enabled is set to "
                f"true ({settings.file})"
            )
        max_body = settings.get_size("ChannelParticipation.MaxRequestBodySize", DEFAULT_MAX_BODY)
        return HttpServer(build_participation(self.registrar, self.connections, max_body), tls)

    def _follow_configs(self) -> None:
        """Let clients of every channel's organisations in, where client certificates are asked."""
        if self._tls is None or not self._tls.tls.client_auth_required:
            return
        roots = {
            root: None
            for chain in self.registrar.list()
            for msp in chain.config.msps.msps.values()
            for root in msp.tls_certificates
        }
        self._tls.tls = replace(self._tls.tls, client_roots=b"\n".join([self._own_roots, *roots]))


def build_atomic_broadcast(broadcast: Broadcast, deliver: Deliver) -> Any:
    """The gRPC handlers of orderer.AtomicBroadcast; messages pass as bytes."""
    form = BlockFormat(get_readers_policy, send_block)

    # grpc.aio recognises a stream by the handler being an asynchronous generator itself.
    async def serve_deliver(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for response in deliver.serve(requests, context, form):
            yield response

    return grpc.method_handlers_generic_handler(
        "orderer.AtomicBroadcast",
        {
            "Broadcast": grpc.stream_stream_rpc_method_handler(broadcast.serve),
            "Deliver": grpc.stream_stream_rpc_method_handler(serve_deliver),
        },
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """How an orderer and others meet. `server` is also what names it among a channel's consenters;
    `listen` ("host:port") where others reach it, "" where that is the address for clients."""

    client: Credentials
    server: ServerTls | None
    listen: str = ""


def read_cluster(settings: Settings, tls: ServerTls | None) -> Cluster:
    """General.Cluster, with General.TLS for what it leaves out, as Fabric's orderer reads them.

    Raises:
        SettingsError: a file is missing, or the listener's four keys are not all there.
    """
    section = "General.Cluster"
    pair = (
        (settings.read_file(f"{section}.ClientPrivateKey"),
         settings.read_file(f"{section}.ClientCertificate"))
        if settings.get_text(f"{section}.ClientCertificate")
        else (tls.key, tls.certificate) if tls else (b"", b"")
    )  # fmt: skip
    client = Credentials(any(pair), *pair)
    keys = ("ListenAddress", "ListenPort", "ServerCertificate", "ServerPrivateKey")
    given = [key for key in keys if settings.get_text(f"{section}.{key}")]
    if not given:
        return Cluster(client, tls)
    if len(given) != len(keys):
        raise SettingsError(
            "Options: General.Cluster.ListenPort, General.Cluster.ListenAddress, "
            "General.Cluster.ServerCertificate, General.Cluster.ServerPrivateKey, should be "
            f"defined altogether ({settings.file})"
        )
    server = ServerTls(
        settings.read_file(f"{section}.ServerPrivateKey"),
        settings.read_file(f"{section}.ServerCertificate"),
    )
    host = settings.get_text(f"{section}.ListenAddress")
    return Cluster(client, server, f"{host}:{settings.get_port(f'{section}.ListenPort')}")


def load_local_signer(settings: Settings) -> Signer:
    """The node's identity and key, from General.LocalMSPDir and General.LocalMSPID.

    Raises:
        SettingsError: the folder is no MSP with a key.
    """
    folder = settings.get_path("General.LocalMSPDir", "msp")
    assert folder is not None
    msp_id = settings.get_text("General.LocalMSPID", "SampleOrg")
    try:
        return load_signer(folder, msp_id)
    except InvalidMspFolder as error:
        raise SettingsError(
            f"General.LocalMSPDir: Failed to load local MSP: {error} ({settings.file})"
        ) from error


async def serve(settings: Settings, log_spec: LogSpec) -> None:
    """Run an orderer until SIGTERM or SIGINT.

    Raises:
        SettingsError, ListenError: it cannot start.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    orderer = Orderer(settings, log_spec)
    try:
        await orderer.start()
        await stopping.wait()
        logger.info("Stopping")
    finally:
        await orderer.stop()


def _validate_bootstrap(settings: Settings) -> None:
    method = settings.get_text("General.BootstrapMethod", "none")
    if method == "file":
        raise SettingsError(
            "Bootstrap method: 'file' is forbidden, since system channel is no longer supported: "
            "set General.BootstrapMethod to none and join channels with osnadmin"
        )
    if method != "none":
        raise SettingsError(f"Unknown bootstrap method: {method}")


def _get_location(settings: Settings) -> Path:
    location = settings.get_path("FileLedger.Location", "/var/hyperledger/production/orderer")
    assert location is not None
    return location


def _read_limits(settings: Settings) -> Limits:
    defaults = DEFAULT_LIMITS
    return Limits(
        max_receive_size=settings.get_int("General.MaxRecvMsgSize", defaults.max_receive_size),
        max_send_size=settings.get_int("General.MaxSendMsgSize", defaults.max_send_size),
        ping_interval=settings.get_duration(
            "General.Keepalive.ServerInterval", defaults.ping_interval
        ),
        ping_timeout=settings.get_duration(
            "General.Keepalive.ServerTimeout", defaults.ping_timeout
        ),
        min_ping_interval=settings.get_duration(
            "General.Keepalive.ServerMinInterval", defaults.min_ping_interval
        ),
        connection_timeout=settings.get_duration(
            "General.ConnectionTimeout", defaults.connection_timeout
        ),
        max_held_connection=settings.get_size(
            "General.Limits.Memory.Connection", defaults.max_held_connection
        ),
        max_held_total=settings.get_size("General.Limits.Memory.Total", defaults.max_held_total),
    )
