"""`qscc` and `cscc`: reading the ledger and joining channels through proposals.

Sources: core/scc/qscc/query.go, core/scc/cscc/configure.go; the texts are theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fabric_protos.common import common_pb2
from fabric_protos.peer import query_pb2
from fabric_protos.peer.proposal_response_pb2 import Response

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.endorsing.execution import Transaction
from network.node.ledger.channel import BlockNotFound, PeerChannel
from network.rules.blocks.block import get_channel_id
from network.rules.channel.config import InvalidConfig, open_config_block
from network.rules.envelope import MalformedMessage, SignedData, parse_message


def build_success(payload: bytes = b"") -> Response:
    """A response with status 200."""
    return Response(status=200, payload=payload)


def build_failure(message: str, status: int = 500) -> Response:
    """A response with an error status."""
    return Response(status=status, message=message)


class Refused(Exception):
    """The call fails with this text and status 500."""


def get_signed_data(transaction: Transaction) -> SignedData:
    """The proposal as something that its creator signed."""
    return SignedData(
        transaction.signed.proposal_bytes,
        transaction.opened.signature_header.creator,
        transaction.signed.signature,
    )


class LedgerQueries:
    """`qscc`."""

    def __init__(
        self, access: AccessControl, get_channel: Callable[[str], PeerChannel | None]
    ) -> None:
        self._access = access
        self._get_channel = get_channel

    async def invoke(self, args: tuple[bytes, ...], transaction: Transaction) -> Response:
        """What the ledger of the channel in the second argument holds."""
        if len(args) < 2:
            return build_failure(f"Incorrect number of arguments, {len(args)}")
        function, channel_id = _text(args[0]), _text(args[1])
        invoked = transaction.opened.chaincode_name
        if invoked != "qscc":
            return build_failure(
                "Rejecting invoke of QSCC from another chaincode because of potential for "
                f"deadlocks, original invocation for '{invoked}'"
            )
        if function != "GetChainInfo" and len(args) < 3:
            return build_failure(f"missing 3rd argument for {function}")
        channel = self._get_channel(channel_id)
        if channel is None:
            return build_failure(f"Invalid chain ID, {channel_id}")
        try:
            self._access.validate(f"qscc/{function}", channel_id, get_signed_data(transaction))
        except AccessDenied as denied:
            return build_failure(f"access denied for [{function}][{channel_id}]: [{denied}]")
        try:
            return build_success(await _query(function, channel, args[2:]))
        except Refused as refusal:
            return build_failure(str(refusal))


async def _query(function: str, channel: PeerChannel, rest: Sequence[bytes]) -> bytes:
    match function:
        case "GetChainInfo":
            info = await channel.get_info()
            return bytes(info.SerializeToString())
        case "GetBlockByNumber":
            return await _get_by_number(channel, _text(rest[0]))
        case "GetBlockByHash":
            return await _look_up(
                channel.get_block_by_hash(rest[0]), f"Failed to get block hash {_text(rest[0])}"
            )
        case "GetBlockByTxID":
            tx_id = _text(rest[0])
            return await _look_up(
                channel.get_block_by_tx(tx_id), f"Failed to get block for txID {tx_id}"
            )
        case "GetTransactionByID":
            tx_id = _text(rest[0])
            return await _look_up(
                channel.get_transaction(tx_id), f"Failed to get transaction with id {tx_id}"
            )
    raise Refused(f"Requested function {function} not found.")


async def _get_by_number(channel: PeerChannel, text: str) -> bytes:
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 64:
        raise Refused(
            "Failed to parse block number with error "
            f'strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    number = int(text)
    if number == (1 << 64) - 1:
        number = channel.height - 1  # Fabric's "newest"
    return await _look_up(channel.find_block(number), f"Failed to get block number {text}")


async def _look_up(found: Awaitable[bytes], failure: str) -> bytes:
    try:
        return await found
    except BlockNotFound as error:
        raise Refused(f"{failure}, error {error}") from None


class Channels(Protocol):
    """The peer's channels, as `cscc` sees them."""

    def get_channel(self, channel_id: str) -> PeerChannel | None:
        """The channel, or None."""
        ...

    @property
    def channel_ids(self) -> list[str]:
        """Every channel joined."""
        ...

    async def join(self, genesis: common_pb2.Block) -> None:
        """The peer has joined the channel of the genesis block; raises JoinRefused."""
        ...

    def join_by_snapshot(self, folder: str) -> None:
        """The peer is joining the channel of the snapshot; raises JoinRefused."""
        ...

    @property
    def joining_snapshot(self) -> str | None:
        """The folder of the snapshot by which a channel is being joined, or None."""
        ...


class JoinRefused(Exception):
    """The channel cannot be joined; the text says why."""


