"""The gateway: evaluates, collects endorsements, and passes transactions to an orderer.

Codes, texts and the choice of peers are those of Fabric's `internal/pkg/gateway`
(evaluate.go, endorse.go, submit.go).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2

from network.node.gateway.errors import GatewayError
from network.node.gateway.orderer_streams import OrdererStreams, StreamEnded
from network.node.gateway.peers import Asked, GatewayPeers, describe_rpc_error
from network.node.ledger.channel import PeerChannel
from network.rules.channel.config import OrdererEndpoint
from network.rules.endorsement.interest import build_default_interest, protect_collections
from network.rules.endorsement.layouts import NoLayout
from network.rules.endorsement.plan import Endorser, ErrorDetail, Plan
from network.rules.endorsement.reply import StatusCode, get_result
from network.rules.envelope import MalformedMessage
from network.rules.proposal import OpenedProposal, open_proposal
from network.rules.transaction import build_transaction_payload

log = logging.getLogger("gateway")


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Seconds to wait for one endorser and for one orderer (peer.gateway in core.yaml)."""

    endorsement_timeout: float = 30.0
    broadcast_timeout: float = 30.0


class Gateway:
    """Serves clients of every channel that this peer has joined."""

    def __init__(
        self,
        peers: GatewayPeers,
        orderers: OrdererStreams,
        get_channel: Callable[[str], PeerChannel | None],
        options: GatewayOptions,
        overrides: Callable[[OrdererEndpoint], OrdererEndpoint] = lambda endpoint: endpoint,
    ) -> None:
        """`overrides` changes where an orderer is dialled."""
        self._peers = peers
        self._overrides = overrides
        self._orderers = orderers
        self._get_channel = get_channel
        self._options = options

    async def evaluate(
        self, request: gateway_pb2.EvaluateRequest
    ) -> proposal_response_pb2.Response:
        """The result of running the proposal on one peer; nothing is ordered.

        Raises:
            GatewayError: no peer answers, or the chaincode refuses.
        """
        signed = request.proposed_transaction
        opened = _open_for_evaluate(signed)
        channel_id, chaincode = opened.channel_header.channel_id, opened.chaincode_name
        channel = self._get_channel(channel_id)
        if channel is None:
            raise GatewayError(
                StatusCode.UNAVAILABLE,
                f"failed to get config for channel [{channel_id}]: channel {channel_id} not found",
            )
        targets = list(request.target_organizations)
        protected = bool(opened.transient) and not targets
        evaluators = self._peers.evaluators(
            channel, chaincode, [self._peers.msp_id] if protected else targets
        )
        if not evaluators:
            text = f"no peers available to evaluate chaincode {chaincode} in channel {channel_id}"
            if protected:
                text = (
                    "no endorsers found in the gateway's organization; retry specifying target "
                    f"organization(s) to protect transient data: {text}"
                )
            raise GatewayError(StatusCode.FAILED_PRECONDITION, text)
        asked = Asked(signed, opened, endorses=False)
        return await self._evaluate(channel, evaluators, asked)

    async def _evaluate(
        self, channel: PeerChannel, evaluators: Iterable[Endorser], asked: Asked
    ) -> proposal_response_pb2.Response:
        details: list[ErrorDetail] = []
        code = StatusCode.UNAVAILABLE
        for endorser in evaluators:
            reply = await self._peers.ask(
                channel, endorser, asked, self._options.endorsement_timeout
            )
            code = reply.verdict.code
            if reply.verdict.ok:
                response = reply.response.response
                # This peer's own replies are the response alone: there was nothing to sign.
                result = get_result(reply.response) if reply.response.payload else None
                if result is not None:
                    response.payload = result
                return response
            details.append(_detail(endorser, reply.verdict.message))
            if not reply.verdict.retry:
                raise GatewayError(
                    code,
                    f"evaluate call to endorser returned error: {reply.verdict.message}",
                    details,
                )
        raise GatewayError(
            code, "failed to evaluate transaction, see attached details for more info", details
        )

    async def endorse(self, request: gateway_pb2.EndorseRequest) -> common_pb2.Envelope:
        """The transaction with enough endorsements, for the client to sign.

        Raises:
            GatewayError: they could not be collected.
        """
        signed = request.proposed_transaction
        opened = _open_for_endorse(signed)
        channel_id, chaincode = opened.channel_header.channel_id, opened.chaincode_name
        channel = self._get_channel(channel_id)
        orgs = list(request.endorsing_organizations)
        asked = Asked(signed, opened)
        if channel is None:
            raise _no_channel(channel_id, orgs)
        if orgs:
            plan = self._plan_for_orgs(channel, chaincode, orgs, StatusCode.UNAVAILABLE)
        else:
            plan = await self._plan_from_first(channel, chaincode, asked)
        while not plan.complete and (endorsers := plan.next_endorsers()):
            asking = [self._collect(channel, plan, endorser, asked) for endorser in endorsers]
            # One needs no task of its own.
            exhausted = await asyncio.gather(*asking) if len(asking) > 1 else [await asking[0]]
            plan.abandon(endorser for endorser in exhausted if endorser is not None)
        if not plan.complete:
            raise GatewayError(
                StatusCode.ABORTED,
                "failed to collect enough transaction endorsements, see attached details for "
                "more info",
                plan.errors,
            )
        payload = build_transaction_payload(
            signed.proposal_bytes, plan.response_payload or b"", plan.endorsements
        )
        return common_pb2.Envelope(payload=payload)

    async def _collect(
        self,
        channel: PeerChannel,
        plan: Plan,
        endorser: Endorser,
        asked: Asked,
    ) -> Endorser | None:
        """Asks the endorser, then others of its group; returns the last if none has endorsed."""
        current: Endorser | None = endorser
        while current is not None:
            endorser = current
            reply = await self._peers.ask(
                channel, endorser, asked, self._options.endorsement_timeout
            )
            if not reply.verdict.ok:
                plan.add_error(endorser, reply.verdict.message)
            elif plan.accept(endorser, reply.response):
                return None
            current = plan.next_in_group(endorser)
        return endorser

    def _plan_for_orgs(
        self, channel: PeerChannel, chaincode: str, orgs: list[str], code: StatusCode
    ) -> Plan:
        by_org = self._peers.by_org(channel, chaincode)
        missing = [org for org in orgs if org not in by_org]
        if missing:
            raise GatewayError(
                code, f"failed to find any endorsing peers for org(s): {', '.join(missing)}"
            )
        return Plan([dict.fromkeys(orgs, 1)], {org: by_org[org] for org in orgs})

    async def _plan_from_first(
        self,
        channel: PeerChannel,
        chaincode: str,
        asked: Asked,
    ) -> Plan:
        """Asks one endorser, and plans the rest from the interest in its reply."""
        first, reply = await self._ask_first(channel, chaincode, asked)
        interest = reply.interest
        if not interest.chaincodes:
            interest = build_default_interest(chaincode)
        guarded, protected = interest, list[str]()
        if asked.opened.transient:
            guarded, protected = protect_collections(interest)
        try:
            plan = self._plan(channel, guarded, first)
        except NoLayout as error:
            if protected and self._has_plan(channel, interest, first):
                raise GatewayError(
                    StatusCode.FAILED_PRECONDITION,
                    "requires endorsement from organisation(s) that are not in the distribution "
                    f"policy of the private data collection(s): [{' '.join(protected)}]; retry "
                    "specifying trusted endorsing organizations to protect transient data",
                ) from None
            raise _no_combination(error) from None
        plan.accept(first, reply)
        return plan

    async def _ask_first(
        self,
        channel: PeerChannel,
        chaincode: str,
        asked: Asked,
    ) -> tuple[Endorser, proposal_response_pb2.ProposalResponse]:
        plan = self._plan_first(channel, chaincode, bool(asked.opened.transient))
        details: list[ErrorDetail] = []
        # Any failure, a chaincode's refusal too, lets the next peer of the group try: so Fabric.
        endorser: Endorser | None = next(iter(plan.next_endorsers()), None)
        while endorser is not None:
            reply = await self._peers.ask(
                channel, endorser, asked, self._options.endorsement_timeout
            )
            if reply.verdict.ok:
                return endorser, reply.response
            details.append(_detail(endorser, reply.verdict.message))
            endorser = plan.next_in_group(endorser)
        raise GatewayError(
            StatusCode.ABORTED,
            "failed to endorse transaction, see attached details for more info",
            details,
        )

    def _plan_first(self, channel: PeerChannel, chaincode: str, transient: bool) -> Plan:
        by_org = self._peers.by_org(channel, chaincode)
        own = by_org.get(self._peers.msp_id)
        if own:
            return Plan([{self._peers.msp_id: 1}], {self._peers.msp_id: own})
        if transient:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                "no endorsers found in the gateway's organization; retry specifying endorsing "
                "organization(s) to protect transient data",
            )
        try:
            return self._plan(channel, build_default_interest(chaincode), None)
        except NoLayout as error:
            raise _no_combination(error) from None

    def _plan(
        self,
        channel: PeerChannel,
        interest: proposal_response_pb2.ChaincodeInterest,
        first: Endorser | None,
    ) -> Plan:
        found = self._peers.layouts(channel, interest)
        preferred = {
            name for name, members in found.groups.items() if first is not None and first in members
        }
        layouts = list(found.layouts)
        random.shuffle(layouts)
        layouts.sort(key=lambda layout: not preferred & layout.keys())
        return Plan(layouts, found.groups)

    def _has_plan(
        self,
        channel: PeerChannel,
        interest: proposal_response_pb2.ChaincodeInterest,
        first: Endorser,
    ) -> bool:
        try:
            self._plan(channel, interest, first)
        except NoLayout:
            return False
        return True

    async def submit(self, request: gateway_pb2.SubmitRequest) -> None:
        """An orderer has taken the transaction; whether it commits is another question.

        Raises:
            GatewayError: none has.
        """
        if not request.HasField("prepared_transaction"):
            raise GatewayError(StatusCode.INVALID_ARGUMENT, "a prepared transaction is required")
        if not request.prepared_transaction.signature:
            raise GatewayError(StatusCode.INVALID_ARGUMENT, "prepared transaction must be signed")
        channel = self._get_channel(request.channel_id)
        if channel is None:
            raise GatewayError(
                StatusCode.FAILED_PRECONDITION,
                f"failed to get config for channel [{request.channel_id}]: "
                f"channel {request.channel_id} not found",
            )
        endpoints = list(channel.config.orderer_endpoints)
        if not endpoints:
            raise GatewayError(StatusCode.UNAVAILABLE, "no orderer nodes available")
        random.shuffle(endpoints)
        details: list[ErrorDetail] = []
        for endpoint in endpoints:
            failure = await self._broadcast(endpoint, request.prepared_transaction)
            if failure is None:
                return
            details.append(ErrorDetail(endpoint.address, endpoint.msp_id, failure))
        raise GatewayError(
            StatusCode.UNAVAILABLE, "no orderers could successfully process transaction", details
        )

    async def _broadcast(
        self, endpoint: OrdererEndpoint, envelope: common_pb2.Envelope
    ) -> str | None:
        """None when the orderer took the envelope, else why another should be tried."""
        dialled = self._overrides(endpoint)
        try:
            async with asyncio.timeout(self._options.broadcast_timeout):
                answer = await self._orderers.send(dialled.address, dialled.tls_roots, envelope)
        except TimeoutError:
            return "context deadline exceeded"
        except grpc.aio.AioRpcError as error:
            return describe_rpc_error(error)
        except StreamEnded:
            return "EOF"
        if answer.status == common_pb2.SUCCESS:
            return None
        text = (
            "received unsuccessful response from orderer: "
            f"status={common_pb2.Status.Name(answer.status)}, info={answer.info}"
        )
        log.warning("orderer %s: %s", endpoint.address, text)
        if 400 <= answer.status < 500:
            raise GatewayError(StatusCode.ABORTED, text)
        return text


