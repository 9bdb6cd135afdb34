"""Who may register whom, as fabric-ca decides it."""

import pytest

from network.rules.identity.enrollment import (
    REGISTRAR_GRANTS,
    Attribute,
    AttributeRequest,
    EnrollmentRefused,
    Registration,
    certificate_attributes,
    complete_registration,
    organizational_units,
    registrations_below,
    validate_registration,
    validate_revocation,
)

ADMIN = Registration(
    "admin", "admin", "", tuple(Attribute(k, v) for k, v in REGISTRAR_GRANTS.items())
)
WARD_CLERK = Registration(
    "clerk",
    "client",
    "ward.east",
    (
        Attribute("hf.Registrar.Roles", "client"),
        Attribute("hf.Registrar.Attributes", "role,ward.*"),
        Attribute("hf.Revoker", "true"),
    ),
)
NURSE = Registration("nurse", "client", "ward.east.icu", (Attribute("role", "clinician", True),))


def refused(registrar: Registration, request: Registration) -> str:
    with pytest.raises(EnrollmentRefused) as refusal:
        validate_registration(registrar, request)
    assert refusal.value.status == 403
    return refusal.value.reason


def test_an_administrator_registers_anyone() -> None:
    validate_registration(ADMIN, NURSE)
    validate_registration(ADMIN, Registration("p", "peer", "x", (Attribute("hf.Revoker", "true"),)))


def test_a_registrar_registers_within_type_affiliation_and_attributes() -> None:
    validate_registration(WARD_CLERK, NURSE)
    validate_registration(
        WARD_CLERK, Registration("n", "client", "ward.east", (Attribute("ward.bed", "4"),))
    )


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (Registration("p", "peer", "ward.east", ()), "type 'peer'"),
        (Registration("n", "client", "ward.west", ()), "affiliation 'ward.west'"),
        (Registration("n", "client", "ward.eastern", ()), "affiliation 'ward.eastern'"),
        (Registration("n", "client", "", ()), "affiliation ''"),
        (Registration("n", "client", "ward.east", (Attribute("btg", "true"),)), "'btg'"),
        (
            Registration("n", "client", "ward.east", (Attribute("hf.Revoker", "true"),)),
            "hf.Revoker",
        ),
    ],
)
def test_a_registrar_is_refused_beyond_them(request_: Registration, names: str) -> None:
    assert names in refused(WARD_CLERK, request_)


def test_a_registrar_cannot_grant_more_than_it_owns() -> None:
    registrar = Registration(
        "r",
        "client",
        "",
        (
            Attribute("hf.Registrar.Roles", "client"),
            Attribute("hf.Registrar.Attributes", "*"),
        ),
    )
    wider = Registration("n", "client", "", (Attribute("hf.Registrar.Roles", "client,peer"),))
    assert "more than the registrar owns" in refused(registrar, wider)
    revoker = Registration("n", "client", "", (Attribute("hf.Revoker", "true"),))
    assert "does not own it" in refused(registrar, revoker)


def test_the_cas_own_attributes_cannot_be_chosen() -> None:
    forged = Registration("n", "client", "", (Attribute("hf.EnrollmentID", "someone-else"),))
    assert "the CA alone sets it" in refused(ADMIN, forged)
    assert complete_registration(forged).attribute("hf.EnrollmentID") == "n"


def test_a_certificate_carries_what_was_registered_for_it_or_what_was_asked() -> None:
    nurse = complete_registration(NURSE)
    assert certificate_attributes(nurse, None) == {
        "role": "clinician",
        "hf.EnrollmentID": "nurse",
        "hf.Type": "client",
        "hf.Affiliation": "ward.east.icu",
    }
    assert certificate_attributes(nurse, [AttributeRequest("role")]) == {"role": "clinician"}
    assert certificate_attributes(nurse, [AttributeRequest("btg", optional=True)]) == {}
    with pytest.raises(EnrollmentRefused, match="btg"):
        certificate_attributes(nurse, [AttributeRequest("btg")])


def test_units_are_type_then_affiliation() -> None:
    assert organizational_units(NURSE) == ("client", "ward", "east", "icu")
    assert organizational_units(ADMIN) == ("admin",)


def test_revocation_needs_authority_over_the_owner_except_for_oneself() -> None:
    validate_revocation(WARD_CLERK, NURSE)
    validate_revocation(NURSE, NURSE)
    with pytest.raises(EnrollmentRefused, match=r"hf\.Revoker"):
        validate_revocation(NURSE, WARD_CLERK)
    with pytest.raises(EnrollmentRefused, match="affiliation"):
        validate_revocation(WARD_CLERK, Registration("n", "client", "ward.west", ()))


def test_a_caller_sees_only_identities_below_itself() -> None:
    assert registrations_below(ADMIN, [NURSE, ADMIN]) == [NURSE, ADMIN]
    assert registrations_below(WARD_CLERK, [NURSE, ADMIN]) == [NURSE]
