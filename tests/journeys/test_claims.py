"""A claim's way from a hospital's file to its payment, a payer's own intake, and every refusal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.care import Care

pytestmark = pytest.mark.network

CLAIM, AGAIN, INTAKE = "amelia-hart.claim.json", "amelia-hart.claim-again.json", "intake.ndjson"
BILLING = ("--as", "GeneralHospital/billing")
DECIDER = ("--as", "UnitedPayer/adjudicator")
CLERK = ("--as", "UnitedPayer/intake")
PROVIDERS = ("1555001019", "1555002025")
NOBODY = "0" * 31 + "1"
SECRETS = ("Hart", "GH-2026", "CC-2026", "UP-7731", "E11.9", "G0463")


@pytest.fixture(scope="module")
def patient(people: Care) -> str:
    handle = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    people.enroll("PatientTrust/claimant", role="patient", patient=handle)
    people.run(
        "consent", "grant", "amelia-hart.consent.json", "--patient", handle,
        "--as", "PatientTrust/claimant",
    )  # fmt: skip
    return handle


@pytest.fixture(scope="module")
def coverage(people: Care, patient: str) -> str:
    people.run("claim", "table", "policy-table.json", "--publish", *CLERK)
    for npi in PROVIDERS:
        people.run("claim", "provider", npi, "--from", "2020-01-01", *CLERK)
    return people.run(
        "claim", "coverage", "amelia-hart.bundle.json", "--patient", patient,
        "--coinsurance", "20", "-o", "card.json", *CLERK,
    ).out  # fmt: skip


@pytest.fixture(scope="module")
def record(people: Care, patient: str) -> str:
    handle = people.run(
        "record", "seal", "amelia-hart.bundle.json", "--patient", patient, "--label", "N",
        "--as", "GeneralHospital/dr.lee",
    ).out  # fmt: skip
    people.run("record", "anchor", handle, "--as", "GeneralHospital/dr.lee")
    return handle


@pytest.fixture(scope="module")
def said(patient: str, coverage: str, record: str) -> tuple[str, ...]:
    """What is said of the hospital's claims."""
    named = ("--patient", patient, "--coverage", coverage, "--evidence", record[:12])
    return (*named, "--label", "N", *BILLING)


@pytest.fixture(scope="module")
def taken_in(patient: str, coverage: str) -> tuple[str, ...]:
    """What is said of the payer's intake."""
    named = ("--patient", patient, "--coverage", coverage, "--provider", "CityClinic")
    return (*named, "--label", "N", *CLERK)


Write = Callable[..., str]


@pytest.fixture(scope="module")
def write(people: Care) -> Write:
    """Write the sample claim under a number of its own, for another day, and changed."""

    def write_claim(name: str, day: str, change: Callable[[Any], None] = lambda _: None) -> str:
        resource = json.loads((people.folder / CLAIM).read_text())
        resource["identifier"][0]["value"] = f"GH-2026-{name}"
        resource["created"] = "2026-10-30"
        for item in resource["item"]:
            item["servicedDate"] = day
        change(resource)
        (people.folder / f"{name}.json").write_text(json.dumps(resource))
        return f"{name}.json"

    return write_claim


@pytest.fixture(scope="module")
def paid(people: Care, said: tuple[str, ...]) -> str:
    claim = people.run("claim", "submit", CLAIM, *said, "--facts", "card.json").out.split()[2]
    people.run("claim", "adjudicate", claim, *DECIDER)
    people.run("claim", "pay", claim, "--trace", "EFT-1", *DECIDER)
    return claim