class PeerConfiguration:
    """`cscc`."""

    def __init__(self, access: AccessControl, channels: Channels) -> None:
        self._access = access
        self._channels = channels

    async def invoke(self, args: tuple[bytes, ...], transaction: Transaction) -> Response:
        """Joins a channel, or answers which there are and how they are configured."""
        function = _text(args[0]) if args else ""
        if len(args) < (1 if function in ("GetChannels", "JoinBySnapshotStatus") else 2):
            return build_failure(f"Incorrect number of arguments, {len(args)}")
        invoked = transaction.opened.chaincode_name
        if invoked != "cscc":
            return build_failure(
                "Rejecting invoke of CSCC from another chaincode, original invocation for "
                f"'{invoked}'"
            )
        signed = get_signed_data(transaction)
        try:
            match function:
                case "JoinChain":
                    return await self._join(args[1], signed)
                case "GetConfigBlock":
                    return await self._get_config_block(_text(args[1]), signed)
                case "GetChannelConfig":
                    return self._get_config(_text(args[1]), signed)
                case "GetChannels":
                    return self._list(signed)
                case "JoinChainBySnapshot":
                    return self._join_by_snapshot(_text(args[1]), signed)
                case "JoinBySnapshotStatus":
                    return self._get_joining(signed)
        except Refused as refusal:
            return build_failure(str(refusal))
        return build_failure(f"Requested function {function} not found.")

    async def _join(self, raw: bytes, signed: SignedData) -> Response:
        try:
            block = parse_message(common_pb2.Block, raw)
        except MalformedMessage as error:
            return build_failure(f"Failed to reconstruct the genesis block, {error}")
        try:
            channel_id = get_channel_id(block)
        except MalformedMessage as error:
            return build_failure(
                f'"JoinChain" request failed to extract channel id from the block due to [{error}]'
            )
        failed = (
            f'"JoinChain" for channelID = {channel_id} failed because of validation of '
            "configuration block, because of "
        )
        try:
            _, config = open_config_block(block)
        except InvalidConfig as error:
            return build_failure(f"{failed}Bad configuration envelope: {error}")
        if "Application" not in config.channel_group.groups:
            return build_failure(
                f"{failed}Invalid configuration block, missing Application configuration group"
            )
        self._validate("JoinChain", f"[JoinChain][{channel_id}]", "[]", signed)
        try:
            await self._channels.join(block)
        except JoinRefused as error:
            return build_failure(str(error))
        return build_success()

    def _join_by_snapshot(self, folder: str, signed: SignedData) -> Response:
        if not folder:
            return build_failure("Cannot join the channel, no snapshot directory provided")
        self._validate("JoinChainBySnapshot", "", "[]", signed)
        try:
            self._channels.join_by_snapshot(folder)
        except JoinRefused as error:
            return build_failure(str(error))
        return build_success()

    def _get_joining(self, signed: SignedData) -> Response:
        self._validate("JoinBySnapshotStatus", "", "", signed)
        folder = self._channels.joining_snapshot
        status = query_pb2.JoinBySnapshotStatus(
            in_progress=folder is not None, bootstrapping_snapshot_dir=folder or ""
        )
        return build_success(status.SerializeToString())

    async def _get_config_block(self, channel_id: str, signed: SignedData) -> Response:
        self._validate("GetConfigBlock", f"[GetConfigBlock][{channel_id}]", "", signed, channel_id)
        channel = self._channels.get_channel(channel_id)
        if channel is None:
            return build_failure(f"Unknown channel ID, {channel_id}")
        try:
            return build_success(await channel.get_config_block())
        except BlockNotFound as error:
            return build_failure(str(error))

    def _get_config(self, channel_id: str, signed: SignedData) -> Response:
        if not channel_id:
            return build_failure("empty channel name provided")
        shown = f"[GetChannelConfig][{channel_id}]"
        self._validate("GetChannelConfig", shown, "", signed, channel_id)
        channel = self._channels.get_channel(channel_id)
        if channel is None:
            return build_failure(f"unknown channel ID, {channel_id}")
        return build_success(channel.config.config.SerializeToString())

    def _list(self, signed: SignedData) -> Response:
        self._validate("GetChannels", "[GetChannels]", "", signed)
        found = [query_pb2.ChannelInfo(channel_id=name) for name in self._channels.channel_ids]
        return build_success(query_pb2.ChannelQueryResponse(channels=found).SerializeToString())

    def _validate(
        self, function: str, shown: str, brackets: str, signed: SignedData, channel_id: str = ""
    ) -> None:
        try:
            self._access.validate(f"cscc/{function}", channel_id, signed)
        except AccessDenied as denied:
            reason = f"[{denied}]" if brackets else str(denied)
            raise Refused(f"access denied for {shown or f'[{function}]'}: {reason}") from None


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
