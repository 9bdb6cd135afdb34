"""The privacy officer's and the auditor's journeys: reports, access logs and their proofs."""

import csv
import json
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2

from admin.procedures.audit.logproofs import read_log_proof, verify_event
from admin.procedures.ledgers.evidence import NotShown
from network.rules.blocks.block import open_block
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import MalformedMessage
from tests.journeys.care import Care

pytestmark = pytest.mark.network

OFFICER = ("--as", "GeneralHospital/privacy")
AUDITOR = ("--as", "PatientTrust/auditor")
SIEM = ("--as", "GeneralHospital/siem")


@pytest.fixture(scope="module")
def patient(people: Care) -> str:
    """A patient with a denied and a permitted access, and a declared emergency."""
    handle = people.run("patient", "register", "--as", "PatientTrust/registrar").out
    people.enroll("PatientTrust/audited", role="patient", patient=handle)
    people.enroll("CityClinic/dr.urgent", role="clinician", btg="true")
    people.enroll("GeneralHospital/siem", role="service")
    lee, kim = ("--as", "GeneralHospital/dr.lee"), ("--as", "CityClinic/dr.kim")
    record = people.run(
        "record", "seal", "amelia-hart.bundle.json", "--patient", handle, "--label", "N", *lee
    ).out
    people.run("record", "anchor", record, *lee)
    people.run("record", "request", record, "--purpose", "HMARKT", *kim, code=4)
    people.run(
        "consent", "grant", "amelia-hart.consent.json",
        "--patient", handle, "--as", "PatientTrust/audited",
    )  # fmt: skip
    access = people.run("record", "request", record, "--purpose", "TREAT", *kim).out
    people.run("record", "open", access, "-o", "audited.json", *kim)
    people.run(
        "consent", "break-glass", handle, "--reason", "unconscious", "--yes",
        "--as", "CityClinic/dr.urgent",
    )  # fmt: skip
    return handle


def test_a_patient_gets_the_report_in_every_form(people: Care, patient: str) -> None:
    own = ("--as", "PatientTrust/audited")
    for form in ("html", "csv", "fhir"):
        target = f"report.{form}"
        people.run("audit", "export", patient, "--format", form, "-o", target, *own)
        file = people.folder / target
        assert file.stat().st_mode & 0o777 == 0o600
        assert not any(text in file.read_text() for text in ("Amelia", "Hart", "GH-48213907"))
    page = (people.folder / "report.html").read_text()
    assert "waits for review" in page
    bundle = json.loads((people.folder / "report.fhir").read_text())
    trail = people.result("audit", "trail", patient, *own)
    assert len(bundle["entry"]) == len(trail)
    rows = list(csv.DictReader((people.folder / "report.csv").open()))
    assert [row["kind"] for row in rows] == [entry["kind"] for entry in trail]


def test_nobody_exports_what_they_may_not_read(people: Care, patient: str) -> None:
    target = people.folder / "refused.html"
    for who in ("CityClinic/dr.kim", "UnitedPayer/adjudicator", "GeneralHospital/dr.lee"):
        refusal = people.run(
            "audit", "export", patient, "--format", "html", "-o", str(target), "--as", who, code=4
        )
        assert "Denied" in refusal.err
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("export", "--format", "html", "-o", "x"), 2),
        (("export", "PATIENT", "--what", "review", "--format", "html", "-o", "x"), 2),
        (("export", "PATIENT", "--what", "disclosures", "--format", "fhir", "-o", "x"), 2),
        (("export", "PATIENT", "--format", "pdf", "-o", "x"), 2),
        (("export", "PATIENT", "--format", "csv", "-o", "x", "--since", "yesterday"), 2),
        (("export", "PATIENT", "--format", "csv", "-o", "x", "--since", "2001-01-01"), 3),
        (("export", "0" * 32, "--format", "csv", "-o", "x"), 3),
        (("close", "0" * 32, "--outcome", "expected"), 4),
        (("log", "anchor", "nowhere.ndjson", "--log", "ehr"), 2),
        (("log", "verify", "nowhere", "--proof", "x", "--block", "x", "--trust", "x"), 3),
    ],
)
def test_mistakes_end_with_their_code_and_leave_nothing(
    people: Care, patient: str, arguments: tuple[str, ...], code: int
) -> None:
    given = tuple(patient if one == "PATIENT" else one for one in arguments)
    refusal = people.run("audit", *given, *AUDITOR, code=code)
    assert refusal.err
    assert not (people.folder / "x").exists()


def test_a_denied_access_is_reviewed_and_closed(people: Care, patient: str) -> None:
    waiting = people.result("audit", "review", *OFFICER)
    mine = [one for one in waiting if one["patient"] == patient]
    assert [one["kind"] for one in mine] == ["access-denied"]
    people.run("audit", "export", "--what", "review", "--format", "csv", "-o", "q.csv", *OFFICER)
    assert mine[0]["id"] in (people.folder / "q.csv").read_text()
    closed = people.run("audit", "close", mine[0]["id"][:12], "--outcome", "expected", *OFFICER)
    assert "closed as expected" in closed.out
    left = people.result("audit", "review", *OFFICER)
    assert not [one for one in left if one["patient"] == patient]
    assert people.result("audit", "trail", patient, *AUDITOR)[-1]["kind"] == "access-reviewed"


