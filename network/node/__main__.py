"""`python -m network.node orderer|peer|ca`: one node, from Fabric's own files and environment.

Ends with 0 after SIGTERM or SIGINT, with 1 and one line on standard error when it cannot start.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Coroutine
from typing import Any

from network.node.serving.grpc_server import ListenError
from network.node.serving.logs import InvalidLogSpec, LogSpec, start_logging
from network.node.serving.settings import Settings, SettingsError

COLLECT_AFTER = 20_000, 20, 50
"""When the garbage collector looks (gc.set_threshold). Nearly everything that a node makes for a
call is gone with its last reference; at Python's own 700 objects the collector walks through what
the calls under way hold, again and again."""
USAGE = "usage: python -m network.node orderer | peer | ca"


def main(arguments: list[str]) -> int:
    """Run one node until it is told to stop; returns the exit code."""
    # `peer node start` is what Fabric's own program is called with.
    role = arguments[0] if arguments else ""
    if role not in ("orderer", "peer", "ca"):
        sys.stderr.write(f"{USAGE}\n")
        return 2
    if role == "peer" and "--peer-chaincodedev" in arguments:
        os.environ["CORE_CHAINCODE_MODE"] = "dev"
    try:
        log_spec = start_logging(os.environ.get("FABRIC_LOGGING_SPEC", ""))
        _run(_serve(role, log_spec))
    except NodeRefusal as error:
        sys.stderr.write(f"{role}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def run_orderer() -> int:
    """`medfabric-orderer [start]`: in place of Fabric's `orderer`."""
    if sys.argv[1:] not in ([], ["start"]):
        sys.stderr.write("usage: medfabric-orderer [start]\n")
        return 2
    return main(["orderer"])


def run_peer() -> int:
    """`medfabric-peer node start`: in place of that command of Fabric's `peer`, and of no other."""
    if sys.argv[1:3] != ["node", "start"]:
        sys.stderr.write(
            "usage: medfabric-peer node start [--peer-chaincodedev]\n"
            "For every other command use Fabric's own peer\n"
        )
        return 2
    return main(["peer", *sys.argv[3:]])


async def _serve(role: str, log_spec: LogSpec) -> None:
    # Imported here: a node needs only its own role's modules in memory.
    if role == "orderer":
        from network.node.ordering import orderer

        await orderer.serve(Settings.load("orderer"), log_spec)
    elif role == "peer":
        from network.node.peer import peer

        await peer.serve(Settings.load("core"), log_spec)
    else:
        from network.node.ca import service

        await service.serve(service.load_settings(), log_spec)


def _run(node: Coroutine[Any, Any, None]) -> None:
    gc.set_threshold(*COLLECT_AFTER)
    try:
        import uvloop
    except ImportError:
        asyncio.run(node)
    else:
        uvloop.run(node)


# What a node cannot start with: each says in one line what is wrong and where.
NodeRefusal = (SettingsError, ListenError, InvalidLogSpec)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
