"""`medfabric claim` before it reaches a network: help, wrong usage, options that are read."""

from datetime import date

import click
import pytest

from admin.cli.claim import group
from admin.cli.claiming.options import read_amount, read_day, read_options
from admin.errors import FaultError
from tests.admin.command import medfabric

NOTHING = {
    "patient": "",
    "coverages": (),
    "records": (),
    "authorizations": (),
    "handles": None,
    "labels": (),
    "payer": "",
    "provider": "",
    "facts": None,
}


@pytest.mark.parametrize("verb", sorted(group.commands))
def test_every_verb_teaches(verb: str) -> None:
    ran = medfabric("claim", verb, "--help")
    assert ran.code == 0
    assert f"medfabric claim {verb}" in ran.out
    assert "Examples:" in ran.out


def test_the_verbs_of_the_interface_are_there() -> None:
    wanted = "submit list show adjudicate pend supply pay appeal void replace watch"
    assert set(wanted.split()) <= set(group.commands)


def test_references_and_bare_handles_are_told_apart() -> None:
    said = {**NOTHING, "coverages": ("Coverage/1=aa", "bb"), "records": ("Bundle/1=cc",)}
    naming = read_options(**said, resolve_record=str.upper).naming  # type: ignore[arg-type]
    assert naming.coverages == {"Coverage/1": "aa", "": "bb"}
    assert naming.records == {"Bundle/1": "CC"}


def test_no_label_means_what_the_claim_says() -> None:
    assert read_options(**NOTHING).labels is None  # type: ignore[arg-type]
    assert read_options(**{**NOTHING, "labels": ("N",)}).labels == ("N",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        {"coverages": ("aa", "bb")},
        {"coverages": ("Coverage/1=",)},
        {"authorizations": ("aa",)},
    ],
)
def test_ambiguous_options_are_refused(said: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(FaultError):
        read_options(**{**NOTHING, **said})  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "cents"), [("25", 25_00), ("0.05", 5), ("12.50", 12_50)])
def test_amounts_are_read_as_cents(text: str, cents: int) -> None:
    assert read_amount(text) == cents


@pytest.mark.parametrize("text", ["-1", "1.005", "NaN", "Infinity", "12,50", ""])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        read_amount(text)


def test_days_are_iso() -> None:
    assert read_day("2026-01-31") == date(2026, 1, 31)
    with pytest.raises(click.UsageError):
        read_day("31.1.2026")
