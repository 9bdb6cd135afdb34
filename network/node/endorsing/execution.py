"""Runs chaincode for the endorser: checks the invocation, finds the link, carries the call.

System chaincodes run in this process, all others over a link. Texts are those of Fabric's
`core/chaincode/chaincode_support.go` and `handler.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
)
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from google.protobuf.message import DecodeError

from network.node.endorsing.acl import AccessControl, AccessDenied
from network.node.endorsing.chaincode_link import Execution, ExecutionFailed, LaunchFailed
from network.node.endorsing.chaincode_registry import ChaincodeRegistry
from network.node.endorsing.deployed_chaincodes import DeployedChaincodes, NotEndorsable
from network.node.ledger.channel import PeerChannel
from network.rules.endorsement.chaincode_requests import Call, RequestRefused, TransactionContext
from network.rules.endorsement.proposals import SYSTEM_CHAINCODE_VERSION
from network.rules.identity.identity import Identity
from network.rules.lifecycle.collections import Permission, check_permission
from network.rules.lifecycle.definitions import get_sequence
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.states import PublicState
from network.rules.policy.evaluation import MalformedPolicy, compile_signature_policy
from network.rules.proposal import OpenedProposal
from network.rules.state.recorder import Recorder, SimulationError

INITIALIZED_KEY = "\x00\U0010ffffinitialized"
_WITH_KEY_POLICIES = frozenset({"V1_3", "V1_4_2", "V2_0", "V2_5"})


class SimulationFailed(Exception):
    """The proposal could not be run to its end; the text is for the client."""


@dataclass(slots=True)
class Transaction:
    """A proposal under way; without a channel there is no recorder either."""

    signed: proposal_pb2.SignedProposal
    opened: OpenedProposal
    creator: Identity
    channel: PeerChannel | None = None
    recorder: Recorder | None = None
    endorses: bool = True
    """Whether its result is for a transaction, not only to be read."""
    infos: dict[str, EndorsementInfo] = field(default_factory=dict)
    """What was read of chaincodes through `recorder`: once is enough for its read set."""

    @property
    def tx_id(self) -> str:
        """The transaction id, checked against nonce and creator."""
        return str(self.opened.channel_header.tx_id)

    @property
    def channel_id(self) -> str:
        """The channel, "" for none."""
        return self.channel.channel_id if self.channel else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chaincode answered, and the event it set."""

    response: proposal_response_pb2.Response
    event: chaincode_event_pb2.ChaincodeEvent | None = None


@dataclass(frozen=True, slots=True)
class EndorsementInfo:
    """What endorsing for a chaincode takes."""

    version: str
    package_id: str = ""
    init_required: bool = False


class SystemChaincode(Protocol):
    """A chaincode that is part of the peer."""

    async def invoke(
        self, args: tuple[bytes, ...], transaction: Transaction
    ) -> proposal_response_pb2.Response:
        """The response to a call; errors are responses too."""
        ...


