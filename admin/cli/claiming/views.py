"""How claims look at the terminal: their checks in a line or a table, amounts, reasons."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from admin.output import Output, shorten

if TYPE_CHECKING:
    from admin.cli.context import Context
    from admin.procedures.networks.health import Committed
    from chaincode.claims.details import Adjudication, Adjustment, ClaimFile
    from chaincode.claims.model import CheckResult, Claim, Finding, Reason

QUIET = ("passed", "skipped", "deferred")
"""Verdicts that need nobody's attention; `deferred` waits for facts of the payer."""


def code_of(item: "Reason | Finding") -> str:
    """Return `CO-16-M127`: group, CARC and RARC as far as they are there."""
    return "-".join(part for part in (item.group, item.carc, item.rarc) if part)


def money(cents: int, currency: str = "") -> str:
    """Return an amount in units of its currency: `185.00 USD`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02} {currency}".rstrip()


def loud_findings(checks: "Iterable[CheckResult]") -> "list[Finding]":
    """Return what the checks found that somebody should know, the gravest first."""
    found = [f for check in checks for f in check.findings if f.verdict.value not in QUIET]
    order = ("rejected", "denied", "pended", "flagged")
    return sorted(found, key=lambda finding: order.index(finding.verdict.value))


def tell_finding(finding: "Finding") -> str:
    """Return one finding in words."""
    line = f" (line {finding.line})" if finding.line else ""
    related = f", claim {shorten(finding.related)}" if finding.related else ""
    return f"{code_of(finding)} {finding.note}{line}{related}".strip()


def tell_checks(checks: "Iterable[CheckResult]", claim: str) -> list[str]:
    """Return the checks' line, and one more for each finding if there are several."""
    listed = list(checks)
    counts = Counter(check.verdict.value for check in listed)
    quiet = " · ".join(f"{counts[name]} {name}" for name in QUIET if counts[name])
    loud = " · ".join(f"{n} {name}" for name, n in counts.items() if name not in QUIET)
    findings = loud_findings(listed)
    summary = " · ".join(part for part in (quiet, loud) if part)
    if not findings:
        return [f"checks: {summary}"]
    more = f" → medfabric claim show {shorten(claim)}"
    if len(findings) == 1:
        return [f"checks: {summary}: {tell_finding(findings[0])}{more}"]
    return [f"checks: {summary}{more}", *(f"  {tell_finding(one)}" for one in findings)]


def show_checks(output: Output, checks: "Iterable[CheckResult]") -> None:
    """Print the checks as a table, a row a finding."""
    rows = []
    for check in checks:
        findings = check.findings or (None,)
        for finding in findings:
            rows.append(
                (
                    check.check,
                    (finding.verdict if finding else check.verdict).value,
                    code_of(finding) if finding else "",
                    tell_finding(finding).removeprefix(code_of(finding)).strip() if finding else "",
                )
            )
    output.table(("check", "verdict", "code", "finding"), rows)


def show_claim(output: Output, claim: "Claim") -> None:
    """Print the public part of a claim."""
    outcome = f", {claim.outcome.value}" if claim.outcome else ""
    output.line(f"claim {claim.claim}  {claim.status.value}{outcome}  version {claim.version}")
    output.line(f"  {claim.provider or 'a provider outside'} → {claim.payer} ({claim.collection})")
    output.line(f"  submitted {claim.submitted_at:%Y-%m-%d %H:%M:%S} UTC by {claim.submitter}")
    if claim.evidence:
        names = ", ".join(f"{shorten(e.record)} version {e.version}" for e in claim.evidence)
        output.line(f"  evidence: {names}")
    if claim.reasons:
        output.line(f"  reasons: {', '.join(code_of(reason) for reason in claim.reasons)}")
    if claim.appeal_deadline:
        output.line(f"  can be appealed until {claim.appeal_deadline:%Y-%m-%d}")
    for word, other in (("replaces", claim.replaces), ("replaced by", claim.replaced_by)):
        if other:
            output.line(f"  {word} claim {shorten(other)}")
    if claim.reversal:
        output.line("  what was paid is to be taken back")
    output.line()
    show_checks(output, claim.checks)


def show_file(output: Output, file: "ClaimFile") -> None:
    """Print the private side of a claim: lines with charges and what was decided on them."""
    if file.details is None:
        output.line("this peer has no details of the claim")
        return
    details = file.details.details
    decision = file.decisions[-1].adjudication if file.decisions else None
    decided = {line.sequence: line for line in decision.lines} if decision else {}
    rows = []
    for line in details.lines:
        made = decided.get(line.sequence)
        rows.append(
            (
                line.sequence,
                line.code,
                f"{line.serviced_from}",
                f"{line.quantity}",
                money(line.net),
                money(made.paid) if made else None,
                tell_adjustments(made.adjustments) if made else None,
            )
        )
    output.line()
    output.table(("line", "code", "serviced", "quantity", "charge", "paid", "adjustments"), rows)
    total = f"total {money(details.total, details.currency)}"
    output.line(total + (f", paid {money(decision.paid)}" if decision else ""))
    for paid in file.remittances:
        one = paid.remittance
        output.line(
            f"paid on {one.paid_on} with trace {one.trace}: {money(one.paid, one.currency)}"
        )
    for word in file.information:
        output.line(f"message: {word.information.text}")


def tell_adjustments(adjustments: "Iterable[Adjustment]") -> str:
    """Return `CO-45 65.00, PR-3 20.00`."""
    return ", ".join(
        "-".join(x for x in (a.group.value, a.carc, a.rarc) if x) + f" {money(a.amount)}"
        for a in adjustments
    )


def tell_decision(made: "Adjudication") -> str:
    """Return a decision's sums."""
    return (
        f"charge {money(made.charge)} - adjustments {money(made.adjusted)} "
        f"= paid {money(made.paid, made.currency)}"
    )


def show_step(context: "Context", verb: str, done: "Committed[Claim]", *lines: str) -> None:
    """Print what a step made of a claim."""
    from chaincode import canonical

    claim = done.value
    wire = {
        **canonical.to_wire(claim),
        "transactionId": done.transaction_id,
        "blockNumber": done.block_number,
    }
    text = "\n".join(
        (f"✓ claim {shorten(claim.claim)} {verb} in {done.place}", *(f"  {x}" for x in lines if x))
    )
    context.output.result(wire, text)
