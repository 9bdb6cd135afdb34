"""A running consortium changes: members, nodes, settings, certificates; from the command line."""

import asyncio
import json
import secrets
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from network.client import lifecycle
from network.client.peer import PeerClient
from network.client.profile import load_surroundings
from network.rules.identity.certificates import Authority, build_ca, build_leaf, validity_from
from network.topology.values import NodeKind
from tests.fabric_binaries import fabric_binary, run_fabric
from tests.journeys.care import Care, running, write_network
from tests.ports import free_ports

pytestmark = pytest.mark.network

INVALID, REFUSED, DIFFERENT, INTERRUPTED = 3, 4, 10, 130
MEMBERS = ("GeneralHospital", "CityClinic", "UnitedPayer", "PatientTrust")


@pytest.fixture(scope="module")
def care(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    network = write_network(tmp_path_factory.mktemp("changes"))
    with running(network):
        network.enroll("PatientTrust/registrar", role="service")
        yield network


@contextmanager
def edited(care: Care) -> Iterator[Any]:
    """The network file's values, to be changed; written when done."""
    file = care.folder / "network.yaml"
    network = yaml.safe_load(file.read_text())
    yield network
    file.write_text(yaml.safe_dump(network, sort_keys=False))


def make_org(name: str) -> dict[str, Any]:
    peer, operations, chaincode = free_ports(3)
    return {
        "name": name,
        "domain": f"{name.lower()}.example",
        "role": "provider",
        "peers": [{"name": "peer0", "port": peer, "operationsPort": operations}],
        "chaincode": {"port": chaincode},
    }


def register(care: Care, *endorsers: str) -> None:
    """A patient is registered, endorsed by these organisations."""
    flags = [part for one in endorsers for part in ("--endorse-by", one)]
    registration = json.dumps({"handle": secrets.token_hex(16)})
    care.run(
        "chaincode", "invoke", "directory:RegisterPatient", registration, *flags,
        "--as", "PatientTrust/registrar",
    )  # fmt: skip


def sequence(care: Care) -> int:
    return int(care.result("channel", "show")["sequence"])


def test_a_fresh_network_is_as_its_file_says(care: Care) -> None:
    assert care.run("network", "plan").out == "nothing to do"


def test_a_setting_goes_from_proposal_to_block(care: Care) -> None:
    before = sequence(care)
    told = care.run("channel", "propose", "--set", "batch.maxMessages=50", "--out", "batch.pb")
    assert "~ Orderer/BatchSize/max_message_count: 500 → 50" in told.out
    assert "/Channel/Orderer/Admins: still needs ConsortiumMSP" in told.out
    refused = care.run("channel", "submit", "batch.pb", code=REFUSED)
    assert "still needs ConsortiumMSP" in refused.err
    assert sequence(care) == before
    assert care.run("channel", "diff", "batch.pb", code=DIFFERENT).out == told.out
    signed = care.run("channel", "sign", "batch.pb", "--as", "Consortium/Admin")
    assert "signed by enough" in signed.out
    care.run("channel", "submit", "batch.pb")
    assert care.result("channel", "show")["maxMessages"] == 50
    again = care.run("channel", "submit", "batch.pb", code=REFUSED)
    assert "The channel has changed since this was proposed" in again.err
    plan = care.run("network", "plan", code=DIFFERENT)
    assert plan.out == "care: cut blocks at 500 transactions, 2097152 bytes or 0.5 s"
    assert "medfabric network plan" in care.run("network", "up").err
    care.run("network", "apply")
    assert "medfabric network plan" not in care.run("network", "up").err
    assert care.result("channel", "show")["maxMessages"] == 500


def test_an_acl_is_in_force_at_once(care: Care) -> None:
    guard = "acls.qscc/GetBlockByNumber"
    change(
        care,
        *("--set", "policies.Payers=OR('UnitedPayerMSP.member')"),
        *("--set", f"{guard}=/Channel/Application/Payers"),
    )
    care.run("block", "show", "0", "--as", "UnitedPayer/Admin")
    refused = care.run("block", "show", "0", "--as", "CityClinic/Admin", code=REFUSED)
    assert "access denied" in refused.err
    change(care, "--set", f"{guard}=")
    care.run("block", "show", "0", "--as", "CityClinic/Admin")


def test_an_acl_of_a_policy_that_is_nowhere_is_warned_of(care: Care) -> None:
    doubt = "event/Block names Payer, a policy that does not exist: nobody may call it then"
    told = care.run("channel", "propose", "--set", "acls.event/Block=Payer", "--out", "no.pb")
    assert f"! acls.{doubt}" in told.out
    assert doubt in care.result_of("channel", "diff", "no.pb", code=DIFFERENT)["doubts"][0]
    kept = (care.folder / "network.yaml").read_text()
    with edited(care) as network:
        network["channels"][0]["acls"] = {"event/Block": "Payer"}
    try:
        plan = care.run("network", "plan", code=DIFFERENT)
        assert plan.out == "care: guard event/Block by Payer"
        assert f"channel care: acls.{doubt}" in plan.err
    finally:
        (care.folder / "network.yaml").write_text(kept)
    assert care.run("network", "plan").err == ""


def change(care: Care, *settings: str) -> None:
    """The settings are in force, signed by everybody."""
    care.run("channel", "propose", *settings, "--out", "change.pb")
    for name in (*MEMBERS, "Consortium"):
        care.run("channel", "sign", "change.pb", "--offline", "--as", f"{name}/Admin")
    care.run("channel", "submit", "change.pb")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("batch.maxMessages=none", "batch.maxMessages"),
        ("bach.timeout=1s", "did you mean batch.timeout?"),
        ("anchorPeers.CityClinik=a:1", "did you mean CityClinic?"),
        ("anchorPeers.CityClinic=nowhere", "write host:port"),
        ("capabilities.application=V9_9", "V9_9 is no application capability"),
        ("policies.Admins=OR('GoneMSP.admin')", "nobody could satisfy"),
        ("policies.Admins=MOST Admins", "policies.Admins"),
        ("batch.maxMessages=500", "nothing would change"),
        ("crl.CityClinic=network.yaml", "RevocationList"),
    ],
)
def test_mistakes_are_named_and_change_nothing(care: Care, setting: str, said: str) -> None:
    before = sequence(care)
    answer = care.run("channel", "propose", "--set", setting, "--out", "wrong.pb", code=None)
    assert answer.code in (2, INVALID, REFUSED), answer
    assert said in answer.err
    assert not (care.folder / "wrong.pb").exists()
    assert sequence(care) == before


