"""Changing a channel's configuration: from a difference to a config block, a stage at a time.

    config = await fetch_config(orderer, "care")
    proposal = propose(config, edited)            # nothing is signed or sent
    proposal = proposal.sign(admin1).sign(admin2)
    proposal.judge(config)                        # whose signatures are still missing
    await submit(orderer, proposal, admin1)

A proposal's bytes are those of Fabric's own tools: a `common.Envelope` of type CONFIG_UPDATE, as
`peer channel signconfigtx` signs it and `peer channel update` sends it, so that a file may pass
through these and through ours in any order.
"""

import asyncio
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from fabric_protos.common import common_pb2, configtx_pb2
from google.protobuf.message import DecodeError

from network.client import channel
from network.client.channel import BlockSource
from network.client.errors import ClientError, CommitStatusError, GatewayError
from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configtx import (
    RefusedUpdate,
    authorize_update,
    build_update_envelope,
    compute_update,
    sign_update,
)
from network.rules.channel.signing import (
    Requirement,
    Signature,
    judge_signatures,
    list_signatures,
)
from network.rules.envelope import (
    NONCE_BYTES,
    MalformedMessage,
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
    open_envelope,
)
from network.rules.identity.identity import Signing
from network.rules.ordering.consenters import InvalidConsensus, validate_consensus
from network.rules.ordering.maintenance import IllegalTransition, validate_transition

PAUSE = 0.1  # seconds between two looks whether a node has the new configuration


class InvalidProposal(ClientError, ValueError):
    """The bytes are no config update that can be signed or sent; says why."""


class Broadcasting(Protocol):
    """An orderer that takes messages."""

    async def broadcast(self, envelope: Any) -> None:
        """The orderer has accepted the signed envelope."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A config update on its way from one administrator to the next. Immutable.

    Attributes:
        channel_id: the channel.
        update: ConfigUpdate bytes; what every signature covers.
        signatures: the administrators' (`common.ConfigSignature`), in order.
    """

    channel_id: str
    update: bytes = field(repr=False)
    signatures: tuple[Any, ...] = field(default=(), repr=False)

    @classmethod
    def from_bytes(cls, content: bytes) -> "Proposal":
        """A proposal from the bytes of `to_bytes`, or of Fabric's tools.

        Raises:
            InvalidProposal: they are no CONFIG_UPDATE envelope.
        """
        try:
            envelope = open_envelope(content)
        except MalformedMessage as error:
            raise InvalidProposal(f"is no config update envelope: {error}") from None
        header = envelope.channel_header
        if header.type != common_pb2.CONFIG_UPDATE:
            raise InvalidProposal("is an envelope of another type than CONFIG_UPDATE")
        try:
            message = configtx_pb2.ConfigUpdateEnvelope.FromString(envelope.data)
            update = configtx_pb2.ConfigUpdate.FromString(message.config_update)
        except DecodeError as error:
            raise InvalidProposal(f"holds no config update: {error}") from None
        if not update.channel_id or update.channel_id != header.channel_id:
            raise InvalidProposal(
                f"is addressed to channel {header.channel_id!r}, but the update in it is for "
                f"{update.channel_id!r}"
            )
        return cls(update.channel_id, message.config_update, tuple(message.signatures))

    @property
    def envelope(self) -> configtx_pb2.ConfigUpdateEnvelope:
        """The `common.ConfigUpdateEnvelope`: the update with its signatures."""
        return build_update_envelope(self.update, self.signatures)

    def to_bytes(self) -> bytes:
        """The unsigned `common.Envelope` that files carry."""
        return self._envelope(b"")

    def sign(self, signer: Signing) -> "Proposal":
        """The proposal with one more signature; as it is where this signer has signed already."""
        if any(self._creator(one) == signer.creator for one in self.signatures):
            return self
        signature = sign_update(signer, self.update, secrets.token_bytes(NONCE_BYTES))
        return Proposal(self.channel_id, self.update, (*self.signatures, signature))

    def judge(self, config: ChannelConfig) -> list[Requirement]:
        """Every policy that must be satisfied, and whose signatures each still lacks.

        Raises:
            RefusedUpdate: the update does not fit the configuration.
        """
        return judge_signatures(config, self.envelope)

    def signed_by(self, config: ChannelConfig) -> list[Signature]:
        """Who has signed, in order."""
        return list_signatures(config, self.envelope)

    def preview(self, config: ChannelConfig) -> ChannelConfig:
        """What the channel would be after it.

        Raises:
            RefusedUpdate: an orderer would refuse it; the text is the orderer's.
        """
        following = ChannelConfig.from_config(
            config.channel_id, authorize_update(config, self.to_bytes())
        )
        try:
            validate_consensus(config, following, datetime.now(UTC))
            validate_transition(config, following, self.envelope.SerializeToString())
        except (InvalidConsensus, IllegalTransition) as error:
            raise RefusedUpdate(str(error)) from None
        return following

    def for_broadcast(self, signer: Signing) -> common_pb2.Envelope:
        """The envelope as the signer sends it to an orderer."""
        return common_pb2.Envelope.FromString(self._envelope(signer.creator, signer))

    def _envelope(self, creator: bytes, signer: Signing | None = None) -> bytes:
        header = build_channel_header(
            type=common_pb2.CONFIG_UPDATE,
            channel_id=self.channel_id,
            timestamp=datetime.now(UTC),
        )
        nonce = secrets.token_bytes(NONCE_BYTES) if signer else b""
        payload = build_payload(
            header,
            build_signature_header(creator, nonce),
            self.envelope.SerializeToString(),
        )
        return build_envelope(payload, signer.sign(payload) if signer else b"")

    @staticmethod
    def _creator(signature: Any) -> bytes:
        try:
            header = common_pb2.SignatureHeader.FromString(signature.signature_header)
        except DecodeError:
            return b""
        return bytes(header.creator)


