"""Tests of `chaincode/claims`."""