def test_fabrics_tools_finish_what_we_proposed(care: Care) -> None:
    """`peer channel signconfigtx` and `peer channel update` on our network."""
    fabric_binary("peer")
    with edited(care) as network:
        consortium = network["organizations"][0]["orderers"][0]
    orderers = care.network / "organizations/ordererOrganizations/consortium.example"
    care.run("channel", "propose", "--set", "batch.timeout=400ms", "--out", "theirs.pb")
    environment = {
        "FABRIC_CFG_PATH": str(care.network / "nodes/peer0.hospital.example"),
        "CORE_PEER_LOCALMSPID": "ConsortiumMSP",
        "CORE_PEER_MSPCONFIGPATH": str(orderers / "users/Admin@consortium.example/msp"),
    }
    file = str(care.folder / "theirs.pb")
    run_fabric("peer", "channel", "signconfigtx", "-f", file, **environment)
    assert "signed by enough" in care.run("channel", "diff", file, code=DIFFERENT).out
    run_fabric(
        "peer", "channel", "update", "-f", file, "-c", "care",
        "-o", f"127.0.0.1:{consortium['port']}", "--tls", "--cafile",
        str(orderers / "tlsca/tlsca.consortium.example-cert.pem"), **environment,
    )  # fmt: skip
    change(care, "--set", "batch.timeout=500ms")


