"""`protos.Deliver`: blocks, filtered blocks, and blocks with private data, to those who may read.

The stream is `serving.deliver`'s; here is what a peer sends and whom it lets read. Source:
core/peer/deliverevents.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.peer import events_pb2

from network.node.ledger.channel import PeerChannel
from network.node.serving.deliver import (
    BlockFormat,
    Deliver,
    DeliverSource,
    send_block,
)
from network.rules.envelope import SignedData
from network.rules.policy.evaluation import (
    MalformedPolicy,
    PolicyUnsatisfied,
    compile_signature_policy,
)
from network.rules.state.rwset import PrivateCollection, build_private_rwset, open_private_rwset
from network.rules.validation.events import filtered_block
from network.rules.wire import encode_field

GetChannel = Callable[[str], PeerChannel | None]


def build_peer_deliver(deliver: Deliver, get_channel: GetChannel) -> Any:
    """The gRPC handlers of protos.Deliver; messages pass as bytes."""

    async def send_private(block: bytes, source: DeliverSource, reader: SignedData) -> bytes:
        return await asyncio.to_thread(_build_private, block, source, reader, get_channel)

    forms = {
        "Deliver": BlockFormat(lambda config: config.acl("event/Block"), send_block),
        "DeliverFiltered": BlockFormat(
            lambda config: config.acl("event/FilteredBlock"), _send_filtered
        ),
        "DeliverWithPrivateData": BlockFormat(
            lambda config: config.acl("event/Block"), send_private
        ),
    }
    return grpc.method_handlers_generic_handler(
        "protos.Deliver",
        {
            name: grpc.stream_stream_rpc_method_handler(_build_handler(deliver, form))
            for name, form in forms.items()
        },
    )


def _build_handler(deliver: Deliver, form: BlockFormat) -> Any:
    async def serve(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for response in deliver.serve(requests, context, form):
            yield response

    return serve


async def _send_filtered(block: bytes, source: DeliverSource, reader: SignedData) -> bytes:
    del reader
    filtered = filtered_block(source.config.channel_id, common_pb2.Block.FromString(block))
    return encode_field(3, filtered.SerializeToString())


def _build_private(
    raw: bytes, source: DeliverSource, reader: SignedData, get_channel: GetChannel
) -> bytes:
    """The block with the private data of it that the reader may see."""
    message = events_pb2.BlockAndPrivateData()
    message.block.ParseFromString(raw)
    channel = get_channel(source.config.channel_id)
    if channel is not None:
        kept = channel.get_private_sets(message.block.header.number)
        for index, private in kept.items():
            allowed = [
                part for part in open_private_rwset(private) if _may_see(channel, part, reader)
            ]
            if allowed:
                message.private_data_map[index].CopyFrom(
                    rwset_pb2.TxPvtReadWriteSet.FromString(build_private_rwset(allowed))
                )
    return encode_field(4, message.SerializeToString())


def _may_see(channel: PeerChannel, part: PrivateCollection, reader: SignedData) -> bool:
    """Members only where the collection says so; a collection that is gone shows nothing."""
    collection = channel.find_collection(part.namespace, part.collection)
    if collection is None:
        return False
    if not collection.member_only_read:
        return True
    policy = collection.member_orgs_policy.signature_policy
    try:
        compile_signature_policy(policy, channel.config.msps).evaluate([reader])
    except (MalformedPolicy, PolicyUnsatisfied):
        return False
    return True