def test_a_claim_is_submitted_decided_and_paid(people: Care, paid: str) -> None:
    shown = people.result("claim", "show", paid, "--details", *BILLING)
    assert shown["claim"]["status"] == "remitted"
    assert shown["claim"]["outcome"] == "paid"
    decision = shown["file"]["decisions"][-1]["adjudication"]
    # 185.00 and 2 x 62.50, allowed 150.00 and 2 x 56.00, the patient owes 20 %.
    assert (decision["charge"], decision["adjusted"], decision["paid"]) == (31000, 10040, 20960)
    verdicts = {check["check"]: check["verdict"] for check in shown["claim"]["checks"]}
    assert len(verdicts) == 13
    assert set(verdicts.values()) == {"passed", "skipped"}


def test_its_answer_is_a_fhir_claim_response(people: Care, paid: str) -> None:
    from fhir.resources.R4B.claimresponse import ClaimResponse

    ClaimResponse.model_validate_json(people.run("claim", "show", paid, "--fhir", *BILLING).out)


def test_the_history_names_every_step(people: Care, paid: str) -> None:
    history = people.result("claim", "show", paid, "--history", *BILLING)
    assert [step["action"] for step in history["steps"]] == ["submit", "adjudicate", "pay"]


def test_sending_it_again_changes_nothing(people: Care, paid: str, said: tuple[str, ...]) -> None:
    again = people.result("claim", "submit", CLAIM, *said)
    assert again["claim"].startswith(paid)
    assert again["existing"] is True
    assert again["version"] == 3


def test_a_duplicate_is_caught_and_denied(people: Care, paid: str, said: tuple[str, ...]) -> None:
    sent = people.run("claim", "submit", AGAIN, *said)
    assert "1 denied: OA-18" in sent.out
    done = people.result("claim", "adjudicate", sent.out.split()[2], *DECIDER)
    assert done["outcome"] == "denied"
    assert [reason["carc"] for reason in done["reasons"]] == ["18"]


def test_a_payers_intake_stays_in_its_own_room(
    people: Care, paid: str, taken_in: tuple[str, ...]
) -> None:
    done = people.result("claim", "submit", INTAKE, *taken_in)
    assert [one["status"] for one in done] == ["accepted"] * 5
    assert {one["room"] for one in done} == {"own"}
    again = people.result("claim", "submit", INTAKE, *taken_in)
    assert [one["claim"] for one in again] == [one["claim"] for one in done]
    assert all(one["existing"] for one in again)
    first = done[0]["claim"][:10]
    made = people.result("claim", "adjudicate", first, *DECIDER)
    assert made["outcome"] == "paid"
    assert people.result("claim", "pay", first, "--trace", "E2", *DECIDER)["status"] == "remitted"
    people.enroll("CityClinic/billing", role="claims")
    refusal = people.run(
        "claim", "show", done[0]["claim"], "--details", "--as", "CityClinic/billing", code=None
    )
    assert refusal.code != 0 or "no details" in refusal.out


def test_pended_supplied_denied_appealed_and_overturned(
    people: Care, said: tuple[str, ...], write: Write
) -> None:
    claim = people.run("claim", "submit", write("APPEAL", "2026-10-12"), *said).out.split()[2]
    people.run("claim", "pend", claim, "--reason", "CO-16-N706", "--text", "the order", *DECIDER)
    people.run("claim", "supply", claim, "--text", "here", *BILLING)
    people.run("claim", "adjudicate", claim, "--deny", "CO-50-N130", *DECIDER)
    people.run("claim", "appeal", claim, "--text", "look again", *BILLING)
    lines = [
        {"sequence": 1, "paid": 185.00},
        {"sequence": 2, "paid": 100, "adjustments": [{"group": "CO", "carc": "45", "amount": 25}]},
    ]
    (people.folder / "lines.json").write_text(json.dumps({"lines": lines}))
    done = people.result("claim", "decide-appeal", claim, "--decision", "lines.json", *DECIDER)
    assert (done["status"], done["outcome"]) == ("adjudicated", "paid")


