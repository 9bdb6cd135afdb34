"""What a config update may do to a Raft channel's consenters and options.

Source: Fabric `orderer/consensus/etcdraft/{chain,util,membership}.go` (ValidateConsensusMetadata,
VerifyConfigMetadata, ComputeMembershipChanges); the texts are Fabric's. Orderers of ours run no
Raft, but a channel that they serve must stay one that Fabric's orderers can serve. What depends on
which nodes are alive (loss of quorum) is left out: here one leads and none is counted.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from cryptography import x509
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig
from network.rules.duration import parse_duration
from network.rules.identity.chains import InvalidChain, TrustAnchors
from network.rules.identity.identity import IdentityError, load_certificate
from network.rules.identity.pem import first_pem

_EXPIRED = "x509: certificate has expired or is not yet valid"


class InvalidConsensus(ValueError):
    """A change of the consensus metadata that Fabric refuses; the text is Fabric's."""


def validate_consensus(current: ChannelConfig, following: ChannelConfig, now: datetime) -> None:
    """Return when the second configuration's consensus metadata may follow the first's.

    Raises `InvalidConsensus`. What no Raft channel carries is not looked at.
    """
    if not following.consensus_metadata:
        return
    if following.consensus_type == "BFT":
        _validate_endpoints(following)
        return
    if "etcdraft" not in (current.consensus_type, following.consensus_type):
        return
    if current.consensus_type != following.consensus_type:
        return
    before = etcdraft_pb2.ConfigMetadata.FromString(current.consensus_metadata)
    try:
        after = etcdraft_pb2.ConfigMetadata.FromString(following.consensus_metadata)
    except DecodeError as error:
        raise InvalidConsensus(
            f"failed to unmarshal new etcdraft metadata configuration: {error}"
        ) from None
    anchors = _collect_anchors(following)
    try:
        _validate_options(after)
        _validate_consenters(after.consenters, anchors, now)
    except InvalidConsensus as error:
        raise InvalidConsensus(f"invalid new config metadata: {error}") from None
    for consenter in _list_added(before.consenters, after.consenters):
        try:
            _validate_certificates(consenter, anchors, now, expired_too=False)
        except InvalidConsensus as error:
            raise InvalidConsensus(
                f"consenter {consenter.host}:{consenter.port} has invalid certificates: {error}"
            ) from None


def _validate_endpoints(following: ChannelConfig) -> None:
    for org in following.orderer_orgs.values():
        if not org.endpoints:
            raise InvalidConsensus(
                "illegal orderer config detected during consensus metadata validation: endpoints "
                f"of org {org.name} are missing"
            )


def _validate_options(metadata: Any) -> None:
    if not metadata.HasField("options"):
        raise InvalidConsensus("nil Raft config metadata options")
    options = metadata.options
    if 0 in (options.heartbeat_tick, options.election_tick, options.max_inflight_blocks):
        raise InvalidConsensus(
            f"none of HeartbeatTick ({options.heartbeat_tick}), ElectionTick "
            f"({options.election_tick}) and MaxInflightBlocks ({options.max_inflight_blocks}) can "
            "be zero"
        )
    if options.election_tick <= options.heartbeat_tick:
        raise InvalidConsensus(
            f"ElectionTick ({options.election_tick}) must be greater than HeartbeatTick "
            f"({options.heartbeat_tick})"
        )
    try:
        interval = parse_duration(options.tick_interval)
    except ValueError as error:
        raise InvalidConsensus(
            f"failed to parse TickInterval ({options.tick_interval}) to time duration: {error}"
        ) from None
    if interval == 0:
        raise InvalidConsensus("TickInterval cannot be zero")


def _validate_consenters(consenters: Any, anchors: TrustAnchors, now: datetime) -> None:
    if not consenters:
        raise InvalidConsensus("empty consenter set")
    for consenter in consenters:
        try:
            _validate_certificates(consenter, anchors, now, expired_too=True)
        except InvalidConsensus as error:
            raise InvalidConsensus(
                f"consenter {consenter.host}:{consenter.port} has invalid certificate: {error}"
            ) from None
    seen: set[bytes] = set()
    for consenter in consenters:
        server, client = consenter.server_tls_cert, consenter.client_tls_cert
        if server in seen or client in seen:
            raise InvalidConsensus(
                f"duplicate consenter: server cert: {server.decode(errors='replace')}, "
                f"client cert: {client.decode(errors='replace')}"
            )
        seen |= {server, client}


def _list_added(before: Iterable[Any], after: Iterable[Any]) -> list[Any]:
    """The new consenters, known by client certificate: at most one, and at most one gone."""
    old = {one.client_tls_cert for one in before}
    new = {one.client_tls_cert for one in after}
    added = [one for one in after if one.client_tls_cert not in old]
    removed = old - new
    if len(added) > 1 or len(removed) > 1:
        raise InvalidConsensus(
            "update of more than one consenter at a time is not supported, requested changes: "
            f"add {len(added)} node(s), remove {len(removed)} node(s)"
        )
    return added


def _validate_certificates(
    consenter: Any, anchors: TrustAnchors, now: datetime, *, expired_too: bool
) -> None:
    """Both certificates lead to a TLS root of an orderer organisation."""
    parsed = []
    for kind, pem in (("client", consenter.client_tls_cert), ("server", consenter.server_tls_cert)):
        try:
            parsed.append((kind, _load(pem)))
        except InvalidConsensus as error:
            raise InvalidConsensus(
                f"parsing tls {kind} cert of {consenter.host}:{consenter.port}: {error}"
            ) from None
    for kind, certificate in parsed:
        try:
            anchors.verify(certificate, now)
        except InvalidChain as error:
            if expired_too and str(error).startswith(_EXPIRED):
                continue  # Go says the same of one that is not valid yet
            raise InvalidConsensus(
                f"verifying tls {kind} cert with serial number {certificate.serial_number}: {error}"
            ) from None


def _load(pem: bytes) -> x509.Certificate:
    if first_pem(pem) is None:
        raise InvalidConsensus(f"no PEM data found in cert[{pem.hex(' ')}]")
    try:
        return load_certificate(pem)
    except IdentityError:
        text = pem.decode(errors="replace")
        raise InvalidConsensus(f"TLS certificate has invalid ASN1 structure {text}") from None


def _collect_anchors(config: ChannelConfig) -> TrustAnchors:
    anchors = TrustAnchors()
    for org in config.orderer_orgs.values():
        msp = config.msps.msp(org.msp_id).config
        anchors.roots += [_load(pem) for pem in msp.tls_root_certs]
        anchors.intermediates += [_load(pem) for pem in msp.tls_intermediate_certs]
    return anchors
