"""Which servers a development loop takes over."""

import pytest

from admin.errors import FaultError
from admin.procedures.networks.development import choose
from network.engines.engine import ServedChaincode


def served(organization: str, name: str) -> ServedChaincode:
    return ServedChaincode(organization, name, f"{name}_1", b"", f"{name}_1:00")


HOSPITAL, PAYER, LAB = served("Hospital", "health"), served("Payer", "health"), served("Lab", "lab")


def test_all_that_serve_the_one_chaincode() -> None:
    assert choose([HOSPITAL, PAYER], None, []) == [HOSPITAL, PAYER]


def test_those_of_a_name_and_of_organisations() -> None:
    assert choose([HOSPITAL, PAYER, LAB], "health", []) == [HOSPITAL, PAYER]
    assert choose([HOSPITAL, PAYER, LAB], "health", ["payer"]) == [PAYER]


@pytest.mark.parametrize(
    ("servers", "name", "organizations", "remedy"),
    [
        ([HOSPITAL, LAB], None, [], "name one with --chaincode: health, lab"),
        ([HOSPITAL, LAB], "claims", [], "there are: health, lab"),
        ([HOSPITAL, LAB], "health", ["Lab"], "these do: Hospital"),
        ([], None, [], "there are: none"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_choice(
    servers: list[ServedChaincode], name: str | None, organizations: list[str], remedy: str
) -> None:
    with pytest.raises(FaultError) as refused:
        choose(servers, name, organizations)
    assert refused.value.fault.remedy == remedy
