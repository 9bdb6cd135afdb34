"""What is wrong with a topology file, all of it at once."""

from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct: where (file, line, path) and what, with the remedy in the text."""

    file: str
    line: int
    path: Path
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return (
            f"{place} {format_path(self.path)}: {self.text}"
            if self.path
            else (f"{place}: {self.text}")
        )


class TopologyError(ValueError):
    """The topology cannot be used; ``mistakes`` lists everything found, in the file's order."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def format_path(path: Path) -> str:
    """Return ``organizations[2].peers[0].port`` for ("organizations", 2, "peers", 0, "port")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
