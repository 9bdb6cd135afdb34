"""`medfabric bench consent`: its samples are what the contracts write, its network answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from admin.bench.consent.decisions import measure_decisions
from admin.bench.consent.samples import TEN_RULES, build_consents, build_patient, build_population
from chaincode import canonical
from chaincode.consent import lifecycle
from chaincode.consent.contract import ConsentContract
from chaincode.consent.messages import EvaluationRequest
from chaincode.consent.model import Consent, Rule, Verdict
from chaincode.consent.model import Decision as ConsentDecision
from chaincode.directory.contract import DirectoryContract
from chaincode.directory.model import Organization, OrganizationRole, Patient
from chaincode.simulator import Simulator
from chaincode.simulator.world import Entry
from tests.admin.command import medfabric


def count_rules(root: Rule) -> int:
    return 1 + sum(map(count_rules, root.exceptions))


def test_the_sample_has_ten_rules_and_could_be_written() -> None:
    assert count_rules(TEN_RULES.rule) == 10
    lifecycle.validate_directive(TEN_RULES)
    assert len({consent.id for consent in build_consents(50, "5f" * 16)}) == 50


def test_decisions_are_counted() -> None:
    one, several = measure_decisions(0.02, (1, 3))
    assert (one.consents, several.consents) == (1, 3)
    assert one.compiled > one.cold > 0
    assert one.compiled > several.compiled


async def test_a_population_is_what_the_contracts_write() -> None:
    population = await build_population("HospitalMSP", 3)
    handle = build_patient(7)
    rows = dict(population.list_writes(handle))
    assert len(rows) == 2 + 3 * 4
    patient = canonical.decode(Patient, rows[f"\x00directory~patient\x00{handle}\x00"])
    assert (patient.handle, patient.custodian) == (handle, "HospitalMSP")
    consents = [
        canonical.decode(Consent, value)
        for key, value in rows.items()
        if key.startswith(f"\x00consent~patient\x00{handle}\x00")
    ]
    assert len({one.id for one in consents}) == len({one.tx_id for one in consents}) == 3
    for one in consents:
        assert canonical.encode(one) == rows[f"\x00consent~patient\x00{handle}\x00{one.id}\x00"]
        assert one.digest == lifecycle.directive_digest(one.directive)
        assert f"\x00consent~version\x00{one.id}\x00000001\x00" in rows
    assert dict(population.reduce().list_writes(handle)).keys() < rows.keys()


async def test_a_stage_is_every_patient_once_and_answers() -> None:
    population = await build_population("HospitalMSP", 2)
    groups = list(population.list_stage(10, 15, at_once=2))
    assert [len(group) for group in groups] == [20, 20, 10]
    simulator = Simulator(ConsentContract, DirectoryContract)
    admin = simulator.identity("HospitalMSP", "admin", ou="admin")
    hospital = Organization("HospitalMSP", "Hospital", OrganizationRole.PROVIDER)
    await simulator.submit(admin, "directory:Bootstrap", [hospital])
    for group in groups:
        for key, value in group:
            simulator.world.spaces["health", ""][key] = Entry(value, (9, 9))
    for number in range(10, 15):
        question = EvaluationRequest(build_patient(number), "TREAT")
        answer = await simulator.evaluate(admin, "consent:Evaluate", question)
        assert answer.value(ConsentDecision).verdict is Verdict.PERMIT


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--patients", "10,5"), "is not ascending"),
        (("--patients", "ten"), "is not numbers with commas between"),
        (("--patients", "0"), "from 1 to"),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments: tuple[str, ...], text: str) -> None:
    answer = medfabric("bench", "consent", *arguments)
    assert answer.code == 2
    assert text in answer.err


def test_a_folder_with_a_network_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "network.yaml").write_text("version: 1\n")
    answer = medfabric("bench", "consent", "--patients", "1", "--folder", str(tmp_path))
    assert answer.code == 3
    assert "name another folder" in answer.err
    assert [one.name for one in tmp_path.iterdir()] == ["network.yaml"]


@pytest.mark.network
def test_a_growing_network_answers_for_everybody(tmp_path: Path) -> None:
    from admin.bench.consent.growth import Course, run_growth

    course = Course((50, 900), consents=2, seconds=0.5, concurrency=4, lean=True)
    told: list[str] = []
    stages = asyncio.run(run_growth(tmp_path / "network", course, told.append))
    assert [(one.patients, one.consents, one.failed) for one in stages] == [
        (50, 100, 0),
        (900, 1800, 0),
    ]
    for one in stages:
        assert one.rate > 0 < one.first[0] <= one.first[1]
        assert one.bytes > 0
