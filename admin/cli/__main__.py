"""`python -m admin.cli`: the `medfabric` command where it is not on the PATH."""

from admin.cli import main

main()
