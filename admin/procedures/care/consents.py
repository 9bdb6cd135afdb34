"""Consents from a FHIR file to the ledger: normalised here, the original kept off the chain."""

import json
import secrets
from dataclasses import dataclass

from admin.errors import input_error
from admin.fhir.reading import Resource, SourceFile, parse_resource
from admin.procedures.networks.health import Committed, Health
from chaincode import commitment
from chaincode.consent.fhir import Dialect, MalformedConsent, normalise
from chaincode.consent.model import (
    AmendRequest,
    Consent,
    ConsentPage,
    ConsentReceipt,
    Directive,
    GrantRequest,
    RevokeRequest,
)
from chaincode.table import PageRequest
from network.client.profile import Surroundings

HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Draft:
    """A consent read from a file: its directive, and the salt that opens its commitment."""

    directive: Directive
    salt: bytes
    source: SourceFile


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

    async def revoke(self, consent: str, reason: str) -> Committed[ConsentReceipt]:
        """The consent is inactive from now on."""
        held = await self.get(consent)
        request = RevokeRequest(held.id, held.version, reason)
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
        document = {"salt": draft.salt.hex(), "original": draft.source.raw.decode()}
        file = folder / f"{handle}-{version}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(document), encoding="utf-8")


def read_draft(source: SourceFile, patient: str, dialect: Dialect) -> Draft:
    """Return the directive of a FHIR Consent, R4 or R5, about the patient with this handle.

    Raises FaultError, naming the element that cannot be enforced.
    """
    resource = _parse(source)
    salt = secrets.token_bytes(commitment.SALT_SIZE)
    bound = commitment.commit(commitment.CONSENT, salt, source.raw)
    try:
        found = normalise(
            resource, _patient_handle(resource, patient), dialect=dialect, commitment=bound.hex()
        )
    except MalformedConsent as error:
        raise input_error(
            f"the consent cannot be enforced as written: {error}",
            "correct the element, or choose a --dialect",
            source.name,
        ) from error
    return Draft(found.directive, salt, source)


def _parse(source: SourceFile) -> Resource:
    # R5 has fields that R4's model does not know; the reader itself is strict about both.
    raw = source.raw
    if b'"decision"' in raw or b'"regulatoryBasis"' in raw or b'"policyBasis"' in raw:
        try:
            resource = json.loads(raw)
        except ValueError as error:
            raise input_error("not JSON", "", source.name) from error
        if isinstance(resource, dict):
            return resource
    return parse_resource(source, "Consent")


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
