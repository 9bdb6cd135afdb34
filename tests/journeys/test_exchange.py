"""The exchange between organisations on a running network: who gets what, and when no more."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from admin.exchange.fetch import Wanted, _build_request, fetch_record, locate_records
from admin.exchange.place import exchange_endpoint
from admin.procedures.care.transport import ensure_tls, open_exchange
from chaincode.records.model import AccessView, Revocation
from network.client.endpoint import Endpoint, open_channel
from network.client.errors import NodeError
from protos import exchange_pb2_grpc
from tests.journeys.care import Care
from tests.journeys.sharing import BUNDLE, KIM, LEE, Acting, Patient, acting, consenting_patient

pytestmark = pytest.mark.network

STRETCH = 1 << 20


@pytest.fixture(scope="module")
def patient(people: Care) -> Patient:
    return consenting_patient(people, "sharer")


@pytest.fixture(scope="module")
def large(patient: Patient) -> str:
    """A record of several stretches."""
    file = patient.care.folder / "scan.dcm"
    file.write_bytes(hashlib.shake_256(b"scan").digest(6 * STRETCH + 321))
    return patient.seal("scan.dcm")


async def wanted_of(one: Acting, access: str) -> Wanted:
    for _ in range(200):
        view = await one.health.evaluate("records:GetAccess", access, result=AccessView)
        if view.release is not None:
            (item,) = view.access.permitted_records
            return Wanted(
                "care",
                access,
                item.record,
                item.version,
                view.access.custodian,
                view.release.wrapped_key,
            )
        await asyncio.sleep(0.1)
    raise AssertionError("never released")


async def exchange_of(one: Acting, custodian: str = "GeneralHospital") -> Endpoint:
    organization = one.surroundings.topology.organization(custodian)
    return await open_exchange(one.surroundings, one.profile, organization)


async def test_a_transfer_is_taken_up_where_it_broke(
    people: Care, patient: Patient, large: str, tmp_path: Path
) -> None:
    access = patient.request(large)
    async with acting(people.folder, KIM) as kim:
        wanted, endpoint = await wanted_of(kim, access), await exchange_of(kim)
        target, seen = tmp_path / "sealed", []

        def break_off(done: int, size: int) -> None:
            seen.append(done)
            if done >= 2 * STRETCH:
                raise ConnectionError("the cable is out")

        with pytest.raises(ConnectionError):
            await fetch_record(
                endpoint, wanted, kim.profile.signer, target, stretch=STRETCH, progress=break_off
            )
        assert not target.exists()
        left = (tmp_path / "sealed.part").stat().st_size
        assert left >= 2 * STRETCH
        resumed: list[int] = []
        await fetch_record(
            endpoint,
            wanted,
            kim.profile.signer,
            target,
            stretch=STRETCH,
            progress=lambda done, size: resumed.append(done),
        )
        assert resumed[0] == left, "what was here already came again"
        assert target.stat().st_size == resumed[-1]


async def test_a_revocation_stops_a_transfer_that_is_under_way(
    people: Care, patient: Patient, large: str, tmp_path: Path
) -> None:
    access = patient.request(large)
    async with acting(people.folder, KIM) as kim, acting(people.folder, LEE) as lee:
        wanted, endpoint = await wanted_of(kim, access), await exchange_of(kim)
        with pytest.raises(NodeError) as refusal:
            await _fetch_and_revoke(kim, lee, endpoint, wanted, tmp_path)
        # The exchange may have destroyed the wrapped keys already.
        assert refusal.value.status in ("PERMISSION_DENIED", "NOT_FOUND")
    part = tmp_path / "sealed.part"
    assert 0 < part.stat().st_size < 3 * STRETCH
    assert not (tmp_path / "sealed").exists()


async def _fetch_and_revoke(
    kim: Acting, lee: Acting, endpoint: Endpoint, wanted: Wanted, folder: Path
) -> None:
    """Fetch stretch by stretch; after the first one the access is revoked."""
    target = folder / "sealed"
    try:
        await fetch_record(
            endpoint,
            wanted,
            kim.profile.signer,
            target,
            stretch=STRETCH,
            progress=_once_at(STRETCH, _Halt),
        )
    except _Halt:
        await lee.health.submit("records:RevokeAccess", wanted.access, "mistake", result=Revocation)
    await fetch_record(endpoint, wanted, kim.profile.signer, target, stretch=STRETCH)


class _Halt(Exception):
    pass


def _once_at(limit: int, failure: type[Exception]) -> Any:
    def progress(done: int, size: int) -> None:
        if done >= limit:
            raise failure

    return progress


async def test_withdrawn_consent_stops_the_next_fetch_and_destroys_the_key(
    people: Care, tmp_path: Path
) -> None:
    own = consenting_patient(people, "leaver")
    record = own.seal(BUNDLE)
    access = own.request(record)
    async with acting(people.folder, KIM) as kim:
        wanted, endpoint = await wanted_of(kim, access), await exchange_of(kim)
        release = people.network / "exchange" / "GeneralHospital" / "releases" / f"{access}.json"
        assert release.exists()
        people.run(
            "consent", "revoke", own.consent, "--patient", own.handle, "--yes", "--as", own.name
        )
        with pytest.raises(NodeError) as refusal:
            await fetch_record(endpoint, wanted, kim.profile.signer, tmp_path / "sealed")
        assert refusal.value.status in ("PERMISSION_DENIED", "NOT_FOUND")
        for _ in range(200):
            view = await kim.health.evaluate("records:GetAccess", access, result=AccessView)
            if view.revocation is not None and not release.exists():
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the custodian did not take the access back")
        assert view.revocation is not None
        assert view.revocation.reason == "no-longer-permitted"


async def call(endpoint: Endpoint, signed: Any) -> str:
    """The status that one fetch ends with."""
    async with open_channel(endpoint) as channel:
        stub = exchange_pb2_grpc.RecordExchangeStub(channel)
        try:
            async for _ in stub.Fetch(signed, timeout=60):
                pass
        except grpc.aio.AioRpcError as failure:
            return str(failure.code().name)
    return "OK"


async def test_only_the_requester_over_their_own_tls_certificate_is_served(
    people: Care, patient: Patient, large: str
) -> None:
    people.enroll("CityClinic/dr.other", role="clinician")
    access = patient.request(large)
    async with (
        acting(people.folder, KIM) as kim,
        acting(people.folder, "CityClinic/dr.other") as other,
        acting(people.folder, LEE) as lee,
    ):
        wanted = await wanted_of(kim, access)
        mine, others, theirs = [await exchange_of(one) for one in (kim, other, lee)]
        signer, now = kim.profile.signer, datetime.now(UTC)
        honest = _build_request(wanted, signer, mine, 0, 1, now)
        assert await call(mine, honest) == "OK"
        # The honest request in other hands, at another place, at another time.
        assert await call(others, honest) == "UNAUTHENTICATED"
        assert await call(theirs, honest) == "UNAUTHENTICATED"
        elsewhere = await exchange_of(kim, "CityClinic")
        assert await call(elsewhere, honest) == "UNAUTHENTICATED"
        late = _build_request(wanted, signer, mine, 0, 1, now - timedelta(minutes=16))
        assert await call(mine, late) == "UNAUTHENTICATED"
        # Signed by the requester, sent over a colleague's certificate.
        assert await call(others, _build_request(wanted, signer, others, 0, 1, now)) == (
            "UNAUTHENTICATED"
        )
        # A colleague with everything of their own.
        assert await call(
            others, _build_request(wanted, other.profile.signer, others, 0, 1, now)
        ) == ("PERMISSION_DENIED")
        # Another record, another version, an offset beyond the end.
        for changed, status in (
            (replace(wanted, record="ab" * 16), "PERMISSION_DENIED"),
            (replace(wanted, version=2), "PERMISSION_DENIED"),
            (replace(wanted, channel_id="other"), "NOT_FOUND"),
            (replace(wanted, access="ab" * 32), "NOT_FOUND"),
        ):
            assert await call(mine, _build_request(changed, signer, mine, 0, 1, now)) == status
        beyond = _build_request(wanted, signer, mine, 1 << 40, 1, now)
        assert await call(mine, beyond) == "OUT_OF_RANGE"
        broken = _build_request(wanted, signer, mine, 0, 1, now)
        broken.signature = broken.signature[:-1] + bytes([broken.signature[-1] ^ 1])
        assert await call(mine, broken) == "UNAUTHENTICATED"


async def test_members_learn_where_records_of_a_batch_stand_and_nobody_else_does(
    people: Care, patient: Patient, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(b"a")
    people.run(
        "record", "anchor-batch", str(tmp_path), "--patient", patient.handle,
        "--handles", str(tmp_path / "handles.csv"), "--as", LEE,
    )  # fmt: skip
    record = (tmp_path / "handles.csv").read_text().strip().rpartition(",")[2]
    async with (
        acting(people.folder, KIM) as kim,
        acting(people.folder, LEE) as lee,
    ):
        mine, theirs, signer = await exchange_of(kim), await exchange_of(lee), kim.profile.signer
        hospital = "GeneralHospitalMSP"
        (place,) = await locate_records(mine, "care", hospital, ["ab" * 16, record], signer)
        assert (place.anchor.record, place.anchor.patient) == (record, patient.handle)
        clinic = await exchange_of(kim, "CityClinic")
        assert await locate_records(clinic, "care", "CityClinicMSP", [record], signer) == []
        for endpoint, custodian, channel, records, status in (
            (theirs, hospital, "care", [record], "UNAUTHENTICATED"),  # over another's certificate
            (mine, "CityClinicMSP", "care", [record], "UNAUTHENTICATED"),
            (mine, hospital, "other", [record], "NOT_FOUND"),
            (mine, hospital, "care", [], "INVALID_ARGUMENT"),
            (mine, hospital, "care", [record] * 101, "INVALID_ARGUMENT"),
        ):
            with pytest.raises(NodeError) as refusal:
                await locate_records(endpoint, channel, custodian, records, signer)
            assert refusal.value.status == status
        # A request that was signed for one call serves for no other.
        wanted = Wanted("care", "ab" * 32, record, 1, hospital, b"")
        fetch = _build_request(wanted, signer, mine, 0, 1, datetime.now(UTC))
        async with open_channel(mine) as channel:
            stub = exchange_pb2_grpc.RecordExchangeStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Locate(fetch, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_without_a_members_tls_certificate_nobody_is_even_heard(
    people: Care, patient: Patient, large: str
) -> None:
    access = patient.request(large)
    async with acting(people.folder, KIM) as kim:
        wanted = await wanted_of(kim, access)
        hospital = kim.surroundings.topology.organization("GeneralHospital")
        bare = exchange_endpoint(kim.surroundings, hospital)
        request = _build_request(wanted, kim.profile.signer, bare, 0, 1, datetime.now(UTC))
        assert await call(bare, request) == "UNAVAILABLE"


async def test_the_tls_certificate_is_the_cas_and_is_renewed(people: Care) -> None:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    async with acting(people.folder, KIM) as kim:
        folder = await ensure_tls(kim.surroundings, kim.profile)
        certificate = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert name.value == "dr.kim"
        assert (folder / "client.key").stat().st_mode & 0o777 == 0o600
        before = (folder / "client.crt").read_bytes()
        assert await ensure_tls(kim.surroundings, kim.profile) == folder
        assert (folder / "client.crt").read_bytes() == before
        (folder / "client.crt").write_text("spoiled")
        await ensure_tls(kim.surroundings, kim.profile)
        x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
