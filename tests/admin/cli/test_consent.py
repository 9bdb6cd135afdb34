"""`medfabric consent`: files are read and refused before any network is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from admin.cli import consent as commands
from admin.cli import identity
from chaincode.consent import codes
from chaincode.consent.model import Directive, Effect
from network.rules.identity.enrollment import REVOCATION_REASONS
from tests.admin.command import medfabric

SAMPLE = Path(__file__).parents[3] / "admin/demo/data/amelia-hart.consent.json"


def write(folder: Path, **changes: Any) -> str:
    """The sample consent with other elements; those of the provision by `provision__name`."""
    resource = json.loads(SAMPLE.read_text())
    for name, value in changes.items():
        place, _, inner = name.partition("__")
        if inner:
            resource[place][inner] = value
        else:
            resource[name] = value
    file = folder / "consent.json"
    file.write_text(json.dumps(resource))
    return str(file)


def test_what_a_file_says_is_told_without_a_network(tmp_path: Path) -> None:
    answer = medfabric("consent", "read", write(tmp_path), "--json")
    assert answer.code == 0
    found = json.loads(answer.out)["result"]
    assert found["directive"]["decision"] == Effect.PERMIT.value
    assert found["level"] == "basic"
    assert "Consent.performer" in found["leftBehind"]
    assert Directive(Effect.PERMIT).scope == found["directive"]["scope"]


def test_a_handle_says_what_a_reference_stands_for(tmp_path: Path) -> None:
    reference = {"reference": "Organization/9"}
    actor = {"role": {"coding": [{"code": "IRCP"}]}, "reference": reference}
    handle = ("--handle", "Organization/9=org:CityClinicMSP")
    file = write(tmp_path, provision__actor=[actor])
    refused = medfabric("consent", "read", file)
    assert (refused.code, "--handle REFERENCE=HANDLE" in refused.err) == (3, True)
    answer = medfabric("consent", "read", file, *handle, "--json")
    assert json.loads(answer.out)["result"]["directive"]["rule"]["actors"] == [
        {"reference": "org:CityClinicMSP", "role": "IRCP"}
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"status": "inactive"}, "Consent.status: inactive; only an active consent"),
        ({"provision__purposes": []}, "Consent.provision.purposes: is no field of FHIR R4"),
        ({"provision__extension": [{"url": "x", "valueCode": "y"}]}, "Consent.provision.extension"),
        ({"provision__period": {"start": "2029", "end": "2020"}}, "the period ends before"),
        ({"decision": "permit"}, "mixes elements of R4 and R5"),
        ({"provision__purpose": [{"code": "TREATT"}]}, "did you mean TREAT?"),
        ({"provision__type": "deny"}, "choose the --dialect"),
    ],
)
def test_a_mistake_is_named_by_its_element(
    changes: dict[str, Any], text: str, tmp_path: Path
) -> None:
    answer = medfabric("consent", "read", write(tmp_path, **changes))
    assert answer.code == 3
    assert text in answer.err
    assert len(answer.err.splitlines()) == 2


def test_an_r5_file_is_held_to_r5(tmp_path: Path) -> None:
    file = tmp_path / "r5.json"
    file.write_text(
        json.dumps(
            {
                "resourceType": "Consent",
                "status": "active",
                "subject": {"reference": "Patient/x"},
                "decision": "permit",
                "provision": [{"class": []}],
            }
        )
    )
    answer = medfabric("consent", "read", str(file))
    assert answer.code == 3
    assert "is no field of FHIR R5" in answer.err


@pytest.mark.parametrize(
    ("command", "option", "known"),
    [
        (commands.revoke, "reason", codes.REVOCATION_REASONS),
        (commands.break_glass, "reason", codes.EMERGENCY_REASONS),
        (commands.check, "action", codes.ACTIONS),
        (identity.revoke, "reason", REVOCATION_REASONS),
    ],
)
def test_choices_are_those_of_who_decides(
    command: click.Command, option: str, known: frozenset[str]
) -> None:
    (found,) = [one for one in command.params if one.name == option]
    assert isinstance(found.type, click.Choice)
    assert set(found.type.choices) == known