def test_an_organisation_a_peer_and_an_orderer_come(care: Care) -> None:
    """Late ones catch up, and the new organisation endorses."""
    orderer, admin, operations, second, watched = free_ports(5)
    with edited(care) as network:
        consortium, hospital = network["organizations"][:2]
        consortium["orderers"].append(
            {
                "name": "orderer1",
                "port": orderer,
                "adminPort": admin,
                "operationsPort": operations,
            }
        )
        hospital["peers"].append(
            {"name": "peer1", "port": second, "operationsPort": watched, "anchor": True}
        )
        network["organizations"].append(make_org("RuralClinic"))
        channel = network["channels"][0]
        channel["members"].append("RuralClinic")
        chaincode = channel["chaincodes"][0]
        chaincode["endorsement"] = chaincode["endorsement"].replace(
            "'CityClinicMSP.peer'", "'CityClinicMSP.peer', 'RuralClinicMSP.peer'"
        )
    planned = care.run("network", "plan", code=DIFFERENT).out.splitlines()
    for text in (
        "make keys and certificates of RuralClinic",
        "start peer0.ruralclinic.example",
        f"care: let 127.0.0.1:{orderer} order",
        "care: take RuralClinic in as a member",
        f"care: reach GeneralHospital at 127.0.0.1:{second}",
        "care: join peer1.hospital.example to it",
        "care: change chaincode health from 1.0 to 1.0, sequence 2",
    ):
        assert text in planned
    done = care.result("network", "apply")["done"]
    assert "care: the directory knows its organisations" in done
    assert care.run("network", "plan").out == "nothing to do"
    assert care.result("network", "apply")["done"] == []
    heights = {
        node["heights"]["care"]
        for node in care.result("network", "status")
        if node["kind"] in ("peer", "orderer")
    }
    assert len(heights) == 1
    register(care, "RuralClinic", "CityClinic")


def test_a_change_goes_as_a_file_to_those_who_must_sign(care: Care, tmp_path: Path) -> None:
    """Three of five administrators are elsewhere: the change waits in a file for one of them."""
    users = {
        name: folder
        for name, domain in zip(MEMBERS[1:], ("clinic", "payer", "trust"), strict=True)
        for folder in care.network.glob(f"organizations/*/{domain}.example/users/Admin@*/msp")
    }
    assert len(users) == 3
    shutil.copytree(
        care.network / "organizations/peerOrganizations/ruralclinic.example/msp", tmp_path / "msp"
    )
    before = sequence(care)
    add = ("org", "add", "Lab", "--msp", str(tmp_path / "msp"), "--msp-id", "LabMSP")
    kept = (care.folder / "network.yaml").read_text()
    try:
        for name, folder in users.items():
            (folder / "keystore").rename(tmp_path / name)
        with edited(care) as network:
            network["channels"][0]["policies"]["endorsement"] = "ANY Endorsement"
        plan = care.result_of("network", "plan", code=DIFFERENT)
        missing = [one["missing"] for one in plan["steps"] if one["kind"] == "config"]
        assert missing == [["CityClinicMSP", "PatientTrustMSP", "UnitedPayerMSP"]]
        refused = care.run(*add, "--out", "lab.pb", code=REFUSED)
        assert "still needs 1 of CityClinicMSP, PatientTrustMSP, UnitedPayerMSP" in refused.err
        assert sequence(care) == before
    finally:
        for name, folder in users.items():
            (tmp_path / name).rename(folder / "keystore")
        (care.folder / "network.yaml").write_text(kept)
    care.run("channel", "sign", "lab.pb", "--as", "UnitedPayer/Admin")
    care.run("channel", "submit", "lab.pb")
    assert "Lab" in {one["name"] for one in care.result("org", "list")}
    taken = care.run(*add[:2], "Labs", *add[3:], code=REFUSED)
    assert "the MSP id LabMSP is Lab's already" in taken.err
    care.run("org", "remove", "Lab", "--yes")
    assert care.run("network", "plan").out == "nothing to do"


