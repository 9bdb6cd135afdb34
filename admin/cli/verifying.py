"""What the commands that verify a proof offline share: their options, blocks and lines."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from admin.errors import input_error
from admin.output import Output

if TYPE_CHECKING:
    from network.rules.channel.config import ChannelConfig


def verification_options(prove: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--proof, as the command `prove` writes it, --block and --trust."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--trust",
                required=True,
                metavar="FILE",
                help="The channel's genesis or configuration block, from a source you trust.",
            ),
            click.option(
                "--block", required=True, metavar="FILE", help="The block it names, from anywhere."
            ),
            click.option("--proof", required=True, metavar="FILE", help=f"As '{prove}' writes it."),
        ):
            command = option(command)
        return command

    return decorate


def read_blocks(block: str, trust: str) -> "tuple[Any, ChannelConfig]":
    """The block, and the configuration in the trusted one.

    Raises:
        FaultError: one of the two cannot be read.
    """
    from admin.fhir.reading import read_source
    from network.rules.blocks.block import open_block
    from network.rules.channel.config import ChannelConfig, InvalidConfig
    from network.rules.envelope import MalformedMessage

    try:
        trusted = ChannelConfig.from_block(open_block(read_source(trust).raw))
        return open_block(read_source(block).raw), trusted
    except (InvalidConfig, MalformedMessage) as error:
        raise input_error(f"a block cannot be read: {error}", "", f"{block} or {trust}") from error


def show_grounds(output: Output, checks: Iterable[str], limits: Iterable[str]) -> None:
    """What was checked, and what no check can show, a line each."""
    for line in checks:
        output.line(f"  ✓ {line}")
    for line in limits:
        output.line(f"  · {line}")