def test_a_claim_is_replaced_and_voided(people: Care, said: tuple[str, ...], write: Write) -> None:
    claim = people.run("claim", "submit", write("OLD", "2026-10-13"), *said).out.split()[2]

    def double(resource: Any) -> None:
        resource["item"][0] |= {"quantity": {"value": 2}, "net": {"value": 370, "currency": "USD"}}
        resource["total"]["value"] = 495

    corrected = write("OLD", "2026-10-13", double)
    conflict = people.run("claim", "submit", corrected, *said, code=3)
    assert "claim replace" in conflict.err
    fresh = people.result("claim", "replace", claim, corrected, *said)
    assert people.result("claim", "show", claim, *BILLING)["replacedBy"] == fresh["claim"]
    gone = people.result("claim", "void", fresh["claim"], "--yes", *BILLING)
    assert gone["status"] == "voided"


def test_a_service_after_the_coverage_is_denied(
    people: Care, said: tuple[str, ...], patient: str, write: Write
) -> None:
    ended = json.loads((people.folder / "amelia-hart.bundle.json").read_text())
    held = next(e["resource"] for e in ended["entry"] if e["resource"]["id"] == "cov-1")
    held |= {"subscriberId": "UP-ENDED", "period": {"start": "2025-01-01", "end": "2026-06-30"}}
    (people.folder / "ended.json").write_text(json.dumps(held))
    handle = people.run("claim", "coverage", "ended.json", "--patient", patient, *CLERK).out
    named = [handle if part == said[3] else part for part in said]
    claim = people.run("claim", "submit", write("LATE", "2026-10-14"), *named).out.split()[2]
    done = people.result("claim", "adjudicate", claim, *DECIDER)
    assert (done["outcome"], done["reasons"][0]["carc"]) == ("denied", "27")


def test_an_authorisation_is_used_up(
    people: Care, said: tuple[str, ...], patient: str, write: Write
) -> None:
    granted = people.run(
        "claim", "authorize", "--patient", patient, "--npi", PROVIDERS[0], "--code", "G0108",
        "--units", "3", "--from", "2026-10-01", "--to", "2026-12-31", *CLERK,
    ).out  # fmt: skip
    outcomes = []
    for name, day in (("AUTH1", "2026-10-15"), ("AUTH2", "2026-10-16")):
        sent = people.run(
            "claim", "submit", write(name, day), "--authorization", f"G0108={granted}", *said
        )
        done = people.result("claim", "adjudicate", sent.out.split()[2], *DECIDER)
        outcomes.append((done["outcome"], [reason["carc"] for reason in done["reasons"]]))
    assert outcomes == [("paid", []), ("partial", ["198"])]


def test_without_consent_nothing_is_sent(people: Care, said: tuple[str, ...], write: Write) -> None:
    stranger = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    named = [stranger if part == said[1] else part for part in said]
    before = people.result("ledger", "show", *BILLING)["height"]
    refusal = people.run("claim", "submit", write("SELF", "2026-10-19"), *named, code=4)
    assert "consent" in refusal.err
    assert "nothing was sent" in refusal.err
    assert people.result("ledger", "show", *BILLING)["height"] == before
    recorded = people.run("claim", "submit", "SELF.json", "--no-ask", *named, "--json", code=4)
    assert recorded.fault()["code"] == "CO-16-MA130"
    assert "recorded as claim" in recorded.fault()["message"]


def test_rejected_claims_are_sent_as_new(people: Care, said: tuple[str, ...], write: Write) -> None:
    named = [NOBODY if part == said[5] else part for part in said]
    refusal = people.run("claim", "submit", write("EV", "2026-10-20"), *named, "--no-ask", code=4)
    assert "CO-16-M127" in refusal.err
    assert "record anchor" in refusal.err
    assert people.result("claim", "submit", "EV.json", *said)["status"] == "accepted"


