"""What a peer reads from core.yaml and CORE_*: typed, with Fabric's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from network.node.ledger.store import DEFAULT_STATE, StateOptions
from network.node.peering.private_exchange import PrivateOptions
from network.node.serving.connections import Credentials
from network.node.serving.grpc_server import DEFAULT_LIMITS, Limits, ServerTls
from network.node.serving.settings import Settings, SettingsError
from network.rules.channel.config import OrdererEndpoint
from network.rules.endorsement.chaincode_talk import Features
from network.rules.identity.identity import Signer
from network.rules.identity.msp import InvalidMsp, Msp, open_msp_config
from network.topology.mspfolder import InvalidMspFolder, load_msp_config, load_signer


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who the peer is: its signer and its organisation's MSP as found on disk."""

    signer: Signer
    msp: Msp


@dataclass(frozen=True, slots=True)
class PeerTls:
    """What the peer shows to callers and to those that it calls; PEM bytes."""

    server: ServerTls | None
    client: Credentials
    bound_certificate: bytes = field(default=b"", repr=False)
    """The client certificate that signed requests are bound to."""

    @property
    def server_only(self) -> ServerTls | None:
        """The server's TLS for callers who have no certificate."""
        return replace(self.server, client_auth_required=False) if self.server else None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the peer listens and where others find it ("host:port")."""

    listen: str
    advertised: str
    shown: str
    """What the start-up line names (peer.address)."""


def read_identity(settings: Settings) -> PeerIdentity:
    """The peer's identity from peer.mspConfigPath.

    Raises:
        SettingsError: the folder is no usable MSP with a key.
    """
    folder = settings.get_path("peer.mspConfigPath", "msp")
    assert folder is not None
    msp_id = settings.get_text("peer.localMspId", "SampleOrg")
    try:
        signer = load_signer(folder, msp_id)
        msp = Msp(open_msp_config(load_msp_config(folder, msp_id)))
        msp.validate(msp.identity(signer.creator))
    except (InvalidMspFolder, InvalidMsp, ValueError) as error:
        raise SettingsError(
            f"peer.mspConfigPath: error when setting up MSP of type bccsp from directory {folder}: "
            f"{error}"
        ) from error
    return PeerIdentity(signer, msp)


def read_tls(settings: Settings) -> PeerTls:
    """The peer's TLS from peer.tls.

    Raises:
        SettingsError: a file is missing.
    """
    if not settings.get_bool("peer.tls.enabled"):
        return PeerTls(None, Credentials(enabled=False))
    key = settings.read_file("peer.tls.key.file")
    certificate = settings.read_file("peer.tls.cert.file")
    mutual = settings.get_bool("peer.tls.clientAuthRequired")
    # Read only when asked for: the sample core.yaml names files that need not be there.
    roots = settings.read_files("peer.tls.clientRootCAs.files") if mutual else []
    if mutual and settings.get_text("peer.tls.rootcert.file"):
        roots.append(settings.read_file("peer.tls.rootcert.file"))
    server = ServerTls(key, certificate, mutual, b"\n".join(roots))
    own = bool(settings.get_text("peer.tls.clientCert.file"))
    if own:
        key = settings.read_file("peer.tls.clientKey.file")
        certificate = settings.read_file("peer.tls.clientCert.file")
    return PeerTls(server, Credentials(True, key, certificate), certificate)


def read_addresses(settings: Settings) -> Addresses:
    """Where the peer listens and is found.

    Raises:
        SettingsError: peer.address is not host:port.
    """
    listen = settings.get_text("peer.listenAddress", "0.0.0.0:7051")
    address = settings.get_text("peer.address", listen)
    if not address.rpartition(":")[2].isdigit():
        raise SettingsError(f"peer.address must be host:port, not '{address}'")
    external = settings.get_text("peer.gossip.externalEndpoint", address)
    return Addresses(listen, external, address)


def read_limits(settings: Settings) -> Limits:
    """Message sizes and keepalive of the peer's server."""
    return Limits(
        max_receive_size=settings.get_size("peer.maxRecvMsgSize", DEFAULT_LIMITS.max_receive_size),
        max_send_size=settings.get_size("peer.maxSendMsgSize", DEFAULT_LIMITS.max_send_size),
        ping_interval=settings.get_duration(
            "peer.keepalive.interval", DEFAULT_LIMITS.ping_interval
        ),
        ping_timeout=settings.get_duration("peer.keepalive.timeout", DEFAULT_LIMITS.ping_timeout),
        min_ping_interval=settings.get_duration(
            "peer.keepalive.minInterval", DEFAULT_LIMITS.min_ping_interval
        ),
        max_held_connection=settings.get_size(
            "peer.limits.memory.connection", DEFAULT_LIMITS.max_held_connection
        ),
        max_held_total=settings.get_size("peer.limits.memory.total", DEFAULT_LIMITS.max_held_total),
    )