def test_what_the_file_cannot_ask_for(care: Care) -> None:
    file = care.folder / "network.yaml"
    kept = file.read_text()
    before = sequence(care)
    cases: dict[str, tuple[str, str]] = {
        "an MSP id never changes": ("mspId: CityClinicMSP", "mspId: ClinicMSP"),
        "capabilities would go from V3_0 back to V2_0": (
            "version: 1\n",
            "version: 1\nfabricVersion: '2.5'\n",
        ),
        "cannot be taken away": (
            "name: claims-GeneralHospital-UnitedPayer",
            "name: claims-of-another-name",
        ),
        "cannot be changed": ("blockToLive: 0", "blockToLive: 7"),
    }
    try:
        for said, (old, new) in cases.items():
            text = kept.replace(old, new, 1)
            if new == "mspId: ClinicMSP":
                text = text.replace("'CityClinicMSP.", "'ClinicMSP.")
            assert text != kept, old
            file.write_text(text)
            refused = care.run("network", "plan", code=REFUSED)
            assert said in refused.out
            assert said in care.run("network", "apply", code=REFUSED).err
    finally:
        file.write_text(kept)
    assert sequence(care) == before


def test_the_revoked_are_refused_by_peers_and_orderers(care: Care) -> None:
    care.enroll("CityClinic/bob", role="clinician")
    care.run("chaincode", "query", "directory:WhoAmI", "--as", "CityClinic/bob")
    told = care.result(
        "identity", "revoke", "CityClinic/bob", "--publish", "--yes", "--as", "CityClinic/Admin"
    )
    assert told["channels"] == ["care"]
    for command in (
        ("chaincode", "query", "directory:WhoAmI"),  # asks a peer
        ("channel", "config"),  # asks an orderer
    ):
        care.run(*command, "--as", "CityClinic/bob", code=REFUSED)
    listed = {one["name"]: one["revoked"] for one in care.result("org", "list")}
    assert listed["CityClinic"] == 1
    last = care.run("identity", "revoke", "CityClinic/Admin", "--publish", "--yes", code=REFUSED)
    assert "last administrator of CityClinic" in last.err
    care.run("chaincode", "query", "directory:WhoAmI", "--as", "CityClinic/Admin")


def test_nodes_are_renewed_while_the_network_runs(care: Care) -> None:
    tls = care.network / (
        "organizations/ordererOrganizations/consortium.example/orderers/"
        "orderer0.consortium.example/tls/server.crt"
    )
    old = tls.read_bytes()
    done = care.result("network", "renew", "orderer0", "peer0.clinic")
    assert [one["channels"] for one in done] == [["care"], []]
    assert tls.read_bytes() != old
    register(care)
    assert care.run("network", "plan").out == "nothing to do"
    wrong = care.run("network", "renew", "peer9", code=INVALID)
    assert "names no node" in wrong.err


def test_servers_beside_the_nodes_are_renewed_too(care: Care) -> None:
    names = ("chaincode.clinic.example", "exchange.clinic.example")
    clinic = care.network / "organizations/peerOrganizations/clinic.example"
    servers = {name: clinic / name.partition(".")[0] / "tls" / "server.crt" for name in names}
    old = {name: file.read_text() for name, file in servers.items()}
    before = {one["name"]: one for one in care.result("network", "status")}
    assert {before[name]["state"] for name in names} == {"running"}
    assert care.result("network", "renew", "--dry-run", *names) == {"nodes": list(names)}
    done = care.result("network", "renew", *names)
    assert [(one["node"], one["channels"]) for one in done] == list(
        zip(names, (["care"], []), strict=True)
    )
    after = {one["name"]: one for one in care.result("network", "status")}
    for name, file in servers.items():
        host, _, port = after[name]["address"].rpartition(":")
        served = ssl.get_server_certificate((host, int(port)))
        assert served.strip() == file.read_text().strip() != old[name].strip()
        assert after[name]["state"] == "running"
        assert after[name]["pid"] != before[name]["pid"]
    register(care, "CityClinic", "GeneralHospital")
    assert care.run("network", "plan").out == "nothing to do"


