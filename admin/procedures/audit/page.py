"""A report as one HTML page: self-contained, with charts, for the screen and for paper.

The page fetches nothing (its Content-Security-Policy forbids it) and runs no script. Every value is
escaped. To make a PDF, print it: the sheet has its rules for paper.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from importlib.resources import files

from admin.output import shorten
from admin.procedures.audit.charts import draw_bars, draw_columns, draw_hours, draw_legend
from admin.procedures.audit.figures import PURPOSES, Figures, Verdict, count_figures, judge
from admin.procedures.audit.reading import Queue, Report
from chaincode.audit.model import AuditEntry, Disclosure, Kind
from network.client.channel import ChainInfo

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'; base-uri 'none'"

_WORDS = {
    Kind.CONSENT_GRANTED: "Consent granted",
    Kind.CONSENT_AMENDED: "Consent amended",
    Kind.CONSENT_REVOKED: "Consent revoked",
    Kind.BREAK_GLASS: "Emergency declared",
    Kind.BREAK_GLASS_REVIEWED: "Emergency reviewed",
    Kind.RECORD_ANCHORED: "Record anchored",
    Kind.RECORD_SUPERSEDED: "Record superseded",
    Kind.RECORD_WITHDRAWN: "Record withdrawn",
    Kind.RECORD_ERASED: "Record erased",
    Kind.ACCESS_DECIDED: "Access asked for",
    Kind.ACCESS_RELEASED: "Record released",
    Kind.ACCESS_REVOKED: "Access taken back",
    Kind.ACCESS_RECEIVED: "Record received",
    Kind.ACCESS_REVIEWED: "Denial reviewed",
    Kind.CLAIM_SUBMITTED: "Claim submitted",
    Kind.CLAIM_CHANGED: "Claim changed",
}


_JUDGED = {"justified": Verdict.PERMITTED, "unjustified": Verdict.DENIED}


@dataclass(frozen=True, slots=True)
class _Html:
    """Text that is markup already, and is not escaped again."""

    text: str


Cell = str | int | datetime | _Html | None


def build_report(report: Report) -> str:
    """Return the page of a patient's report: charts, emergencies, disclosures, the trail."""
    figures = count_figures(report.entries)
    counted = [one for one in report.accounting.disclosures if one.exclusion is None]
    excluded = [one for one in report.accounting.disclosures if one.exclusion is not None]
    body = (
        "<h1>Who asked for this patient’s data</h1>"
        '<p class="soft">Every request, its decision, and everything that was disclosed, as the '
        "consortium’s ledger has it.</p>",
        _facts(
            ("Patient", _mono(report.patient)),
            ("Period", _period(report.since, report.until)),
            ("Made", f"{_time(report.made_at)}, for {report.made_by}"),
            ("Ledger", _chain(report.network, report.channel, report.chain)),
        ),
        _tiles(figures),
        _charts(figures),
        _emergencies(report.entries),
        "<h2>Accounting of disclosures</h2>"
        '<p class="soft">Disclosures that 45 CFR 164.528 asks to be accounted for; several to one '
        "recipient for one purpose stand in one row.</p>",
        _disclosures(counted, "No disclosure has to be accounted for in this period."),
        "<h2>Other disclosures</h2>"
        '<p class="soft">Left out of an accounting by 45 CFR 164.528(a)(1), on the ground that is '
        "named. They are shown because a patient may still want to know.</p>",
        _disclosures(excluded, "There were none."),
        "<h2>The trail</h2>"
        '<p class="soft">Everything in this period, oldest first. Times are UTC.</p>',
        _trail(report.entries),
    )
    return _page("Access report", "".join(body), report.chain)


