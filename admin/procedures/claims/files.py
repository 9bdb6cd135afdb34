"""Claims from files, one or many: what is in them, and which handles stand for what.

A file holds one FHIR Claim, a Bundle with Claims, a Claim a line (NDJSON), or X12 837s. All of them
are read and validated before any is sent, so that a mistake in the last line leaves nothing
half-sent.
"""

import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from admin.errors import FaultError, input_error
from admin.fhir.canonical import canonical_static
from admin.fhir.reading import Resource, SourceFile, parse_resource, read_source
from chaincode.claims.details import Details
from chaincode.claims.fhir import Handles, find_authorization, read_claim
from chaincode.errors import InvalidArgument

if TYPE_CHECKING:
    from admin.x12.intake import Intake837

MEMBER_SYSTEM = "urn:medfabric:org"
"""The identifier system under which a FHIR Organization carries its MSP id."""
MAX_PROBLEMS = 20
ORIGINAL, REPLACEMENT, VOID = "1", "7", "8"
"""X12 CLM05-3; FHIR says it with `related`, and then it is a replacement."""
_LINES = (".ndjson", ".jsonl")


@dataclass(frozen=True, slots=True)
class ClaimSource:
    """A Claim as its file has it; `where` names file and line.

    `frequency` is X12's CLM05-3, and `prior` the payer's number of the claim before it.
    """

    where: str
    resource: Resource
    frequency: str = ORIGINAL
    prior: str = ""

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
            raise input_error(
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
                raise input_error(
                    f"nobody said which {kind}{what} stands for a reference of the claim",
                    f"give {option} {'REFERENCE=' if several else ''}HANDLE, or --handles FILE",
                    where,
                )
            found[reference] = handle
        return found


def read_claim_files(
    paths: Iterable[str],
    *,
    skip_faulty: bool = False,
    seen: "Callable[[str, Intake837], None] | None" = None,
) -> list[ClaimSource]:
    """Return the Claims of all files, valid R4; `-` is standard input, patterns are expanded.

    `seen` is told of each X12 file before anything is refused; with `skip_faulty` its faulty
    transaction sets are left out, and the good ones taken.

    Raises FaultError: the first problem, with the others in its details.
    """
    found: list[ClaimSource] = []
    problems: list[FaultError] = []
    for path in _expand(paths):
        source = read_source(path)
        if _is_x12(source.raw):
            intake = _collect_x12(source, found, problems, skip_faulty=skip_faulty)
            if seen is not None:
                seen(source.name, intake)
        elif _is_lines(source):
            _collect_lines(source, found, problems)
        else:
            _collect(source, None, found, problems)
    if problems:
        raise join_problems(problems)
    if not found:
        raise input_error("there is no Claim in what was given", "name a file that holds one")
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


def _expand(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
        yield from found or [path]


def _is_lines(source: SourceFile) -> bool:
    if source.name.endswith(_LINES):
        return True
    first, _, rest = source.raw.strip().partition(b"\n")
    return bool(rest) and first.startswith(b"{") and first.rstrip().endswith(b"}")


def _collect_lines(
    source: SourceFile, found: list[ClaimSource], problems: list[FaultError]
) -> None:
    for number, raw in enumerate(source.raw.splitlines(), 1):
        if raw.strip() and len(problems) < MAX_PROBLEMS:
            _collect(SourceFile(source.name, raw), number, found, problems)


def _collect(
    source: SourceFile, line: int | None, found: list[ClaimSource], problems: list[FaultError]
) -> None:
    where = source.name if line is None else f"{source.name}:{line}"
    try:
        resource = parse_resource(source, "Claim", "Bundle", line=line)
    except FaultError as failure:
        problems.append(failure)
        return
    if resource["resourceType"] == "Claim":
        found.append(ClaimSource(where, resource))
        return
    for index, entry in enumerate(resource.get("entry") or ()):
        inner = entry.get("resource") or {}
        if inner.get("resourceType") == "Claim":
            found.append(ClaimSource(f"{where} entry[{index}]", inner))


def _is_x12(raw: bytes) -> bool:
    return raw.lstrip()[:3] == b"ISA"


def _collect_x12(
    source: SourceFile,
    found: list[ClaimSource],
    problems: list[FaultError],
    *,
    skip_faulty: bool,
) -> "Intake837":
    from admin.x12.intake import read_837

    intake = read_837(source.raw)
    for claim in intake.taken:
        where = f"{source.name} ST {claim.set} segment {claim.position}"
        found.append(ClaimSource(where, claim.resource, claim.frequency, claim.prior))
    if not (skip_faulty and intake.taken):
        problems += (
            input_error(one.tell(), one.remedy, source.name)
            for one in intake.problems[: MAX_PROBLEMS - len(problems)]
        )
    return intake


def join_problems(problems: list[FaultError]) -> FaultError:
    """Return one fault for all: the first, with every one in its details."""
    first = problems[0].fault
    if len(problems) == 1:
        return problems[0]
    return input_error(
        f"{first.message} (and {len(problems) - 1} more, see -v); nothing was sent",
        first.remedy,
        first.where,
        tuple(f"{one.fault.where}: {one.fault.message}" for one in problems),
    )


def _member_of(organization: Any) -> str:
    identifier = organization.get("identifier") if isinstance(organization, dict) else None
    if isinstance(identifier, dict) and identifier.get("system") == MEMBER_SYSTEM:
        return str(identifier.get("value", ""))
    return ""


def _references(values: Iterable[Any]) -> tuple[str, ...]:
    found = (value.get("reference") for value in values if isinstance(value, dict))
    return tuple(dict.fromkeys(str(reference) for reference in found if reference))
