"""The vocabularies: every code of the hierarchies, in the direction that it is read."""

from __future__ import annotations

import pytest

from chaincode.consent import codes
from tests.chaincode.consent import naive


@pytest.mark.parametrize("purpose", sorted(codes.PURPOSES))
def test_break_glass_is_never_implied(purpose: str) -> None:
    permitted = codes.purposes_permitted([purpose])
    assert (codes.BREAK_GLASS in permitted) is (purpose == codes.BREAK_GLASS)
    assert purpose in permitted
    assert permitted <= codes.purposes_denied([purpose])


@pytest.mark.parametrize("purpose", sorted(set(naive.PURPOSE_PARENT)))
def test_a_child_is_below_its_parent(purpose: str) -> None:
    parent = naive.PURPOSE_PARENT[purpose]
    assert purpose in codes.purposes_denied([parent])
    assert codes.is_purpose_in(purpose, parent)
    assert parent not in codes.purposes_denied([purpose])


def test_emergencies() -> None:
    treatment = codes.purposes_permitted(["TREAT"])
    assert {"TREAT", "COC"} <= treatment
    assert not {"ETREAT", "ERTREAT", "BTG"} & treatment
    assert codes.purposes_permitted(["ETREAT"]) == {"ETREAT", "ERTREAT"}
    assert codes.purposes_permitted(["TREAT", "ETREAT", "BTG"]) >= {"ETREAT", "ERTREAT", "BTG"}
    assert codes.purposes_denied(["TREAT"]) >= {"ETREAT", "ERTREAT", "BTG"}


def test_an_unknown_purpose_is_itself() -> None:
    own = "http://example.org|x"
    assert codes.purposes_permitted([own]) == codes.purposes_denied([own]) == {own}


@pytest.mark.parametrize("code", sorted(codes.SENSITIVITIES))
def test_a_refusal_reaches_at_least_as_far_as_a_permission(code: str) -> None:
    permitted, denied = codes.sensitivities_permitted([code]), codes.sensitivities_denied([code])
    assert code in permitted <= denied <= codes.SENSITIVITIES


def test_confidentiality_is_in_order() -> None:
    assert "".join(codes.CONFIDENTIALITY) == "ULMNRV"


def test_obligations_and_refrains_are_apart() -> None:
    assert not codes.OBLIGATIONS & codes.REFRAINS
    assert {"REDACT", "MINEC", "AOD"} <= codes.OBLIGATIONS
    assert {"NORDSCLCD", "ORCON"} <= codes.REFRAINS
