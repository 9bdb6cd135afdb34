"""The `health` chaincode: which contracts share its namespace."""

from __future__ import annotations

import importlib

from chaincode.contract import Contract, ContractChaincode

_PLACES = (
    ("chaincode.consent.contract", "ConsentContract"),
    ("chaincode.records.contract", "RecordsContract"),
    ("chaincode.claims.contract", "ClaimsContract"),
    ("chaincode.audit.contract", "AuditContract"),
    ("chaincode.directory.contract", "DirectoryContract"),
)


def _load() -> tuple[type[Contract], ...]:
    found = []
    for module, name in _PLACES:
        try:
            found.append(getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError):
            continue
    return tuple(found)


CONTRACTS: tuple[type[Contract], ...] = _load()


def chaincode() -> ContractChaincode:
    """The chaincode with all contracts."""
    return ContractChaincode([contract() for contract in CONTRACTS], title="health")
