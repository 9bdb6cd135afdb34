"""The `medfabric` command: a command parses, calls one function, renders one value.

One module a noun, registered in `root.GROUPS` and imported only when it is used, so that `--help`
is quick and opens nothing. Shared options are in `frame`, what commands know about their
surroundings is in `context`.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line of this process and exits; see `root.main`."""
    try:
        from admin.cli.root import main as run
    except KeyboardInterrupt:  # nobody is there yet to tell it
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    run()
