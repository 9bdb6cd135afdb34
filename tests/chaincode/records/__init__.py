"""Tests of `chaincode/records`."""
