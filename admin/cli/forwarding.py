"""`medfabric events forward`, `redeliver` and `secret`: events to an integrator's webhook."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from admin.cli.context import Context
from admin.cli.frame import Command, channel_option, with_context
from admin.cli.sessions import open_health
from admin.cli.watching import find_start, follow_options, open_follower
from admin.errors import input_error, refused_error
from admin.locks import hold_alone
from admin.output import shorten

if TYPE_CHECKING:
    from admin.events.forwarding import DeadLetters, Forwarder, Outcome
    from admin.events.metrics import ForwardingMetrics
    from admin.events.target import Target
    from network.client.checkpoint import Checkpoint

_TARGET = (
    click.option("--to", "url", required=True, metavar="URL", help="The webhook, https only."),
    click.option(
        "--secret-file",
        required=True,
        metavar="FILE",
        help="whsec_… one a line, the newest first; see 'events secret'.",
    ),
    click.option("--ca", metavar="FILE", help="PEM certificates to trust [the system's]."),
    click.option("--cert", metavar="FILE", help="PEM client certificate to show, with its chain."),
    click.option(
        "--key", metavar="FILE", help="Its PEM key [in the same file]. Read anew when it changes."
    ),
    click.option(
        "--allow-private",
        is_flag=True,
        help="Deliver also to private and loopback addresses.",
    ),
    click.option(
        "--attempts",
        type=click.IntRange(min=1),
        default=12,
        show_default=True,
        help="Give a delivery up after so many.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=15.0,
        show_default=True,
        metavar="SECONDS",
        help="For one attempt.",
    ),
)


def target_options(function: Any) -> Any:
    """The options that say where deliveries go, and how."""
    for option in reversed(_TARGET):
        function = option(function)
    return function


def checkpoint_options(function: Any) -> Any:
    """The options that say where a follower begins."""
    for option in reversed(follow_options()):
        function = option(function)
    return function


@click.command(
    cls=Command,
    examples=[
        "medfabric events forward --to https://hooks.hospital.example/medfabric \\",
        "    --secret-file hook.secret --checkpoint hook.json --as GeneralHospital/integration",
        "medfabric events forward --to https://siem.local/in --allow-private --ca siem.pem \\",
        "    --secret-file hook.secret --checkpoint siem.json --event 'consent.*' \\",
        "    --cert client.pem --key client.key --metrics-address 127.0.0.1:9465",
    ],
)
@target_options
@checkpoint_options
@click.option("--event", "names", multiple=True, metavar="NAME", help="Only these; * fits; repeat.")
@click.option("--about", multiple=True, metavar="HANDLE|MSPID", help="Only what names it; repeat.")
@click.option(
    "--dead-letters", metavar="FILE", help="Given-up deliveries [CHECKPOINT.dead.ndjson]."
)
@click.option(
    "--metrics-address", metavar="HOST:PORT", help="Serve Prometheus metrics at /metrics here."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@channel_option
@with_context
def forward(
    context: Context,
    url: str,
    secret_file: str,
    attempts: int,
    checkpoint: str | None,
    from_block: int | None,
    names: tuple[str, ...],
    about: tuple[str, ...],
    dead_letters: str | None,
    metrics_address: str | None,
    count: int | None,
    channel: str | None,
    **reached: Any,
) -> None:
    """Bring events to a webhook, signed as Standard Webhooks says. Ends with Ctrl-C.

    Each event is delivered at least once, in order for each patient, record or claim; its
    webhook-id stays the same when it is sent again. Failed attempts are tried again with growing
    delays; what is given up goes to the dead letters ('events redeliver'). With --checkpoint it
    goes on where it stopped. A receiver that answers 410 ends it.
    """
    if checkpoint is None:
        raise input_error("name a checkpoint", "--checkpoint FILE keeps how far deliveries came")
    from admin.events.following import Filter
    from admin.events.forwarding import ReceiverGone
    from admin.events.sources import read_incoming
    from network.client.checkpoint import Checkpoint

    kept = Checkpoint(checkpoint)
    target = _open_target(url, **reached)
    metrics = _serve_metrics(metrics_address)
    letters = _letters(Path(dead_letters or f"{checkpoint}.dead.ndjson"))

    async def work() -> None:
        async with target, open_health(context, channel) as session:
            follower = open_follower(context, session)
            start = await find_start(follower, kept, from_block)
            forwarder = _forwarder(context, target, secret_file, kept, letters, attempts, metrics)
            incoming = read_incoming(follower, start, Filter(names, about), count=count)
            await forwarder.run(incoming)

    lock = Path(f"{checkpoint}.lock")
    with hold_alone(lock, "another forwarder goes by this checkpoint"):
        try:
            context.run(work())
        except ReceiverGone:
            raise refused_error(
                "the receiver answered 410: it wants no more deliveries",
                "nothing was skipped; take the webhook out, or start again with another --to",
                url,
            ) from None


@click.command(
    cls=Command,
    examples="medfabric events redeliver hook.json.dead.ndjson --to https://hooks.example/in "
    "--secret-file hook.secret",
)
@click.argument("file", metavar="FILE")
@target_options
@with_context
def redeliver(
    context: Context,
    file: str,
    url: str,
    secret_file: str,
    attempts: int,
    **reached: Any,
) -> None:
    """Send the dead letters in FILE again; those that are taken are out of it."""
    from admin.errors import unreachable_error
    from admin.events.forwarding import ReceiverGone
    from network.client.checkpoint import Checkpoint

    letters = _letters(Path(file))
    try:
        deliveries = [one for one in letters.read() if one.body]
    except ValueError as error:
        raise input_error(str(error), "name a file that 'events forward' wrote", file) from None
    target = _open_target(url, **reached)
    left = {one.id for one in letters.read()}

    async def work() -> None:
        forwarder = _forwarder(
            context, target, secret_file, Checkpoint(file + ".none"), letters, attempts
        )
        async with target:
            for delivery in deliveries:
                outcome = await forwarder.deliver(delivery)
                _tell(context, outcome)
                if outcome.delivered:
                    left.discard(delivery.id)
                    letters.replace(left)

    try:
        context.run(work())
    except ReceiverGone:
        raise refused_error("the receiver answered 410: it wants no deliveries", "", url) from None
    if left:
        raise unreachable_error(f"{len(left)} dead letters are left", "try again later", file)


@click.command(cls=Command, examples="medfabric events secret hook.secret")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@with_context
def secret(context: Context, file: Path) -> None:
    """Write a fresh secret to FILE (mode 0600); the receiver gets the same one, by another way.

    To rotate, put a fresh one above the old: both sign until you take the old one out.
    """
    import os
    import secrets

    from admin.events.deliveries import format_secret

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise input_error(
            "the file is there already",
            "name another one; secrets are never overwritten",
            str(file),
        ) from None
    with os.fdopen(descriptor, "w") as opened:
        opened.write(format_secret(secrets.token_bytes(32)) + "\n")
    context.output.result({"file": file}, f"✓ {file} written")


def _open_target(
    url: str,
    ca: str | None,
    cert: str | None,
    key: str | None,
    allow_private: bool,
    timeout: float,
) -> "Target":
    from admin.events.target import BadCertificate, BadTarget, Target, TargetOptions

    if key and not cert:
        raise input_error("--key without --cert", "name the certificate that the key is of", key)
    if cert and not key and b"PRIVATE KEY" not in Path(cert).read_bytes():
        raise input_error("the file holds no key", "name the key's file with --key", cert)
    if cert:
        _require_private(Path(key or cert), "the key")
    options = TargetOptions(ca, allow_private, timeout, client_certificate=cert, client_key=key)
    try:
        return Target(url, options)
    except BadTarget as error:
        raise input_error(f"--to: {error}", "such as https://hooks.example/in", url) from None
    except BadCertificate as error:
        raise input_error(
            str(error), "PEM, the key without a password (openssl pkcs8 -nocrypt)", error.file
        ) from None


def _serve_metrics(address: str | None) -> "ForwardingMetrics | None":
    if address is None:
        return None
    from admin.events.metrics import ForwardingMetrics

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise input_error("--metrics-address is HOST:PORT", "such as 127.0.0.1:9465", address)
    metrics = ForwardingMetrics()
    try:
        metrics.serve(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise input_error(
            f"metrics cannot be served: {getattr(error, 'strerror', None) or error}",
            "name another port",
            address,
        ) from None
    return metrics


def _forwarder(
    context: Context,
    target: "Target",
    secret_file: str,
    checkpoint: "Checkpoint",
    letters: "DeadLetters",
    attempts: int,
    metrics: "ForwardingMetrics | None" = None,
) -> "Forwarder":
    from admin.events.forwarding import Forwarder, Patience

    def tell(outcome: "Outcome") -> None:
        if metrics is not None:
            metrics.count(outcome)
        _tell(context, outcome)

    forwarder = Forwarder(
        target.send if metrics is None else metrics.measure(target.send),
        _read_secrets(Path(secret_file)),
        checkpoint,
        letters,
        patience=Patience(attempts=attempts),
        tell=tell,
    )
    if metrics is not None:
        metrics.watch(
            lambda: forwarder.underway,
            lambda: checkpoint.position.block_number if checkpoint.position else 0,
        )
    return forwarder


def _read_secrets(file: Path) -> tuple[bytes, ...]:
    from admin.events.deliveries import BadSecret, read_secrets

    _require_private(file, "the secret")
    try:
        return read_secrets(file.read_text())
    except (BadSecret, UnicodeDecodeError) as error:
        raise input_error(
            f"no secret of Standard Webhooks: {error if isinstance(error, BadSecret) else 'text'}",
            f"write one with: medfabric events secret {file.name}.new",
            str(file),
        ) from None


def _require_private(file: Path, what: str) -> None:
    if file.stat().st_mode & 0o077:
        raise input_error(f"others may read {what}", f"chmod 600 {file}", str(file))


def _letters(file: Path) -> "DeadLetters":
    from admin.events.forwarding import DeadLetters

    return DeadLetters(file)


def _tell(context: Context, outcome: "Outcome") -> None:
    delivery = outcome.delivery
    if delivery is None:
        return
    wire = {
        "id": delivery.id,
        "type": delivery.type,
        "blockNumber": delivery.block_number,
        "delivered": outcome.delivered,
        "attempts": outcome.attempts,
        "status": outcome.status,
        "reason": outcome.detail,
    }
    transaction = shorten(delivery.transaction_id)
    place = f"{delivery.type:<27} block {delivery.block_number:<5} {transaction}"
    if outcome.delivered:
        context.output.result(wire, f"✓ {place}  {outcome.status}")
    else:
        context.output.result(wire, f"✗ {place}  dead letter: {outcome.detail}")
