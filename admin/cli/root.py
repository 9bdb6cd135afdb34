"""The program: its nouns in one tuple, each in a module of its own."""

import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from admin.cli.frame import Root

GROUPS: tuple[tuple[str, str, str], ...] = (
    ("network", "admin.cli.network", "Bring a network up, look after it, take it down."),
    ("org", "admin.cli.org", "Organisations of a channel: add, remove, list, show."),
    ("channel", "admin.cli.channel", "Channels: create, join, show, fetch."),
    ("chaincode", "admin.cli.chaincode", "Chaincodes: deploy, list, invoke, query."),
    ("identity", "admin.cli.identity", "Identities: register, enrol, renew, revoke, use."),
    ("patient", "admin.cli.patient", "Patients, their delegates and keys."),
    ("consent", "admin.cli.consent", "Consents: grant, amend, revoke, check, explain."),
    ("record", "admin.cli.record", "Records: seal, anchor, request, release, verify."),
    ("claim", "admin.cli.claim", "Claims: submit, adjudicate, appeal, watch."),
    ("audit", "admin.cli.audit", "The audit trail, disclosures and reviews."),
    ("events", "admin.cli.events", "Events: list their kinds, watch, forward to a webhook."),
    ("ledger", "admin.cli.ledger", "A channel's ledger: height, hashes, verification."),
    ("block", "admin.cli.block", "Blocks: list and show."),
    ("tx", "admin.cli.tx", "Transactions: show, and explain why one is invalid."),
    ("explain", "admin.cli.explain", "What a validation code, status or exit code means."),
    ("bench", "admin.cli.bench", "Measure throughput and latency."),
    ("explorer", "admin.cli.explorer", "Look at a channel in the browser."),
    ("completion", "admin.cli.completion", "Print the completion script for a shell."),
)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    try:
        number = version("medfabric")
    except PackageNotFoundError:
        number = "unknown"
    click.echo(f"medfabric {number}")
    context.exit()


cli: Any = Root(
    name="medfabric",
    help="""Secure patient data across organisations: consent, records, claims, audit.

    A network is described by one network.yaml. 'medfabric network up' brings it up on this
    machine; the other nouns work on it, or on any Hyperledger Fabric network, in the name of
    an identity (--as).
    """,
    members=GROUPS,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_show_version,
            help="Show the version and exit.",
        )
    ],
    examples=[
        "medfabric network init care.yaml",
        "medfabric network up",
        "medfabric network status",
        "medfabric explain MVCC_READ_CONFLICT",
        'eval "$(medfabric completion bash)"',
    ],
)


def main() -> None:
    """Runs the command line of this process and exits."""
    cli.main(sys.argv[1:])
