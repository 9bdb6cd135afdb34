"""What may be written: directives without ambiguity, versions in order, emergencies in bounds.

Pure checks and the values that follow from them. Every `validate_*` raises InvalidArgument, Denied
or Conflict with the path and the remedy.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from chaincode import canonical
from chaincode.consent import codes
from chaincode.consent.compiled import compile_consent
from chaincode.consent.messages import BreakGlassRequest, RevokeRequest
from chaincode.consent.model import (
    Author,
    BreakGlassGrant,
    Capacity,
    Consent,
    DataReference,
    Directive,
    Meaning,
    Party,
    Review,
    Rule,
    Status,
)
from chaincode.errors import Conflict, Denied, InvalidArgument
from chaincode.phi import refuse_phi, validate_digest, validate_handle

MAX_RULES = 512
MAX_VALUES = 256
_MSP = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PARTY = re.compile(
    rf"org:{_MSP}|user:[0-9a-f]{{64}}|role:({_MSP}/)?[a-z][a-z0-9-]{{0,31}}"
    r"|(group|patient):[0-9a-f]{32}([0-9a-f]{32})?"
)
_TOKEN = re.compile(r"[^|\s]{1,200}\|[^|\s]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_LABELS = codes.SENSITIVITIES | codes.CONFIDENTIALITY_RANK.keys()
_POLICY = re.compile(r"[^\s]{1,200}")


def validate_directive(directive: Directive) -> None:
    """Raise InvalidArgument unless the directive means exactly one thing."""
    path = "directive"
    if directive.decision is None:
        raise InvalidArgument(
            f"{path}.decision: not determined; state permit or deny (FHIR R5 decision, R4 root "
            "provision.type, or an opt-in or opt-out policyRule)"
        )
    if directive.scope not in codes.SCOPES:
        raise InvalidArgument(f"{path}.scope: expected one of {_listed(codes.SCOPES)}")
    if directive.commitment:
        validate_digest(directive.commitment, f"{path}.commitment")
    _each(directive.policies, f"{path}.policies", _POLICY, "a policy's code or URI")
    for code in directive.obligations:
        if code not in codes.OBLIGATIONS | codes.REFRAINS:
            raise InvalidArgument(f"{path}.obligations: not a v3 obligation or refrain code")
    _validate_rule(directive.rule, f"{path}.rule", [MAX_RULES])
    refuse_phi(directive, path)
    problem = _problem(directive)
    if problem:
        raise InvalidArgument(f"{path}.{problem}")


def directive_digest(directive: Directive) -> str:
    """Return the hex SHA-256 of the canonical directive: what a disclosure carries."""
    return hashlib.sha256(canonical.encode(directive)).hexdigest()


def first_version(
    consent_id: str, patient: str, directive: Directive, author: Author, now: datetime, tx_id: str
) -> Consent:
    """Return version 1 of a consent. Raises InvalidArgument."""
    validate_handle(consent_id, "request.id")
    validate_directive(directive)
    _validate_documented(author, directive.commitment, "directive.commitment")
    return Consent(
        id=consent_id,
        version=1,
        patient=patient,
        status=Status.ACTIVE,
        directive=directive,
        author=author,
        granted_at=now,
        recorded_at=now,
        digest=directive_digest(directive),
        tx_id=tx_id,
    )


def amended(
    held: Consent,
    based_on: int,
    directive: Directive,
    *,
    author: Author,
    now: datetime,
    tx_id: str,
) -> Consent:
    """Return the next version with another directive. Raises Conflict, InvalidArgument."""
    _validate_current(held, based_on)
    validate_directive(directive)
    _validate_documented(author, directive.commitment, "directive.commitment")
    digest = directive_digest(directive)
    if digest == held.digest:
        raise Conflict("the directive is the one that is in force; nothing to amend")
    return replace(
        held,
        version=held.version + 1,
        directive=directive,
        author=author,
        recorded_at=now,
        digest=digest,
        tx_id=tx_id,
    )


def revoked(
    held: Consent, request: RevokeRequest, *, author: Author, now: datetime, tx_id: str
) -> Consent:
    """Return the next version, inactive from now on. Raises Conflict, InvalidArgument."""
    _validate_current(held, request.based_on)
    if request.reason not in codes.REVOCATION_REASONS:
        known = _listed(codes.REVOCATION_REASONS)
        raise InvalidArgument(f"request.reason: expected one of {known}")
    if request.commitment:
        validate_digest(request.commitment, "request.commitment")
    _validate_documented(author, request.commitment, "request.commitment")
    mistaken = request.reason == "entered-in-error"
    return replace(
        held,
        version=held.version + 1,
        status=Status.ENTERED_IN_ERROR if mistaken else Status.INACTIVE,
        author=author,
        recorded_at=now,
        reason=request.reason,
        tx_id=tx_id,
    )


def declared(
    request: BreakGlassRequest,
    *,
    msp_id: str,
    user: str,
    role: str,
    limit_minutes: int,
    now: datetime,
    tx_id: str,
) -> BreakGlassGrant:
    """Return the time-boxed grant of a declared emergency. Raises InvalidArgument."""
    validate_handle(request.id, "request.id")
    if request.purpose not in (codes.BREAK_GLASS, codes.EMERGENCY):
        raise InvalidArgument("request.purpose: expected BTG or ETREAT")
    if request.reason not in codes.EMERGENCY_REASONS:
        known = _listed(codes.EMERGENCY_REASONS)
        raise InvalidArgument(f"request.reason: expected a code, one of {known}")
    if not 0 <= request.minutes <= limit_minutes:
        raise InvalidArgument(f"request.minutes: the consortium's limit is {limit_minutes}")
    if request.commitment:
        validate_digest(request.commitment, "request.commitment")
    return BreakGlassGrant(
        id=request.id,
        patient=request.patient,
        msp_id=msp_id,
        user=user,
        role=role,
        purpose=request.purpose,
        reason=request.reason,
        declared_at=now,
        expires_at=now + timedelta(minutes=request.minutes or limit_minutes),
        commitment=request.commitment,
        tx_id=tx_id,
    )


def is_open(grant: BreakGlassGrant, msp_id: str, user: str, purpose: str, now: datetime) -> bool:
    """Whether the grant opens a request of this person for this purpose at `now`.

    A review ends nothing that is still running unless it found the grant unjustified.
    """
    if grant.review is not None and grant.review.outcome.value != "justified":
        return False
    mine = (grant.msp_id, grant.user) == (msp_id, user)
    return mine and grant.purpose == purpose and grant.declared_at <= now < grant.expires_at


def reviewed(grant: BreakGlassGrant, review: Review, custodian: str) -> BreakGlassGrant:
    """Return the grant with its review. Raises Conflict, Denied."""
    if grant.review is not None:
        raise Conflict("the break-glass grant is reviewed already")
    if review.reviewer == grant.user and review.reviewer_msp_id == grant.msp_id:
        raise Denied("nobody reviews their own break-glass")
    if review.reviewer_msp_id not in (grant.msp_id, custodian):
        raise Denied("the reviewer is a privacy officer of the grantee's or the custodian's")
    if review.commitment:
        validate_digest(review.commitment, "request.commitment")
    return replace(grant, review=review)


def names_organization(directive: Directive, msp_id: str) -> bool:
    """Whether any rule of the directive names this organisation, or a role in it."""
    prefixes = (f"org:{msp_id}", f"role:{msp_id}/")

    def named(rule: Rule) -> bool:
        return any(
            p.reference == prefixes[0] or p.reference.startswith(prefixes[1]) for p in rule.actors
        ) or any(named(nested) for nested in rule.exceptions)

    return named(directive.rule)


def _problem(directive: Directive) -> str:
    moment = datetime.min
    author = Author("", "", Capacity.PATIENT)
    probe = Consent("", 0, "", Status.ACTIVE, directive, author, moment, moment)
    return compile_consent(probe).problem


def _validate_current(held: Consent, based_on: int) -> None:
    if held.version != based_on:
        raise Conflict(
            f"the consent is at version {held.version}, the change was based on {based_on}; "
            "read it again"
        )
    if held.status is not Status.ACTIVE:
        raise Conflict(f"the consent is {held.status.value}; grant a new one")


def _validate_documented(author: Author, commitment: str, path: str) -> None:
    if author.capacity is Capacity.CUSTODIAN and not commitment:
        raise InvalidArgument(f"{path}: a custodian must bind the patient's signed document")


def _validate_rule(rule: Rule, path: str, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise InvalidArgument(f"{path}: more than {MAX_RULES} rules")
    for index, party in enumerate(rule.actors):
        _validate_party(party, f"{path}.actors[{index}]")
    for index, reference in enumerate(rule.data):
        _validate_data(reference, f"{path}.data[{index}]")
    _validate_codes(rule, path)
    for values in (rule.actors, rule.classes, rule.codes, rule.data, rule.exceptions):
        if len(values) > MAX_VALUES:
            raise InvalidArgument(f"{path}: an attribute has more than {MAX_VALUES} values")
    for index, nested in enumerate(rule.exceptions):
        nested_path = f"{path}.exceptions[{index}]"
        if nested == replace(Rule(), exceptions=nested.exceptions):
            raise InvalidArgument(
                f"{nested_path}: an exception without any attribute takes back its whole parent; "
                "state the opposite decision instead"
            )
        _validate_rule(nested, nested_path, left)


def _validate_codes(rule: Rule, path: str) -> None:
    _within(rule.actions, f"{path}.actions", codes.ACTIONS)
    if any(p not in codes.PURPOSES and _TOKEN.fullmatch(p) is None for p in rule.purposes):
        raise InvalidArgument(f"{path}.purposes: not a v3 ActReason purpose nor system|code")
    if not _LABELS.issuperset(rule.labels):
        raise InvalidArgument(
            f"{path}.labels: not a v3 confidentiality (U L M N R V) or sensitivity code"
        )
    _each(rule.classes, f"{path}.classes", _POLICY, "a type, system|code or profile URI")
    _each(rule.resource_types, f"{path}.resourceTypes", _TYPE, "a FHIR resource type")
    _each(rule.document_types, f"{path}.documentTypes", _TOKEN, "system|code")
    _each(rule.codes, f"{path}.codes", _TOKEN, "system|code (a code without a system is ambiguous)")


def _validate_party(party: Party, path: str) -> None:
    if _PARTY.fullmatch(party.reference) is None:
        raise InvalidArgument(
            f"{path}.reference: expected org:<mspId>, user:<digest>, role:[<mspId>/]<role>, "
            "group:<handle> or patient:<handle>"
        )
    if party.role not in codes.PARTY_ROLES:
        raise InvalidArgument(f"{path}.role: expected one of {_listed(codes.PARTY_ROLES)}")


def _validate_data(reference: DataReference, path: str) -> None:
    if reference.meaning is Meaning.AUTHORED_BY:
        if _PARTY.fullmatch(reference.reference) is None:
            raise InvalidArgument(f"{path}.reference: expected a party, such as org:<mspId>")
    else:
        validate_handle(reference.reference, f"{path}.reference")


def _within(values: Iterable[str], path: str, known: frozenset[str]) -> None:
    if not known.issuperset(values):
        raise InvalidArgument(f"{path}: expected values of {_listed(known)}")


def _each(values: Iterable[str], path: str, form: re.Pattern[str], expected: str) -> None:
    for index, value in enumerate(values):
        if form.fullmatch(value) is None:
            raise InvalidArgument(f"{path}[{index}]: expected {expected}")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))
