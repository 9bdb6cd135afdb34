"""What a custodian does with records over their life, and what each mistake is answered with."""

import csv
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from admin.procedures.care.erasure import verify_certificate
from network.rules.identity.identity import read_identity
from tests.journeys.care import Care
from tests.journeys.sharing import BUNDLE, KIM, LEE, CareInside, Patient, consenting_patient

pytestmark = pytest.mark.network

PRIVACY = "GeneralHospital/privacy"
TRUST = ".medfabric/care/channels/care.block"


@pytest.fixture(scope="module")
def keeper(people: Care) -> CareInside:
    return CareInside(people.folder)


@pytest.fixture(scope="module")
def patient(keeper: CareInside) -> Patient:
    return consenting_patient(keeper, "keeper")


@pytest.fixture(scope="module")
def shared(patient: Patient) -> str:
    """A record that the clinic has opened once."""
    record = patient.seal(BUNDLE)
    patient.open(patient.request(record), "shared.json")
    return record


def sealed_files(care: Care, record: str) -> list[str]:
    folder = care.network / "exchange" / "GeneralHospital" / "records" / record
    return sorted(file.name for file in folder.glob("*"))


def test_a_record_lives_and_ends(keeper: CareInside, patient: Patient) -> None:
    """Sealed, superseded, put under new keys, escrowed, erased: and what is left opens nothing."""
    record = patient.seal(BUNDLE, anchor=False)
    keeper.run("record", "anchor", record, "--escrow", "--as", LEE)
    first = patient.request(record)
    patient.open(first, "life-1.json")
    keeper.run("record", "supersede", record, "tomas-lind.bundle.json", "--as", LEE)
    second = patient.request(record)
    patient.open(second, "life-2.json")
    assert (keeper.folder / "life-2.json").read_bytes() == (
        keeper.folder / "tomas-lind.bundle.json"
    ).read_bytes()
    # The exchange may have taken it back already.
    assert re.search("superseded|revoked", patient.open(first, "life-3.json", code=4))
    rotated = keeper.result("record", "rotate", record, "--as", LEE)
    assert rotated["anchor"]["version"] == 3
    assert rotated["anchor"]["labels"] == ["N"]
    third = patient.request(record)
    patient.open(third, "life-3.json")
    assert (keeper.folder / "life-3.json").read_bytes() == (
        keeper.folder / "life-2.json"
    ).read_bytes()

    keeper.run("patient", "key", "--as", LEE)
    rewrapped = keeper.result("record", "rewrap", record, "--as", LEE)
    assert [one["version"] for one in rewrapped] == [1, 2, 3]
    assert all(len(one["dropped"]) == 1 for one in rewrapped)

    assert (
        "privacy officer" in keeper.run("record", "erase", record, "--yes", "--as", LEE, code=4).err
    )
    assert len(sealed_files(keeper, record)) == 3, "a refused erasure destroyed something"
    done = keeper.result("record", "erase", record, "--yes", "--as", PRIVACY)
    assert sealed_files(keeper, record) == []
    certificate = Path(done["certificate"]).read_bytes()
    ledger = keeper.result("record", "history", record, "--as", LEE)["records"][-1]
    assert ledger["status"] == "erased"
    assert ledger["proof"] == hashlib.sha256(certificate).hexdigest() == done["digest"]
    told = json.loads(certificate)
    assert told["versions"] == [1, 2, 3]
    signer = read_identity(bytes.fromhex(told["signer"]))
    assert verify_certificate(certificate, signer)["record"] == record
    for verb in (("prove", record, "--proof", "e.p", "--block", "e.b"), ("rewrap", record)):
        assert keeper.run("record", *verb, "--as", LEE, code=3).err
    assert "erased" in keeper.run("record", "erase", record, "--yes", "--as", PRIVACY, code=3).err
    assert patient.open(third, "life-4.json", code=4)
    assert not (keeper.folder / "life-4.json").exists()


def test_a_record_is_withdrawn(keeper: CareInside, patient: Patient) -> None:
    record = patient.seal(BUNDLE)
    keeper.run("record", "withdraw", record, "--reason", "two words", "--as", LEE, code=3)
    keeper.run("record", "withdraw", record, "--reason", "mistake", "--as", KIM, code=4)
    keeper.run("record", "withdraw", record, "--reason", "mistake", "--as", LEE)
    refusal = keeper.run("record", "request", record, "--purpose", "TREAT", "--as", KIM, code=3)
    assert "withdrawn" in refusal.err


