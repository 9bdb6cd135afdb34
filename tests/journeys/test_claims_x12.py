"""Claims in X12 and over a benefit period: 837 in, 835 and 277 out, bulk that is interrupted."""

import csv
import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.journeys.care import Care

pytestmark = pytest.mark.network

VECTORS = Path(__file__).parents[1] / "vectors" / "x12"
BILLING = ("--as", "GeneralHospital/x12-billing")
DECIDER = ("--as", "UnitedPayer/x12-decider")
CLERK = ("--as", "UnitedPayer/x12-clerk")
NPI = "1555001019"
PROFILE = """\
sender: {id: UNITEDPAYER}
receiver: {id: GENERALHOSP}
payer: {name: United Payer, taxId: "371234567", street: 1 Plaza, city: Springfield, state: IL,
        zip: "62701", contact: EDI desk, phone: "2175550100"}
payees: {"1555001019": {name: General Hospital, taxId: "379876543"}}
members: {"PATIENT": {id: UP-7731, last: Hart, first: Amelia}}
"""
SECRETS = ("HART", "AMELIA", "UP-7731", "19840312", "OAK STREET", "OKAFOR")


@pytest.fixture(scope="module")
def desk(people: Care) -> Care:
    people.enroll("UnitedPayer/x12-clerk", role="claims")
    people.enroll("UnitedPayer/x12-decider", role="adjudicator")
    people.enroll("GeneralHospital/x12-billing", role="claims")
    people.run("claim", "table", "policy-table.json", "--publish", *CLERK)
    people.run("claim", "provider", NPI, "--from", "2020-01-01", *CLERK)
    return people


@pytest.fixture(scope="module")
def patient(desk: Care) -> str:
    handle = desk.run("patient", "register", "--as", "PatientTrust/registrar").out
    desk.enroll("PatientTrust/x12-member", role="patient", patient=handle)
    desk.run(
        "consent", "grant", "amelia-hart.consent.json", "--patient", handle,
        "--as", "PatientTrust/x12-member",
    )  # fmt: skip
    (desk.folder / "partner.yaml").write_text(PROFILE.replace("PATIENT", handle))
    return handle


@pytest.fixture(scope="module")
def coverage(desk: Care, patient: str) -> str:
    return desk.run(
        "claim", "coverage", "amelia-hart.bundle.json", "--patient", patient,
        "--deductible", "100", "--out-of-pocket", "150", "--coinsurance", "20",
        "-o", "x12-card.json", *CLERK,
    ).out  # fmt: skip


@pytest.fixture(scope="module")
def said(patient: str, coverage: str) -> tuple[str, ...]:
    return ("--patient", patient, "--coverage", coverage, "--label", "N")


Write = Callable[..., str]


@pytest.fixture(scope="module")
def write(desk: Care) -> Write:
    """Write the sample 837 under other claim numbers, with some text replaced."""

    def write_837(name: str, *numbers: str, **replaced: str) -> str:
        text = (VECTORS / "amelia-hart.837").read_text()
        text = text.replace("PWK*OZ*EL***AC*VISIT-2026-10-05~\n", "")
        head, _, rest = text.partition("HL*2*1*22*0~\n")
        body = "HL*2*1*22*0~\n" + rest[: rest.index("SE*")]
        claims = []
        for at, number in enumerate(numbers):
            one = body.replace("HL*2*", f"HL*{at + 2}*").replace("GH-2026-004417", number)
            one = one.replace("*310***", f"*{310 + at}***").replace("*185*UN", f"*{185 + at}*UN")
            day = f"2026{1 + at // 28 % 10:02}{1 + at % 28:02}"
            claims.append(one.replace("20261005", day))
        text = head + "".join(claims)
        for old, new in replaced.items():
            text = text.replace(old, new)
        count = text[text.index("ST*") :].count("~") + 1
        text += f"SE*{count}*0001~\nGE*1*1~\nIEA*1*000000001~\n"
        (desk.folder / name).write_text(text)
        return name

    return write_837


