"""Tests of `chaincode`."""