def test_an_access_is_revoked_by_who_may(keeper: CareInside, patient: Patient, shared: str) -> None:
    access = patient.request(shared)
    revoke = ("record", "revoke", access, "--reason", "mistake", "--yes")
    keeper.run(*revoke, "--as", KIM, code=4)
    keeper.run(*revoke, "--as", patient.name)
    assert "revoked" in keeper.run(*revoke, "--as", LEE, code=3).err
    assert "revoked" in patient.open(access, "revoked.json", code=4)
    found = keeper.result("record", "accesses", "--record", shared, "--as", LEE)["accesses"]
    (view,) = [one for one in found if one["access"]["id"] == access]
    assert view["revocation"]["mspId"] == "PatientTrustMSP"


def test_receipts_tell_what_was_read(keeper: CareInside, patient: Patient, shared: str) -> None:
    found = keeper.result("record", "receipts", "--record", shared, "--as", LEE)["accesses"]
    (receipt,) = [one["receipt"] for one in found if "receipt" in one]
    (version,) = keeper.result("record", "history", shared, "--as", LEE)["records"]
    assert receipt["digest"] == version["anchor"]["commitment"]
    keeper.run("record", "receipts", "--record", shared, "--as", KIM, code=4)


def test_what_was_never_anchored_is_destroyed_quietly(keeper: CareInside, patient: Patient) -> None:
    record = patient.seal(BUNDLE, anchor=False)
    done = keeper.result("record", "erase", record, "--yes", "--as", PRIVACY)
    assert done["blockNumber"] is None
    assert sealed_files(keeper, record) == []


def test_retention_ends_in_erasure_and_not_before(keeper: CareInside, patient: Patient) -> None:
    old = patient.seal(BUNDLE, "--retain-until", "2020-01-31")
    kept = patient.seal(BUNDLE, "--retain-until", "2020-01-31")
    keeper.run("record", "retain", kept, "--until", "2999-12-31", "--as", LEE)
    due = keeper.result("record", "expire", "--dry-run", "--as", PRIVACY)
    assert [one["record"] for one in due] == [old]
    assert sealed_files(keeper, old)
    done = keeper.result("record", "expire", "--yes", "--as", PRIVACY)
    assert [one["record"] for one in done] == [old]
    assert sealed_files(keeper, kept)
    assert keeper.result("record", "expire", "--yes", "--as", PRIVACY) == []
    keeper.run("record", "retain", kept, "--as", LEE, code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("seal", "nowhere.json", "--patient", "{p}"), 3, "no such file"),
        (("seal", ".", "--patient", "{p}"), 3, "folder"),
        (("seal", BUNDLE, "--patient", "Jane Doe"), 3, "patient"),
        (("seal", BUNDLE, "--patient", "{p}", "--label", "very secret"), 3, "labels"),
        (("seal", BUNDLE, "--patient", "{p}", "--retain-until", "soon"), 2, "day"),
        (("anchor", "ab" * 16), 3, "sealed no record"),
        (("supersede", "ab" * 16, BUNDLE), 3, "no such record"),
        (("erase", "ab" * 16, "--yes"), 3, "no such record"),
        (("rewrap", "ab" * 16), 3, "keeps no record"),
        (("release", "ab" * 32), 3, "no such access"),
        (("revoke", "ab" * 32, "--reason", "x", "--yes"), 3, "no such access"),
        (("request", "--purpose", "TREAT"), 2, "RECORD"),
        (("receipts",), 3, "either"),
    ],
)
def test_mistakes_are_answered_and_change_nothing(
    keeper: CareInside, patient: Patient, arguments: tuple[str, ...], code: int, text: str
) -> None:
    before = sorted((keeper.network / "exchange" / "GeneralHospital").rglob("*"))
    given = [part.replace("{p}", patient.handle) for part in arguments]
    answer = keeper.run("record", *given, "--as", LEE, code=code)
    assert text in answer.err
    assert sorted((keeper.network / "exchange" / "GeneralHospital").rglob("*")) == before


# -- batches ---------------------------------------------------------------------------------------


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))[1:]


