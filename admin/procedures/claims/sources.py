"""A claim as a file has it, and which handles stand for what it refers to."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from admin.errors import FaultError, input_error
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import Resource, SourceFile
from chaincode.claims.details import Details
from chaincode.claims.fhir import Handles, find_authorization, read_claim
from chaincode.errors import InvalidArgument

if TYPE_CHECKING:
    from admin.x12.claims import Told837

MEMBER_SYSTEM = "urn:medfabric:org"
"""The identifier system under which a FHIR Organization carries its MSP id."""
ORIGINAL, REPLACEMENT, VOID = "1", "7", "8"
"""X12 CLM05-3; FHIR says it with `related`, and then it is a replacement."""


class UnknownReferenceError(FaultError):
    """Nobody said which handle stands for somebody or something that the claim names."""


def _unknown(message: str, remedy: str, where: str) -> UnknownReferenceError:
    return UnknownReferenceError(input_error(message, remedy, where).fault)


@dataclass(frozen=True, slots=True)
class ClaimSource:
    """A Claim as its file has it; `where` names file and line.

    `frequency` is X12's CLM05-3, and `prior` the payer's number of the claim before it; `told` is
    what an acknowledgement repeats of an 837's claim.
    """

    where: str
    resource: Resource
    frequency: str = ORIGINAL
    prior: str = ""
    told: "Told837 | None" = None

    @property
    def number(self) -> tuple[str, ...]:
        """What the claim is called outside: its identifier, or all of it if it has none."""
        for item in self.resource.get("identifier") or ():
            if item.get("value"):
                return (str(item.get("system", "")), str(item["value"]))
        return ("", canonical_static(self.resource).decode())

    @property
    def payer(self) -> str:
        """The MSP id of the insurer, "" if the claim does not say."""
        return _member_of(self.resource.get("insurer"))

    @property
    def payer_reference(self) -> str:
        """What a map of handles calls the insurer: `Organization/<identifier>` or its reference."""
        insurer = self.resource.get("insurer") or {}
        value = (insurer.get("identifier") or {}).get("value")
        return str(insurer.get("reference") or (f"Organization/{value}" if value else ""))

    @property
    def authorizations(self) -> tuple[str, ...]:
        """The references of the lines' prior authorisations."""
        found = (find_authorization(item) for item in self.resource.get("item") or ())
        return tuple(dict.fromkeys(x for x in found if x))

    @property
    def labels(self) -> tuple[str, ...]:
        """The security labels in `meta.security`."""
        found = (self.resource.get("meta") or {}).get("security") or ()
        return tuple(dict.fromkeys(str(item["code"]) for item in found if item.get("code")))

    @property
    def evidence(self) -> tuple[str, ...]:
        """The references of `supportingInfo`."""
        found = self.resource.get("supportingInfo") or ()
        return _references(item.get("valueReference") for item in found)

    @property
    def coverages(self) -> tuple[str, ...]:
        """The references of `insurance`."""
        return _references(item.get("coverage") for item in self.resource.get("insurance") or ())

    @property
    def patient(self) -> str:
        """The reference of the patient."""
        return next(iter(_references([self.resource.get("patient")])), "")


@dataclass(frozen=True, slots=True)
class Naming:
    """Which handles stand for what the claims refer to.

    Attributes:
        patient: the handle of every claim's patient, if they all are one person's.
        coverages: by reference; under "" the one for a claim's only coverage.
        records: by reference; under "" the one for a claim's only reference to evidence.
        authorizations: handles of prior authorisations by procedure code.
        handles: any of them by reference, as read from a file.
    """

    patient: str = ""
    coverages: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, str] = field(default_factory=dict)
    authorizations: Mapping[str, str] = field(default_factory=dict)
    handles: Mapping[str, str] = field(default_factory=dict)

    def patient_of(self, source: ClaimSource) -> str:
        """Return the handle of the claim's patient. Raises FaultError."""
        found = self.handles.get(source.patient) or self.patient
        if not found:
            raise _unknown(
                "nobody said which handle stands for the claim's patient",
                "give --patient HANDLE, or --handles FILE for several patients",
                source.where,
            )
        return found

    def coverages_of(self, source: ClaimSource) -> dict[str, str]:
        """Return the handles of the claim's coverages by reference. Raises FaultError."""
        return self._all(
            source.coverages, self.coverages, source.where, ("coverage", "--coverage", "")
        )

    def records_of(self, source: ClaimSource) -> dict[str, str]:
        """Return the handles of the claim's evidence by reference. Raises FaultError."""
        return self._all(
            source.evidence, self.records, source.where, ("record", "--evidence", "anchored ")
        )

    def authorizations_of(self, source: ClaimSource) -> dict[str, str]:
        """Return the handles of prior authorisations: by procedure code, and by reference.

        Raises FaultError.
        """
        named = self._all(
            source.authorizations,
            {**self.handles, **self.authorizations},
            source.where,
            ("authorisation", "--authorization", "prior "),
        )
        return {**self.authorizations, **named}

    def _all(
        self,
        references: tuple[str, ...],
        named: Mapping[str, str],
        where: str,
        words: tuple[str, str, str],
    ) -> dict[str, str]:
        what, option, kind = words
        found = {}
        for reference in references:
            alone = named.get("", "") if len(references) == 1 else ""
            handle = named.get(reference) or self.handles.get(reference) or alone
            if not handle:
                several = len(references) > 1
                raise _unknown(
                    f"nobody said which {kind}{what} stands for a reference of the claim",
                    f"give {option} {'REFERENCE=' if several else ''}HANDLE, or --handles FILE",
                    where,
                )
            found[reference] = handle
        return found


def read_details(source: ClaimSource, naming: Naming, claim: str, patient: str) -> Details:
    """Return the claim's private part under these handles. Raises FaultError, naming the element.

    The error tells no value.
    """
    handles = Handles(
        claim=claim,
        patient=patient,
        coverages=naming.coverages_of(source),
        records=naming.records_of(source),
        authorizations=naming.authorizations_of(source),
    )
    try:
        return read_claim(source.resource, handles)
    except InvalidArgument as error:
        raise input_error(error.text, "correct the element", source.where) from None


def read_handles(source: SourceFile) -> dict[str, str]:
    """Return the map of references to handles in a JSON file. Raises FaultError."""
    try:
        value = json.loads(source.raw)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise input_error(
            "not a map of references to handles",
            'write it as JSON: {"Patient/1": "<handle>", "Coverage/2": "<handle>"}',
            source.name,
        )
    return value


def _member_of(organization: Any) -> str:
    identifier = organization.get("identifier") if isinstance(organization, dict) else None
    if isinstance(identifier, dict) and identifier.get("system") == MEMBER_SYSTEM:
        return str(identifier.get("value", ""))
    return ""


def _references(values: Iterable[Any]) -> tuple[str, ...]:
    found = (value.get("reference") for value in values if isinstance(value, dict))
    return tuple(dict.fromkeys(str(reference) for reference in found if reference))
