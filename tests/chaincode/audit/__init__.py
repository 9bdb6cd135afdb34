"""Tests of `chaincode/audit`."""
