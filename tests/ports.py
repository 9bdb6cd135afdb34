"""Ports for servers under test, which stay theirs while a server is stopped and started again.

The system hands out its own choice ("port 0") again as soon as it is free, to any server and to
any outgoing connection; so these lie below the range that it chooses from (from 32768 in Linux),
none is given twice in a run, and processes that run tests beside each other have shares of their
own.
"""

import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle
from zlib import crc32

FIRST, LAST = 27_000, 32_700
SHARES = 4
STEP = 4  # topologies derive others: an organisation's chaincode port is 1 above, an admin port 3


def get_share() -> int:
    """The number, below SHARES, of this process: another for each that runs tests of one run, and
    as a rule for runs beside each other on one machine."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return (crc32(run.encode()) + int(worker)) % SHARES


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on and nobody else is given."""
    return next(port for port in _share() if _is_free(port))


def free_ports(count: int) -> list[int]:
    """So many of them, each another."""
    return [free_port() for _ in range(count)]


@cache
def _share() -> Iterator[int]:
    size = (LAST - FIRST) // SHARES
    first = FIRST + get_share() * size
    ports = list(range(first, first + size, STEP))
    begin = random.randrange(len(ports))  # another run of tests may be on this machine
    return cycle(ports[begin:] + ports[:begin])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
