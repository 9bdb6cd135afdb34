"""What an orderer admits: Fabric's message processor (orderer/common/msgprocessor).

The order of the checks and the texts are Fabric's, since clients print them: emptiness, size, the
creator's expiry, the channel's writers. The orderer does not look inside an endorser transaction:
no transaction id, no read-write set, no duplicates; that is the peers' work.

A config update is turned into the config it leads to (`propose_config`), signed by the orderer and
ordered alone. `Refused` carries the status and the text of the BroadcastResponse.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from fabric_protos.common import common_pb2, configtx_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import RefusedUpdate, authorize_update
from network.rules.envelope import (
    MalformedMessage,
    OpenedEnvelope,
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
    open_envelope,
    parse_message,
)
from network.rules.identity.identity import IdentityError, Signer, read_expiry
from network.rules.ordering.consenters import InvalidConsensus, validate_consensus
from network.rules.ordering.maintenance import IllegalTransition, validate_transition
from network.rules.policy.evaluation import PolicyUnsatisfied
from network.rules.policy.manager import (
    CHANNEL_READERS,
    CHANNEL_WRITERS,
    ORDERER_READERS,
    ORDERER_WRITERS,
)


class Refused(ValueError):
    """A message that is not ordered: the BroadcastResponse's status (common.Status) and info."""

    def __init__(self, status: int, info: str) -> None:
        super().__init__(info)
        self.status = status
        self.info = info


class Kind(Enum):
    """How a message is ordered: among others, or as a config block of its own."""

    NORMAL = "normal"
    CONFIG_UPDATE = "config update"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A message that passed the filters under the config of `sequence`.

    `raw` is canonical: what a block may carry. `size` counts payload and signature, as the batch
    limits do.
    """

    kind: Kind
    envelope: OpenedEnvelope
    sequence: int

    @property
    def raw(self) -> bytes:
        """Canonical envelope bytes."""
        return self.envelope.raw

    @property
    def size(self) -> int:
        """Bytes of payload and signature."""
        return len(self.envelope.payload) + len(self.envelope.signature)


@dataclass(frozen=True, slots=True)
class ProposedConfig:
    """The CONFIG envelope that a config update leads to, and the config it brings."""

    admitted: Admitted
    config: ChannelConfig


def open_message(raw: bytes) -> OpenedEnvelope:
    """The envelope a client sent, in canonical form: what is not part of an Envelope's two fields
    in their order is normalised, so that no peer refuses the block (`validate_well_formed`).

    Raises:
        Refused: BAD_REQUEST "could not determine channel ID: …" (Registrar.BroadcastChannelSupport)
    """
    try:
        envelope = parse_message(common_pb2.Envelope, raw)
        return open_envelope(envelope.SerializeToString())
    except MalformedMessage as error:
        if error.part == "SignatureHeader":
            raise Refused(
                common_pb2.BAD_REQUEST,
                "could not convert message to signedData: GetSignatureHeaderFromBytes failed, err "
                "proto: cannot parse invalid wire-format data",
            ) from None
        text = "header not set" if error.part == "Header" else str(error)
        raise Refused(common_pb2.BAD_REQUEST, f"could not determine channel ID: {text}") from None


def classify(envelope: OpenedEnvelope) -> Kind:
    """How the message is to be processed, by its header's type alone.

    Raises:
        Refused: BAD_REQUEST for the types that only orderers make.
    """
    kind = envelope.channel_header.type
    if kind == common_pb2.CONFIG_UPDATE:
        return Kind.CONFIG_UPDATE
    if kind == common_pb2.CONFIG:
        raise Refused(
            common_pb2.BAD_REQUEST, "message is of type that cannot be processed directly"
        )
    if kind == common_pb2.ORDERER_TRANSACTION:
        raise Refused(common_pb2.BAD_REQUEST, "message is of type that is no longer supported")
    return Kind.NORMAL


def admit(
    envelope: OpenedEnvelope, config: ChannelConfig, now: datetime, *, checks_expiry: bool = True
) -> Admitted:
    """`envelope` with the filters of `config` passed.

    A config update so admitted still has to be proposed (`propose_config`).

    Raises:
        Refused: FORBIDDEN for a creator who may not write, SERVICE_UNAVAILABLE for a transaction
            in maintenance mode, BAD_REQUEST otherwise.
    """
    kind = classify(envelope)
    if kind is Kind.NORMAL and config.maintenance:
        raise Refused(
            common_pb2.SERVICE_UNAVAILABLE,
            "normal transactions are rejected: maintenance mode",
        )
    try:
        _filter(envelope, config, now, checks_expiry)
    except Refused as refusal:
        if kind is Kind.NORMAL:
            raise
        raise Refused(
            refusal.status,
            f"config update for existing channel did not pass initial checks: {refusal.info}",
        ) from refusal
    return Admitted(kind, envelope, config.sequence)


def propose_config(
    update: OpenedEnvelope,
    config: ChannelConfig,
    signer: Signer,
    nonce: bytes,
    now: datetime,
    *,
    checks_expiry: bool = True,
) -> ProposedConfig:
    """The CONFIG envelope that the CONFIG_UPDATE envelope `update` leads to, signed by `signer`.

    Raises:
        Refused: the update is not authorised, leads nowhere or to a config that is not valid, or
            the orderer may not write under it; BAD_REQUEST unless a filter says otherwise.
    """
    try:
        next_config = authorize_update(config, update.raw)
    except RefusedUpdate as error:
        raise _inapplicable(config, str(error)) from error
    message = configtx_pb2.ConfigEnvelope(
        config=next_config, last_update=common_pb2.Envelope.FromString(update.raw)
    )
    following = ChannelConfig.from_config(config.channel_id, next_config)
    try:
        validate_consensus(config, following, now)
    except InvalidConsensus as error:
        raise _inapplicable(
            config, f"consensus metadata update for channel config update is invalid: {error}"
        ) from None
    envelope = open_envelope(_build_config_envelope(message, config.channel_id, signer, nonce, now))
    try:
        _filter(envelope, config, now, checks_expiry)
    except Refused as refusal:
        raise Refused(
            refusal.status,
            f"config update for existing channel did not pass final checks: {refusal.info}",
        ) from refusal
    try:
        validate_transition(config, following, update.data)
    except IllegalTransition as error:
        raise Refused(
            common_pb2.BAD_REQUEST,
            f"config update for existing channel did not pass maintenance checks: {error}",
        ) from None
    return ProposedConfig(Admitted(Kind.CONFIG_UPDATE, envelope, config.sequence), following)


def _inapplicable(config: ChannelConfig, why: str) -> Refused:
    text = f"error applying config update to existing channel '{config.channel_id}': {why}"
    return Refused(common_pb2.BAD_REQUEST, text)


def get_readers_policy(config: ChannelConfig) -> str:
    """The policy that a reader of the orderer's blocks must satisfy."""
    return ORDERER_READERS if config.maintenance else CHANNEL_READERS


