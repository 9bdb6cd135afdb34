"""The vocabularies a decision rests on: purposes, confidentiality, sensitivity, obligations.

Hierarchies are those of HL7 v3 ActReason, Confidentiality and ActCode. Where a hierarchy is used to
refuse, it is read widely, where it is used to permit, narrowly: an emergency is never inside
treatment, break-glass is never inside anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
CONSENT_ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
CONSENT_POLICY = "http://terminology.hl7.org/CodeSystem/consentpolicycodes"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"

BREAK_GLASS = "BTG"
EMERGENCY = "ETREAT"
TREATMENT = "TREAT"
PAYMENT = "HPAYMT"
OPERATIONS = "HOPERAT"
PATIENT_REQUEST = "PATRQT"
LEGAL = "HLEGAL"
SELF_PAY = "hipaa-self-pay"

ACTIONS = frozenset({"collect", "access", "use", "disclose", "correct"})

# v3-ActReason, PurposeOfUse: each code with its direct children.
PURPOSE_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "HMARKT": (),
    "HOPERAT": (
        *("CAREMGT", "DONAT", "FRAUD", "GOV", "HACCRED", "HCOMPL", "HDECD", "HDIRECT", "HDM"),
        *("HLEGAL", "HOUTCOMS", "HPRGRP", "HQUALIMP", "HSYSADMIN", "MEMADMIN", "MILCDM"),
        *("PATADMIN", "PATSFTY", "PERFMSR", "RECORDMGT", "SYSDEV", "TRAIN"),
    ),
    "HSYSADMIN": ("LABELING", "METAMGT"),
    "SYSDEV": ("HTEST",),
    "HPAYMT": ("CLMATTCH", "COVAUTH", "COVERAGE", "REMITADV"),
    "COVERAGE": ("ELIGDTRM", "ELIGVER", "ENROLLM", "MILDCRG"),
    "HRESCH": ("BIORCH", "CLINTRCH", "DSRCH", "POARCH", "TRANSRCH"),
    "CLINTRCH": ("CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH"),
    "PATRQT": ("FAMRQT", "PWATRNY", "SUPNWK"),
    "PUBHLTH": ("DISASTER", "THREAT"),
    "TREAT": ("CLINTRL", "COC", "ETREAT", "POPHLTH"),
    "ETREAT": ("BTG", "ERTREAT"),
}

# v3-Confidentiality, from the least to the most restricted.
CONFIDENTIALITY = ("U", "L", "M", "N", "R", "V")
CONFIDENTIALITY_RANK: Mapping[str, int] = {code: i for i, code in enumerate(CONFIDENTIALITY)}
NORMAL = CONFIDENTIALITY_RANK["N"]
RESTRICTED = CONFIDENTIALITY_RANK["R"]

# v3-ActCode, ActInformationSensitivityPolicy.
SENSITIVITY_CHILDREN: Mapping[str, tuple[str, ...]] = {
    "SPI": ("BH", "MH", "PSY", "PSYTHPN", "SUD"),
    "BH": ("COGN", "DVD", "EMOTDIS"),
    "SUD": ("ETHUD", "OPIOIDUD"),
}
# Not children in v3, but what a person who refuses the left one means to refuse too.
SENSITIVITY_MEANT: Mapping[str, tuple[str, ...]] = {
    "ETH": ("SUD", "ETHUD", "OPIOIDUD"),
    "SUD": ("ETH",),
    "BH": ("MH", "PSY", "PSYTHPN", "SUD"),
    "MH": ("PSY", "PSYTHPN"),
    "SEX": ("STD",),
}
SENSITIVITIES = frozenset(
    (
        *("ETH", "GDIS", "HIV", "MST", "SCA", "SDV", "SEX", "SPI", "BH", "COGN", "DVD"),
        *("EMOTDIS", "MH", "PSY", "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD", "STD", "TBOO", "VIO"),
        *("SICKLE", "ADOL", "CEL", "DIA", "DRGIS", "EMP", "PDS", "PHY", "PRS", "DEMO", "DOB"),
        *("GENDER", "LIVARG", "MARST", "RACE", "REL", "B", "EMPL", "LOCIS", "SSP"),
    )
)
# 42 CFR Part 2 records: what a labelling service calls a substance use disorder record.
PART_2 = frozenset({"ETH", "SUD", "ETHUD", "OPIOIDUD"})

OBLIGATIONS = frozenset(
    (
        *("ANONY", "AOD", "AUDIT", "AUDTR", "CPLYCC", "CPLYCD", "CPLYJPP", "CPLYOPP", "CPLYOSP"),
        *("CPLYPOL", "DECLASSIFYLABEL", "DEID", "DELAU", "DOWNGRDLABEL", "DRIVLABEL", "ENCRYPT"),
        *("ENCRYPTR", "ENCRYPTT", "ENCRYPTU", "HUAPRV", "LABEL", "MASK", "MINEC", "PERSISTLABEL"),
        *("PRIVMARK", "PSEUD", "REDACT", "UPGRDLABEL"),
    )
)
REFRAINS = frozenset(
    (
        *("NOAUTH", "NOCOLLECT", "NODSCLCD", "NODSCLCDS", "NOINTEGRATE", "NOLIST", "NOMOU"),
        *("NOORGPOL", "NOPAT", "NOPERSISTP", "NORDSCLCD", "NORDSCLCDS", "NORDSCLW", "NORELINK"),
        *("NOREUSE", "NOVIP", "ORCON"),
    )
)

REVOCATION_REASONS = frozenset(
    {"patient-request", "superseded", "entered-in-error", "delegation-ended", "deceased"}
)
EMERGENCY_REASONS = frozenset(
    {
        *("life-threatening", "unconscious", "incapacitated", "unable-to-consent"),
        *("patient-unreachable", "disaster", "threat-to-others", "newborn-emergency"),
    }
)
SCOPES = frozenset({"patient-privacy", "research", "treatment", "adr"})

# FHIR R4 `Consent.policyRule` codes that determine a base decision where the root has no type.
PERMITTING_POLICIES = frozenset({"OPTIN", "OPTINR", "IMPLIED", "IMPLIEDD"})
DENYING_POLICIES = frozenset({"OPTOUT", "OPTOUTE", "NOCONSENT"})
EMERGENCY_ONLY_POLICY = "EMRGONLY"

PCF = "https://profiles.ihe.net/ITI/PCF/"
POLICY_BASIC_NORMAL = PCF + "Policy-basic-normal"
POLICY_ALL_NORMAL = PCF + "Policy-all-normal"
POLICY_BREAK_GLASS_ONLY = PCF + "Policy-break-glass-only"
POLICY_DENY = PCF + "Policy-deny"
IMPLICIT_POLICIES = frozenset(
    {POLICY_BASIC_NORMAL, POLICY_ALL_NORMAL, POLICY_BREAK_GLASS_ONLY, POLICY_DENY}
)

RECIPIENT_ROLES = frozenset({"IRCP", "PRCP", "GRANTEE"})
CUSTODIAN_ROLE = "CST"
DELEGATEE_ROLE = "DELEGATEE"
DELEGATOR_ROLE = "DELEGATOR"
PARTY_ROLES = RECIPIENT_ROLES | {CUSTODIAN_ROLE, DELEGATEE_ROLE, DELEGATOR_ROLE}


def _below(code: str, *children: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    found: set[str] = set()
    ahead = [code]
    while ahead:
        at = ahead.pop()
        if at not in found:
            found.add(at)
            ahead.extend(below for table in children for below in table.get(at, ()))
    return frozenset(found)


_PURPOSES_BELOW = {
    code: _below(code, PURPOSE_CHILDREN)
    for code in {*PURPOSE_CHILDREN, *(c for kids in PURPOSE_CHILDREN.values() for c in kids)}
}
_SENSITIVITIES_PERMITTED = {code: _below(code, SENSITIVITY_CHILDREN) for code in SENSITIVITIES}
_SENSITIVITIES_DENIED = {
    code: _below(code, SENSITIVITY_CHILDREN, SENSITIVITY_MEANT) for code in SENSITIVITIES
}
PURPOSES = frozenset(_PURPOSES_BELOW)
_EMERGENCIES = _PURPOSES_BELOW[EMERGENCY]


def purposes_denied(listed: Iterable[str]) -> frozenset[str]:
    """Every purpose that a deny listing these covers: each with all below it, emergencies too."""
    return frozenset(p for code in listed for p in _PURPOSES_BELOW.get(code, {code}))


def purposes_permitted(listed: Iterable[str]) -> frozenset[str]:
    """Every purpose that a permit listing these covers.

    Each with all below it, but an emergency (ETREAT and below) only from within, and BTG only by
    its own name.
    """
    listed = frozenset(listed)
    covered: set[str] = set()
    for code in listed:
        below = _PURPOSES_BELOW.get(code, frozenset({code}))
        covered |= below if code in _EMERGENCIES else below - _EMERGENCIES
    return frozenset(covered - {BREAK_GLASS}) | (listed & {BREAK_GLASS})


def is_purpose_in(purpose: str, family: str) -> bool:
    """Whether `purpose` is `family` or below it in v3 ActReason."""
    return purpose in _PURPOSES_BELOW.get(family, {family})


def sensitivities_denied(listed: Iterable[str]) -> frozenset[str]:
    """Every sensitivity that a deny listing these covers."""
    return frozenset(s for code in listed for s in _SENSITIVITIES_DENIED.get(code, (code,)))


def sensitivities_permitted(listed: Iterable[str]) -> frozenset[str]:
    """Every sensitivity that a permit listing these covers."""
    return frozenset(s for code in listed for s in _SENSITIVITIES_PERMITTED.get(code, (code,)))


def code_of(token: str) -> str:
    """The code of a token `system|code`, or the token itself where it has no system."""
    return token.rpartition("|")[2]
