"""Reason codes that the checks emit: group codes, CARC and RARC, each with a few words of ours.

The codes are facts that every 835 carries; X12's own descriptions are licensed and are not here.
"""

from __future__ import annotations

from enum import StrEnum


class Group(StrEnum):
    """Who bears an adjustment (835 CAS01). CR is not used from 5010 on."""

    CONTRACTUAL = "CO"
    PATIENT = "PR"
    OTHER = "OA"
    PAYER_INITIATED = "PI"


CARC: dict[str, str] = {
    "1": "deductible",
    "2": "coinsurance",
    "3": "copayment",
    "4": "modifier missing or inconsistent with the procedure",
    "5": "procedure inconsistent with the place of service",
    "8": "procedure inconsistent with the provider's specialty",
    "11": "diagnosis inconsistent with the procedure",
    "13": "service after the date of death",
    "14": "service before the date of birth",
    "15": "authorisation number missing, invalid or not for this service or provider",
    "16": "information missing or in error",
    "18": "exact duplicate",
    "22": "another payer may be responsible: coordination of benefits",
    "23": "what prior payers paid or adjusted",
    "26": "service before coverage began",
    "27": "service after coverage ended",
    "29": "filing time limit has passed",
    "31": "patient not identified as insured",
    "39": "authorisation was requested and refused",
    "45": "charge above the fee schedule or contract",
    "96": "not covered",
    "97": "included in another service",
    "109": "another payer is responsible: send it there",
    "119": "benefit maximum reached",
    "133": "pending further review",
    "151": "the information does not support this many services",
    "185": "provider not eligible for this service",
    "193": "original decision upheld on review",
    "197": "authorisation absent",
    "198": "authorisation exceeded",
    "226": "requested information not provided in time or incomplete",
    "227": "requested information not provided by the patient",
    "236": "procedure combination not compatible with another on the same day",
    "243": "not authorised by the network",
    "252": "attachment needed to decide",
    "253": "sequestration",
    "A1": "claim or service denied",
    "B7": "provider not certified or eligible on this date",
    "B11": "sent on to the proper payer",
    "B13": "paid before",
}
"""Claim adjustment reason codes."""

RARC: dict[str, str] = {
    "M20": "procedure code missing or invalid",
    "M51": "procedure code missing or invalid",
    "M52": "date of service missing or invalid",
    "M53": "units of service missing or invalid",
    "M54": "total charge missing or invalid",
    "M64": "other diagnosis missing or invalid",
    "M76": "diagnosis missing or invalid",
    "M79": "line charge missing or invalid",
    "M86": "service inconsistent with an earlier one on the same day",
    "M127": "medical record missing",
    "M15": "separately billed services are bundled",
    "N29": "documentation missing or incomplete",
    "N179": "more information was requested from the member",
    "N257": "billing provider's identifier missing or invalid",
    "N290": "rendering provider's identifier missing or invalid",
    "N362": "units exceed the acceptable maximum",
    "N390": "service cannot be combined with another",
    "N522": "duplicate of a claim processed or in process",
    "N706": "documentation missing",
    "MA04": "prior payer's decision missing",
    "MA130": "claim is incomplete: correct it and send it as new",
}
"""Remittance advice remark codes."""


def is_carc(code: str) -> bool:
    """Whether this could be a CARC: listed here, or of the form of one (digits, or A/B/P + digits).

    The list above is what we emit; a payer may use any.
    """
    if code in CARC:
        return True
    letters = code[:1] if code[:1] in {"A", "B", "D", "P", "W", "Y"} else ""
    return code[len(letters) :].isdecimal() and code.isascii() and len(code) <= 4


def is_rarc(code: str) -> bool:
    """Whether this could be a RARC: M, MA or N and digits."""
    letters = next((p for p in ("MA", "M", "N") if code.startswith(p)), "")
    rest = code[len(letters) :]
    return bool(letters) and rest.isdecimal() and rest.isascii() and len(rest) <= 4
