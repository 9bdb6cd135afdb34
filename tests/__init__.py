"""Tests mirror the house; see tests/README.md for the vectors and where they come from."""
