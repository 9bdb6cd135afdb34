"""The endorser: a signed proposal in, a signed reply out (core/endorser/endorser.go).

The order is Fabric's: auth filters, unpacking, channel, header and creator, duplicate, access, then
simulation, private data, endorsement. Problems with the proposal itself are gRPC errors, problems
with running it are replies with status 500.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import grpc
from fabric_protos.peer import (
    chaincode_pb2,
    peer_pb2_grpc,
    proposal_pb2,
    proposal_response_pb2,
)

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.endorsing.deployed_chaincodes import NotEndorsable
from network.node.endorsing.execution import Executor, Outcome, SimulationFailed, Transaction
from network.node.ledger.channel import PeerChannel
from network.node.ledger.store import StoreError
from network.rules.endorsement.proposals import (
    ERROR_THRESHOLD,
    SYSTEM_CHAINCODES,
    WITHOUT_SIMULATION,
    Identities,
    ProposalRefused,
    build_error,
    build_event,
    build_interest,
    build_reply,
    needs_endorsement,
    validate_filters,
    validate_opened_filters,
    validate_proposal,
)
from network.rules.envelope import MalformedMessage
from network.rules.identity.identity import Signer, read_identity, sign_own
from network.rules.proposal import OpenedProposal, open_proposal
from network.rules.state.recorder import SimulationError, SimulationResults
from network.rules.state.rwset import open_rwset
from network.rules.transaction import build_response_payload

log = logging.getLogger("endorser")

NO_RESULTS = SimulationResults(b"", b"", frozenset(), {})


class Distributor(Protocol):
    """Brings private data to those who may hold it, before the endorsement is given."""

    async def distribute(
        self, channel: PeerChannel, tx_id: str, endorsed_at: int, private: bytes
    ) -> None:
        """The data is here and at as many other peers as its collections require.

        Raises:
            SimulationFailed: too few peers have it.
        """
        ...


class Endorser:
    """Processes proposals for every channel of the peer, and those without a channel."""

    def __init__(
        self,
        signer: Signer,
        local: Identities,
        get_channel: Callable[[str], PeerChannel | None],
        executor: Executor,
        access: AccessControl,
        distributor: Distributor,
        *,
        time_window: timedelta = timedelta(minutes=15),
    ) -> None:
        self._signer = signer
        self._identity = read_identity(signer.creator)
        self._creator = signer.creator
        self._local = local
        self._get_channel = get_channel
        self._executor = executor
        self._access = access
        self._distributor = distributor
        self._time_window = time_window

    async def process(
        self,
        signed: proposal_pb2.SignedProposal,
        opened: OpenedProposal | None = None,
        *,
        endorses: bool = True,
    ) -> proposal_response_pb2.ProposalResponse:
        """The reply to a proposal.

        `opened` is what this peer's gateway has read of it already; unless it `endorses`, what
        succeeds is only to be read, and the reply is the response alone.

        Raises:
            ProposalRefused: the proposal itself is bad: no reply but a gRPC error.
        """
        started = time.monotonic()
        opened = self._open(signed.proposal_bytes, opened)
        channel_id, chaincode = opened.channel_header.channel_id, opened.chaincode_name
        channel = None
        if channel_id:
            channel = self._get_channel(channel_id)
            if channel is None:
                return build_error(f"channel '{channel_id}' not found")
        identities = channel.config.msps if channel else self._local
        creator = validate_proposal(opened, signed.proposal_bytes, signed.signature, identities)
        transaction = Transaction(signed, opened, creator, channel, endorses=endorses)
        try:
            if channel:
                await self._validate_on_channel(transaction, channel, chaincode)
            reply = await self._run(transaction, chaincode)
        except StoreError as error:
            # What stands where on this machine is its operator's business, not the client's.
            log.error("[%s][%.8s] %s", channel_id, transaction.tx_id, error)
            return build_error("this peer's ledger cannot be used: its log says why")
        # Not at info: a line a proposal costs as much as a signature.
        log.debug(
            "[%s][%.8s] finished chaincode: %s duration: %dms status: %d",
            channel_id, transaction.tx_id, chaincode,
            (time.monotonic() - started) * 1000, reply.response.status,
        )  # fmt: skip
        return reply

    def _open(self, raw: bytes, opened: OpenedProposal | None) -> OpenedProposal:
        now = datetime.now(UTC)
        try:
            opened = opened or open_proposal(raw)
        except MalformedMessage as error:
            validate_filters(raw, now, self._time_window)  # what they refuse, they refuse first
            raise ProposalRefused(str(error)) from None
        validate_opened_filters(opened, now, self._time_window)
        return opened

    async def _validate_on_channel(
        self, transaction: Transaction, channel: PeerChannel, chaincode: str
    ) -> None:
        if await channel.has_transaction(transaction.tx_id):
            creator = transaction.opened.signature_header.creator.hex()
            raise ProposalRefused(
                f"duplicate transaction found [{transaction.tx_id}]. Creator [{creator}]"
            )
        if chaincode in SYSTEM_CHAINCODES:
            return  # these judge their callers themselves, by function
        try:
            self._access.validate_identity("peer/Propose", channel.channel_id, transaction.creator)
        except AccessDenied as denied:
            raise ProposalRefused(str(denied)) from None

    async def _run(
        self, transaction: Transaction, chaincode: str
    ) -> proposal_response_pb2.ProposalResponse:
        try:
            channel = transaction.channel
            if channel is None or chaincode in WITHOUT_SIMULATION:
                return await self._simulate(transaction, chaincode)
            with channel.simulation(transaction.tx_id) as recorder:
                transaction.recorder = recorder
                return await self._simulate(transaction, chaincode)
        except (SimulationFailed, SimulationError) as failure:
            return build_error(f"error in simulation: {failure}")
        except NotEndorsable as error:
            return build_error(
                f"make sure the chaincode {chaincode} has been successfully defined on channel "
                f"{transaction.channel_id} and try again: {error}"
            )

    async def _simulate(
        self, transaction: Transaction, chaincode: str
    ) -> proposal_response_pb2.ProposalResponse:
        opened = transaction.opened
        info = self._executor.get_info(transaction, chaincode)
        call = chaincode_pb2.ChaincodeInput(args=opened.args, is_init=opened.is_init)
        outcome = await self._executor.execute(transaction, chaincode, call)
        results = NO_RESULTS
        interest = None
        if transaction.recorder is not None:
            results = transaction.recorder.results()
            await self._share_private(transaction, results)
            if transaction.endorses:
                namespaces = [part.namespace for part in open_rwset(results.public).namespaces]
                interest = build_interest(namespaces, results)
        if not transaction.endorses and outcome.response.status < ERROR_THRESHOLD:
            return proposal_response_pb2.ProposalResponse(response=outcome.response)
        payload = build_response_payload(
            proposal_hash=opened.proposal_hash,
            results=results.public,
            event=build_event(outcome.event, outcome.response.status),
            response=outcome.response,
            chaincode_name=chaincode,
            chaincode_version=info.version,
        )
        return build_reply(
            channel_id=transaction.channel_id,
            response=outcome.response,
            payload=payload,
            interest=interest,
            endorsement=self._endorse(transaction, outcome, payload),
        )

    async def _share_private(self, transaction: Transaction, results: SimulationResults) -> None:
        channel = transaction.channel
        if results.private and channel is not None:
            await self._distributor.distribute(
                channel, transaction.tx_id, channel.height, results.private
            )

    def _endorse(
        self, transaction: Transaction, outcome: Outcome, payload: bytes
    ) -> proposal_response_pb2.Endorsement | None:
        if not needs_endorsement(transaction.channel_id, outcome.response):
            return None
        endorser = self._creator
        signature = sign_own(self._signer, self._identity, payload + endorser)
        return proposal_response_pb2.Endorsement(endorser=endorser, signature=signature)


class EndorserService(peer_pb2_grpc.EndorserServicer):  # type: ignore[misc]
    """`protos.Endorser` over gRPC."""

    def __init__(self, endorser: Endorser) -> None:
        self._endorser = endorser

    async def ProcessProposal(  # noqa: D102  the service's method
        self, request: proposal_pb2.SignedProposal, context: Any
    ) -> proposal_response_pb2.ProposalResponse:
        try:
            return await self._endorser.process(request)
        except ProposalRefused as refusal:
            log.warning("proposal refused: %s", refusal)
            await context.abort(grpc.StatusCode.UNKNOWN, str(refusal))
            raise AssertionError("abort raises") from None