def test_a_folder_is_anchored_in_one_transaction(keeper: CareInside, patient: Patient) -> None:
    folder = keeper.folder / "visits" / patient.handle
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes((keeper.folder / BUNDLE).read_bytes())
    (folder / "b.dcm").write_bytes(bytes(5000))
    done = keeper.result("record", "anchor-batch", "visits", "--handles", "v.csv", "--as", LEE)
    assert (done["size"], done["sealed"]) == (2, 2)
    again = keeper.result("record", "anchor-batch", "visits", "--handles", "v.csv", "--as", LEE)
    assert (again["batch"], again["sealed"]) == (done["batch"], 0)
    assert (keeper.folder / "v.csv").stat().st_mode & 0o777 == 0o600
    (name, record), _ = rows(keeper.folder / "v.csv")
    assert name == f"{patient.handle}/a.json"

    # The hospital's exchange tells the record's place; a file does where no exchange can.
    patient.open(patient.request(record), "batched.json")
    assert (keeper.folder / "batched.json").read_bytes() == (keeper.folder / BUNDLE).read_bytes()
    keeper.run("record", "place", record, "-o", "place.json", "--as", LEE)
    keeper.run("record", "request", "--proof", "place.json", "--purpose", "TREAT", "--as", KIM)
    unknown = keeper.run("record", "request", "ab" * 16, "--purpose", "TREAT", "--as", KIM, code=3)
    assert "no such record" in unknown.err
    keeper.run("record", "prove", record, "--proof", "b.p", "--block", "b.b", "--as", LEE)
    verify = ("record", "verify", "batched.json", "--proof", "b.p", "--block", "b.b")
    assert keeper.result(*verify, "--trust", TRUST)["record"] == record
    proof = json.loads((keeper.folder / "b.p").read_text())
    proof["membership"]["index"] = 1
    (keeper.folder / "b.p").write_text(json.dumps(proof))
    assert "batch does not hold" in keeper.run(*verify, "--trust", TRUST, code=5).err

    keeper.run("record", "supersede", record, BUNDLE, "--as", LEE)
    keeper.run("record", "request", record, "--purpose", "TREAT", "--as", KIM)
    keeper.run("record", "erase", rows(keeper.folder / "v.csv")[1][1], "--yes", "--as", PRIVACY)