def _open_for_evaluate(signed: proposal_pb2.SignedProposal) -> OpenedProposal:
    prefix = "failed to unpack transaction proposal"
    if not signed.proposal_bytes:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, f"{prefix}: a signed proposal is required")
    try:
        opened = open_proposal(signed.proposal_bytes)
    except MalformedMessage as error:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, f"{prefix}: {error}") from None
    if not opened.channel_header.channel_id:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, f"{prefix}: no channel id provided")
    return opened


def _open_for_endorse(signed: proposal_pb2.SignedProposal) -> OpenedProposal:
    if not signed.proposal_bytes:
        raise GatewayError(
            StatusCode.INVALID_ARGUMENT,
            "the proposed transaction must contain a signed proposal",
        )
    try:
        return open_proposal(signed.proposal_bytes)
    except MalformedMessage as error:
        raise GatewayError(StatusCode.INVALID_ARGUMENT, str(error)) from None


def _no_channel(channel_id: str, orgs: list[str]) -> GatewayError:
    if orgs:
        return GatewayError(
            StatusCode.UNAVAILABLE,
            f"failed to find any endorsing peers for org(s): {', '.join(orgs)}",
        )
    return GatewayError(
        StatusCode.FAILED_PRECONDITION,
        "no combination of peers can be derived which satisfy the endorsement policy: "
        f"this peer has not joined channel {channel_id}",
    )


def _no_combination(error: NoLayout) -> GatewayError:
    return GatewayError(
        StatusCode.FAILED_PRECONDITION,
        f"no combination of peers can be derived which satisfy the endorsement policy: {error}",
    )


def _detail(endorser: Endorser, message: str) -> ErrorDetail:
    return ErrorDetail(endorser.address, endorser.msp_id, message)