class Executor:
    """Runs chaincodes, and chaincodes that chaincodes call."""

    def __init__(
        self,
        registry: ChaincodeRegistry,
        deployed: DeployedChaincodes,
        system: Mapping[str, SystemChaincode],
        access: AccessControl,
        get_channel: Callable[[str], PeerChannel | None],
        *,
        timeout: float,
    ) -> None:
        """`timeout` in seconds for one run (chaincode.executetimeout)."""
        self._registry = registry
        self._deployed = deployed
        self._system = system
        self._access = access
        self._get_channel = get_channel
        self._timeout = timeout

    def get_info(self, transaction: Transaction, chaincode: str) -> EndorsementInfo:
        """What endorsing for the chaincode takes; the definition's sequence is read and recorded.

        Raises:
            NotEndorsable: it is not defined, or not by this peer's organisation, or not here.
        """
        if chaincode in self._system:
            return EndorsementInfo(SYSTEM_CHAINCODE_VERSION)
        known = transaction.infos.get(chaincode)
        if known is not None:
            return known
        channel, recorder = transaction.channel, transaction.recorder
        if channel is None or recorder is None:
            raise NotEndorsable(
                f"could not get channel config for channel '{transaction.channel_id}'"
            )
        try:
            sequence = get_sequence(PublicState(recorder), chaincode)
        except LifecycleError as error:
            raise NotEndorsable(
                f"could not get current sequence for chaincode '{chaincode}' on channel "
                f"'{channel.channel_id}': {error}"
            ) from None
        if sequence == 0:
            recorder.get_state("lscc", chaincode)  # Fabric asks the old lifecycle, too
            raise NotEndorsable(f"chaincode {chaincode} not found")
        found = self._deployed.get_endorsable(channel.channel_id, recorder.snapshot, chaincode)
        info = transaction.infos[chaincode] = EndorsementInfo(
            found.definition.version, found.package_id, found.definition.init_required
        )
        return info

    async def execute(
        self, transaction: Transaction, chaincode: str, call: chaincode_pb2.ChaincodeInput
    ) -> Outcome:
        """The chaincode's answer to the call.

        Raises:
            SimulationFailed: it has not answered, or with an ERROR message.
        """
        try:
            message = await self._invoke(transaction, chaincode, call)
        except (ExecutionFailed, RequestRefused) as failure:
            raise SimulationFailed(
                f"failed to execute transaction {transaction.tx_id}: {failure}"
            ) from None
        if message.type == ChaincodeMessage.ERROR:
            text = message.payload.decode(errors="replace")
            raise SimulationFailed(f"transaction returned with failure: {text}")
        try:
            response = proposal_response_pb2.Response.FromString(message.payload)
        except DecodeError:
            raise SimulationFailed(
                f"failed to unmarshal response for transaction {transaction.tx_id}"
            ) from None
        if not message.HasField("chaincode_event"):
            return Outcome(response)
        event = message.chaincode_event
        event.chaincode_id, event.tx_id = chaincode, transaction.tx_id
        return Outcome(response, event)

    async def _invoke(
        self, transaction: Transaction, chaincode: str, call: chaincode_pb2.ChaincodeInput
    ) -> ChaincodeMessage:
        """The message with which the chaincode ends its run."""
        system = self._system.get(chaincode)
        if system is not None:
            response = await system.invoke(tuple(call.args), transaction)
            return ChaincodeMessage(
                type=ChaincodeMessage.COMPLETED, payload=response.SerializeToString()
            )
        info, kind = self._check_invocation(transaction, chaincode, call)
        try:
            link = await self._registry.link(info.package_id)
        except LaunchFailed as failure:
            raise ExecutionFailed(str(failure)) from None
        execution = self._build_execution(transaction, chaincode, call, kind)
        return await link.execute(execution, self._timeout)

    def _check_invocation(
        self, transaction: Transaction, chaincode: str, call: chaincode_pb2.ChaincodeInput
    ) -> tuple[EndorsementInfo, int]:
        """The chaincode's info and whether to send INIT or TRANSACTION (fn CheckInvocation)."""
        try:
            info = self.get_info(transaction, chaincode)
        except NotEndorsable as error:
            raise ExecutionFailed(
                f"invalid invocation: [channel {transaction.channel_id}] failed to get chaincode "
                f"container info for {chaincode}: {error}"
            ) from None
        recorder = transaction.recorder
        assert recorder is not None  # get_info has seen it
        uninitialized = False
        if info.init_required:
            value = recorder.get_state(chaincode, INITIALIZED_KEY)
            uninitialized = value != info.version.encode()
        if call.is_init:
            problem = _find_init_problem(chaincode, info, uninitialized)
            if problem:
                raise ExecutionFailed(f"invalid invocation: {problem}")
            recorder.put_state(chaincode, INITIALIZED_KEY, info.version.encode())
            return info, ChaincodeMessage.INIT
        if uninitialized:
            raise ExecutionFailed(
                f"invalid invocation: chaincode '{chaincode}' has not been initialized for this "
                "version, must call as init first"
            )
        return info, ChaincodeMessage.TRANSACTION

    def _build_execution(
        self,
        transaction: Transaction,
        chaincode: str,
        call: chaincode_pb2.ChaincodeInput,
        kind: int,
    ) -> Execution:
        channel, recorder = transaction.channel, transaction.recorder
        assert channel is not None
        assert recorder is not None
        capabilities = channel.config.capabilities
        payload = chaincode_pb2.ChaincodeInput(args=call.args, is_init=call.is_init)
        message = ChaincodeMessage(
            type=kind,
            payload=payload.SerializeToString(),
            txid=transaction.tx_id,
            channel_id=channel.channel_id,
            proposal=transaction.signed,
        )
        context = TransactionContext(
            channel_id=channel.channel_id,
            namespace=chaincode,
            recorder=recorder,
            permission=lambda namespace, name: _check_permission(transaction, namespace, name),
            is_init=kind == ChaincodeMessage.INIT,
            may_set_key_policies=bool(capabilities.application & _WITH_KEY_POLICIES),
            may_purge=capabilities.purge_private_data,
        )

        async def call_chaincode(request: Call) -> ChaincodeMessage:
            return await self._call(transaction, request)

        return Execution(message, context, call_chaincode)

    async def _call(self, caller: Transaction, call: Call) -> ChaincodeMessage:
        """One chaincode's call of another; what it writes on another channel is dropped."""
        if call.chaincode not in self._system:
            try:
                self._access.validate_identity(
                    "peer/ChaincodeToChaincode", call.channel_id, caller.creator
                )
            except AccessDenied as denied:
                raise RequestRefused(str(denied)) from None
        if call.channel_id == caller.channel_id:
            return await self._invoke_called(caller, call)
        channel = self._get_channel(call.channel_id)
        if channel is None:
            raise RequestRefused(f"failed to find ledger for channel: {call.channel_id}")
        with channel.simulation(caller.tx_id) as recorder:
            elsewhere = Transaction(caller.signed, caller.opened, caller.creator, channel, recorder)
            return await self._invoke_called(elsewhere, call)

    async def _invoke_called(self, transaction: Transaction, call: Call) -> ChaincodeMessage:
        try:
            return await self._invoke(transaction, call.chaincode, call.input)
        except ExecutionFailed as failure:
            raise RequestRefused(f"execute failed: {failure}") from None


def _find_init_problem(chaincode: str, info: EndorsementInfo, uninitialized: bool) -> str | None:
    if not info.init_required:
        return f"chaincode '{chaincode}' does not require initialization but called as init"
    if not uninitialized:
        return f"chaincode '{chaincode}' is already initialized but called as init"
    return None


def _check_permission(transaction: Transaction, namespace: str, collection: str) -> Permission:
    channel, recorder = transaction.channel, transaction.recorder
    assert channel is not None
    assert recorder is not None
    msps = channel.config.msps

    def is_member(envelope: object) -> bool:
        try:
            policy = compile_signature_policy(envelope, msps)
        except MalformedPolicy as error:
            raise SimulationError(f"error setting up collection: {error}") from None
        return policy.check_identities([transaction.creator])

    return check_permission(recorder, channel.channel_id, namespace, collection, is_member)
