"""Channel configuration changes on Fabric's own orderer and peers, by our command line.

A change passes through Fabric's tools and ours in turn; what the real orderer refuses we refuse
beforehand, in its words. Skipped, with the reason, where Fabric's binaries are not found.
"""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from admin.procedures.networks.membership import change_channel
from network.client import channel, configuration, participation
from network.client.configuration import Proposal, fetch_config
from network.client.endpoint import Endpoint
from network.client.errors import SubmitError
from network.client.orderer import OrdererClient
from network.client.profile import load_surroundings
from network.client.rest import RestEndpoint
from network.rules.channel.config import ChannelConfig, Consenter
from network.rules.channel.configedit import (
    Change,
    add_consenter,
    change_msp,
    edit_config,
    replace_consenter,
    set_capabilities,
    set_policy,
)
from network.rules.channel.configtx import RefusedUpdate
from network.rules.identity.certificates import (
    Revocation,
    Validity,
    build_crl,
    build_tls_leaf,
    certificate_pem,
    private_key_pem,
)
from network.rules.identity.identity import Signer
from network.topology.materials import load_authority
from network.topology.mspfolder import load_signer
from tests.conformance.operated import describe, operate
from tests.conformance.real_fabric import Organization, RealFabric
from tests.fabric_binaries import run_fabric
from tests.journeys.care import Care
from tests.ports import free_ports

pytestmark = pytest.mark.network

REFUSED, DIFFERENT = 4, 10