def amounts(text: str) -> dict[str, Decimal]:
    found = dict.fromkeys(("charge", "cas", "clp", "plb", "bpr"), Decimal(0))
    for raw in text.split("~"):
        row = raw.strip().split("*")
        if row[0] == "BPR":
            found["bpr"] += Decimal(row[2])
        elif row[0] == "CLP":
            found["charge"] += Decimal(row[3])
            found["clp"] += Decimal(row[4])
        elif row[0] == "CAS":
            found["cas"] += sum(Decimal(x) for x in row[3::3])
        elif row[0] == "PLB":
            found["plb"] += sum(Decimal(x) for x in row[4::2])
    return found


@pytest.fixture(scope="module")
def paid(desk: Care, said: tuple[str, ...], write: Write) -> tuple[str, str]:
    """Two claims of an 837, decided one after the other and paid under one trace."""
    done = desk.result(
        "claim", "submit", write("way.837", "WAY-1", "WAY-2"), *said, "--facts", "x12-card.json",
        "--payer", "UnitedPayer", "--ack", "way.999", "--claim-ack", "way.277ca", *BILLING,
    )  # fmt: skip
    assert [one["status"] for one in done] == ["accepted", "accepted"]
    assert {one["room"] for one in done} == {"shared"}
    first, second = (one["claim"] for one in done)
    made = [desk.result("claim", "adjudicate", one, *DECIDER) for one in (first, second)]
    assert [one["outcome"] for one in made] == ["paid", "paid"]
    assert made[0]["accumulator"] == made[1]["accumulator"] != ""
    for one in (first, second):
        desk.run("claim", "pay", one, "--trace", "EFT-WAY", *DECIDER)
    return first, second


def test_an_837_comes_back_as_a_balanced_835(desk: Care, paid: tuple[str, str]) -> None:
    assert "AK9*A*1*1*1~" in (desk.folder / "way.999").read_text()
    answer = (desk.folder / "way.277ca").read_text()
    assert [f"REF*1K*{claim}~" in answer for claim in paid] == [True, True]
    assert (answer.count("STC*A2:20:PR*"), "QTY*90*2~" in answer) == (2, True)
    desk.run(
        "claim", "remit", "--trace", "EFT-WAY", "--profile", "partner.yaml", "-o", "way.835",
        *DECIDER,
    )  # fmt: skip
    text = (desk.folder / "way.835").read_text()
    found = amounts(text)
    assert found["charge"] - found["cas"] == found["clp"] == found["bpr"]
    assert "CLP*WAY-1*1*310*" in text
    # The deductible of 100 is taken once, and no more than 150 in all.
    assert text.count("PR*1*100") == 1
    owed = re.findall(r"^CLP(?:\*[^*]*){4}\*([\d.]+)\*", text, re.MULTILINE)
    assert sum(map(Decimal, owed)) == 150


def test_a_276_is_answered_by_a_277(desk: Care, paid: tuple[str, str]) -> None:
    status = desk.run(
        "claim", "status", paid[0], "--format", "x12", "--profile", "partner.yaml", *BILLING
    ).out
    assert "STC*F1:65*" in status
    assert f"REF*1K*{paid[0]}~" in status
    (desk.folder / "ask.276").write_text(status.replace("ST*277*", "ST*276*"))
    answer = desk.run(
        "claim", "status", "--request", "ask.276", "--profile", "partner.yaml", *BILLING
    ).out
    assert "TRN*2*WAY-1~" in answer


def test_eligibility_and_the_patients_explanation(
    desk: Care, coverage: str, paid: tuple[str, str]
) -> None:
    request = {
        "resourceType": "CoverageEligibilityRequest",
        "status": "active",
        "purpose": ["benefits"],
        "patient": {"reference": "Patient/1"},
        "created": "2026-10-01",
        "servicedDate": "2026-10-05",
        "insurer": {"reference": "Organization/1"},
        "insurance": [{"coverage": {"reference": "Coverage/1"}}],
    }
    (desk.folder / "asked.json").write_text(json.dumps(request))
    answer = desk.result("claim", "eligibility", "asked.json", "--coverage", coverage, *CLERK)
    benefits = answer["insurance"][0]["item"][0]["benefit"]
    assert benefits[0]["usedMoney"]["value"] == 100
    from fhir.resources.R4B.explanationofbenefit import ExplanationOfBenefit

    told = desk.run("claim", "show", paid[0], "--eob", *DECIDER).out
    ExplanationOfBenefit.model_validate_json(told)


