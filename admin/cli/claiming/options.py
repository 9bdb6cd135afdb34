"""Options that several verbs of `medfabric claim` share, and what they are read into."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

import click

from admin.errors import usage_error

if TYPE_CHECKING:
    from admin.procedures.claims.preparation import FilingOptions

Function = TypeVar("Function", bound=Callable[..., Any])

CLAIM = click.argument("claim", metavar="CLAIM")
PATIENT = click.option(
    "--patient", default="", metavar="HANDLE", help="The handle of the claims' patient."
)


def read_day(text: str) -> date:
    """Return a day in ISO form; for `type=`. Raises BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day; write it as 2026-01-31") from None


def read_amount(text: str) -> int:
    """Return the cents of an amount in units of the currency; for `type=`. Raises BadParameter."""
    try:
        cents = Decimal(text) * 100
    except InvalidOperation:
        raise click.BadParameter(f"{text!r} is no amount; write it as 25.00") from None
    if not cents.is_finite() or cents != cents.to_integral_value() or cents < 0:
        raise click.BadParameter("an amount is not negative and in whole cents")
    return int(cents)


def filing_options(function: Function) -> Function:
    """What is said of claims when they are filed."""
    for option in reversed(
        (
            PATIENT,
            click.option(
                "--coverage",
                "coverages",
                multiple=True,
                metavar="[REF=]HANDLE",
                help="The payer's handle of the claim's coverage; repeat as Coverage/1=HANDLE.",
            ),
            click.option(
                "--evidence",
                "records",
                multiple=True,
                metavar="[REF=]RECORD",
                help="The anchored record behind supportingInfo; repeat as Bundle/1=RECORD.",
            ),
            click.option(
                "--authorization",
                "authorizations",
                multiple=True,
                metavar="CODE=HANDLE",
                help="A prior authorisation for a procedure code; repeat.",
            ),
            click.option(
                "--handles",
                metavar="FILE",
                help='References and their handles, for many patients: {"Patient/1": "…", …}.',
            ),
            click.option(
                "--label",
                "labels",
                multiple=True,
                metavar="CODE",
                help="Security label (N, R, PSY, …) [meta.security]; repeat. Without any a claim "
                "counts as restricted.",
            ),
            click.option(
                "--payer", default="", metavar="ORG", help="To whom [the claim's insurer]."
            ),
            click.option(
                "--provider",
                default="",
                metavar="ORG",
                help="Whose claims they are, where a payer enters those of a member.",
            ),
            click.option(
                "--coordinates",
                default="",
                metavar="CLAIM",
                help="The claim that the payer before this one decided: coordination of benefits.",
            ),
            click.option(
                "--facts",
                metavar="FILE",
                help="What the payer stated: 'claim coverage -o' writes it.",
            ),
        )
    ):
        function = option(function)
    return function


def read_options(
    *,
    patient: str,
    coverages: tuple[str, ...],
    records: tuple[str, ...],
    authorizations: tuple[str, ...],
    handles: str | None,
    labels: tuple[str, ...],
    payer: str,
    provider: str,
    facts: str | None,
    coordinates: str = "",
    resolve_record: Callable[[str], str] = str,
    **more: Any,
) -> "FilingOptions":
    """Return what the options say. Raises FaultError."""
    from admin.fhir.reading import read_source
    from admin.procedures.claims.facts import read_facts
    from admin.procedures.claims.preparation import FilingOptions
    from admin.procedures.claims.sources import Naming, read_handles
    from chaincode.claims.details import Facts

    evidence = {
        reference: resolve_record(record)
        for reference, record in _pairs(records, "--evidence").items()
    }
    naming = Naming(
        patient=patient,
        coverages=_pairs(coverages, "--coverage"),
        records=evidence,
        authorizations=_pairs(authorizations, "--authorization", bare=False),
        handles=read_handles(read_source(handles)) if handles else {},
    )
    return FilingOptions(
        naming=naming,
        payer=payer,
        provider=provider,
        labels=labels or None,
        facts=read_facts(read_source(facts)) if facts else Facts(),
        **more,
    )


def _pairs(values: tuple[str, ...], option: str, *, bare: bool = True) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, handle = value.rpartition("=")
        if (not equals and not bare) or not handle:
            raise usage_error(f"{option} takes NAME=HANDLE", "see: medfabric claim submit --help")
        if name in found:
            raise usage_error(
                f"{option} is given twice for the same",
                f"name what each stands for: {option} REFERENCE=HANDLE",
            )
        found[name] = handle
    return found
