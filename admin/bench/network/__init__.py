"""Measuring whole networks, side by side: throughput against latency, memory, readiness.

`own` makes a network of ours to measure, `sides` names those that exist already, `course` runs the
load of `admin.bench.generators` on them in turns, `plot` draws what came out.
"""
