"""What became of each claim of a submission, as a file: CSV for people, JSON for programs."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from admin.cli.claiming.answers import open_partial, put_in_place, validate_target
from admin.cli.claiming.views import code_of, loud_findings
from admin.errors import input_error

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Submitted

FIELDS = (
    *("where", "number", "claim", "payer", "room", "status", "existing", "sent"),
    *("transactionId", "blockNumber", "findings", "error"),
)


class Report:
    """What became of each claim, written as it is known; nothing without a target.

    Raises FaultError before anything is sent: the file's ending is neither .csv nor .json.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._stream: TextIO | None = None
        self._rows = 0
        if target is not None and Path(target).suffix not in (".csv", ".json"):
            raise input_error("a report is a .csv or a .json file", "name it so", target)
        if target is not None:
            validate_target(target)

    def add(self, results: "Sequence[Submitted]") -> None:
        """The file has one more row for each result; only its owner reads it."""
        if self._target is None:
            return
        stream = self._open(self._target)
        for one in results:
            row = row_of(one)
            if self._target.endswith(".csv"):
                writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
                writer.writerow({**row, "findings": " ".join(row["findings"])})
            else:
                stream.write((",\n" if self._rows else "") + json.dumps(row, indent=2))
            self._rows += 1

    def close(self) -> None:
        """The file is whole and where it belongs."""
        if self._target is None:
            return
        stream = self._open(self._target)
        stream.write("" if self._target.endswith(".csv") else "\n]\n")
        stream.close()
        put_in_place(self._target)

    def _open(self, target: str) -> TextIO:
        if self._stream is None:
            self._stream = open_partial(target)
            header = ",".join(FIELDS) + "\n"
            self._stream.write(header if target.endswith(".csv") else "[\n")
        return self._stream


def row_of(one: "Submitted") -> dict[str, Any]:
    """Return a result as a report has it, `FIELDS` in order."""
    result = one.result
    return {
        "where": one.where,
        "number": one.number,
        "claim": one.claim,
        "payer": one.payer,
        "room": one.room.value,
        "status": result.status.value if result.status else "not taken",
        "existing": result.existing,
        "sent": one.sent,
        "transactionId": one.transaction_id,
        "blockNumber": one.block_number,
        "findings": [code_of(f) for f in loud_findings(result.checks)],
        "error": result.error,
    }
