"""`watch`, the same for every noun: follow events as they are committed, and go on after a stop."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import HealthSession, open_health
from admin.errors import usage_error
from admin.output import shorten

if TYPE_CHECKING:
    from admin.events.following import Filter, Follower
    from network.client import ChaincodeEvent
    from network.client.checkpoint import Checkpoint, Position

_SUBJECTS = ("claim", "record", "access", "batch", "consent", "id", "handle", "patient", "name")
_STATES = ("verdict", "outcome", "status", "kind", "purpose")


def build_watch(
    noun: str,
    prefixes: Sequence[str],
    *,
    example: str | Sequence[str],
    own_only: bool = False,
) -> click.Command:
    """Return the noun's `watch`, over events whose names begin with one of the prefixes.

    With `own_only` it shows what names who acts' organisation, unless `--all` is given.
    """

    def watch(
        context: Context,
        names: tuple[str, ...],
        about: tuple[str, ...],
        checkpoint: str | None,
        from_block: int | None,
        count: int | None,
        channel: str | None,
        everybody: bool = False,
    ) -> None:
        context.run(
            _watch(
                context,
                tuple(_full_name(noun, prefixes, name) for name in names)
                or tuple(f"{prefix}*" for prefix in prefixes),
                _handles(about),
                own_only and not everybody,
                checkpoint,
                from_block,
                count,
                channel,
            )
        )

    watch.__doc__ = (
        f"Follow what happens to {noun}, as it is committed. Ends with Ctrl-C.\n\n"
        "With --checkpoint it goes on exactly after the last event that it showed, and survives "
        "restarts of the peer. docs/events.md tells every event."
    )
    options = [
        click.option(
            "--event", "names", multiple=True, metavar="NAME", help="Only these; * fits; repeat."
        ),
        click.option(
            "--about",
            multiple=True,
            metavar="HANDLE|MSPID",
            help="Only what names this patient, record, claim or organisation; repeat.",
        ),
        *follow_options(),
        click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N."),
        channel_option,
    ]
    if own_only:
        options.append(
            click.option("--all", "everybody", is_flag=True, help="Other organisations' too.")
        )
    function: Any = with_context(watch)
    for option in reversed(options):
        function = option(function)
    command: click.Command = click.command("watch", cls=Command, examples=example)(function)
    return command


def follow_options() -> list[Any]:
    """`--checkpoint` and `--from-block`: where a follower begins."""
    return [
        click.option(
            "--checkpoint",
            metavar="FILE",
            help="Remembers how far it came, and goes on there next time.",
        ),
        click.option(
            "--from-block", type=click.IntRange(min=0), metavar="N", help="Begin here [now]."
        ),
    ]


def open_follower(context: Context, session: HealthSession) -> "Follower":
    """Return the follower of the session's chaincode; it notes on standard error when it waits."""
    from admin.events.following import Follower

    return Follower(
        session.health.gateway.network(session.health.channel_id),
        session.health.chaincode,
        session.profile.endpoint,
        session.profile.signer,
        context.output.note,
    )


async def find_start(
    follower: "Follower", checkpoint: "Checkpoint | None", from_block: int | None
) -> "Position":
    """Return where to begin: the checkpoint's place, else the block, else after the newest one.

    A fresh checkpoint is written at once, so that nothing is missed before the first event.
    """
    from network.client.checkpoint import Position

    if checkpoint is not None and checkpoint.position is not None:
        return checkpoint.position
    start = await follower.find_end() if from_block is None else Position(from_block)
    if checkpoint is not None:
        checkpoint.record_transaction(start.block_number, start.transaction_id)
    return start


async def _watch(
    context: Context,
    names: tuple[str, ...],
    about: tuple[str, ...],
    own_only: bool,
    checkpoint: str | None,
    from_block: int | None,
    count: int | None,
    channel: str | None,
) -> None:
    from contextlib import aclosing

    from admin.events.following import Filter
    from network.client.checkpoint import Checkpoint

    kept = Checkpoint(checkpoint) if checkpoint else None
    async with open_health(context, channel) as session:
        follower = open_follower(context, session)
        own = Filter(names, (session.profile.signer.msp_id,)) if own_only else Filter()
        wanted = Filter(names, about)
        start = await find_start(follower, kept, from_block)
        seen = 0
        async with aclosing(follower.follow(start)) as events:  # type: ignore[type-var]
            async for event in events:
                if _passes(event, wanted, own):
                    show_event(context, event)
                    seen += 1
                if kept is not None:  # shown is handled: the next run begins after it
                    kept.record_transaction(event.block_number, event.transaction_id)
                if count is not None and seen >= count:
                    return


def _passes(event: "ChaincodeEvent", *filters: "Filter") -> bool:
    return all(one.wants(event) for one in filters)


def show_event(context: Context, event: "ChaincodeEvent") -> None:
    """Print one event: a line for people, a document a line for programs."""
    from admin.events.following import read_payload

    payload = read_payload(event)
    wire = {
        "event": event.name,
        "blockNumber": event.block_number,
        "transactionId": event.transaction_id,
        "payload": payload,
    }
    line = f"block {event.block_number:<5} {event.name:<27} {_tell(payload)}"
    context.output.result(wire, line.rstrip())


def _tell(payload: dict[str, Any]) -> str:
    if "accepted" in payload:
        return f"{len(payload['accepted'])} accepted, {len(payload['rejected'])} rejected"
    if "batch" in payload and isinstance(payload["batch"], dict):
        batch = payload["batch"]
        return f"{payload['mspId']}  {batch['log']}  {batch['first']}–{batch['last']}"
    words = [shorten(str(payload[name])) for name in _SUBJECTS if name in payload][:1]
    if "version" in payload:
        words.append(f"v{payload['version']}")
    words += [str(payload[name]) for name in _STATES if payload.get(name)]
    words += [str(code) for code in payload.get("codes", [])]
    return "  ".join(words)


def _full_name(noun: str, prefixes: Sequence[str], name: str) -> str:
    """`Granted` as `consent.Granted`, where the noun has one kind of events."""
    if "." in name or len(prefixes) != 1 or name == "*":
        return name
    return prefixes[0] + name


def _handles(about: tuple[str, ...]) -> tuple[str, ...]:
    """The wanted handles, without the ellipsis that people copy; too short ones are refused."""
    wanted = tuple(text.rstrip("….") for text in about)
    for text in wanted:
        if len(text) < 8 and not text.endswith("MSP"):
            raise usage_error(
                f"--about {text}: too short to be told from others",
                "write at least eight characters of a handle, or a whole MSP id",
            )
    return wanted