def _filter(
    envelope: OpenedEnvelope, config: ChannelConfig, now: datetime, checks_expiry: bool
) -> None:
    """CreateStandardChannelFilters, in its order: dear checks come last."""
    if not envelope.payload:
        raise Refused(common_pb2.BAD_REQUEST, "Message was empty")
    size = len(envelope.payload) + len(envelope.signature)
    limit = config.batch.absolute_max_bytes
    if size > limit:
        raise Refused(
            common_pb2.BAD_REQUEST,
            f"message payload is {size} bytes and exceeds maximum allowed {limit} bytes",
        )
    if checks_expiry and _is_expired(envelope.signature_header.creator, config, now):
        raise Refused(common_pb2.BAD_REQUEST, "broadcast client identity expired")
    policy = ORDERER_WRITERS if config.maintenance else CHANNEL_WRITERS
    try:
        config.policies.get(policy).evaluate([envelope.signed_data])
    except PolicyUnsatisfied as error:
        raise Refused(common_pb2.FORBIDDEN, f"{error}: permission denied") from error


def _is_expired(creator: bytes, config: ChannelConfig, now: datetime) -> bool:
    try:
        # The MSPs remember whom they have read; whom they do not know is read here.
        ends: datetime | None = config.msps.identity(creator).not_after
    except IdentityError:
        ends = read_expiry(creator)
    return ends is not None and now >= ends


def _build_config_envelope(
    message: Any, channel_id: str, signer: Signer, nonce: bytes, now: datetime
) -> bytes:
    channel_header = build_channel_header(
        type=common_pb2.CONFIG, channel_id=channel_id, timestamp=now.replace(microsecond=0)
    )
    payload = build_payload(
        channel_header,
        build_signature_header(signer.creator, nonce),
        message.SerializeToString(deterministic=True),
    )
    return build_envelope(payload, signer.sign(payload))
