"""Until when records are kept: one small file a record, `retention/<record>` with a day in it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from network.topology.safefiles import make_folder, write_file


@dataclass(frozen=True, slots=True)
class Retention:
    """The retention of one organisation's records; a record without a day is kept."""

    folder: Path

    def keep(self, record: str, until: date) -> None:
        """The record is kept up to and including this day."""
        write_file(self.folder / record, f"{until.isoformat()}\n".encode())

    def keep_all(self, records: Iterable[str], until: date) -> None:
        """Each of the records, of which there may be a million, is kept up to and with this day."""
        make_folder(self.folder)
        for record in records:
            (self.folder / record).write_text(f"{until.isoformat()}\n")
        os.sync()

    def until(self, record: str) -> date | None:
        """Return the record's last day, None if it has none."""
        try:
            return date.fromisoformat((self.folder / record).read_text().strip())
        except FileNotFoundError:
            return None

    def expired(self, today: date) -> list[tuple[str, date]]:
        """Return the records whose last day is over, the longest first."""
        found = []
        for file in self.folder.glob("*"):
            until = self.until(file.name)
            if until is not None and until < today:
                found.append((file.name, until))
        return sorted(found, key=lambda one: (one[1], one[0]))

    def forget(self, record: str) -> None:
        """The record has no retention any more."""
        (self.folder / record).unlink(missing_ok=True)
