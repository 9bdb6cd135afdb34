"""The `medfabric` command: a command parses, calls one function, renders one value.

One module a noun, registered in `root.GROUPS` and imported only when it is used, so that `--help`
is quick and opens nothing. Shared options are in `frame`, what commands know about their
surroundings is in `context`.
"""

from admin.cli.root import main

__all__ = ["main"]
