"""The `health` chaincode: which contracts share its namespace."""

from __future__ import annotations

from chaincode.audit.contract import AuditContract
from chaincode.claims.contract import ClaimsContract
from chaincode.consent.contract import ConsentContract
from chaincode.contract import Contract, ContractChaincode
from chaincode.directory.contract import DirectoryContract
from chaincode.records.contract import RecordsContract

CONTRACTS: tuple[type[Contract], ...] = (
    ConsentContract,
    RecordsContract,
    ClaimsContract,
    AuditContract,
    DirectoryContract,
)


def chaincode() -> ContractChaincode:
    """The chaincode with all contracts; a name without a contract means consent."""
    return ContractChaincode([contract() for contract in CONTRACTS], title="health")