def read_concurrency(settings: Settings) -> dict[str, int]:
    """Service → calls at once."""
    section = "peer.limits.concurrency"
    return {
        "protos.Endorser": settings.get_int(f"{section}.endorserService", 2500),
        "protos.Deliver": settings.get_int(f"{section}.deliverService", 2500),
        "gateway.Gateway": settings.get_int(f"{section}.gatewayService", 500),
    }


def read_features(settings: Settings) -> Features:
    """What chaincodes may do in batches."""
    section, defaults = "chaincode.runtimeParams", Features()
    return Features(
        settings.get_bool(f"{section}.useWriteBatch", defaults.use_write_batch),
        settings.get_int(f"{section}.maxSizeWriteBatch", defaults.max_size_write_batch),
        settings.get_bool(f"{section}.useGetMultipleKeys", defaults.use_get_multiple_keys),
        settings.get_int(f"{section}.maxSizeGetMultipleKeys", defaults.max_size_get_multiple_keys),
    )


def read_private_options(settings: Settings) -> PrivateOptions:
    """How private data is pushed, pulled and reconciled."""
    section, defaults = "peer.gossip.pvtData", PrivateOptions()
    implicit = f"{section}.implicitCollectionDisseminationPolicy"
    return PrivateOptions(
        push_timeout=settings.get_duration(f"{section}.pushAckTimeout", defaults.push_timeout),
        reconcile_interval=settings.get_duration(
            f"{section}.reconcileSleepInterval", defaults.reconcile_interval
        ),
        reconcile_batch=settings.get_int(f"{section}.reconcileBatchSize", defaults.reconcile_batch),
        implicit_required=settings.get_int(f"{implicit}.requiredPeerCount", 0),
        implicit_maximum=settings.get_int(f"{implicit}.maxPeerCount", 1),
    )


def read_state_options(settings: Settings) -> StateOptions:
    """How ledgers answer queries.

    By ledger.state.stateDatabase: "goleveldb" refuses rich queries as LevelDB does; "CouchDB" and
    "sqlite", which is meant where nothing is set, answer them. The state is kept in SQLite always.

    Raises:
        SettingsError: another kind.
    """
    kind = settings.get_text("ledger.state.stateDatabase", "sqlite")
    if kind.lower() not in ("goleveldb", "couchdb", "sqlite"):
        raise SettingsError(
            f"ledger.state.stateDatabase must be goleveldb, CouchDB or sqlite, not '{kind}'"
        )
    limit = settings.get_int("ledger.state.totalQueryLimit", DEFAULT_STATE.total_query_limit)
    return StateOptions(kind.lower() != "goleveldb", limit)


def read_time_window(settings: Settings) -> timedelta:
    """How far a proposal's time may be from this peer's clock."""
    return timedelta(seconds=settings.get_duration("peer.authentication.timewindow", 900.0))


def get_data_folder(settings: Settings) -> Path:
    """peer.fileSystemPath."""
    folder = settings.get_path("peer.fileSystemPath", "/var/hyperledger/production")
    assert folder is not None
    return folder


def get_snapshots_folder(settings: Settings) -> Path:
    """ledger.snapshots.rootDir, or `snapshots` in peer.fileSystemPath.

    Raises:
        SettingsError: it is not an absolute path.
    """
    text = settings.get_text("ledger.snapshots.rootDir")
    folder = Path(text) if text else (get_data_folder(settings) / "snapshots").absolute()
    if not folder.is_absolute():
        raise SettingsError(
            f"ledger.snapshots.rootDir: invalid path: {text}. The path for the snapshot dir is"
            " expected to be an absolute path"
        )
    return folder


class OrdererOverrides:
    """peer.deliveryclient.addressOverrides: other addresses for orderers that a channel names."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for an entry that cannot be used."""
        self._to: dict[str, tuple[str, bytes]] = {}
        entries: Any = settings.get_value("peer.deliveryclient.addressOverrides") or []
        for entry in entries if isinstance(entries, list) else []:
            try:
                source, target = str(entry["from"]), str(entry["to"])
                path = settings.folder / str(entry["cacertsfile"])
                self._to[source] = (target, path.read_bytes())
            except (KeyError, TypeError, OSError) as error:
                raise SettingsError(
                    f"peer.deliveryclient.addressOverrides: an entry needs from, to and a readable "
                    f"caCertsFile ({error})"
                ) from error

    def __call__(self, endpoint: OrdererEndpoint) -> OrdererEndpoint:
        """The endpoint to dial in place of the given one."""
        if endpoint.address not in self._to:
            return endpoint
        address, roots = self._to[endpoint.address]
        return OrdererEndpoint(address, endpoint.msp_id, (roots,))
