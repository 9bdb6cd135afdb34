"""Verbs of `medfabric bench` that measure what is ours alone, a module for each room."""
