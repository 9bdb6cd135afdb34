"""What is said of a submission when it is over: one claim, or how many of what."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from admin.cli.claiming.reporting import Report
from admin.cli.claiming.views import loud_findings, tell_checks, tell_finding
from admin.cli.context import Context
from admin.errors import ExitCode, Fault, FaultError
from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.procedures.claims.claims import Submitted
    from admin.procedures.claims.preparation import Prepared
    from chaincode.claims.model import CheckResult

FEW = 20
"""So many results are told one by one; of more, those that say something."""
MAX_LOUD = 1_000


class Submission:
    """The results of a submission as they come: counted and reported, a few of them held.

    `keep` holds every one, as `--json` tells them.
    """

    def __init__(self, report: Report, *, keep: bool) -> None:
        self._report = report
        self._keep = keep
        self._transactions: set[str] = set()
        self.count = self.fresh = self.refused = 0
        self.seconds = 0.0
        self.blocks: tuple[int, int] | None = None
        self.payers: set[str] = set()
        self.shown: list[Submitted] = []
        self.loud: list[Submitted] = []
        self.wires: list[dict[str, Any]] = []

    @property
    def first(self) -> "Submitted":
        """The first result."""
        return self.shown[0]

    def add(self, done: "Sequence[Submitted]") -> None:
        """These claims are answered for."""
        self._report.add(done)
        for one in done:
            self._count(one)

    def close(self) -> None:
        """The report is where it belongs."""
        self._report.close()

    def _count(self, one: "Submitted") -> None:
        self.count += 1
        self.payers.add(one.payer)
        self.refused += one.refused
        if not one.refused and not one.result.existing:
            self.fresh += 1
            first, last = self.blocks or (one.block_number, one.block_number)
            self.blocks = (min(first, one.block_number), max(last, one.block_number))
            if one.transaction_id not in self._transactions:
                self._transactions.add(one.transaction_id)
                self.seconds += one.seconds
        if len(self.shown) < FEW:
            self.shown.append(one)
        said = one.result.error or loud_findings(one.result.checks)
        if said and len(self.loud) < MAX_LOUD:
            self.loud.append(one)
        if self._keep:
            self.wires.append(wire_of(one))


def show_submission(context: Context, log: Submission) -> None:
    """Tell what became of all claims. Ends with exit code 4 if some were not taken."""
    if log.count == 1:
        show_submitted(context, log.first)
        return
    context.output.result(log.wires, lambda output: _tell_many(context, output, log))
    if log.refused:
        if not context.json:
            context.output.warn(
                f"{log.refused} of {log.count} claims were not taken; correct them and send the "
                "files again: what is there already stays"
            )
        raise click.exceptions.Exit(int(ExitCode.REFUSED))


def show_submitted(context: Context, one: "Submitted", more: str = "") -> None:
    """Tell what became of one claim. Raises FaultError if it was refused."""
    if one.refused:
        raise _refusal(context, one)
    payer = context.wallet.member(one.payer).name
    result = one.result
    status = result.status.value if result.status else ""
    place = f"in block {one.block_number} ({one.seconds * 1000:.0f} ms)"
    text = f"✓ claim {shorten(one.claim)} submitted to {payer}{more} {place}"
    if result.existing:
        text = f"✓ claim {shorten(one.claim)} is at {payer} already: {status}"
    lines = [text, *(f"  {line}" for line in tell_checks(result.checks, one.claim))]
    context.output.result(wire_of(one), "\n".join(lines))


def _refusal(context: Context, one: "Submitted") -> FaultError:
    """The fault of a claim that stopped at the gate, with its gravest reason."""
    if one.result.error:
        code, _, text = one.result.error.partition(": ")
        return FaultError(Fault(ExitCode.REFUSED, code, f"not taken: {text}", one.where))
    findings = [f for f in loud_findings(one.result.checks) if f.verdict.value == "rejected"]
    first = findings[0]
    code = "-".join(part for part in (first.group, first.carc, first.rarc) if part)
    more = f" (and {len(findings) - 1} more, see -v)" if len(findings) > 1 else ""
    place = (
        f"; recorded as claim {shorten(one.claim)} in block {one.block_number}"
        if one.sent
        else "; stopped at your own peer, nothing was sent"
    )
    return FaultError(
        Fault(
            ExitCode.REFUSED,
            code,
            f"claim rejected at the gate: {tell_finding(first)}{more}{place}",
            one.where,
            _REMEDIES.get(_check_of(one, first), "correct the claim and send it again"),
            tuple(tell_finding(finding) for finding in findings),
        )
    )


_REMEDIES = {
    "consent": "see why: medfabric consent explain PATIENT --purpose HPAYMT; without --label a "
    "claim counts as restricted",
    "evidence": "anchor it first: medfabric record anchor RECORD",
    "authority": "act as who may file this claim, with --as",
}


def _check_of(one: "Submitted", finding: object) -> str:
    return next((c.check for c in one.result.checks if finding in c.findings), "")


def _tell_many(context: Context, output: Output, log: Submission) -> None:
    where = ""
    if log.blocks:
        first, last = log.blocks
        span = f"block {first}" if first == last else f"blocks {first} to {last}"
        where = f" in {span} ({log.seconds * 1000:.0f} ms)"
    names = ", ".join(sorted(context.wallet.member(one).name for one in log.payers))
    taken = log.count - log.refused
    if taken == log.count and not log.fresh:
        output.line(f"✓ all {log.count} claims are at {names} already")
    else:
        mark = "✓" if taken == log.count else "✗"
        output.line(f"{mark} {log.fresh} of {log.count} claims submitted to {names}{where}")
        told = [f"{log.fresh} new", f"{taken - log.fresh} there already"]
        if log.refused:
            told.append(f"{log.refused} refused")
        output.line(f"  {' · '.join(told)}")
    rows = [_row(one) for one in (log.shown if log.count <= FEW else log.loud)]
    output.table(("file", "claim", "status", "finding"), rows)
    if len(log.loud) == MAX_LOUD and log.count > FEW:
        output.line(f"  the first {MAX_LOUD} that say something; all of them: --report FILE")


def _row(one: "Submitted") -> tuple[str, str, str, str]:
    findings = loud_findings(one.result.checks)
    said = one.result.error or (tell_finding(findings[0]) if findings else "")
    status = one.result.status.value if one.result.status else "not taken"
    return (one.where, shorten(one.claim), status, said)


def show_dry_run(context: Context, found: "list[tuple[Prepared, tuple[CheckResult, ...]]]") -> None:
    """Tell what the checks found at one's own peer; nothing was sent."""
    from chaincode import canonical

    def human(output: Output) -> None:
        for one, results in found:
            output.line(f"{one.where}: nothing was sent")
            for line in tell_checks(results, ""):
                output.line(f"  {line.partition(' → ')[0]}")

    wire = [
        {"where": one.where, "checks": [canonical.to_wire(result) for result in results]}
        for one, results in found
    ]
    context.output.result(wire, human)


def wire_of(one: "Submitted") -> dict[str, Any]:
    """Return a result as `--json` has it."""
    from chaincode import canonical

    wire: dict[str, Any] = {
        "where": one.where,
        "payer": one.payer,
        "room": one.room.value,
        "sent": one.sent,
    }
    if one.transaction_id:
        wire |= {"transactionId": one.transaction_id, "blockNumber": one.block_number}
    return {**canonical.to_wire(one.result), **wire}