def build_queue(queue: Queue) -> str:
    """Return the page of what waits for a privacy officer."""
    emergencies = sum(item.kind.value == "break-glass" for item in queue.items)
    oldest = min((item.opened_at for item in queue.items), default=None)
    tiles = (
        _tile(len(queue.items), "waiting", ""),
        _tile(emergencies, "declared emergencies", "emergency"),
        _tile(len(queue.items) - emergencies, "denied accesses", "denied"),
        _tile((queue.made_at - oldest).days if oldest else 0, "days the oldest waits", ""),
    )
    table = _table(
        ("Since", "Kind", "Patient", "Who", "Purpose", "Reason", "Review"),
        [
            (
                item.opened_at,
                _mark(
                    item.kind.value.replace("-", " "),
                    Verdict.EMERGENCY if item.kind.value == "break-glass" else Verdict.DENIED,
                ),
                _mono(shorten(item.patient, 12)),
                _mono(shorten(item.user, 12)),
                _purpose(item.purpose),
                item.reason,
                _mono(item.id),
            )
            for item in queue.items
        ],
        "Nothing waits.",
    )
    body = (
        "<h1>Waiting for review</h1>"
        '<p class="soft">Declared emergencies and denied accesses that a privacy officer has not '
        "closed yet.</p>",
        _facts(
            ("Organisation", queue.msp_id),
            ("Made", f"{_time(queue.made_at)}, for {queue.made_by}"),
            ("Ledger", _chain(queue.network, queue.channel, queue.chain)),
        ),
        f'<div class="tiles">{"".join(tiles)}</div>',
        "<h2>The queue</h2>",
        table,
    )
    return _page("Review queue", "".join(body), queue.chain)


# --- the parts of a report ----------------------------------------------------------------------


def _tiles(figures: Figures) -> str:
    waiting = f" · {figures.open_emergencies} not reviewed" if figures.open_emergencies else ""
    tiles = (
        _tile(figures.asked, "requests", ""),
        _tile(figures.verdicts[Verdict.PERMITTED], "permitted", "permitted"),
        _tile(figures.verdicts[Verdict.DENIED], "denied", "denied"),
        _tile(figures.emergencies, f"emergencies{waiting}", "emergency"),
        _tile(figures.released, "disclosures", ""),
        _tile(figures.recipients, "recipients", ""),
    )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _charts(figures: Figures) -> str:
    if not figures.asked:
        return ""
    return (
        '<div class="cards">'
        f'<div class="card wide"><h3>Requests over time</h3>{draw_columns(figures.columns)}'
        f"{draw_legend()}</div>"
        f'<div class="card"><h3>By organisation</h3>'
        f"{draw_bars(figures.organizations, 'Requests by organisation')}</div>"
        f'<div class="card"><h3>By purpose</h3>'
        f"{draw_bars(figures.purposes, 'Requests by purpose')}</div>"
        f'<div class="card wide"><h3>By weekday and hour (UTC)</h3>{draw_hours(figures.hours)}'
        "</div></div>"
    )


def _emergencies(entries: Iterable[AuditEntry]) -> str:
    trail = list(entries)
    reviews = {e.subject: e for e in trail if e.kind is Kind.BREAK_GLASS_REVIEWED}
    declared = [entry for entry in trail if entry.kind is Kind.BREAK_GLASS]
    if not declared:
        return ""
    rows: list[Sequence[Cell]] = []
    for entry in declared:
        review = reviews.get(entry.subject)
        outcome = (
            _mark(review.verdict, _JUDGED.get(review.verdict))
            if review
            else _mark("waits for review", Verdict.EMERGENCY)
        )
        rows.append((entry.at, _who(entry), entry.reason, outcome, review.at if review else None))
    table = _table(("Declared", "By", "Reason", "Review", "Reviewed"), rows, "")
    return (
        "<h2>Emergencies</h2>"
        '<p class="soft">Somebody opened the records without a consent, and said why.</p>' + table
    )


def _disclosures(disclosures: Sequence[Disclosure], empty: str) -> str:
    headings = ("First", "Last", "Times", "Recipient", "Purpose", "What", "On consent", "Ground")
    shown = headings if any(one.exclusion for one in disclosures) else headings[:-1]
    rows: list[Sequence[Cell]] = [
        (
            one.first,
            one.last,
            one.count,
            _Html(f"{escape(one.recipient_msp_id)}<br>{_mono(shorten(one.recipient, 12)).text}"),
            _purpose(one.purpose),
            _what(one),
            _Html("<br>".join(_consent(text) for text in one.consents) or "–"),
            one.exclusion,
        )[: len(shown)]
        for one in disclosures
    ]
    return _table(shown, rows, empty)


