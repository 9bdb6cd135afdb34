"""An organisation whose records lie in an object store: sealed, shared, resumed, revoked, erased.

The clinic's exchange is a second one here, with a network file of its own beside the example's.
"""

import contextlib
import hashlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from admin.exchange.fetch import Wanted, fetch_record
from admin.procedures.care.transport import open_exchange
from chaincode.records.model import AccessView
from tests.admin.exchange.objectstore import serving_bucket
from tests.journeys.care import Answer, Care
from tests.journeys.sharing import BUNDLE, KIM, LEE, CareInside, acting, consenting_patient

pytestmark = pytest.mark.network

PRIVACY = "CityClinic/privacy"
SIZE = (6 << 20) + 321
PATIENCE = 120.0


@dataclass(frozen=True)
class Clinic(CareInside):
    """Commands on the network file that gives the clinic a bucket."""

    file: Path
    bucket: str
    log: Path

    def run(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Answer:
        return super().run(*arguments, "--network", str(self.file), code=code, stdin=stdin)

    def objects(self, folder: str) -> list[str]:
        """The names in a folder of the bucket."""
        import s3fs

        files = s3fs.S3FileSystem()
        files.invalidate_cache()
        return sorted(
            path.rpartition(f"/{folder}/")[2]
            for path in files.find(self.bucket)
            if f"/{folder}/" in path
        )

    def await_log(self, text: str) -> None:
        """The exchange has logged this."""
        end = time.monotonic() + PATIENCE
        while not re.search(text, self.log.read_text()):
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def clinic(people: Care) -> Iterator[Clinic]:
    people.enroll(PRIVACY, role="privacy-officer")
    with serving_bucket("clinic") as bucket, _exchange_on(people, f"{bucket}/records") as found:
        yield found


@contextlib.contextmanager
def _exchange_on(people: Care, url: str) -> Iterator[Clinic]:
    """The clinic's exchange serves the records in the bucket."""
    text = (people.folder / "network.yaml").read_text()
    (place,) = re.findall(r"name: CityClinic,.*?exchange: (\{port: \d+\})", text, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file, log = people.folder / "bucket.yaml", people.folder / "bucket.log"
    file.write_text(text.replace(place, f'{{port: {port}, store: "{url}"}}'))
    with log.open("w") as told:
        running = subprocess.Popen(
            [sys.executable, "-m", "admin.exchange", str(file), "CityClinic"], stderr=told
        )
    try:
        found = Clinic(people.folder, file, url, log)
        found.await_log("serves the records in s3://")
        yield found
    finally:
        running.terminate()
        running.wait(60)


def test_records_in_a_bucket_are_shared_like_any_other(clinic: Clinic, tmp_path: Path) -> None:
    patient = consenting_patient(clinic, "in-a-bucket")
    scan = tmp_path / "scan.dcm"
    scan.write_bytes(hashlib.shake_256(b"bucket").digest(SIZE))
    said = ("--patient", patient.handle, "--label", "N", "--as", KIM)
    record = clinic.run("record", "seal", str(scan), *said).out
    assert clinic.objects("records") == [f"{record}/1.sealed"]
    assert not list((clinic.network / "exchange" / "CityClinic").glob(f"records/{record}/*"))
    clinic.run("record", "anchor", record, "--as", KIM)
    access = clinic.run("record", "request", record, "--purpose", "TREAT", "--as", LEE).out
    clinic.await_log(f"access {access} released")
    assert clinic.objects("releases") == [f"{access}.json"]

    # A transfer breaks off in the middle, and the command takes it up where it broke.
    left = _fetch_half(clinic, access)
    opened = tmp_path / "opened.dcm"
    clinic.run("record", "open", access, "-o", str(opened), "--as", LEE)
    assert opened.read_bytes() == scan.read_bytes()
    clinic.await_log(f"access {access} fetched from {left} on")

    # One of a batch, whose place the exchange tells.
    folder = tmp_path / "visits" / patient.handle
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes((clinic.folder / BUNDLE).read_bytes())
    (folder / "b.bin").write_bytes(b"b")
    handles = tmp_path / "handles.csv"
    batch = ("record", "anchor-batch", str(tmp_path / "visits"), "--handles", str(handles))
    assert clinic.result(*batch, "--label", "N", "--as", KIM)["sealed"] == 2
    first = handles.read_text().splitlines()[1].rpartition(",")[2]
    second = clinic.run("record", "request", first, "--purpose", "TREAT", "--as", LEE).out
    clinic.run("record", "open", second, "-o", str(tmp_path / "a.json"), "--as", LEE)
    assert (tmp_path / "a.json").read_bytes() == (clinic.folder / BUNDLE).read_bytes()

    # Consent is withdrawn: the keys that were handed out for it are destroyed in the bucket, too.
    clinic.run(
        "consent", "revoke", patient.consent, "--patient", patient.handle, "--yes",
        "--as", patient.name,
    )  # fmt: skip
    for ended in (access, second):
        clinic.await_log(f"access {ended} taken back")
    assert clinic.objects("releases") == []
    late = tmp_path / "late.dcm"
    clinic.run("record", "open", access, "-o", str(late), "--as", LEE, code=4)
    assert not late.exists()
    clinic.run("record", "erase", record, "--yes", "--as", PRIVACY)
    assert record not in "".join(clinic.objects("records"))


def test_a_bucket_that_is_away_is_told_so_and_changes_nothing(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = consenting_patient(clinic, "away")
    before = sorted(clinic.network.rglob("exchange/CityClinic/anchors/*"))
    file = clinic.file.with_name("nobucket.yaml")
    file.write_text(clinic.file.read_text().replace("s3://clinic/", "s3://nosuchbucket/"))
    nowhere = Clinic(clinic.folder, file, "", clinic.log)
    refusal = nowhere.run(
        "record", "seal", BUNDLE, "--patient", patient.handle, "--as", KIM, code=6
    )
    assert "s3://nosuchbucket cannot be used" in refusal.err
    assert sorted(clinic.network.rglob("exchange/CityClinic/anchors/*")) == before


class _Broken(Exception):
    pass


def _fetch_half(clinic: Clinic, access: str) -> int:
    """Part of the sealed file lies where `record open` looks for it; returns how much."""
    import asyncio

    async def fetch() -> int:
        async with acting(clinic.folder, LEE, clinic.file.name) as lee:
            view = await lee.health.evaluate("records:GetAccess", access, result=AccessView)
            assert view.release is not None
            (item,) = view.access.permitted_records
            wanted = Wanted(
                "care",
                access,
                item.record,
                item.version,
                "CityClinicMSP",
                view.release.wrapped_key,
            )
            custodian = lee.surroundings.topology.organization("CityClinic")
            endpoint = await open_exchange(lee.surroundings, lee.profile, custodian)
            name = f"{access[:16]}-{item.record}-{item.version}.sealed"
            target = clinic.network / "exchange" / "GeneralHospital" / "received" / name

            def break_off(done: int, size: int) -> None:
                if done >= 2 << 20:
                    raise _Broken

            with contextlib.suppress(_Broken):
                await fetch_record(endpoint, wanted, lee.profile.signer, target, progress=break_off)
            left = target.with_name(f"{name}.part").stat().st_size
            assert 0 < left < SIZE
            return left

    return asyncio.run(fetch())