def _broken(resource: Any) -> None:
    resource["item"][0]["productOrService"] = {"coding": [{"display": "Hart"}]}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.pop("status"), "Claim.status: is missing"),
        (lambda r: r.update(status="draft"), "Claim.status"),
        (_broken, "Claim.item[0].productOrService"),
        (lambda r: r["provider"].pop("identifier"), "Claim.provider: no NPI"),
        (lambda r: r["insurer"].pop("identifier"), "names no insurer"),
    ],
)
def test_a_malformed_claim_is_named_by_its_element(
    people: Care, said: tuple[str, ...], write: Write, change: Callable[[Any], None], text: str
) -> None:
    refusal = people.run("claim", "submit", write("BAD", "2026-10-21", change), *said, code=3)
    assert refusal.err.count("\n") <= 1
    assert "BAD.json" in refusal.err
    assert text in refusal.err
    assert not any(secret in refusal.err for secret in SECRETS)


def test_one_bad_line_sends_nothing(people: Care, taken_in: tuple[str, ...]) -> None:
    lines = (people.folder / INTAKE).read_text().replace("CC-2026-1", "CC-2026-9").splitlines()
    lines[3] = lines[3].replace('"use":"claim",', "")
    (people.folder / "bad.ndjson").write_text("\n".join(lines))
    before = people.result("claim", "list", *CLERK)
    refusal = people.run("claim", "submit", "bad.ndjson", *taken_in, code=3)
    assert "bad.ndjson:4" in refusal.err
    assert people.result("claim", "list", *CLERK) == before


def test_who_may_not_is_refused(
    people: Care, said: tuple[str, ...], paid: str, write: Write
) -> None:
    file = write("WHO", "2026-10-22")
    doctor = people.run(
        "claim", "submit", file, *said[:-2], "--as", "GeneralHospital/dr.lee", code=4
    )
    assert "role=claims" in doctor.err
    clinic = people.run("claim", "submit", file, *said[:-2], "--as", "CityClinic/dr.kim", code=4)
    assert "share no private collection" in clinic.err
    assert "Denied" in people.run("claim", "void", paid, "--yes", *DECIDER, code=4).err
    assert "Denied" in people.run("claim", "adjudicate", paid, *BILLING, code=4).err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("submit", "nowhere.json"), 3),
        (("submit",), 2),
        (("show", "zzzz"), 3),
        (("show", NOBODY), 3),
        (("adjudicate", NOBODY, "--deny", "nonsense"), 3),
        (("provider", "1234567890", "--from", "2020-01-01"), 3),
        (("provider", PROVIDERS[0], "--from", "yesterday"), 2),
        (("table", INTAKE), 3),
        (("coverage", CLAIM, "--patient", NOBODY), 3),
    ],
)
def test_mistakes_end_with_their_code(people: Care, arguments: tuple[str, ...], code: int) -> None:
    refusal = people.run("claim", *arguments, *CLERK, code=code)
    assert refusal.err.startswith("✗ ")


def test_watching_goes_on_where_it_stopped(people: Care, paid: str) -> None:
    watch = ("claim", "watch", "--checkpoint", "watched.json", "--from-block", "0", "--json")
    first = people.run(*watch, "--count", "3", *CLERK).out.splitlines()
    second = people.run(*watch, "--count", "1", *CLERK).out.splitlines()
    seen = [json.loads(line)["result"] for line in (*first, *second)]
    places = [(event["blockNumber"], event["transactionId"]) for event in seen]
    assert len(set(places)) == 4
    assert places == sorted(places, key=lambda place: place[0])


def test_nothing_of_the_claims_is_readable_outside_the_private_stores(
    people: Care, paid: str
) -> None:
    folder: Path = people.network / "claims"
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    for path in found:
        assert not any(secret.encode() in path.read_bytes() for secret in SECRETS[:4]), path
    # Nodes' logs, and not what LevelDB calls a log: the published table names codes.
    for log in people.network.rglob("node.log"):
        text = log.read_text(errors="replace")
        assert not re.search("|".join(SECRETS), text), log