def propose(config: ChannelConfig, updated: configtx_pb2.Config) -> Proposal:
    """The update that leads from the channel's configuration to another, unsigned.

    Raises:
        NoDifference: they say the same.
    """
    update = compute_update(config.config, updated, config.channel_id)
    return Proposal(config.channel_id, update.SerializeToString(deterministic=True))


async def fetch_config(source: BlockSource, channel_id: str) -> ChannelConfig:
    """The channel's configuration as an orderer or a peer has it.

    Raises:
        EventsError: the node refused or does not have the channel.
        InvalidConfig: its configuration is not one that we understand.
    """
    return ChannelConfig.from_block(await channel.fetch(source, channel_id, "config"))


async def submit(orderer: Broadcasting, proposal: Proposal, sender: Signing) -> None:
    """The orderer has accepted the update and makes a config block of it.

    Args:
        orderer: any orderer of the channel.
        proposal: with enough signatures.
        sender: who sends it: a writer of the channel.

    Raises:
        SubmitError: it was refused; the text is the orderer's.
        NodeError: no answer.
    """
    await orderer.broadcast(proposal.for_broadcast(sender))


async def wait_for_sequence(
    source: BlockSource, channel_id: str, sequence: int, *, timeout: float
) -> ChannelConfig:
    """The node's configuration once its sequence is at least this.

    Raises:
        CommitStatusError: it did not get there in time.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        trouble = f"it is at sequence {sequence - 1} or before"
        try:
            config = await fetch_config(source, channel_id)
            if config.sequence >= sequence:
                return config
        except (GatewayError, InvalidConfig) as failure:
            trouble = str(failure)
        if asyncio.get_running_loop().time() > deadline:
            raise CommitStatusError(
                "DEADLINE_EXCEEDED",
                f"the configuration of sequence {sequence} did not arrive in {timeout:g} s: "
                f"{trouble}",
            )
        await asyncio.sleep(PAUSE)


__all__ = [
    "InvalidProposal",
    "Proposal",
    "RefusedUpdate",
    "fetch_config",
    "propose",
    "submit",
    "wait_for_sequence",
]
