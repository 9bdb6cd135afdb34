"""A developer's own chaincode server in the place of the network's."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from admin.errors import input_error
from chaincode.development.child import Orders, Target
from chaincode.development.news import Tell
from chaincode.development.reloader import Reloader
from network.engines.engine import Engine, ServedChaincode

GRACE_SECONDS = 5.0
LEND_SECONDS = 30.0


async def develop(
    engine: Engine,
    place: str,
    *,
    name: str | None,
    organizations: Sequence[str],
    trees: Sequence[Path],
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """Serve the chaincode at `place` until SIGINT or SIGTERM; then the network's own runs again.

    Args:
        engine: runs the network.
        place: `module:name`.
        name: the chaincode whose servers are taken over; None where all run the same.
        organizations: whose servers; all where empty.
        trees: folders to watch whole.
        tell: takes what happens.
        note: takes what is done to the network, in words.

    Raises:
        FaultError: no organisation serves it.
        EngineError: the network is down, or another loop runs.
    """
    served = choose(engine.chaincodes(), name, organizations)
    names = [one.organization for one in served]
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)

    @asynccontextmanager
    async def claim() -> AsyncIterator[None]:
        async with engine.lend_chaincode(names, timeout=LEND_SECONDS):
            note(f"taken over: {served[0].name} of {', '.join(names)}; Ctrl-C gives it back")
            yield
            note("giving it back")

    targets = tuple(Target(one.organization, engine.chaincode_environment(one)) for one in served)
    reloader = Reloader(Orders(place, targets, GRACE_SECONDS), tell=tell, trees=trees, claim=claim)
    await reloader.run(stopping)


def choose(
    served: Sequence[ServedChaincode], name: str | None, organizations: Sequence[str]
) -> list[ServedChaincode]:
    """The servers that are meant; raises FaultError when that is not clear."""
    names = sorted({one.name for one in served})
    if name is None and len(names) > 1:
        raise input_error(
            "the network serves several chaincodes",
            f"name one with --chaincode: {', '.join(names)}",
        )
    found = [one for one in served if name in (None, one.name)]
    if not found:
        raise input_error(
            f"no organisation serves {f'a chaincode {name!r}' if name else 'a chaincode'}",
            f"there are: {', '.join(names) or 'none'}",
        )
    known = {one.organization.lower(): one for one in found}
    for organization in organizations:
        if organization.lower() not in known:
            raise input_error(
                f"{organization!r} does not serve it",
                f"these do: {', '.join(one.organization for one in found)}",
            )
    return [known[one.lower()] for one in organizations] or found