def _trail(entries: Iterable[AuditEntry]) -> str:
    rows: list[Sequence[Cell]] = [
        (
            entry.at,
            _WORDS.get(entry.kind, entry.kind.value),
            _who(entry),
            _purpose(entry.purpose),
            _verdict(entry),
            _Html(_consent(f"{entry.consent_id}/{entry.consent_version}"))
            if entry.consent_id
            else None,
            _mono(shorten(entry.subject, 12)),
        )
        for entry in entries
    ]
    headings = ("When", "What", "Who", "Purpose", "Decision", "On consent", "Handle")
    return _table(headings, rows, "Nothing happened in this period.")


# --- cells --------------------------------------------------------------------------------------


def _who(entry: AuditEntry) -> _Html:
    role = f' <span class="soft">{escape(entry.role)}</span>' if entry.role else ""
    return _Html(f"{escape(entry.msp_id)}{role}<br>{_mono(shorten(entry.user, 12)).text}")


def _verdict(entry: AuditEntry) -> Cell:
    if entry.kind is Kind.ACCESS_DECIDED:
        verdict = judge(entry)
        words = {"NOT_APPLICABLE": "no consent permits it", "DENY": "denied by consent"}
        return _mark(words.get(entry.verdict, verdict.value), verdict)
    return _mark(entry.verdict, None) if entry.verdict else None


def _what(one: Disclosure) -> str:
    classes = ", ".join(one.classes) or "records"
    return f"{classes} ({len(one.records)})" if one.records else classes


def _consent(text: str) -> str:
    consent_id, _, version = text.partition("/")
    return f"{_mono(shorten(consent_id)).text} v{escape(version)}"


def _purpose(code: str) -> Cell:
    if not code:
        return None
    words = PURPOSES.get(code)
    return _Html(f'{escape(words)} <span class="soft">{escape(code)}</span>') if words else code


def _mark(text: str, verdict: Verdict | None) -> _Html:
    kind = f" {verdict.value}" if verdict else ""
    return _Html(f'<span class="mark{kind}">{escape(text)}</span>')


def _mono(text: str) -> _Html:
    return _Html(f'<span class="mono">{escape(text)}</span>')


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _period(since: datetime, until: datetime) -> str:
    last = until.astimezone(UTC) - timedelta(microseconds=1)
    return f"{since.astimezone(UTC):%Y-%m-%d} to {last:%Y-%m-%d}"


def _chain(network: str, channel: str, chain: ChainInfo) -> _Html:
    return _Html(
        f"network {escape(network)}, channel {escape(channel)}, {chain.height} blocks, newest "
        f"{_mono(chain.current_hash.hex()).text}"
    )


# --- the page -----------------------------------------------------------------------------------


def _tile(number: int, words: str, kind: str) -> str:
    return f'<div class="tile {kind}"><b>{number}</b><span>{escape(words)}</span></div>'


def _facts(*facts: tuple[str, str | _Html]) -> str:
    rows = (f"<dt>{escape(name)}</dt><dd>{_cell(value)}</dd>" for name, value in facts)
    return f'<dl class="facts">{"".join(rows)}</dl>'


def _table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], empty: str) -> str:
    if not rows:
        return f'<div class="scroll"><div class="empty">{escape(empty)}</div></div>'
    head = "".join(
        f"<th{_kind(cell)}>{escape(name)}</th>"
        for name, cell in zip(headings, rows[0], strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(cell)}>{_cell(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def _kind(cell: Cell) -> str:
    if isinstance(cell, int):
        return ' class="number"'
    return ' class="when"' if isinstance(cell, datetime) else ""


def _cell(cell: Cell) -> str:
    if cell is None or cell == "":
        return "–"
    if isinstance(cell, _Html):
        return cell.text
    if isinstance(cell, datetime):
        return cell.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return escape(str(cell))


def _page(title: str, body: str, chain: ChainInfo) -> str:
    sheet = (files("admin.procedures.audit") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{sheet}</style></head><body><main>{body}"
        "<footer>People are named by the digest of their certificate’s identity, data by random "
        "handles: this page holds no health information, but it tells who dealt with whom. Keep it "
        f"as you keep the record. It rests on the ledger up to block {chain.height - 1}; anybody "
        "on the channel recomputes that with <code>medfabric ledger verify</code>.</footer>"
        "</main></body></html>\n"
    )
