"""The trail as FHIR R4 AuditEvents, in the shapes of IHE's Basic Audit Log Patterns (BALP).

Decisions on a consent follow BALP's AuthZconsent, disclosures its PrivacyDisclosure.Source; other
events take the DICOM and ISO 21089 codes that come nearest. Patients, people and organisations are
named by identifiers of the ledger (handle, digest, MSP id), never by name.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chaincode.audit.model import AuditEntry, Kind

Resource = dict[str, Any]

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_BALP = "https://profiles.ihe.net/ITI/BALP"
_AUTHZ = f"{_BALP}/CodeSystem/AuthZsubType"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PATIENT, _USER, _MSP = "urn:medfabric:patient", "urn:medfabric:user", "urn:medfabric:msp"

AUTHZ_CONSENT = f"{_BALP}/StructureDefinition/IHE.BasicAudit.AuthZconsent"
DISCLOSURE_SOURCE = f"{_BALP}/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one kind of entry is coded: type, subtype and action."""

    type: tuple[str, str, str]
    subtype: tuple[str, str, str]
    action: str


def _dcm(code: str, display: str) -> tuple[str, str, str]:
    return (_DCM, code, display)


def _life(code: str) -> tuple[str, str, str]:
    return (_LIFECYCLE, code, f"{code.capitalize()} Record Lifecycle Event")


_ALERT = _dcm("110113", "Security Alert")
_RECORD = _dcm("110110", "Patient Record")
_DISCLOSE = _Shape(_dcm("110106", "Export"), _life("disclose"), "R")

_SHAPES: dict[Kind, _Shape] = {
    Kind.CONSENT_GRANTED: _Shape(_RECORD, _life("originate"), "C"),
    Kind.CONSENT_AMENDED: _Shape(_RECORD, _life("amend"), "U"),
    Kind.CONSENT_REVOKED: _Shape(_RECORD, _life("deprecate"), "U"),
    Kind.BREAK_GLASS: _Shape(_ALERT, _dcm("110127", "Emergency Override Started"), "E"),
    Kind.BREAK_GLASS_REVIEWED: _Shape(_ALERT, _dcm("110138", "Emergency Override Stopped"), "E"),
    Kind.RECORD_ANCHORED: _Shape(_RECORD, _life("originate"), "C"),
    Kind.RECORD_SUPERSEDED: _Shape(_RECORD, _life("amend"), "U"),
    Kind.RECORD_WITHDRAWN: _Shape(_RECORD, _life("deprecate"), "U"),
    Kind.RECORD_ERASED: _Shape(_RECORD, _life("destroy"), "D"),
    Kind.ACCESS_DECIDED: _Shape(_ALERT, (_AUTHZ, "AuthZ-Consent", "AuthZ-Consent"), "E"),
    Kind.ACCESS_RELEASED: _DISCLOSE,
    Kind.ACCESS_RECEIVED: _Shape(_dcm("110107", "Import"), _life("receive"), "C"),
    Kind.ACCESS_REVIEWED: _Shape(_dcm("110101", "Audit Log Used"), _life("verify"), "R"),
    Kind.CLAIM_SUBMITTED: _DISCLOSE,
    Kind.CLAIM_CHANGED: _Shape(_RECORD, _life("amend"), "U"),
}
_OTHER = _Shape(_RECORD, _life("hold"), "U")
"""For kinds of a later chaincode: an access that was taken back is held."""

_FAILED = ("DENY", "NOT_APPLICABLE", "INDETERMINATE")


def build_bundle(entries: Iterable[AuditEntry], channel: str, made_at: datetime) -> Resource:
    """Return a Bundle (collection) of one AuditEvent an entry, in their order."""
    events = [build_audit_event(entry, channel) for entry in entries]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": _instant(made_at),
        "entry": [
            {"fullUrl": f"urn:medfabric:audit-event:{event['id']}", "resource": event}
            for event in events
        ],
    }


def build_audit_event(entry: AuditEntry, channel: str) -> Resource:
    """Return the entry as an AuditEvent; its id is the same whenever it is built."""
    shape = _SHAPES.get(entry.kind, _OTHER)
    observer = _observer(entry, channel)
    event: Resource = {"resourceType": "AuditEvent", "id": _id(entry)}
    profile = _profile(entry)
    if profile:
        event["meta"] = {"profile": [profile]}
    event |= {
        "type": _coding(*shape.type),
        "subtype": [_coding(*shape.subtype)],
        "action": shape.action,
        "recorded": _instant(entry.at),
        "outcome": "8" if entry.verdict in _FAILED else "0",
    }
    if entry.verdict:
        event["outcomeDesc"] = entry.verdict
    if entry.purpose:
        event["purposeOfEvent"] = [_concept(_REASON, entry.purpose)]
    event |= {
        "agent": _agents(entry, channel, observer),
        "source": {"site": channel, "observer": observer, "type": [_SECURITY_SERVER]},
        "entity": _entities(entry),
    }
    return event


_SECURITY_SERVER = {
    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
    "code": "6",
    "display": "Security Server",
}


def _profile(entry: AuditEntry) -> str:
    if entry.kind in (Kind.ACCESS_RELEASED, Kind.CLAIM_SUBMITTED) and entry.records:
        return DISCLOSURE_SOURCE
    # AuthZconsent wants the consent that was decided on: without one it is not claimed.
    return AUTHZ_CONSENT if entry.kind is Kind.ACCESS_DECIDED and entry.consent_id else ""


