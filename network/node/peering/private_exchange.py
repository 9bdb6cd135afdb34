"""Private data between the peers of a collection: pushed at endorsement, pulled when missing.

Who may hold what is decided by the collection's member policy on the peer's identity, by sender and
receiver alike. Nothing here is ever logged but counts and names of collections. Sources of the
behaviour: gossip/privdata/{distributor,pull,reconcile}.go.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from network.node.endorsing.execution import SimulationFailed
from network.node.ledger.channel import PeerChannel
from network.node.ledger.store import MissingData
from network.node.peering.membership import Member, Membership
from network.node.serving.connections import Connections
from network.rules.endorsement.plan import Endorser
from network.rules.identity.identity import Identity, Signer
from network.rules.lifecycle.states import implicit_collection_org
from network.rules.peers.dissemination import (
    BadRequest,
    TooFewPeers,
    build_header,
    choose_peers,
    open_request,
    sign_request,
    validate_request,
)
from network.rules.policy.evaluation import MalformedPolicy, compile_signature_policy
from network.rules.state.rwset import (
    MalformedRwset,
    PrivateCollection,
    build_private_rwset,
    open_private_rwset,
)
from network.rules.validation.privatedata import PrivateNeed
from protos import private_data_pb2, private_data_pb2_grpc

log = logging.getLogger("gossip.privdata")

MAX_DIGESTS = 1000
"""Write sets asked for in one request."""
_UNKNOWN = b""
"""Stands for the hash of a write set from before the asking peer's snapshot. That peer has a hash
of each key that it wants, and judges by those."""
SOON = 2.0
"""Seconds until data that a block came without is asked for again."""


@dataclass(frozen=True, slots=True)
class PrivateOptions:
    """Seconds to wait and peers to tell (peer.gossip.pvtData in core.yaml)."""

    push_timeout: float = 3.0
    pull_timeout: float = 3.0
    pull_patience: float = 1.0
    """How long a commit tries to find missing data before the block goes on without it."""
    reconcile_interval: float = 60.0
    reconcile_batch: int = 10
    implicit_required: int = 0
    implicit_maximum: int = 1


DEFAULT_OPTIONS = PrivateOptions()


class PrivateExchange:
    """This peer's part in bringing private data to those who may hold it."""

    def __init__(
        self,
        signer: Signer,
        membership: Membership,
        connections: Connections,
        get_channel: Callable[[str], PeerChannel | None],
        *,
        options: PrivateOptions = DEFAULT_OPTIONS,
        time_window: timedelta = timedelta(minutes=15),
    ) -> None:
        self._signer = signer
        self._membership = membership
        self._connections = connections
        self._get_channel = get_channel
        self._options = options
        self._time_window = time_window
        self._pushes: set[asyncio.Task[bool]] = set()
        self._reached: dict[str, MissingData] = {}
        self._missed = asyncio.Event()

    # --- pushing --------------------------------------------------------------------------------

    async def distribute(
        self, channel: PeerChannel, tx_id: str, endorsed_at: int, private: bytes
    ) -> None:
        """The data is here and at as many other peers as its collections require.

        Raises:
            SimulationFailed: too few peers may hold it or have acknowledged it.
        """
        await channel.keep_transient(tx_id, endorsed_at, private)
        parts_of: dict[Endorser, list[PrivateCollection]] = defaultdict(list)
        required_of: dict[PrivateCollection, list[Endorser]] = {}
        needed: dict[PrivateCollection, int] = {}
        for part in open_private_rwset(private):
            try:
                chosen, required = self._choose(channel, part)
            except TooFewPeers as error:
                raise SimulationFailed(
                    "could not build private data dissemination plan for chaincode "
                    f"{part.namespace} and collection {part.collection}: {error}"
                ) from None
            for endorser in chosen:
                parts_of[endorser].append(part)
            if required:
                required_of[part], needed[part] = chosen, required
        pushes = {
            endorser: self._start_push(channel, endorser, tx_id, endorsed_at, parts)
            for endorser, parts in parts_of.items()
        }
        failed = 0
        for part, endorsers in required_of.items():
            acknowledged = await asyncio.gather(*(pushes[endorser] for endorser in endorsers))
            failed += sum(acknowledged) < needed[part]
        if failed:
            raise SimulationFailed(
                f"Failed disseminating {failed} out of {len(required_of)} private "
                "dissemination plans"
            )

    def _choose(self, channel: PeerChannel, part: PrivateCollection) -> tuple[list[Endorser], int]:
        """Whom to send one collection's data, and how many of them must acknowledge."""
        collection = channel.find_collection(part.namespace, part.collection)
        if collection is None:
            return [], 0
        required, maximum = collection.required_peer_count, collection.maximum_peer_count
        if implicit_collection_org(part.collection) == self._signer.msp_id:
            required = self._options.implicit_required
            maximum = self._options.implicit_maximum
        eligible = [
            member.endorser
            for member in self._others(channel)
            if is_eligible(channel, collection, member.identity)
        ]
        chosen = choose_peers(eligible, required, maximum, random.shuffle)
        return list(chosen.peers), chosen.required

    def _start_push(
        self,
        channel: PeerChannel,
        endorser: Endorser,
        tx_id: str,
        endorsed_at: int,
        parts: list[PrivateCollection],
    ) -> asyncio.Task[bool]:
        request = private_data_pb2.PushRequest(
            header=self._build_header(channel, endorser),
            tx_id=tx_id,
            endorsed_at=endorsed_at,
            private_rwset=build_private_rwset(parts),
        )
        task = asyncio.create_task(self._push(channel, endorser, request))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)
        return task

    async def _push(
        self, channel: PeerChannel, endorser: Endorser, request: private_data_pb2.PushRequest
    ) -> bool:
        """Whether the peer has acknowledged."""
        try:
            await self._stub(channel, endorser).Push(
                sign_request(request, self._signer), timeout=self._options.push_timeout
            )
        except grpc.aio.AioRpcError as error:
            log.warning(
                "channel %s: private data of transaction %.8s did not reach %s: %s",
                channel.channel_id, request.tx_id, endorser.address, error.code().name,
            )  # fmt: skip
            return False
        return True

    async def receive_push(self, signed: private_data_pb2.SignedRequest) -> None:
        """What this peer may hold of the pushed data waits here for its transaction.

        Raises:
            BadRequest: the push is refused.
        """
        request = open_request(private_data_pb2.PushRequest, signed)
        channel, _ = self._validate(request.header, signed)
        try:
            parts = open_private_rwset(request.private_rwset)
        except MalformedRwset:
            raise BadRequest("the private write sets cannot be read") from None
        mine = [part for part in parts if self._may_hold(channel, part, None)]
        if mine and not await channel.has_transaction(request.tx_id):
            # An endorser far ahead or behind must not keep data here for ever or drop it at once.
            height = min(request.endorsed_at, channel.height)
            await channel.keep_transient(request.tx_id, height, build_private_rwset(mine))

    # --- pulling --------------------------------------------------------------------------------

    async def fetch(
        self, channel: PeerChannel, needs: Sequence[PrivateNeed]
    ) -> Mapping[PrivateNeed, bytes]:
        """The write sets that other members still have, asked for at commit."""
        found: dict[PrivateNeed, bytes] = {}
        by_key = {_key(need.tx_id, need.namespace, need.collection): need for need in needs}
        deadline = asyncio.get_running_loop().time() + self._options.pull_patience
        while len(found) < len(needs):
            left = [need for need in needs if need not in found]
            digests = [_build_digest(need) for need in left]
            for digest, raw in await self._pull(channel, digests):
                need = by_key.get(_key(digest.tx_id, digest.namespace, digest.collection))
                if need is not None:
                    found[need] = raw
            if asyncio.get_running_loop().time() > deadline or not self._others(channel):
                break
            if len(found) < len(needs):
                await asyncio.sleep(self._options.pull_patience / 5)
        if len(found) < len(needs):
            self._missed.set()
            log.warning(
                "channel %s: %d of %d private write sets are missing; they will be asked for again",
                channel.channel_id, len(needs) - len(found), len(needs),
            )  # fmt: skip
        return found

    async def reconcile(self, channel: PeerChannel) -> int:
        """Missing private data of committed blocks is asked for; returns how much has come."""
        missing = self._choose_missing(channel)
        digests = [
            private_data_pb2.Digest(
                namespace=entry.namespace,
                collection=entry.collection,
                block_number=entry.block,
                tx_number=entry.tx,
                rwset_hash=entry.digest,
            )
            for entry in missing
        ]
        if not digests:
            return 0
        by_place = {_place(entry): entry for entry in missing}
        found: dict[MissingData, bytes] = {}
        for digest, raw in await self._pull(channel, digests):
            at = (digest.block_number, digest.tx_number, digest.namespace, digest.collection)
            if at in by_place:
                found[by_place[at]] = raw
        return await channel.ledger.add_missing(found) if found else 0

    def _choose_missing(self, channel: PeerChannel) -> list[MissingData]:
        """The newest, and those that come next below where the last round ended: what nobody can
        supply does not keep the older ones waiting."""
        limit, channel_id = self._options.reconcile_batch, channel.channel_id
        newest = channel.get_missing(limit)
        if len(newest) < limit:
            self._reached.pop(channel_id, None)
            return newest
        reached = min(self._reached.get(channel_id, newest[-1]), newest[-1])
        older = channel.get_missing(limit, reached)
        if older:
            self._reached[channel_id] = older[-1]
        else:
            self._reached.pop(channel_id, None)  # the next round begins anew
        return [*newest, *older]

    def wake(self) -> None:
        """Missing private data is looked for soon."""
        self._missed.set()

    async def run(self) -> None:
        """Reconciles every channel until cancelled: soon after the start and after a block came
        without its private data, then ever more seldom, down to the interval of the settings."""
        longest = self._options.reconcile_interval
        pause = min(SOON, longest)
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._missed.wait()
                await asyncio.sleep(min(SOON, longest))
                pause = min(SOON, longest)
            except TimeoutError:
                pause = min(pause * 2, longest)
            self._missed.clear()
            channel_ids = self._membership.channel_ids
            for channel in filter(None, map(self._get_channel, channel_ids)):
                await self._reconcile_all(channel)

    async def _reconcile_all(self, channel: PeerChannel) -> None:
        """Batch after batch, as long as one brings anything."""
        total = 0
        try:
            while count := await self.reconcile(channel):
                total += count
        except Exception:
            log.exception("channel %s: reconciling failed", channel.channel_id)
        if total:
            log.info("channel %s: %d private write sets have come", channel.channel_id, total)

    async def _pull(
        self, channel: PeerChannel, digests: Sequence[private_data_pb2.Digest]
    ) -> list[tuple[private_data_pb2.Digest, bytes]]:
        """Asks other members, each for what the ones before did not have."""
        left = {digest.SerializeToString(): digest for digest in digests}
        found = []
        others = self._others(channel)
        random.shuffle(others)
        for member in others:
            wanted = [digest for digest in left.values() if self._may_have(channel, digest, member)]
            if not wanted:
                continue
            for element in await self._pull_from(channel, member.endorser, wanted):
                key = element.digest.SerializeToString()
                part = PrivateCollection(
                    element.digest.namespace, element.digest.collection, element.rwset
                )
                if key in left and element.digest.rwset_hash in (part.digest, _UNKNOWN):
                    found.append((left.pop(key), element.rwset))
        return found

    async def _pull_from(
        self,
        channel: PeerChannel,
        endorser: Endorser,
        digests: Sequence[private_data_pb2.Digest],
    ) -> Iterable[private_data_pb2.Element]:
        request = private_data_pb2.PullRequest(
            header=self._build_header(channel, endorser), digests=digests[:MAX_DIGESTS]
        )
        try:
            answer = await self._stub(channel, endorser).Pull(
                sign_request(request, self._signer), timeout=self._options.pull_timeout
            )
        except grpc.aio.AioRpcError as error:
            log.warning(
                "channel %s: %s gave no private data: %s",
                channel.channel_id, endorser.address, error.code().name,
            )  # fmt: skip
            return ()
        return tuple(answer.elements)

    async def receive_pull(
        self, signed: private_data_pb2.SignedRequest
    ) -> private_data_pb2.PullResponse:
        """Of what is asked for, that which is here and which the caller may hold.

        Raises:
            BadRequest: the caller is not a peer of the channel.
        """
        request = open_request(private_data_pb2.PullRequest, signed)
        channel, caller = self._validate(request.header, signed)
        response = private_data_pb2.PullResponse()
        for digest in request.digests[:MAX_DIGESTS]:
            wanted = PrivateCollection(digest.namespace, digest.collection, b"")
            if not self._may_hold(channel, wanted, caller):
                continue
            found = await self._find(channel, digest)
            if found is not None:
                response.elements.add(digest=digest, rwset=found)
        return response

    async def _find(self, channel: PeerChannel, digest: private_data_pb2.Digest) -> bytes | None:
        """The write set of a digest, from those waiting or from a committed block."""
        parts = await channel.get_transient(digest.tx_id) if digest.tx_id else []
        if digest.block_number < channel.height:
            kept = channel.get_private_sets(digest.block_number).get(digest.tx_number)
            parts = [*parts, *(open_private_rwset(kept) if kept else ())]
        for part in parts:
            if (part.namespace, part.collection) == (digest.namespace, digest.collection) and (
                digest.rwset_hash in (part.digest, _UNKNOWN)
            ):
                return part.raw
        return None

    # --- who ------------------------------------------------------------------------------------

    def _validate(
        self,
        header: private_data_pb2.RequestHeader,
        signed: private_data_pb2.SignedRequest,
    ) -> tuple[PeerChannel, Identity]:
        channel = self._get_channel(header.channel_id)
        if channel is None:
            raise BadRequest("this peer has not joined the channel")
        caller = validate_request(
            header,
            signed,
            channel.config,
            self._membership.endpoint,
            datetime.now(UTC),
            self._time_window,
        )
        return channel, caller

    def _may_hold(
        self, channel: PeerChannel, part: PrivateCollection, holder: Identity | None
    ) -> bool:
        """Whether a peer (this one, if None) belongs to the collection."""
        collection = channel.find_collection(part.namespace, part.collection)
        holder = holder or self._membership.identity
        return collection is not None and is_eligible(channel, collection, holder)

    def _may_have(
        self, channel: PeerChannel, digest: private_data_pb2.Digest, member: Member
    ) -> bool:
        part = PrivateCollection(digest.namespace, digest.collection, b"")
        return self._may_hold(channel, part, member.identity)

    def _others(self, channel: PeerChannel) -> list[Member]:
        members = self._membership.members(channel.channel_id)
        return [m for m in members if m.endorser.peer_id != self._membership.peer_id]

    def _build_header(
        self, channel: PeerChannel, endorser: Endorser
    ) -> private_data_pb2.RequestHeader:
        return build_header(channel.channel_id, self._signer, endorser.address, datetime.now(UTC))

    def _stub(
        self, channel: PeerChannel, endorser: Endorser
    ) -> private_data_pb2_grpc.PrivateDataStub:
        roots = channel.config.tls_roots(endorser.msp_id)
        return private_data_pb2_grpc.PrivateDataStub(self._connections.get(endorser.address, roots))