# --- anchored logs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log(people: Care, patient: str) -> Path:
    """An access log of 250 events, anchored in batches of 100."""
    file = people.folder / "access.ndjson"
    file.write_text("".join(f'{{"who":"dr.{n % 9}","n":{n}}}\n' for n in range(250)))
    done = people.run("audit", "log", "anchor", file.name, "--log", "ehr", "--batch", "100", *SIEM)
    assert len(done.out.splitlines()) == 3
    return file


def prove(people: Care, file: Path, line: int, name: str) -> tuple[str, ...]:
    """Proof files by this name; answers the arguments that verify them."""
    people.run(
        "audit", "log", "prove", file.name, "--line", str(line), "--log", "ehr",
        "--event", f"{name}.json", "--proof", f"{name}.proof.json", "--block", f"{name}.block",
        *SIEM,
    )  # fmt: skip
    trust = str(people.network / "channels" / "care.block")
    return (f"{name}.json", "--proof", f"{name}.proof.json", "--block", f"{name}.block",
            "--trust", trust)  # fmt: skip


def test_each_event_is_provable_offline(people: Care, log: Path) -> None:
    for line in (1, 101, 250):
        given = prove(people, log, line, "event")
        shown = people.result("audit", "log", "verify", *given)
        assert (shown["sequence"], shown["mspId"]) == (line, "GeneralHospitalMSP")
        assert (people.folder / "event.proof.json").stat().st_mode & 0o777 == 0o600


def test_a_log_only_grows(people: Care, log: Path) -> None:
    anchor = ("audit", "log", "anchor")
    again = people.run(*anchor, log.name, "--log", "ehr", *SIEM)
    assert "nothing new" in again.err
    before = people.result("audit", "log", "list", *SIEM)
    changed = people.folder / "changed.ndjson"
    changed.write_text(log.read_text().replace('"n":249}', '"n":777}'))
    refusal = people.run(*anchor, changed.name, "--log", "ehr", *SIEM, code=3)
    assert "line 250 is not what was anchored" in refusal.err
    assert people.result("audit", "log", "list", *SIEM) == before
    with log.open("a") as file:
        file.write('{"who":"dr.x","n":250}\nunfinished')
    grown = people.run(*anchor, log.name, "--log", "ehr", *SIEM)
    assert "events 251 to 251" in grown.out
    rotated = people.folder / "rotated.ndjson"
    rotated.write_text('{"begun":"anew"}\n')
    assert "events 252 to 252" in people.run(*anchor, rotated.name, "--log", "ehr", *SIEM).out
    denied = people.run(*anchor, log.name, "--log", "other", "--as", "CityClinic/dr.kim", code=4)
    assert "role=service" in denied.err


def test_a_lost_answer_is_found_again(people: Care, patient: str) -> None:
    """A crash before the answer: the batch is on the ledger, its transaction unknown."""
    (people.folder / "lost.ndjson").write_text('{"n":1}\n')
    anchor = ("audit", "log", "anchor", "lost.ndjson", "--log", "lost", *SIEM)
    people.run(*anchor)
    folder = people.network / "logs" / "GeneralHospital" / "lost"
    (newest,) = folder.glob("*.json")
    kept = json.loads(newest.read_text())
    newest.write_text(json.dumps({**kept, "txId": ""}))
    assert "nothing new" in people.run(*anchor).err
    assert json.loads(newest.read_text()) == kept
    # One that never came there is dropped, and its lines are anchored under a fresh secret.
    ghost = folder / f"{2:016d}.json"
    ghost.write_text(json.dumps({**kept, "first": 2, "last": 2, "txId": ""}))
    people.run(*anchor)
    assert not ghost.exists()


def test_what_was_tampered_with_is_not_shown(people: Care, log: Path) -> None:
    """Event, every field of the proof, and bits all over the block: only what is whole verifies."""
    given = prove(people, log, 7, "tampered")
    other = prove(people, log, 250, "another")
    event, proof, block = ((people.folder / given[i]).read_bytes() for i in (0, 2, 4))
    elsewhere = json.loads((people.folder / other[2]).read_bytes())
    trusted = ChannelConfig.from_block(open_block(Path(given[6]).read_bytes()))
    wire = json.loads(proof)

    def verdict(event: bytes, proof: bytes, block: bytes) -> str:
        """Empty if it is shown, else why not."""
        try:
            verify_event(event, read_log_proof(proof), open_block(block), trusted)
        except (NotShown, MalformedMessage) as refusal:
            return str(refusal) or "malformed"
        return ""

    assert verdict(event, proof, block) == ""
    assert "another root" in verdict(event.replace(b'"n":6', b'"n":5'), proof, block)
    assert "another root" in verdict(event + b" ", proof, block)
    swapped = [wire["path"][1], wire["path"][0], *wire["path"][2:]]
    for field, value in (*elsewhere.items(), ("path", swapped), ("path", wire["path"][:-1])):
        if value != wire[field]:
            assert verdict(event, json.dumps({**wire, field: value}).encode(), block), field
    for field, value in (("mspId", "CityClinicMSP"), ("log", "wards"), ("channel", "other")):
        assert verdict(event, json.dumps({**wire, field: value}).encode(), block), field
    whole = common_pb2.Block.FromString(block)
    for at in range(0, len(block), 23):
        changed = bytearray(block)
        changed[at] ^= 0x10
        if not verdict(event, proof, bytes(changed)):
            # Only what no signature covers may differ: the peer's own metadata.
            after = common_pb2.Block.FromString(bytes(changed))
            assert (whole.header, whole.data) == (after.header, after.data)