def _observer(entry: AuditEntry, channel: str) -> Resource:
    """Who recorded it: the custodian for a disclosure, the channel's chaincode otherwise."""
    if _discloses(entry):
        return _organization(entry.custodian or entry.msp_id)
    return {
        "type": "Device",
        "identifier": {"system": "urn:medfabric:chaincode", "value": f"{channel}/health"},
    }


def _discloses(entry: AuditEntry) -> bool:
    return entry.kind in (Kind.ACCESS_RELEASED, Kind.CLAIM_SUBMITTED)


def _agents(entry: AuditEntry, channel: str, observer: Resource) -> list[Resource]:
    user: Resource = {
        "type": _concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
        "who": _person(entry.user),
        "requestor": True,
    }
    if entry.role:
        user["role"] = [{"text": entry.role}]
    if not _discloses(entry):
        organization = {
            "type": _concept("http://terminology.hl7.org/CodeSystem/v3-RoleClass", "PROV"),
            "who": _organization(entry.msp_id),
            "requestor": False,
        }
        authorizer = {
            "type": _concept(
                "http://terminology.hl7.org/CodeSystem/extra-security-role-type", "authserver"
            ),
            "who": observer,
            "requestor": False,
        }
        client = {
            "type": _concept(_DCM, "110150", "Application"),
            "who": _organization(entry.msp_id),
            "requestor": False,
            "network": _network(channel, entry.msp_id),
        }
        return [user, organization, authorizer, client]
    source: Resource = {
        "type": _concept(_DCM, "110153", "Source Role ID"),
        "who": observer,
        "requestor": False,
        "network": _network(channel, entry.custodian or entry.msp_id),
    }
    recipient = {
        "type": _concept(_DCM, "110152", "Destination Role ID"),
        "who": _organization(entry.recipient_msp_id),
        "requestor": False,
        "network": _network(channel, entry.recipient_msp_id),
    }
    agents = [source, recipient]
    if entry.recipient:
        # At the source, who asked for it is the person that it went to.
        agents.append({**user, "who": _person(entry.recipient)})
    if entry.custodian:
        keeper = _concept("http://snomed.info/sct", "159541003", "Record keeping/library clerk")
        who = _organization(entry.custodian)
        agents.append({"type": keeper, "who": who, "requestor": False})
    return agents


def _entities(entry: AuditEntry) -> list[Resource]:
    """Patient first; then the consent, and what was disclosed or changed.

    For a decision the slices are closed to patient and consent, so that the records stand in the
    consent's details.
    """
    patient: Resource = {
        "what": {"type": "Patient", "identifier": {"system": _PATIENT, "value": entry.patient}},
        "type": _coding("http://terminology.hl7.org/CodeSystem/audit-entity-type", "1", "Person"),
        "role": _coding("http://terminology.hl7.org/CodeSystem/object-role", "1", "Patient"),
    }
    entities = [patient]
    details = [_detail("transaction", entry.tx_id), _detail(entry.kind.value, entry.subject)]
    details += [_detail("record", record) for record in entry.records]
    details += [_detail("obligation", code) for code in entry.obligations]
    if entry.reason:
        details.append(_detail("reason", entry.reason))
    if entry.consent_id:
        entities.append(
            {
                "what": _handle("Consent", entry.consent_id),
                "type": _coding("http://hl7.org/fhir/resource-types", "Consent", "Consent"),
                "description": f"version {entry.consent_version}",
                "detail": details,
            }
        )
        if entry.kind is Kind.ACCESS_DECIDED:
            return entities
    for record in entry.records or (entry.subject,):
        entities.append(
            {
                "what": _handle("", record),
                "type": _coding(
                    "http://terminology.hl7.org/CodeSystem/audit-entity-type", "2", "System Object"
                ),
                "role": _coding("http://terminology.hl7.org/CodeSystem/object-role", "3", "Report"),
                **({} if entry.consent_id else {"detail": details}),
            }
        )
    return entities


def _id(entry: AuditEntry) -> str:
    """A stable id: a transaction, kind and subject make an entry."""
    text = f"{entry.tx_id}/{entry.kind.value}/{entry.subject}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _coding(system: str, code: str, display: str = "") -> Resource:
    return {"system": system, "code": code, **({"display": display} if display else {})}


def _concept(system: str, code: str, display: str = "") -> Resource:
    return {"coding": [_coding(system, code, display)]}


def _handle(kind: str, value: str) -> Resource:
    found: Resource = {"type": kind} if kind else {}
    return {**found, "identifier": {"system": "urn:medfabric:handle", "value": value}}


def _person(digest: str) -> Resource:
    return {"identifier": {"system": _USER, "value": digest or "not recorded"}}


def _organization(msp_id: str) -> Resource:
    return {"type": "Organization", "identifier": {"system": _MSP, "value": msp_id or "unknown"}}


def _network(channel: str, msp_id: str) -> Resource:
    """The access point as the ledger knows it: an organisation's peers on a channel, as URI (5)."""
    return {"address": f"urn:medfabric:{channel}:{msp_id}", "type": "5"}


def _detail(name: str, value: str) -> Resource:
    return {"type": name, "valueString": value}


def _instant(moment: datetime | None) -> str:
    at = moment or datetime.fromtimestamp(0, UTC)
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