class PrivateDataService(private_data_pb2_grpc.PrivateDataServicer):  # type: ignore[misc]
    """`medfabric.privatedata.PrivateData` over gRPC."""

    def __init__(self, exchange: PrivateExchange) -> None:
        self._exchange = exchange

    async def Push(  # noqa: D102
        self, request: private_data_pb2.SignedRequest, context: Any
    ) -> private_data_pb2.PushResponse:
        try:
            await self._exchange.receive_push(request)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        return private_data_pb2.PushResponse()

    async def Pull(  # noqa: D102
        self, request: private_data_pb2.SignedRequest, context: Any
    ) -> private_data_pb2.PullResponse:
        try:
            return await self._exchange.receive_pull(request)
        except BadRequest as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            raise AssertionError("abort raises") from None


def is_eligible(channel: PeerChannel, collection: Any, identity: Identity) -> bool:
    """Whether the collection's member policy takes the peer."""
    policy = collection.member_orgs_policy.signature_policy
    try:
        return compile_signature_policy(policy, channel.config.msps).check_identities([identity])
    except MalformedPolicy:
        return False


def _build_digest(need: PrivateNeed) -> private_data_pb2.Digest:
    return private_data_pb2.Digest(
        namespace=need.namespace,
        collection=need.collection,
        tx_id=need.tx_id,
        block_number=need.block,
        tx_number=need.tx,
        rwset_hash=need.digest,
    )


def _key(tx_id: str, namespace: str, collection: str) -> tuple[str, str, str]:
    return tx_id, namespace, collection


def _place(entry: MissingData) -> tuple[int, int, str, str]:
    return entry.block, entry.tx, entry.namespace, entry.collection
