"""Chaincode definitions: packages, approvals, commits and collections."""
