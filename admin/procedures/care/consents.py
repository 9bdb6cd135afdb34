"""Consents from a FHIR file to the ledger: normalised here, the original kept off the chain."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from admin.errors import input_error
from admin.fhir.reading import Resource, SourceFile, parse_json, parse_resource, validate_r5
from admin.procedures.networks.health import Committed, Health
from chaincode import commitment
from chaincode.consent import export, lifecycle
from chaincode.consent.elements import AmbiguousConsent, FhirVersion, MalformedConsent
from chaincode.consent.fhir import normalise, read_version
from chaincode.consent.messages import (
    AmendRequest,
    ConsentPage,
    ConsentReceipt,
    GrantRequest,
    RevokeRequest,
)
from chaincode.consent.model import Consent, Directive, Status
from chaincode.consent.provisions import Dialect, UnknownReference
from chaincode.errors import InvalidArgument
from chaincode.table import PageRequest
from network.client.profile import Surroundings

HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """A consent read from a file: its directive, and the salt that opens its commitment.

    `left_behind` are the paths of elements that only the original keeps.
    """

    directive: Directive
    salt: bytes
    source: SourceFile
    left_behind: tuple[str, ...] = ()


class Consents:
    """Acts on consents in the name of one identity."""

    def __init__(self, surroundings: Surroundings, health: Health) -> None:
        self._surroundings = surroundings
        self._health = health

    async def grant(self, patient: str, draft: Draft) -> Committed[ConsentReceipt]:
        """A new consent is on the ledger."""
        handle = secrets.token_hex(HANDLE_BYTES)
        self._keep(handle, 1, draft)
        request = GrantRequest(handle, patient, draft.directive)
        return await self._health.submit("consent:Grant", request, result=ConsentReceipt)

    async def amend(self, consent: str, draft: Draft) -> Committed[ConsentReceipt]:
        """The consent's current version is replaced."""
        held = await self.get(consent)
        self._keep(held.id, held.version + 1, draft)
        request = AmendRequest(held.id, held.version, draft.directive)
        return await self._health.submit("consent:Amend", request, result=ConsentReceipt)

    async def revoke(
        self, consent: str, reason: str, document: SourceFile | None = None
    ) -> Committed[ConsentReceipt]:
        """The consent is inactive from now on; a custodian binds the patient's document."""
        held = await self.get(consent)
        bound = ""
        if document is not None:
            salt = secrets.token_bytes(commitment.SALT_SIZE)
            bound = commitment.commit(commitment.CONSENT, salt, document.raw).hex()
            self._keep(held.id, held.version + 1, Draft(held.directive, salt, document))
        request = RevokeRequest(held.id, held.version, reason, bound)
        return await self._health.submit("consent:Revoke", request, result=ConsentReceipt)

    async def get(self, consent: str, version: int = 0) -> Consent:
        """Return a consent by its handle."""
        return await self._health.evaluate("consent:Get", consent, str(version), result=Consent)

    async def of_patient(self, patient: str) -> list[Consent]:
        """Return all consents of a patient, every page."""
        return await self._pages("consent:List", patient)

    async def history(self, consent: str) -> list[Consent]:
        """Return all versions of a consent."""
        return await self._pages("consent:History", consent)

    async def resolve(self, patient: str, consent: str) -> str:
        """Return the full handle from any unique beginning of it among the patient's consents."""
        found = [one.id for one in await self.of_patient(patient) if one.id.startswith(consent)]
        if len(found) != 1:
            raise input_error(
                f"{consent!r} begins {len(found)} of the patient's consents",
                "write more of the handle; see: medfabric consent list PATIENT",
            )
        return found[0]

    async def _pages(self, transaction: str, subject: str) -> list[Consent]:
        consents: list[Consent] = []
        bookmark = ""
        while True:
            page = await self._health.evaluate(
                transaction, subject, PageRequest(bookmark=bookmark), result=ConsentPage
            )
            consents += page.consents
            bookmark = page.bookmark
            if not bookmark:
                return consents

    def _keep(self, handle: str, version: int, draft: Draft) -> None:
        """Keep the original and its salt with who wrote it: together they open the commitment."""
        folder = self._surroundings.folder / "consents"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        original = draft.source.raw
        try:
            document = {"salt": draft.salt.hex(), "original": original.decode()}
        except UnicodeDecodeError:  # a scan of what was signed
            document = {"salt": draft.salt.hex(), "originalHex": original.hex()}
        file = folder / f"{handle}-{version}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(document), encoding="utf-8")


