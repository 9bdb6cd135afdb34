"""`medfabric chaincode dev`: save the file, the next transaction runs the new code."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from admin.cli.frame import Command, Context, with_context
from admin.errors import input_error
from admin.output import to_plain

if TYPE_CHECKING:
    from chaincode.development.news import News

HEALTH = "chaincode.health:chaincode"


@click.command(
    "dev",
    cls=Command,
    examples=[
        "medfabric chaincode dev",
        "medfabric chaincode dev assets:chaincode --watch rules/",
        "medfabric chaincode dev assets:chaincode --org GeneralHospital --json",
    ],
)
@click.argument("place", metavar="[MODULE:NAME]", default=HEALTH)
@click.option("--chaincode", "-n", metavar="NAME", help="The chaincode to serve [the only one].")
@click.option(
    "--org",
    "organizations",
    multiple=True,
    metavar="ORG",
    help="Take over this organisation's server only; can be repeated.",
)
@click.option(
    "--watch",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Watch all files of this folder, too; can be repeated.",
)
@with_context
def dev(
    context: Context,
    place: str,
    chaincode: str | None,
    organizations: tuple[str, ...],
    watch: tuple[Path, ...],
) -> None:
    """Serve a chaincode from its source: a saved file is served at the next transaction.

    MODULE:NAME is a chaincode, or a function that makes one, as Python finds it from here; without
    it, the health chaincode. Its servers are taken over from the network, all organisations' or
    those named, and given back at the end (Ctrl-C). The files that the code was loaded from are
    watched; a file with a mistake is told with its line, and the old code serves on. Each
    transaction is shown by its id, status and time; its data never is.

    For a chaincode on any other network: python -m chaincode --reload.
    """
    from admin.procedures.networks.development import develop
    from chaincode.development.news import describe
    from network.engines.choice import open_engine

    def tell(news: "News") -> None:
        told = {"event": type(news).__name__.lower(), **to_plain(news)}
        context.output.result(told, describe(news))

    def note(text: str) -> None:
        context.output.note(text)

    _validate_place(place)
    engine = open_engine(context.surroundings)
    context.run(
        develop(
            engine,
            place,
            name=chaincode,
            organizations=organizations,
            trees=watch,
            tell=tell,
            note=note,
        )
    )


def _validate_place(place: str) -> None:
    """There is such a module; whether it can be loaded shows when it is, and may change."""
    from importlib.machinery import PathFinder

    package = place.partition(":")[0].partition(".")[0]
    if PathFinder.find_spec(package, [os.getcwd(), *sys.path]) is None:
        raise input_error(
            f"there is no Python module {package!r} here",
            "name MODULE:NAME as Python finds it from this folder, such as devices:chaincode",
        )