@pytest.fixture(scope="module")
def fabric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealFabric]:
    with RealFabric.start(tmp_path_factory.mktemp("fabric")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(fabric: RealFabric, tmp_path_factory: pytest.TempPathFactory) -> Care:
    return operate(fabric, tmp_path_factory.mktemp("operator"))


def official(fabric: RealFabric, org: str, *arguments: str, cwd: Path) -> str:
    """What the official `peer` prints for the administrator of Org1, Org2 or the orderers."""
    if org == "Orderer":
        found, msp_id = fabric.folder / "crypto/ordererOrganizations/example.com", "OrdererMSP"
        domain = "example.com"
    else:
        domain, msp_id = f"{org.lower()}.example.com", f"{org}MSP"
        found = fabric.folder / f"crypto/peerOrganizations/{domain}"
    peer = fabric.organizations[0]
    return run_fabric(
        "peer",
        *(str(cwd / part) if part.endswith(".pb") else part for part in arguments),
        FABRIC_CFG_PATH=str(fabric._config_folder),
        CORE_PEER_LOCALMSPID=msp_id,
        CORE_PEER_MSPCONFIGPATH=str(found / f"users/Admin@{domain}/msp"),
        CORE_PEER_ADDRESS=peer.peer_address,
        CORE_PEER_TLS_ENABLED="true",
        CORE_PEER_TLS_ROOTCERT_FILE=str(peer.tls_root),
    )


def orderer_admin(fabric: RealFabric) -> Signer:
    users = fabric.folder / "crypto/ordererOrganizations/example.com/users"
    return load_signer(users / "Admin@example.com/msp", "OrdererMSP")


def orderer_client(fabric: RealFabric, signer: Signer) -> OrdererClient:
    ca = fabric.folder / "crypto/ordererOrganizations/example.com/tlsca"
    root = next(ca.glob("*.pem")).read_bytes()
    address = f"127.0.0.1:{fabric.orderer_port}"
    return OrdererClient(Endpoint(address, root, "orderer.example.com"), signer)


def view(care: Care) -> Any:
    return care.result("channel", "show", "--as", "Org1/Admin")


def test_the_configuration_reads_as_configtxlator_writes_it(
    fabric: RealFabric, operator: Care, tmp_path: Path
) -> None:
    if fabric.version < (3, 0):
        pytest.skip("configtxlator 2.5 writes what is absent otherwise than 3.x")
    block = tmp_path / "config.block"
    operator.run("channel", "fetch", "config", "--out", str(block), "--from-orderer")
    theirs = run_fabric("configtxlator", "proto_decode", "--type=common.Block", f"--input={block}")
    assert operator.run("channel", "config", "--from", str(block)).out == theirs.strip()
    config = json.loads(theirs)["data"]["data"][0]["payload"]["data"]["config"]
    assert operator.result("channel", "config") == config


def test_a_change_passes_through_both_tools(fabric: RealFabric, operator: Care) -> None:
    """Ours proposes, Fabric's signs, ours submits; then ours signs and Fabric's submits."""
    folder = operator.folder
    proposed = operator.run(
        "channel", "propose", "--set", "batch.maxMessages=33", "--out", "one.pb"
    )
    assert "500 → 33" in proposed.out
    assert "still needs OrdererMSP" in proposed.out
    refused = operator.run("channel", "submit", "one.pb", code=REFUSED)
    assert "still needs OrdererMSP" in refused.err
    official(fabric, "Orderer", "channel", "signconfigtx", "-f", "one.pb", cwd=folder)
    shown = operator.run("channel", "diff", "one.pb", code=DIFFERENT)
    assert "signed by OrdererMSP/Admin@example.com" in shown.out
    operator.run("channel", "submit", "one.pb", "--as", "Org1/Admin")
    assert view(operator)["maxMessages"] == 33

    operator.run("channel", "propose", "--set", "batch.maxMessages=44", "--out", "two.pb")
    operator.run("channel", "sign", "two.pb", "--as", "Orderer/Admin")
    official(
        fabric, "Org2", "channel", "update", "-f", "two.pb", "-c", fabric.channel,
        *fabric._orderer_flags(), cwd=folder,
    )  # fmt: skip
    await_sequence(operator, 2)
    assert view(operator)["maxMessages"] == 44


def await_sequence(care: Care, sequence: int) -> None:
    deadline = time.monotonic() + 20
    while view(care)["sequence"] < sequence and time.monotonic() < deadline:
        time.sleep(0.2)
    assert view(care)["sequence"] >= sequence


def test_configtxlators_update_is_taken(operator: Care, tmp_path: Path) -> None:
    """What compute_update writes is signed and submitted as it is."""
    config = operator.result("channel", "config")
    (tmp_path / "before.json").write_text(json.dumps(config))
    orderer = config["channel_group"]["groups"]["Orderer"]["values"]
    orderer["BatchSize"]["value"]["max_message_count"] = 55
    (tmp_path / "after.json").write_text(json.dumps(config))
    for name in ("before", "after"):
        run_fabric(
            "configtxlator", "proto_encode", "--type=common.Config",
            f"--input={tmp_path / name}.json", f"--output={tmp_path / name}.pb",
        )  # fmt: skip
    run_fabric(
        "configtxlator", "compute_update", "--channel_id=care", f"--output={tmp_path}/update.pb",
        f"--original={tmp_path}/before.pb", f"--updated={tmp_path}/after.pb",
    )  # fmt: skip
    ours = tmp_path / "ours.pb"
    operator.run("channel", "propose", "--config", str(tmp_path / "after.json"), "--out", str(ours))
    theirs = (tmp_path / "update.pb").read_bytes()
    assert Proposal.from_bytes(ours.read_bytes()).update == theirs
    operator.run("channel", "sign", str(tmp_path / "update.pb"), "--as", "Orderer/Admin")
    operator.run("channel", "submit", str(tmp_path / "update.pb"), "--as", "Org1/Admin")
    assert view(operator)["maxMessages"] == 55


def make_org3(fabric: RealFabric) -> Organization:
    (fabric.folder / "org3.yaml").write_text(
        json.dumps(
            {
                "PeerOrgs": [
                    {
                        "Name": "Org3",
                        "Domain": "org3.example.com",
                        "EnableNodeOUs": True,
                        "Template": {"Count": 1, "SANS": ["localhost", "127.0.0.1"]},
                        "Users": {"Count": 1},
                    }
                ]
            }
        )
    )
    crypto = fabric.folder / "crypto"
    run_fabric(
        "cryptogen", "generate", f"--config={fabric.folder / 'org3.yaml'}", f"--output={crypto}"
    )
    ports = free_ports(3)
    folder = crypto / "peerOrganizations/org3.example.com"
    return Organization("Org3", "org3.example.com", folder, *ports)


def test_an_organisation_comes_and_goes(fabric: RealFabric, operator: Care) -> None:
    """Its real peer joins late and catches up; removed, it may no longer write nor read."""
    org3 = make_org3(fabric)
    anchor = f"127.0.0.1:{org3.peer_port}"
    dry = operator.run(
        "org", "add", "Org3", "--msp", str(org3.folder / "msp"), "--anchor", anchor, "--dry-run"
    )
    assert "+ Application/Org3: organisation Org3MSP" in dry.out
    operator.run("org", "add", "Org3", "--msp", str(org3.folder / "msp"), "--anchor", anchor)
    listed = {one["name"]: one for one in operator.result("org", "list")}
    assert listed["Org3"]["anchorPeers"] == [anchor]
    fabric.start_peer(org3)
    fabric.peer(org3, "channel", "join", "-b", str(fabric.folder / f"{fabric.channel}.block"))
    describe(fabric, operator.folder, (*fabric.organizations, org3))
    wanted = {view(operator)["sequence"]}
    deadline = time.monotonic() + 30
    while sequence_at(operator, "Org3") not in wanted and time.monotonic() < deadline:
        time.sleep(0.3)
    assert sequence_at(operator, "Org3") in wanted
    assert operator.run("org", "add", "Org3", code=REFUSED).err.count("already") == 1

    operator.run("org", "remove", "Org3", "--yes")
    assert "Org3" not in {one["name"] for one in operator.result("org", "list")}
    before = view(operator)["sequence"]
    refused = operator.run("channel", "config", "--as", "Org3/Admin", code=REFUSED)
    assert "FORBIDDEN" in refused.err
    fabric.stop_process("peer-Org3")
    describe(fabric, operator.folder, fabric.organizations)
    last = operator.run("org", "remove", "Orderer", "--yes", code=REFUSED)
    assert "still orders the channel" in last.err
    assert view(operator)["sequence"] == before


def sequence_at(care: Care, org: str) -> int:
    answer = care.run("channel", "show", "--json", "--as", f"{org}/Admin", code=None)
    return -1 if answer.code else int(answer.json()["sequence"])


def test_the_revoked_are_refused(fabric: RealFabric, operator: Care, tmp_path: Path) -> None:
    org1 = fabric.organizations[0]
    ca = load_authority(org1.folder / "ca")
    user = x509.load_pem_x509_certificate(
        next((org1.user_msp("User1") / "signcerts").iterdir()).read_bytes()
    )
    now = datetime.now(UTC)
    crl = build_crl(
        issuer=ca,
        revocations=[Revocation(user.serial_number, now)],
        number=1,
        this_update=now,
        next_update=now + timedelta(days=30),
    )
    (tmp_path / "org1.crl").write_bytes(crl)
    operator.run("channel", "config", "--as", "Org1/User1")
    operator.run(
        "channel", "propose", "--set", f"crl.Org1={tmp_path / 'org1.crl'}", "--sign",
        "--out", "crl.pb", "--as", "Org1/Admin",
    )  # fmt: skip
    operator.run("channel", "submit", "crl.pb", "--as", "Org1/Admin")
    refused = operator.run("channel", "config", "--as", "Org1/User1", code=REFUSED)
    assert "FORBIDDEN" in refused.err
    assert operator.run("channel", "show", "--as", "Org1/User1", code=REFUSED)
    listed = {one["name"]: one for one in operator.result("org", "list")}
    assert listed["Org1"]["revoked"] == 1


def issue_tls(fabric: RealFabric, org: str = "ordererOrganizations/example.com") -> Consenter:
    """A consenter's certificate by the TLS CA of an organisation; the key beside it on disk."""
    ca = load_authority(fabric.folder / "crypto" / org / "tlsca")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    leaf = build_tls_leaf(
        common_name="orderer.example.com",
        public_key=key.public_key(),
        issuer=ca,
        serial=secrets.randbits(100),
        validity=Validity(now - timedelta(hours=1), now + timedelta(days=30)),
        hosts=("orderer.example.com", "orderer", "localhost", "127.0.0.1"),
    )
    pem = certificate_pem(leaf)
    (fabric.folder / "renewed.key").write_bytes(private_key_pem(key))
    return Consenter("127.0.0.1", fabric.orderer_port, pem, pem)


async def present(fabric: RealFabric) -> ChannelConfig:
    async with orderer_client(fabric, orderer_admin(fabric)) as orderer:
        return await fetch_config(orderer, fabric.channel)


def moved(consenter: Consenter, port: int) -> Consenter:
    certificate = consenter.server_tls_certificate
    return Consenter(consenter.host, port, certificate, certificate)


def drop_options(root: Any) -> None:
    from fabric_protos.orderer import configuration_pb2
    from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2

    value = root.groups["Orderer"].values["ConsensusType"]
    consensus = configuration_pb2.ConsensusType.FromString(value.value)
    metadata = raft_pb2.ConfigMetadata.FromString(consensus.metadata)
    metadata.options.heartbeat_tick = metadata.options.election_tick
    consensus.metadata = metadata.SerializeToString()
    value.value = consensus.SerializeToString()


def forget_consenters(root: Any) -> None:
    from fabric_protos.orderer import configuration_pb2
    from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2

    value = root.groups["Orderer"].values["ConsensusType"]
    consensus = configuration_pb2.ConsensusType.FromString(value.value)
    metadata = raft_pb2.ConfigMetadata.FromString(consensus.metadata)
    del metadata.consenters[:]
    consensus.metadata = metadata.SerializeToString()
    value.value = consensus.SerializeToString()


CASES = (
    "unsigned",
    "two consenters",
    "a stranger's consenter",
    "a consenter twice",
    "no consenters",
    "ticks",
    "orderer capability",
    "channel capability",
    "a policy of nobody",
    "an MSP without CAs",
    "no messages in a batch",
    "an unknown value",
    "another MSP id",
    "no orderer",
)


def make_changes(case: str, fabric: RealFabric) -> list[Change]:
    one, two = issue_tls(fabric), issue_tls(fabric)
    stranger = issue_tls(fabric, "peerOrganizations/org1.example.com")
    base = "V3_0" if fabric.version >= (3, 0) else "V2_0"
    cases: dict[str, list[Change]] = {
        "unsigned": [set_policy(("Orderer",), "Writers", "ANY Readers")],
        "two consenters": [add_consenter(moved(one, 1)), add_consenter(moved(two, 2))],
        "a stranger's consenter": [add_consenter(moved(stranger, 1))],
        "a consenter twice": [add_consenter(moved(one, 1)), add_consenter(moved(one, 2))],
        "no consenters": [forget_consenters],
        "ticks": [drop_options],
        "orderer capability": [set_capabilities("orderer", ["V2_0", "V9_0"])],
        "channel capability": [set_capabilities("channel", [base, "V9_0"])],
        "a policy of nobody": [drop_policy],
        "an MSP without CAs": [change_msp("Org1MSP", drop_roots)],
        "no messages in a batch": [empty_batch],
        "an unknown value": [add_unknown],
        "another MSP id": [change_msp("Org1MSP", rename)],
        "no orderer": [drop_orderer],
    }
    return cases[case]


def drop_roots(msp: Any) -> None:
    del msp.root_certs[:]


def rename(msp: Any) -> None:
    msp.name = "OtherMSP"


def empty_batch(root: Any) -> None:
    root.groups["Orderer"].values["BatchSize"].value = b""


def add_unknown(root: Any) -> None:
    root.groups["Application"].values["Weather"].mod_policy = "Admins"


def drop_orderer(root: Any) -> None:
    del root.groups["Orderer"]


def drop_policy(root: Any) -> None:
    root.groups["Orderer"].policies["Admins"].policy.value = b"\xff"


@pytest.mark.parametrize("case", CASES)
async def test_what_the_orderer_refuses_we_refuse_in_its_words(
    fabric: RealFabric, case: str
) -> None:
    config = await present(fabric)
    updated = edit_config(config.config, make_changes(case, fabric))
    proposal = configuration.propose(config, updated)
    if case != "unsigned":
        proposal = proposal.sign(orderer_admin(fabric))
        for org in fabric.organizations:
            proposal = proposal.sign(org.signer("Admin"))
    with pytest.raises(RefusedUpdate) as ours:
        proposal.preview(config)
    async with orderer_client(fabric, orderer_admin(fabric)) as orderer:
        with pytest.raises(SubmitError) as theirs:
            await configuration.submit(orderer, proposal, orderer_admin(fabric))
    # Go's protobuf puts a no-break space after "proto:" in some builds.
    text = theirs.value.message.partition(": ")[2].replace("\xa0", " ")
    prefix = f"error applying config update to existing channel '{fabric.channel}': "
    assert text.startswith(prefix)
    said = text.removeprefix(prefix).removeprefix(
        "consensus metadata update for channel config update is invalid: "
    )
    assert str(ours.value) == said
    assert (await present(fabric)).sequence == config.sequence


async def test_a_consenter_comes_and_its_certificate_is_replaced(
    fabric: RealFabric, operator: Care
) -> None:
    """A second Raft node joins; its new certificate enters the channel first, then its folder.

    A sole consenter's cannot be replaced on Fabric: it has nobody to hand leadership to.
    """
    crypto = {
        "OrdererOrgs": [
            {
                "Name": "Orderer",
                "Domain": "example.com",
                "EnableNodeOUs": True,
                "Specs": [{"Hostname": "second", "SANS": ["localhost", "127.0.0.1"]}],
            }
        ]
    }
    (fabric.folder / "second.yaml").write_text(json.dumps(crypto))
    run_fabric(
        "cryptogen", "extend", f"--config={fabric.folder / 'second.yaml'}",
        f"--input={fabric.folder / 'crypto'}",
    )  # fmt: skip
    tls = fabric.folder / "crypto/ordererOrganizations/example.com/orderers/second.example.com/tls"
    port, admin_port = free_ports(2)
    first = (tls / "server.crt").read_bytes()
    surroundings = load_surroundings(operator.folder / "network.yaml")
    admin = orderer_admin(fabric)

    async def change(change: Change) -> None:
        await change_channel(surroundings, admin, fabric.channel, [change])

    fabric.start_orderer(host="second", port=port, admin_port=admin_port)
    await change(add_consenter(Consenter("127.0.0.1", port, first, first)))
    users = fabric.folder / "crypto/ordererOrganizations/example.com/users/Admin@example.com/tls"
    rest = RestEndpoint(
        f"127.0.0.1:{admin_port}", tls / "ca.crt", users / "client.crt", users / "client.key"
    )
    async with orderer_client(fabric, admin) as orderer:
        block = await channel.fetch(orderer, fabric.channel, "config")
    await participation.join(rest, block.SerializeToString())
    await await_active(rest, fabric.channel, block.header.number + 1)

    renewed = issue_tls(fabric)
    certificate = renewed.server_tls_certificate
    await change(
        replace_consenter(
            ("127.0.0.1", port), Consenter("127.0.0.1", port, certificate, certificate)
        )
    )
    fabric.stop_process("second")
    (tls / "server.crt").write_bytes(certificate)
    shutil.copy(fabric.folder / "renewed.key", tls / "server.key")
    (fabric.folder / "second.log").unlink()  # it says already that it serves
    fabric.start_orderer(host="second", port=port, admin_port=admin_port)
    await await_active(rest, fabric.channel, block.header.number + 2)
    # Two consenters order only together.
    operator.run(
        "channel", "propose", "--set", "batch.maxMessages=66", "--sign", "--as", "Orderer/Admin"
    )
    operator.run("channel", "submit", f"{fabric.channel}_update.pb", "--as", "Org2/Admin")
    assert view(operator)["maxMessages"] == 66


async def await_active(rest: RestEndpoint, name: str, height: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        found = await participation.get_channel(rest, name)
        if found and found.status == "active" and found.height >= height:
            assert found.relation == "consenter"
            return
        await asyncio.sleep(0.3)
    raise AssertionError(found)
