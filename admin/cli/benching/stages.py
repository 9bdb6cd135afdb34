"""The stages of a measurement that grows: `1000,10000`."""

from __future__ import annotations

import click


def read_stages(value: str, most: int) -> tuple[int, ...]:
    """Return the stages. Raises BadParameter unless they ascend, from 1 to `most`."""
    try:
        found = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not numbers with commas between, such as 1000,10000"
        ) from None
    if list(found) != sorted(set(found)) or not 0 < found[0] <= found[-1] <= most:
        raise click.BadParameter(f"{value!r} is not ascending, from 1 to {most}")
    return found
