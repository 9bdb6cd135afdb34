"""Which policy guards what a transaction writes into a namespace or a collection.

Each is an ApplicationPolicy. Sources: core/chaincode/lifecycle/endorsement_info.go,
core/chaincode/lifecycle/deployedcc_infoprovider.go.
"""

from typing import Any

from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.definitions import ChaincodeDefinition
from network.rules.lifecycle.errors import LifecycleError
from network.rules.lifecycle.names import LIFECYCLE
from network.rules.lifecycle.states import implicit_collection_org
from network.rules.policy.application import policy_reference, signature_policy
from network.rules.policy.dsl import n_of_members
from network.rules.policy.manager import LIFECYCLE_ENDORSEMENT


def lifecycle_policy(config: ChannelConfig) -> bytes:
    """Return the policy for `_lifecycle`: the channel's, else a majority of members."""
    if config.find_policy(LIFECYCLE_ENDORSEMENT) is not None:
        return policy_reference(LIFECYCLE_ENDORSEMENT)
    msp_ids = [org.msp_id for org in config.application_orgs.values()]
    return signature_policy(n_of_members(len(msp_ids) // 2 + 1, msp_ids))


def chaincode_policy(
    config: ChannelConfig, chaincode: str, definition: ChaincodeDefinition
) -> bytes:
    """Return the ApplicationPolicy of a namespace."""
    if chaincode == LIFECYCLE:
        return lifecycle_policy(config)
    return definition.validation_parameter


def collection_policy(
    config: ChannelConfig, definition: ChaincodeDefinition, collection: str
) -> bytes | None:
    """Return the policy for writes to a collection; None when there is no such collection.

    A collection without a policy of its own has the chaincode's.
    """
    msp_id = implicit_collection_org(collection)
    if msp_id is not None:
        return _implicit_policy(config, msp_id)
    try:
        found: Any = definition.collection(collection)
    except LifecycleError:
        # Whoever may write `_lifecycle` may write nonsense there; it defines no collection.
        return None
    if found is None:
        return None
    if found.HasField("endorsement_policy"):
        return bytes(found.endorsement_policy.SerializeToString())
    return definition.validation_parameter


def _implicit_policy(config: ChannelConfig, msp_id: str) -> bytes | None:
    org = config.application_org_by_msp_id(msp_id)
    if org is None:
        return None
    path = f"/Channel/Application/{org.name}/Endorsement"
    if config.find_policy(path) is not None:
        return policy_reference(path)
    return signature_policy(n_of_members(1, [msp_id]))
