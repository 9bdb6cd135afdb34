"""What a transaction's interest asks of its endorsers: which policies, which memberships.

An interest (`endorsement.proposals.build_interest`) names chaincodes, collections and key policies.
Sources: discovery/endorsement/endorsement.go, discovery/support/chaincode/support.go,
core/chaincode/lifecycle/metadata_provider.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fabric_protos.common.policies_pb2 import SignaturePolicyEnvelope
from fabric_protos.peer import proposal_response_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.endorsement.layouts import NoLayout
from network.rules.lifecycle.collections import build_implicit_collection
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.policies import lifecycle_policy
from network.rules.lifecycle.states import implicit_collection_org
from network.rules.policy.evaluation import MalformedPolicy

GetDefinition = Callable[[str], ChaincodeDefinition | None]
"""The committed definition of a chaincode by name."""


def build_default_interest(chaincode: str) -> proposal_response_pb2.ChaincodeInterest:
    """The interest of a transaction of which only the chaincode is known."""
    return proposal_response_pb2.ChaincodeInterest(
        chaincodes=[proposal_response_pb2.ChaincodeCall(name=chaincode)]
    )


def protect_collections(
    interest: proposal_response_pb2.ChaincodeInterest,
) -> tuple[proposal_response_pb2.ChaincodeInterest, list[str]]:
    """The interest with every collection treated as read, so that only members endorse.

    Used when the proposal carries transient data; also returns the collections that it changed.
    """
    guarded = proposal_response_pb2.ChaincodeInterest()
    guarded.CopyFrom(interest)
    changed = []
    for call in guarded.chaincodes:
        if call.no_private_reads:
            call.no_private_reads = False
            changed.extend(call.collection_names)
    return guarded, changed


def get_policies(
    interest: proposal_response_pb2.ChaincodeInterest,
    get_definition: GetDefinition,
    config: ChannelConfig,
) -> list[SignaturePolicyEnvelope]:
    """Every policy that the endorsements must satisfy together, each once.

    Raises:
        NoLayout: a chaincode is unknown or a policy cannot be read.
    """
    found: dict[bytes, SignaturePolicyEnvelope] = {}
    for call in interest.chaincodes:
        for policy in _get_call_policies(call, get_definition, config):
            found.setdefault(policy.SerializeToString(deterministic=True), policy)
    if not found:
        raise NoLayout("no principal sets remained after filtering")
    return list(found.values())


def get_member_policies(
    interest: proposal_response_pb2.ChaincodeInterest, get_definition: GetDefinition
) -> list[SignaturePolicyEnvelope]:
    """The member policies of the collections read: an endorser must belong to each."""
    policies = []
    for call in interest.chaincodes:
        if not call.no_private_reads:
            for name in call.collection_names:
                collection = _find_collection(call.name, name, get_definition)
                policies.append(collection.member_orgs_policy.signature_policy)
    return policies


def _get_call_policies(
    call: proposal_response_pb2.ChaincodeCall, get_definition: GetDefinition, config: ChannelConfig
) -> Iterable[SignaturePolicyEnvelope]:
    policies: list[SignaturePolicyEnvelope] = []
    for name in call.collection_names:
        collection = _find_collection(call.name, name, get_definition)
        if collection.HasField("endorsement_policy"):
            policies.append(_convert(collection.endorsement_policy.SerializeToString(), config))
        else:
            policies.append(_get_chaincode_policy(call.name, get_definition, config))
    if not call.collection_names and not call.disregard_namespace_policy:
        policies.append(_get_chaincode_policy(call.name, get_definition, config))
    return [*policies, *call.key_policies]


def _get_chaincode_policy(
    name: str, get_definition: GetDefinition, config: ChannelConfig
) -> SignaturePolicyEnvelope:
    if name == LIFECYCLE:
        return _convert(lifecycle_policy(config), config)
    return _convert(_get_defined(name, get_definition, config).validation_parameter, config)


def _get_defined(
    name: str, get_definition: GetDefinition, config: ChannelConfig | None = None
) -> ChaincodeDefinition:
    definition = get_definition(name)
    if definition is None:
        channel = config.channel_id if config else ""
        raise NoLayout(f"No metadata was found for chaincode {name} in channel {channel}")
    return definition


def _find_collection(chaincode: str, name: str, get_definition: GetDefinition) -> Any:
    msp_id = implicit_collection_org(name)
    if msp_id is not None:
        collection = build_implicit_collection(msp_id)
        collection.endorsement_policy.signature_policy.CopyFrom(
            collection.member_orgs_policy.signature_policy
        )
        return collection
    try:
        found = _get_defined(chaincode, get_definition).collection(name)
    except LifecycleError as error:
        raise NoLayout(str(error)) from None
    if found is None:
        raise NoLayout(f"collection {name} doesn't exist in collection config for {chaincode}")
    return found


def _convert(policy: bytes, config: ChannelConfig) -> SignaturePolicyEnvelope:
    try:
        return config.application_policy(policy).to_envelope()
    except MalformedPolicy as error:
        raise NoLayout(f"policy not found: {error}") from None
