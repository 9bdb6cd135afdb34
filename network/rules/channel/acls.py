"""Which policy guards which resource of a peer, when the channel does not say otherwise.

Source: Fabric `core/aclmgmt/defaultaclprovider.go`, `common/channelconfig/acls.go`.
"""

from collections.abc import Mapping

from network.rules.policy.manager import APPLICATION_READERS, APPLICATION_WRITERS

# Resources of the peer itself, judged by its local MSP; channel ACLs never override them.
LOCAL_POLICIES: Mapping[str, str] = {
    "_lifecycle/InstallChaincode": "Admins",
    "_lifecycle/QueryInstalledChaincode": "Admins",
    "_lifecycle/GetInstalledChaincodePackage": "Admins",
    "_lifecycle/QueryInstalledChaincodes": "Admins",
    "_lifecycle/ApproveChaincodeDefinitionForMyOrg": "Admins",
    "_lifecycle/QueryApprovedChaincodeDefinition": "Admins",
    "_lifecycle/QueryApprovedChaincodeDefinitions": "Admins",
    "snapshot/submitrequest": "Admins",
    "snapshot/cancelrequest": "Admins",
    "snapshot/listpending": "Admins",
    "lscc/Install": "Admins",
    "lscc/GetInstalledChaincodes": "Admins",
    "cscc/JoinChain": "Admins",
    "cscc/JoinChainBySnapshot": "Admins",
    "cscc/JoinBySnapshotStatus": "Admins",
    "cscc/GetChannels": "Members",
}

DEFAULT_POLICIES: Mapping[str, str] = {
    "_lifecycle/CommitChaincodeDefinition": APPLICATION_WRITERS,
    "_lifecycle/QueryChaincodeDefinition": APPLICATION_WRITERS,
    "_lifecycle/QueryChaincodeDefinitions": APPLICATION_WRITERS,
    "_lifecycle/CheckCommitReadiness": APPLICATION_WRITERS,
    "lscc/ChaincodeExists": APPLICATION_READERS,
    "lscc/GetDeploymentSpec": APPLICATION_READERS,
    "lscc/GetChaincodeData": APPLICATION_READERS,
    "lscc/GetInstantiatedChaincodes": APPLICATION_READERS,
    "lscc/GetCollectionsConfig": APPLICATION_READERS,
    "qscc/GetChainInfo": APPLICATION_READERS,
    "qscc/GetBlockByNumber": APPLICATION_READERS,
    "qscc/GetBlockByHash": APPLICATION_READERS,
    "qscc/GetTransactionByID": APPLICATION_READERS,
    "qscc/GetBlockByTxID": APPLICATION_READERS,
    "cscc/GetConfigBlock": APPLICATION_READERS,
    "cscc/GetChannelConfig": APPLICATION_READERS,
    "peer/Propose": APPLICATION_WRITERS,
    "peer/ChaincodeToChaincode": APPLICATION_WRITERS,
    "event/Block": APPLICATION_READERS,
    "event/FilteredBlock": APPLICATION_READERS,
    "gateway/CommitStatus": APPLICATION_READERS,
    "gateway/ChaincodeEvents": APPLICATION_READERS,
}


def resolve_acl_reference(reference: str) -> str:
    """Return the absolute path of an ACL's policy: bare names are below /Channel/Application."""
    return reference if reference.startswith("/") else f"/Channel/Application/{reference}"
