"""Reports as HTML, CSV and FHIR: whole, valid, private, and nothing fetched."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle

from admin.procedures.audit.export import Form, What, build_export, write_export
from admin.procedures.audit.fhir import (
    AUTHZ_CONSENT,
    DISCLOSURE_SOURCE,
    build_audit_event,
    build_bundle,
)
from admin.procedures.audit.figures import Verdict, count_figures
from admin.procedures.audit.reading import Report
from chaincode.audit.model import Kind
from tests.admin.procedures.audit.samples import (
    CONSENT,
    PATIENT,
    START,
    TRAIL,
    build_queue,
    build_report,
    entry,
)


class Seen(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br", "line", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


# --- HTML ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [build_report(), build_queue()])
def test_a_page_is_self_contained_and_runs_nothing(source: Report) -> None:
    what = What.TRAIL if isinstance(source, Report) else What.REVIEW
    text = build_export(source, what, Form.HTML)
    seen = Seen(text)
    assert not seen.open
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(seen.tags)
    assert not [a for a in seen.attributes if a[0] in ("src", "href") or a[0].startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_a_page_tells_the_figures_and_every_entry() -> None:
    text = build_export(build_report(), What.TRAIL, Form.HTML)
    assert text.count("<svg") == 4
    assert "<b>60</b><span>requests</span>" in text
    assert "waits for review" in text
    assert text.count("Access asked for") == 60
    assert PATIENT in text


def test_what_a_value_says_is_text_and_no_markup() -> None:
    attack = "<script>alert(1)</script>\"'><img src=x>"
    trail = (*TRAIL, entry(Kind.BREAK_GLASS, 9, reason=attack, role=attack, msp_id=attack))
    text = build_export(replace(build_report(), entries=trail), What.TRAIL, Form.HTML)
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_an_empty_period_has_a_page_too() -> None:
    report = build_report()
    empty = replace(report, entries=(), accounting=replace(report.accounting, disclosures=()))
    text = build_export(empty, What.TRAIL, Form.HTML)
    assert "Nothing happened in this period." in text
    assert "<svg" not in text


# --- figures ------------------------------------------------------------------------------------


def test_every_access_is_counted_once_in_every_chart() -> None:
    figures = count_figures(TRAIL)
    assert figures.asked == 60
    assert sum(figures.verdicts.values()) == 60
    assert figures.verdicts[Verdict.EMERGENCY] == 1
    for bars in (figures.organizations, figures.purposes):
        assert sum(bar.total for bar in bars) == 60
    assert sum(sum(column.counts.values()) for column in figures.columns) == 60
    assert sum(map(sum, figures.hours)) == 60
    assert (figures.emergencies, figures.open_emergencies) == (1, 1)


@pytest.mark.parametrize("hours", [1, 5, 24, 24 * 7, 24 * 31, 24 * 300, 24 * 365 * 6])
def test_a_time_line_fits_whatever_the_period(hours: int) -> None:
    trail = [
        entry(Kind.ACCESS_DECIDED, n, at=START + timedelta(hours=n * hours / 9)) for n in range(10)
    ]
    columns = count_figures(trail).columns
    assert 1 <= len(columns) <= 62
    assert sum(sum(column.counts.values()) for column in columns) == 10
    assert [column.start for column in columns] == sorted(column.start for column in columns)


# --- CSV ----------------------------------------------------------------------------------------


def test_csv_has_a_row_an_entry() -> None:
    report = build_report()
    rows = list(csv.DictReader(io.StringIO(build_export(report, What.TRAIL, Form.CSV))))
    assert len(rows) == len(TRAIL)
    assert rows[0]["kind"] == "consent-granted"
    assert rows[1]["consentId"] == CONSENT
    accounting = build_export(report, What.DISCLOSURES, Form.CSV)
    assert len(list(csv.DictReader(io.StringIO(accounting)))) == len(report.accounting.disclosures)
    queue = list(csv.DictReader(io.StringIO(build_export(build_queue(), What.REVIEW, Form.CSV))))
    assert [row["kind"] for row in queue] == ["break-glass", "access-denied"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    report = replace(build_report(), entries=(entry(Kind.BREAK_GLASS, 1, reason=text),))
    (row,) = csv.DictReader(io.StringIO(build_export(report, What.TRAIL, Form.CSV)))
    assert row["reason"].startswith("'")


# --- FHIR ---------------------------------------------------------------------------------------


def test_the_bundle_is_valid_fhir_and_loses_nothing() -> None:
    text = build_export(build_report(), What.TRAIL, Form.FHIR)
    bundle = Bundle.model_validate_json(text)
    assert len(bundle.entry) == len(TRAIL)
    ids = {resource.resource.id for resource in bundle.entry}
    assert len(ids) == len(TRAIL)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]{1,64}", one) for one in ids)
    again = build_export(build_report(), What.TRAIL, Form.FHIR)
    assert again == text


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_its_words_on_the_page(kind: Kind) -> None:
    report = replace(build_report(), entries=(entry(kind, 1),))
    page = build_export(report, What.TRAIL, Form.HTML)
    assert kind.value not in page


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_audit_event(kind: Kind) -> None:
    event = build_audit_event(entry(kind, 1), "care")
    AuditEvent.model_validate(event)
    assert event["entity"][0]["what"]["identifier"]["value"] == PATIENT


def test_a_decision_has_the_shape_of_balp_authz_consent() -> None:
    decided = [e for e in TRAIL if e.kind is Kind.ACCESS_DECIDED and e.consent_id]
    for one in decided:
        event = build_audit_event(one, "care")
        assert event["meta"]["profile"] == [AUTHZ_CONSENT]
        assert event["type"]["code"] == "110113"
        assert event["subtype"][0]["code"] == "AuthZ-Consent"
        assert event["action"] == "E"
        assert event["outcome"] == ("0" if one.verdict == "PERMIT" else "8")
        agents = {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}
        assert set(agents) == {"IRCP", "PROV", "authserver", "110150"}
        # val-audit-source: who authorised is who recorded.
        assert agents["authserver"]["who"] == event["source"]["observer"]
        assert agents["IRCP"]["requestor"]
        assert "network" not in agents["IRCP"]
        assert [entity["type"]["code"] for entity in event["entity"]] == ["1", "Consent"]


def test_a_disclosure_has_the_shape_of_balp_disclosure_at_source() -> None:
    for one in (e for e in TRAIL if e.kind is Kind.ACCESS_RELEASED):
        event = build_audit_event(one, "care")
        assert event["meta"]["profile"] == [DISCLOSURE_SOURCE]
        assert (event["type"]["code"], event["action"]) == ("110106", "R")
        assert event["subtype"][0]["code"] == "disclose"
        agents = {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}
        assert {"110153", "110152", "159541003"} <= set(agents)
        assert agents["110153"]["who"] == event["source"]["observer"]
        assert len(event["entity"]) >= 2


def test_a_decision_without_a_consent_claims_no_profile() -> None:
    assert "meta" not in build_audit_event(entry(Kind.ACCESS_DECIDED, 1, verdict="PERMIT"), "care")


def test_the_bundle_is_told_when_it_was_made() -> None:
    report = build_report()
    assert build_bundle((), "care", report.made_at)["timestamp"] == "2026-07-02T09:00:00.000000Z"


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(Form))
def test_the_file_is_its_owners_only(tmp_path: Path, form: Form) -> None:
    target = tmp_path / "out"
    target.write_text("before")
    target.chmod(0o644)
    assert write_export(build_report(), What.TRAIL, form, target) == len(TRAIL)
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]
    if form is Form.FHIR:
        json.loads(target.read_text())
