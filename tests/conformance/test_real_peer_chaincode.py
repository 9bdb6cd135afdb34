"""Our chaincode server on a real Fabric peer: every stub call, errors, concurrency, restarts, mTLS.

Skipped, with the reason, where Fabric's binaries are not found.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaincode.authority import Authority
from tests.conformance.real_fabric import (
    FabricCommandError,
    RealFabric,
    make_endorser_stub,
    read_proposal_response,
)
from tests.conformance.served import ANYONE, Served
from tests.ports import free_ports

COLLECTIONS = [
    {
        "name": name,
        "policy": policy,
        "requiredPeerCount": 0,
        "maxPeerCount": 1,
        "blockToLive": 0,
        "memberOnlyRead": True,
        "memberOnlyWrite": True,
    }
    for name, policy in (
        ("shared", "OR('Org1MSP.member','Org2MSP.member')"),
        ("first", "OR('Org1MSP.member')"),
    )
]
VERSIONS = """
from chaincode.contract import Context, Contract, ContractChaincode, query

class Versions(Contract):
    @query
    async def Which(self, ctx: Context) -> str:
        return "VERSION"

chaincode = ContractChaincode([Versions()])
"""


class Bench:
    """A network with the stub contract deployed as `stub`."""

    def __init__(self, fabric: RealFabric, served: Served) -> None:
        self.fabric = fabric
        self.served = served

    def submit(self, function: str, *args: str, **options: Any) -> str:
        return self.fabric.invoke("stub", [f"stub:{function}", *args], **options)

    def read(self, function: str, *args: str, organization: int = 0) -> Any:
        raw = self.fabric.query("stub", [f"stub:{function}", *args], organization=organization)
        try:
            return json.loads(raw)
        except ValueError:
            return raw


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("fabric")
    with RealFabric.start(folder) as fabric:
        package = fabric.package("stub", f"127.0.0.1:{free_ports(1)[0]}")
        served = Served(package, folder, "-v")
        try:
            fabric.deploy(package, policy=ANYONE, collections=COLLECTIONS)
            yield Bench(fabric, served)
        finally:
            served.stop()


def test_state_is_written_read_and_deleted(bench: Bench) -> None:
    bench.submit("Put", "k", "v1")
    bench.submit("Put", "k", "v2")
    assert bench.read("Get", "k") == "v2"
    assert bench.read("GetMany", json.dumps(["k", "none", "k"])) == ["v2", None, "v2"]
    assert bench.read("Parallel", json.dumps(["k", "none"] * 20)) == ["v2", None] * 20
    bench.submit("Delete", "k")
    assert bench.read("Get", "k") == ""
    assert bench.read("History", "k") == ["deleted", "v2", "v1"]


def test_a_transaction_does_not_see_its_own_writes(bench: Bench) -> None:
    assert "unseen" in bench.submit("ReadOwnWrite", "rw")


def test_the_last_event_wins(bench: Bench) -> None:
    # `peer chaincode invoke --waitForEvent` prints the endorsement with its event at debug only;
    # the event itself is read from the proposal response.
    async def run() -> Any:
        from fabric_protos.peer import (
            chaincode_event_pb2,
            proposal_pb2,
            proposal_response_pb2,
        )

        async with bench.fabric.endorser_channel() as channel:
            signer = bench.fabric.organizations[0].signer()
            response = await bench.fabric.endorse(
                make_endorser_stub(channel), signer, "stub", [b"stub:Put", b"e", b"12345"]
            )
            payload = proposal_response_pb2.ProposalResponsePayload.FromString(response.payload)
            action = proposal_pb2.ChaincodeAction.FromString(payload.extension)
            return chaincode_event_pb2.ChaincodeEvent.FromString(action.events)

    event = asyncio.run(run())
    assert (event.event_name, event.payload) == ("Put", b'{"size":5}')
    assert event.chaincode_id == "stub"
    assert event.tx_id


@pytest.mark.parametrize("batch", ["true", "false"])
def test_ranges_run_over_many_pages(bench: Bench, batch: str) -> None:
    prefix = f"r{batch}"
    bench.submit("PutMany", prefix, "350", batch)
    listing = bench.read("Range", prefix, prefix + "~")
    ends = [f"{prefix}00000", f"{prefix}00349"]
    assert listing == {"count": 350, "ends": ends, "sorted": True, "composite": 0}
    assert bench.read("RangeOfOne", prefix, prefix + "~") == 350


def test_a_batch_larger_than_the_peers_limit_is_split(bench: Bench) -> None:
    bench.submit("PutMany", "big", "2500", "true")
    assert bench.read("Range", "big", "big~")["count"] == 2500
    keys = [f"big{number:05d}" for number in range(2500)]
    assert bench.read("GetMany", json.dumps(keys)) == [str(number) for number in range(2500)]


def test_pages_have_bookmark_and_count(bench: Bench) -> None:
    bench.submit("PutMany", "page", "7", "true")
    seen: list[str] = []
    bookmark = ""
    for expected in (3, 3, 1):
        page = bench.read("RangePage", "page", "page~", "3", bookmark)
        assert page["count"] == expected == len(page["keys"])
        seen += page["keys"]
        bookmark = page["bookmark"]
    assert seen == [f"page{number:05d}" for number in range(7)]
    assert bookmark == ""


@pytest.mark.parametrize("method", ["range", "partial", "all"])
@pytest.mark.parametrize("size", [1, 4, 7, 14, 15])
def test_every_paged_method_ends_at_its_last_bookmark(bench: Bench, method: str, size: int) -> None:
    if bench.read("Range", "walk", "walk~")["count"] == 0:
        bench.submit("PutWalk", "14")
    walked = bench.read("Walk", method, str(size))
    assert (walked["same"], walked["keys"]) == (True, 14)
    assert all(count == size for count in walked["counts"][:-1])
    assert walked["counts"][-1] <= size


def test_composite_keys_stay_apart_from_simple_ones(bench: Bench) -> None:
    for attributes in (["a", "1"], ["a", "2"], ["b", ""]):
        bench.submit("PutComposite", "color", json.dumps(attributes))
    bench.submit("Put", "simple", "1")
    assert bench.read("Partial", "color", '["a"]') == [["a", "1"], ["a", "2"]]
    assert bench.read("Partial", "color", "[]") == [["a", "1"], ["a", "2"], ["b", ""]]
    assert bench.read("PartialPage", "color", "2")["count"] == 2
    every = bench.read("AllComposite", "50")["keys"]
    assert sum(key.startswith("\0color\0") for key in every) == 3
    assert all(key.startswith("\0") for key in every)
    listing = bench.read("Range", "", "")
    assert listing["composite"] == 0
    assert listing["count"] > 0


def test_a_peers_refusal_is_raised(bench: Bench) -> None:
    assert bench.read("Rich").count("not supported for leveldb") == 2
    assert "not supported for leveldb" in bench.read("PrivateRich", "shared")
    assert "already performed a paginated query" in bench.submit("PageThenPut")


def test_key_level_endorsement_is_set_and_enforced(bench: Bench) -> None:
    bench.submit("Put", "guarded", "1")
    bench.submit("SetPolicy", "guarded", '["Org1MSP","Org2MSP"]')
    assert bench.read("GetPolicy", "guarded") == ["Org1MSP", "Org2MSP"]
    with pytest.raises(FabricCommandError, match="ENDORSEMENT_POLICY_FAILURE"):
        bench.submit("Put", "guarded", "2", endorsers=[0])
    bench.submit("Put", "guarded", "3", endorsers=[0, 1])
    assert bench.read("Get", "guarded") == 3


def test_private_data_has_its_whole_life(bench: Bench) -> None:
    value = {"value": b"not public"}
    bench.submit("PutPrivate", "shared", "p", transient=value)
    bench.submit("SetPrivatePolicy", "shared", "p")
    assert bench.read("Private", "shared", "p") == {
        "value": "not public",
        "many": ["not public", None],
        "hashMatches": True,
        "policy": ["Org1MSP"],
    }
    bench.submit("PutPrivateMany", "shared", "130", transient=value)
    ranges = bench.read("PrivateRange", "shared")
    assert ranges["composite"] == 130
    assert ranges["simple"]["count"] == 131
    bench.submit("DeletePrivate", "shared", "p")
    assert bench.read("PrivateHash", "shared", "p") == ""
    bench.submit("PurgePrivate", "shared", "p00000")
    assert bench.read("PrivateHash", "shared", "p00000") == ""


def test_only_members_read_a_collection_but_all_see_hashes(bench: Bench) -> None:
    bench.submit("PutPrivate", "first", "k", transient={"value": b"mine"}, endorsers=[0])
    assert bench.read("Private", "first", "k")["value"] == "mine"
    with pytest.raises(FabricCommandError, match="does not have read access permission"):
        bench.read("Private", "first", "k", organization=1)
    assert len(bench.read("PrivateHash", "first", "k", organization=1)) == 64


def test_every_kind_of_write_fits_in_one_batch(bench: Bench) -> None:
    bench.submit("Put", "gone", "1")
    bench.submit("PutPrivate", "shared", "purged", transient={"value": b"x"})
    bench.submit("BatchOfAll", "shared")
    assert bench.read("Get", "batched") == 2
    assert bench.read("Get", "gone") == ""
    assert bench.read("GetPolicy", "batched") == ["Org1MSP"]
    assert bench.read("Private", "shared", "batched")["value"] == "private"
    assert bench.read("PrivateHash", "shared", "purged") == ""


def test_the_invocation_tells_about_itself(bench: Bench) -> None:
    about = bench.read("About")
    assert about["args"] == 1
    assert about["stringArgs"] == ["stub:About"]
    assert about["function"] == about["slice"] == "stub:About"
    assert (about["channel"], about["mspId"], about["binding"]) == ("care", "Org1MSP", 32)
    assert len(about["txId"]) == 64
    assert about["signature"] is about["creator"] is True
    assert about["ous"] == ["admin"]


def test_a_chaincode_calls_another_one(bench: Bench) -> None:
    with pytest.raises(FabricCommandError, match="PeerRefused"):
        bench.submit("CallOther", "missing", "", '["f"]')
    called = bench.submit("CallOther", "_lifecycle", "", '["QueryChaincodeDefinitions",""]')
    assert '\\"status\\":200' in called


def test_a_chaincode_on_another_channel_is_read_and_not_written(bench: Bench) -> None:
    other = bench.fabric.add_channel("elsewhere")
    package = other.package("distant", f"127.0.0.1:{free_ports(1)[0]}")
    served = Served(package, other.folder)
    try:
        other.deploy(package, policy=ANYONE)
        other.invoke("distant", ["Put", "k", "7"])
        called = bench.submit("CallOther", "distant", "elsewhere", '["Get","k"]')
        assert '\\"payload\\":\\"7\\"' in called
        called = bench.submit("CallOther", "distant", "elsewhere", '["Put","k","8"]')
        assert '\\"status\\":200' in called
        assert other.query("distant", ["Get", "k"]) == "7"  # Fabric keeps no writes of such a call
        with pytest.raises(FabricCommandError, match="PeerRefused"):
            bench.submit("CallOther", "distant", "nowhere", '["Get","k"]')
    finally:
        served.stop()


def test_a_saved_version_takes_over_under_the_same_package(bench: Bench, tmp_path: Path) -> None:
    fabric = bench.fabric
    package = fabric.package("reloaded", f"127.0.0.1:{free_ports(1)[0]}")
    (tmp_path / "versions.py").write_text(VERSIONS.replace("VERSION", "one"))
    served = Served(package, tmp_path, "--reload", place="versions:chaincode", cwd=tmp_path)
    try:
        fabric.deploy(package, policy=ANYONE)
        assert fabric.query("reloaded", ["Which"]) == "one"
        (tmp_path / "versions.py").write_text(VERSIONS.replace("VERSION", "two"))
        wait_for_text(served.log, "serving the new code")
        assert fabric.query("reloaded", ["Which"]) == "two"
        (tmp_path / "versions.py").write_text("def broken(:\n")
        wait_for_text(served.log, "versions.py:1: SyntaxError")
        assert fabric.query("reloaded", ["Which"]) == "two"
    finally:
        assert served.stop() == 0


def wait_for_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_errors_reach_the_client_by_code_and_without_secrets(bench: Bench) -> None:
    with pytest.raises(FabricCommandError, match='status:409 message:"Conflict: so it is'):
        bench.submit("Refuse", "so it is")
    with pytest.raises(FabricCommandError, match="Internal: the chaincode failed with KeyError"):
        bench.submit("Fail", "jane doe")
    with pytest.raises(FabricCommandError, match=r"did you mean Get\?"):
        bench.read("Gett", "k")
    log = bench.served.log.read_text()
    assert "jane doe" not in log
    assert "not public" not in log


def test_metadata_is_published(bench: Bench) -> None:
    raw = bench.fabric.query("stub", ["org.hyperledger.fabric:GetMetadata"])
    transactions = json.loads(raw)["contracts"]["stub"]["transactions"]
    put = next(entry for entry in transactions if entry["name"] == "Put")
    assert [parameter["name"] for parameter in put["parameters"]] == ["key", "value"]


def test_large_results_pass(bench: Bench) -> None:
    async def run() -> int:
        async with bench.fabric.endorser_channel() as channel:
            signer = bench.fabric.organizations[0].signer()
            response = await bench.fabric.endorse(
                make_endorser_stub(channel), signer, "stub", [b"stub:Large", b"20000000"]
            )
            return len(read_proposal_response(response)[2])

    assert asyncio.run(run()) == 20_000_000


def test_hundreds_of_transactions_at_once(bench: Bench) -> None:
    count = int(os.environ.get("CONFORMANCE_TRANSACTIONS", "1000"))
    statuses = asyncio.run(_endorse_many(bench, count))
    assert statuses == [200] * count


def test_a_chaincode_restarted_under_load_serves_again(bench: Bench) -> None:
    bench.served.restart()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert bench.read("Get", "simple") == 1
            break
        except FabricCommandError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def test_a_peer_restarted_is_served_again(bench: Bench) -> None:
    organization = bench.fabric.organizations[0]
    bench.fabric.stop_process("peer-Org1")
    bench.fabric.start_peer(organization)
    assert bench.read("Get", "simple") == 1


def test_a_slow_transaction_ends_before_sigterm_does(bench: Bench) -> None:
    async def run() -> tuple[int, str, bytes]:
        async with bench.fabric.endorser_channel() as channel:
            signer = bench.fabric.organizations[0].signer()
            call = asyncio.ensure_future(
                bench.fabric.endorse(
                    make_endorser_stub(channel), signer, "stub", [b"stub:Slow", b"2"]
                )
            )
            await asyncio.sleep(0.7)
            bench.served.process.send_signal(signal.SIGTERM)
            return read_proposal_response(await call)

    assert asyncio.run(run()) == (200, "", b"done")
    assert bench.served.process.wait(30) == 0
    bench.served.restart()


def test_mutual_tls_init_and_a_call_from_one_chaincode_to_another(
    bench: Bench, tmp_path: Path
) -> None:
    fabric = bench.fabric
    servers, peers = Authority(tmp_path, "servers"), Authority(tmp_path, "peers")
    key, certificate = servers.issue("chaincode")
    peer_key, peer_certificate = peers.issue("peer")
    package = fabric.package(
        "second",
        f"127.0.0.1:{free_ports(1)[0]}",
        tls={
            "root_cert": servers.path.read_text(),
            "client_key": peer_key.read_text(),
            "client_cert": peer_certificate.read_text(),
        },
    )
    served = Served(
        package,
        tmp_path,
        "-v",
        CHAINCODE_TLS_KEY=str(key),
        CHAINCODE_TLS_CERT=str(certificate),
        CHAINCODE_CLIENT_CA_CERT=str(peers.path),
    )
    try:
        fabric.deploy(package, policy=ANYONE, init_required=True)
        with pytest.raises(FabricCommandError, match="has not been initialized"):
            fabric.invoke("second", ["Put", "k", "v"])
        fabric.invoke("second", ["Put", "initial", "7"], is_init=True)
        assert fabric.query("second", ["Get", "initial"]) == "7"
        bench.submit("CallOther", "second", "", '["Put","called","8"]')
        assert fabric.query("second", ["Get", "called"]) == "8"
        refused = bench.submit("CallOther", "second", "", '["Refuse","so"]')
        assert '\\"status\\":409' in refused
        assert "mutual" in served.log.read_text()
    finally:
        served.stop()


async def _endorse_many(bench: Bench, count: int) -> Sequence[int]:
    gate = asyncio.Semaphore(400)
    async with bench.fabric.endorser_channel() as channel:
        stub = make_endorser_stub(channel)
        signer = bench.fabric.organizations[0].signer()

        async def one(number: int) -> int:
            async with gate:
                key = f"load{number}".encode()
                response = await bench.fabric.endorse(
                    stub, signer, "stub", [b"stub:Increment", key]
                )
                status, message, payload = read_proposal_response(response)
                assert (message, payload) == ("", b"1"), message
                return status

        return await asyncio.gather(*(one(number) for number in range(count)))
