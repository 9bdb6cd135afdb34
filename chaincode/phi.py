"""Keeps health information out of public arguments: `refuse_phi` raises where it sees some.

A net under the contracts' own types, not a classifier: it knows the shapes that leak in practice
(a FHIR resource, X12 and HL7 v2 messages, names, birth dates, addresses, SSN, MRN, MBI, telephone
and mail addresses). Messages name the path and the kind, never the value.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping

from chaincode.errors import InvalidArgument

_REMEDY = "send it in transient data or keep it off chain, and put a handle or a commitment here"
_HANDLE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

# Names of fields that hold who a person is, without case, '-' and '_'.
_FIELDS = frozenset(
    (
        *("name", "given", "family", "firstname", "lastname", "middlename", "familyname"),
        *("givenname", "fullname", "patientname", "membername", "subscribername", "maidenname"),
        *("birthdate", "dateofbirth", "dob", "birthday", "deceaseddatetime", "address"),
        *("street", "postalcode", "zip", "zipcode", "telecom", "phone", "phonenumber"),
        *("telephone", "mobile", "fax", "email", "emailaddress", "ssn", "socialsecuritynumber"),
        *("mrn", "medicalrecordnumber", "memberid", "subscriberid", "mbi", "driverslicense"),
        *("photo", "contained", "narrative", "div"),
    )
)
_RESOURCE_FIELD = "resourcetype"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a FHIR resource", re.compile(r'"resourceType"\s*:|xmlns="http://hl7\.org/fhir"')),
    ("an X12 interchange", re.compile(r"\AISA[*|^~:]|~\s*NM1[*|]")),
    ("an HL7 v2 message", re.compile(r"\A(MSH|FHS|BHS)\|\^~|[\r\n]PID\|")),
    ("a social security number", re.compile(r"(?<![0-9A-Za-z-])\d{3}-\d{2}-\d{4}(?![0-9-])")),
    ("a social security number", re.compile(r"\A\d{9}\Z|\bSSN\W*\d", re.IGNORECASE)),
    ("a medical record number", re.compile(r"\bMRN\W*[A-Z]{0,4}\d{3,}", re.IGNORECASE)),
    (
        "a Medicare beneficiary identifier",
        re.compile(
            r"\b[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-?[AC-HJKMNP-RT-Y]"
            r"[0-9AC-HJKMNP-RT-Y]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}\b"
        ),
    ),
    ("a mail address", re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}")),
    ("a telephone number", re.compile(r"(?<!\d)\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?!\d)")),
)
_MAX_DEPTH = 64


def refuse_phi(value: object, path: str = "$", *, allow: Iterable[str] = ()) -> None:
    """Return only if nothing in `value` looks like health information about a person.

    Looks into dataclasses, mappings, sequences, bytes that are UTF-8, and text that is JSON.
    `allow` names fields that are public here, such as the `name` of an organisation.

    Raises:
        InvalidArgument: it does; the text names the path and what to do, never the value.
    """
    _refuse(value, path, frozenset(_plain(name) for name in allow), 0)


def is_handle(value: str) -> bool:
    """Whether `value` has the form of a random handle."""
    return _HANDLE.fullmatch(value) is not None


def validate_handle(value: str, path: str) -> str:
    """Return `value` if it has the form of a random handle: 32 or 64 lower-case hex digits.

    Raises:
        InvalidArgument: it has not.
    """
    if _HANDLE.fullmatch(value) is None:
        raise InvalidArgument(
            f"{path}: expected a random handle of 32 lower-case hex digits, never an identifier"
        )
    return value


def validate_digest(value: str, path: str) -> str:
    """Return `value` if it is the lower-case hex of a SHA-256 digest. Raises InvalidArgument."""
    if _DIGEST.fullmatch(value) is None:
        raise InvalidArgument(f"{path}: expected a SHA-256 digest of 64 lower-case hex digits")
    return value


def _refuse(value: object, path: str, allowed: frozenset[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidArgument(f"{path}: nested deeper than {_MAX_DEPTH} levels")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Field names of our own types are public by design; only what is in them is looked at.
        for field in dataclasses.fields(value):
            _refuse(getattr(value, field.name), f"{path}.{field.name}", allowed, depth + 1)
    elif isinstance(value, Mapping):
        _refuse_mapping(value, path, allowed, depth)
    elif isinstance(value, str):
        _refuse_text(value, path, allowed, depth)
    elif isinstance(value, bytes | bytearray):
        try:
            text = bytes(value).decode()
        except UnicodeDecodeError:
            return
        _refuse_text(text, path, allowed, depth)
    elif isinstance(value, Iterable):
        for index, entry in enumerate(value):
            _refuse(entry, f"{path}[{index}]", allowed, depth + 1)


def _refuse_mapping(
    value: Mapping[object, object], path: str, allowed: frozenset[str], depth: int
) -> None:
    for key, entry in value.items():
        name = _plain(str(key))
        if name == _RESOURCE_FIELD and isinstance(entry, str) and entry:
            raise InvalidArgument(f"{path}: looks like a FHIR resource; {_REMEDY}")
        if name in _FIELDS and name not in allowed and entry not in (None, "", [], {}):
            # The key is one of ours, so it may be named.
            raise InvalidArgument(f"{path}: a field that identifies a person ({name}); {_REMEDY}")
        _refuse_text(str(key), f"{path} (a key)", allowed, depth + 1)
        _refuse(entry, f"{path}.{name if name.isidentifier() else '*'}", allowed, depth + 1)


def _refuse_text(text: str, path: str, allowed: frozenset[str], depth: int) -> None:
    for kind, pattern in _PATTERNS:
        if pattern.search(text):
            raise InvalidArgument(f"{path}: looks like {kind}; {_REMEDY}")
    if text[:1] in ("{", "["):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            return
        _refuse(parsed, path, allowed, depth + 1)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