def test_frequency_8_takes_a_claim_back_and_its_payment_is_reversed(
    desk: Care, said: tuple[str, ...], paid: tuple[str, str], write: Write
) -> None:
    second = paid[1]
    gone = write("void.837", "WAY-2", **{":B:1*": ":B:8*", "HI*ABK": f"REF*F8*{second}~\nHI*ABK"})
    void = desk.result("claim", "submit", gone, *said, "--payer", "UnitedPayer", *BILLING)
    assert (void["status"], void["existing"]) == ("voided", False)
    again = desk.result("claim", "submit", gone, *said, "--payer", "UnitedPayer", *BILLING)
    assert again["existing"] is True
    back = desk.run("claim", "remit", second, "--profile", "partner.yaml", *DECIDER).out
    found = amounts(back)
    assert "*22*-" in back
    assert found["clp"] - found["plb"] == found["bpr"] == 0


def test_a_faulty_837_sends_nothing_and_tells_no_value(
    desk: Care, said: tuple[str, ...], write: Write
) -> None:
    file = write("bad.837", "BAD-1", **{"*185*UN": "*18O*UN"})
    before = desk.result("ledger", "show", *CLERK)["height"]
    refusal = desk.run("claim", "submit", file, *said, "--ack", "bad.999", *CLERK, code=3)
    assert "ST 1 segment 26 (SV1, loop 2400) element 2" in refusal.err
    assert not any(secret in refusal.err for secret in SECRETS)
    assert "IK5*R*5~" in (desk.folder / "bad.999").read_text()
    assert desk.result("ledger", "show", *CLERK)["height"] == before


def test_what_is_not_decided_or_not_named_is_not_remitted(
    desk: Care, said: tuple[str, ...], write: Write
) -> None:
    done = desk.result("claim", "submit", write("open.837", "OPEN-1"), *said, *CLERK)
    for arguments, words in (
        ((done["claim"],), "no decision"),
        (("--trace", "NOBODY"), "no claim was paid"),
        ((), "nothing to remit"),
    ):
        refusal = desk.run(
            "claim", "remit", *arguments, "--profile", "partner.yaml", *DECIDER, code=3
        )
        assert words in refusal.err
    (desk.folder / "short.yaml").write_text("sender: {id: UP}\n")
    refusal = desk.run("claim", "remit", done["claim"], "--profile", "short.yaml", *DECIDER, code=3)
    assert "short.yaml" in refusal.err


def test_a_killed_submission_goes_on_and_every_claim_is_there_once(
    desk: Care, said: tuple[str, ...], write: Write
) -> None:
    numbers = [f"BULK-{n:03}" for n in range(120)]
    file = write("bulk.837", *numbers)
    before = len(desk.result("claim", "list", *CLERK))
    command = (
        sys.executable, "-m", "admin.cli", "claim", "submit", file, *said, "--chunk", "10",
        "--report", "first.csv", *CLERK,
    )  # fmt: skip
    cards = desk.network / "claims" / "UnitedPayer" / "cards"
    known = len(list(cards.iterdir()))
    with subprocess.Popen(
        command, cwd=desk.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        # Two chunks of ten are on their way at once: when the third is kept, one has arrived.
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and running.poll() is None:
            if len(list(cards.iterdir())) > known + 20:
                break
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    done = desk.result("claim", "submit", file, *said, "--report", "last.csv", *CLERK)
    assert len(done) == 120
    assert {one["status"] for one in done} == {"accepted"}
    assert any(one["existing"] for one in done)
    assert len(desk.result("claim", "list", *CLERK)) == before + 120
    rows = list(csv.DictReader(io.StringIO((desk.folder / "last.csv").read_text())))
    assert [row["number"] for row in rows] == numbers
    assert len({row["claim"] for row in rows}) == 120


def test_nothing_of_the_files_is_in_a_log(desk: Care) -> None:
    for log in desk.network.rglob("*.log"):
        assert not re.search("|".join(SECRETS), log.read_text(errors="replace")), log