def read_draft(
    source: SourceFile, patient: str, dialect: Dialect, handles: Mapping[str, str] | None = None
) -> Draft:
    """Return the directive of a FHIR Consent, R4 or R5, about the patient with this handle.

    Without a handle the file may be about anybody.

    `handles` says what the file's other references stand for: `Organization/clinic` →
    `org:CityClinicMSP`. Raises FaultError, naming the element that cannot be enforced.
    """
    resource = _parse(source)
    salt = secrets.token_bytes(commitment.SALT_SIZE)
    bound = commitment.commit(commitment.CONSENT, salt, source.raw)
    known = {**(handles or {}), **_patient_handle(resource, patient)}
    try:
        found = normalise(resource, known, dialect=dialect, commitment=bound.hex())
        lifecycle.validate_directive(found.directive)
    except MalformedConsent as error:
        raise input_error(
            f"the consent cannot be enforced as written: {error.text}",
            _remedy(error),
            source.name,
        ) from error
    except InvalidArgument as error:
        raise input_error(
            f"the consent cannot be enforced as written: {error.text}",
            "correct what became of the element; see: medfabric consent read FILE",
            source.name,
        ) from error
    if found.status is not Status.ACTIVE:
        raise input_error(
            f"Consent.status: {found.status.value}; only an active consent can be granted",
            "have it made active first; to end one on the ledger: medfabric consent revoke",
            source.name,
        )
    if patient and found.patient != patient:
        raise input_error(
            "the consent names another patient's handle than --patient",
            "name the patient whom the consent is about",
            source.name,
        )
    return Draft(found.directive, salt, source, found.left_behind)


def _remedy(error: MalformedConsent) -> str:
    if isinstance(error, AmbiguousConsent):
        return "state it in one way, or choose the --dialect that the author meant"
    if isinstance(error, UnknownReference):
        return "say what it stands for, with --handle REFERENCE=HANDLE"
    return "correct the element"


def read_handles(pairs: Iterable[str]) -> dict[str, str]:
    """Return what references stand for, from `REFERENCE=HANDLE` pairs. Raises FaultError."""
    found = {}
    for pair in pairs:
        reference, _, handle = pair.rpartition("=")
        if not reference or not handle:
            raise input_error(
                f"--handle {pair!r} is not REFERENCE=HANDLE",
                "such as --handle Organization/clinic=org:CityClinicMSP",
            )
        found[reference] = handle
    return found


def build_fhir(consent: Consent, release: str) -> dict[str, Any]:
    """Return a stored consent as FHIR R4 or R5.

    Raises FaultError: the release cannot say what the consent says.
    """
    build = export.build_r5 if release == FhirVersion.R5 else export.build_r4
    try:
        return build(consent)
    except InvalidArgument as error:
        raise input_error(f"FHIR {release} cannot say it: {error.text}") from error


def _parse(source: SourceFile) -> Resource:
    resource = parse_json(source)
    try:
        r5 = read_version(resource) is FhirVersion.R5
    except MalformedConsent as error:
        raise input_error(error.text, "write the file in one release", source.name) from error
    if not r5 or resource.get("resourceType") != "Consent":
        return parse_resource(source, "Consent")
    validate_r5("Consent", source)
    return resource


def _patient_handle(resource: Resource, patient: str) -> dict[str, str]:
    """Return what the consent's reference to its patient stands for."""
    subject = resource.get("patient") or resource.get("subject") or {}
    handle = f"patient:{patient}"
    handles = {}
    if isinstance(subject, dict):
        if reference := subject.get("reference"):
            handles[str(reference)] = handle
        identifier = subject.get("identifier") or {}
        if isinstance(identifier, dict) and identifier.get("value"):
            handles[f"{identifier.get('system', '')}|{identifier['value']}"] = handle
    return handles
