"""A report in the form that was asked for, in a file that only its owner reads."""

from enum import StrEnum
from pathlib import Path

from admin.fhir.writing import format_json
from admin.procedures.audit import fhir, page, tables
from admin.procedures.audit.reading import Queue, Report
from network.topology.safefiles import write_file


class Form(StrEnum):
    """How it is written."""

    HTML = "html"
    CSV = "csv"
    FHIR = "fhir"


class What(StrEnum):
    """What is written."""

    TRAIL = "trail"
    DISCLOSURES = "disclosures"
    REVIEW = "review"


def write_export(source: Report | Queue, what: What, form: Form, target: Path) -> int:
    """The file holds it, whole, with mode 0600; answers how many entries it has."""
    write_file(target, build_export(source, what, form).encode(), secret=True)
    if isinstance(source, Queue):
        return len(source.items)
    return len(source.accounting.disclosures if what is What.DISCLOSURES else source.entries)


def build_export(source: Report | Queue, what: What, form: Form) -> str:
    """Return the file's text."""
    if isinstance(source, Queue):
        return page.build_queue(source) if form is Form.HTML else tables.build_reviews(source.items)
    if form is Form.HTML:
        return page.build_report(source)
    if form is Form.FHIR:
        return format_json(fhir.build_bundle(source.entries, source.channel, source.made_at)) + "\n"
    if what is What.DISCLOSURES:
        return tables.build_disclosures(source.accounting)
    return tables.build_trail(source.entries)
