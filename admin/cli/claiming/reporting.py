"""What became of each claim of a submission, as a file: CSV for people, JSON for programs."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from admin.cli.claiming.views import code_of, loud_findings
from admin.errors import input_error

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Submitted

FIELDS = (
    *("where", "number", "claim", "payer", "room", "status", "existing", "sent"),
    *("transactionId", "blockNumber", "findings", "error"),
)


class Report:
    """Written once, when all is known that will be; nothing without a target.

    Raises FaultError before anything is sent: the file's ending is neither .csv nor .json.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        if target is not None and Path(target).suffix not in (".csv", ".json"):
            raise input_error("a report is a .csv or a .json file", "name it so", target)

    def write(self, results: "Sequence[Submitted]") -> None:
        """The file has a row for each result; only its owner reads it."""
        if self._target is None:
            return
        from network.topology.safefiles import write_file

        rows = [row_of(one) for one in results]
        text = _csv(rows) if self._target.endswith(".csv") else json.dumps(rows, indent=2) + "\n"
        write_file(Path(self._target), text.encode(), secret=True)


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


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "findings": " ".join(row["findings"])})
    return text.getvalue()