def test_a_batch_continues_another(keeper: CareInside, patient: Patient) -> None:
    lines = [
        json.dumps({"resourceType": "Basic", "id": str(n), "code": {"text": "x"}}) for n in range(5)
    ]
    (keeper.folder / "one.ndjson").write_text("\n".join(lines[:3]) + "\n")
    (keeper.folder / "two.ndjson").write_text("\n".join(lines[3:]) + "\n")
    batch = ("record", "anchor-batch")
    first = keeper.result(
        *batch, "one.ndjson", "--patient", patient.handle, "--handles", "1.csv", "--as", LEE
    )
    second = keeper.result(
        *batch, "two.ndjson", "--patient", patient.handle, "--handles", "2.csv",
        "--after", first["batch"], "--as", LEE,
    )  # fmt: skip
    assert (first["size"], second["size"], second["sealed"]) == (3, 5, 2)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"resourceType": "Basic", "code": {}}\nnot json\n', "bad.ndjson:2"),
        ('{"file": "nowhere.json"}\n', "bad.ndjson:1"),
        ('{"file": "a", "patent": "b"}\n', "patent"),
        ("\n", "nothing to seal"),
    ],
)
def test_a_bad_list_is_answered_before_anything_is_sealed(
    keeper: CareInside, patient: Patient, text: str, where: str
) -> None:
    (keeper.folder / "bad.ndjson").write_text(text)
    answer = keeper.run(
        "record", "anchor-batch", "bad.ndjson", "--patient", patient.handle, "--handles",
        "bad.csv", "--as", LEE, code=3,
    )  # fmt: skip
    assert where in answer.err
    assert not (keeper.folder / "bad.csv").exists()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_batch_goes_on_where_it_stopped(
    keeper: CareInside, patient: Patient, jobs: str
) -> None:
    """Ctrl-C, then kill -9, then to the end: nothing is sealed twice, and no file is left over."""
    name = f"many-{jobs}"
    folder = keeper.folder / name / patient.handle
    folder.mkdir(parents=True)
    for number in range(1500):
        (folder / f"{number:04}.bin").write_bytes(number.to_bytes(4, "big") * 50)
    command = [
        *("record", "anchor-batch", name, "--handles", f"{name}.csv"),
        *("--jobs", jobs, "--as", LEE),
    ]
    exchange = keeper.network / "exchange" / "GeneralHospital"
    before = {file.parent.name for file in (exchange / "records").glob("*/*")}
    batches = {file.name for file in (exchange / "batches").glob("*")}

    def leaves() -> list[str]:
        (batch,) = [b for b in (exchange / "batches").glob("*") if b.name not in batches]
        whole = (batch / "leaves.ndjson").read_bytes().rpartition(b"\n")[0]
        return [json.loads(line)["record"] for line in whole.splitlines()]

    def stored() -> set[str]:
        return {file.parent.name for file in (exchange / "records").glob("*/*")} - before

    def interrupt(number: signal.Signals, after: int) -> int:
        running = subprocess.Popen(
            [sys.executable, "-m", "admin.cli", *command],
            cwd=keeper.folder,
            stderr=subprocess.DEVNULL,
        )
        while len(stored()) < after + 40:
            assert running.poll() is None, "it ended before it could be interrupted"
            time.sleep(0.02)
        running.send_signal(number)
        return running.wait(60)

    assert interrupt(signal.SIGINT, 0) == 130
    first = leaves()
    assert stored() == set(first), "a file is left that no leaf names"
    assert not (keeper.folder / f"{name}.csv").exists()
    assert interrupt(signal.SIGKILL, len(first)) == -signal.SIGKILL
    second = leaves()
    assert second[: len(first)] == first
    done = keeper.result(*command)
    assert (done["size"], done["sealed"]) == (1500, 1500 - len(second))
    handles = keeper.folder / f"{name}.csv"
    assert handles.stat().st_mode & 0o777 == 0o600
    names = rows(handles)
    assert [name for name, _ in names] == [f"{patient.handle}/{n:04}.bin" for n in range(1500)]
    assert [record for _, record in names] == leaves()
    assert stored() == set(leaves()), "a file is left that no leaf names"
    handles.unlink()
    again = keeper.result(*command)
    assert (again["batch"], again["sealed"]) == (done["batch"], 0)
    assert rows(handles) == names


def test_what_changed_since_an_interrupted_batch_is_sealed_anew(
    keeper: CareInside, patient: Patient
) -> None:
    """A bad file ends a batch; put right, the batch goes on with it."""
    folder = keeper.folder / "mended" / patient.handle
    folder.mkdir(parents=True)
    for name in ("1.bin", "2.bin", "4.bin"):
        (folder / name).write_bytes(name.encode())
    (folder / "3.json").write_text('{"resourceType": "Basic"}')
    command = ("record", "anchor-batch", "mended", "--handles", "mended.csv", "--as", LEE)
    assert "Basic.code" in keeper.run(*command, code=3).err
    assert not (keeper.folder / "mended.csv").exists()
    (folder / "3.json").write_text('{"resourceType": "Basic", "code": {"text": "x"}}')
    done = keeper.result(*command)
    assert (done["size"], done["sealed"]) == (4, 2)
    (folder / "1.bin").write_bytes(b"another")
    other = keeper.result(*command)
    assert other["batch"] != done["batch"]
    assert other["sealed"] == 4


def test_an_interrupted_seal_leaves_nothing(keeper: CareInside, patient: Patient) -> None:
    """Standard input that never ends, and Ctrl-C."""
    exchange = keeper.network / "exchange" / "GeneralHospital"
    before = sorted(exchange.rglob("*"))
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "admin.cli", "record", "seal", "-"),
            *("--patient", patient.handle, "--media-type", "text/plain", "--as", LEE),
        ],
        cwd=keeper.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdin is not None
    for _ in range(60):
        running.stdin.write(bytes(1 << 20))
    while not any((exchange / "unfinished").glob("*")):
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    try:
        running.stdin.write(bytes(8 << 20))
        running.stdin.close()
    except BrokenPipeError:
        pass
    assert running.wait(30) == 130
    assert [path for path in sorted(exchange.rglob("*")) if path not in before] in (
        [],
        [exchange / "unfinished"],
    )