def test_a_second_ca_takes_over_from_the_first(care: Care) -> None:
    """Its people are nobody; then its certificate is put beside the first one's and applied."""
    clinic = care.network / "organizations/peerOrganizations/clinic.example"
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    ca = build_ca(
        common_name="ca2.clinic.example",
        organization="clinic.example",
        key=key,
        serial=1001,
        validity=validity_from(now, 3650),
    )
    for name, role in (("newcomer", "client"), ("successor", "admin")):
        issue(clinic, name, role, Authority(ca, key), now)
    refused = care.run(
        "chaincode", "query", "directory:WhoAmI", "--as", "CityClinic/newcomer", code=REFUSED
    )
    assert "access denied" in refused.err
    (clinic / "msp" / "cacerts" / "ca2.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    plan = care.run("network", "plan", code=DIFFERENT).out
    assert "make 1 CA certificate(s) of CityClinic known" in plan
    care.run("network", "apply")
    assert care.run("network", "plan").out == "nothing to do"
    for name in ("newcomer", "successor", "Admin"):
        care.run("chaincode", "query", "directory:WhoAmI", "--as", f"CityClinic/{name}")
    # As an administrator, to its own organisation's peer and to the channel.
    assert asyncio.run(list_installed(care, "CityClinic/successor"))
    care.run("channel", "propose", "--set", "batch.maxMessages=70", "--out", "second.pb")
    signed = care.run("channel", "sign", "second.pb", "--as", "CityClinic/successor")
    assert "CityClinicMSP" in signed.out
    register(care, "CityClinic", "GeneralHospital")


async def list_installed(care: Care, administrator: str) -> list[lifecycle.Installed]:
    """What an administrator's own peer has installed: it asks its local MSP who that is."""
    surroundings = load_surroundings(care.folder / "network.yaml")
    organization = surroundings.topology.organization(administrator.partition("/")[0])
    (node,) = surroundings.nodes(NodeKind.PEER, organization)
    signer = surroundings.signer(administrator)
    async with PeerClient(surroundings.endpoint(node), signer) as peer:
        return await lifecycle.get_installed(peer)


def issue(organization: Path, name: str, role: str, ca: Authority, now: datetime) -> None:
    """Somebody has a certificate of this CA, in an MSP folder as others' are."""
    key = ec.generate_private_key(ec.SECP256R1())
    full_name = f"{name}@{organization.name}"
    certificate = build_leaf(
        common_name=full_name,
        public_key=key.public_key(),
        issuer=ca,
        serial=secrets.randbits(64),
        validity=validity_from(now, 365),
        ous=[role],
    )
    users = organization / "users"
    shutil.copytree(users / f"User1@{organization.name}", users / full_name)
    msp = users / full_name / "msp"
    for folder in ("signcerts", "keystore"):
        shutil.rmtree(msp / folder)
        (msp / folder).mkdir()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (msp / "keystore" / "priv_sk").write_bytes(pem)
    (msp / "signcerts" / f"{full_name}-cert.pem").write_bytes(
        certificate.public_bytes(Encoding.PEM)
    )


def test_they_go_again(care: Care) -> None:
    """First only from the channel: its own people are refused. Then with their nodes."""
    with edited(care) as network:
        channel = network["channels"][0]
        channel["members"].remove("RuralClinic")
        chaincode = channel["chaincodes"][0]
        chaincode["endorsement"] = chaincode["endorsement"].replace(", 'RuralClinicMSP.peer'", "")
    asked = care.run("network", "apply", stdin="n\n", code=INTERRUPTED)
    assert "remove RuralClinic from the members" in asked.err
    assert "RuralClinic" in {one["name"] for one in care.result("org", "list")}
    care.run("network", "apply", "--yes")
    assert "RuralClinic" not in {one["name"] for one in care.result("org", "list")}
    refused = care.run("channel", "config", "--as", "RuralClinic/Admin", code=REFUSED)
    assert "FORBIDDEN" in refused.err
    register(care)
    with edited(care) as network:
        network["organizations"] = [
            one for one in network["organizations"] if one["name"] != "RuralClinic"
        ]
        del network["organizations"][0]["orderers"][1:]
        del network["organizations"][1]["peers"][1:]
    done = care.result("network", "apply", "--yes")["done"]
    for text in (
        "stop orderer1.consortium.example",
        "stop peer0.ruralclinic.example",
        "stop peer1.hospital.example",
    ):
        assert text in done
    assert care.run("network", "plan").out == "nothing to do"
    register(care)
    care.run("ledger", "verify")
