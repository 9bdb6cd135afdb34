"""Material on disk: complete, secret where it must be, resumable, and read by Fabric's `peer`."""

import os
import secrets
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from fabric_protos.common import common_pb2, configtx_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.channel.configtx import compute_update, update_signed_data
from network.rules.envelope import (
    SignedData,
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
    open_envelope,
)
from network.rules.identity.certificates import read_attributes
from network.rules.identity.identity import verify_signature
from network.rules.identity.msp import Msp, open_msp_config
from network.rules.identity.principals import role_principal
from network.topology import materials as materials_module
from network.topology.channelspec import build_genesis
from network.topology.folders import Folders
from network.topology.materials import MissingKey, generate_materials, load_authority
from network.topology.model import parse_topology
from network.topology.mspfolder import InvalidMspFolder, load_msp_config, load_signer
from network.topology.safefiles import write_file
from tests.fabric_binaries import run_fabric
from tests.network.topology.examples import NOW, SMALL, small, small_materials


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_keys_are_for_their_owner_only() -> None:
    folder = small_materials() / "organizations"
    for path in folder.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        else:
            secret = b"PRIVATE KEY" in path.read_bytes()
            assert mode == (0o600 if secret else 0o644), path
            assert secret == (path.name == "priv_sk" or path.suffix == ".key"), path


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    first = generate_materials(small(), tmp_path, NOW)
    before = snapshot(tmp_path)
    second = generate_materials(small(), tmp_path, NOW + timedelta(days=1))
    assert snapshot(tmp_path) == before
    assert len(first.written) == len(before)
    assert (second.written, first.kept) == ([], 0)


def test_missing_parts_are_added_and_the_rest_kept(tmp_path: Path) -> None:
    generate_materials(small(), tmp_path, NOW)
    before = snapshot(tmp_path)
    peer = tmp_path / "organizations/peerOrganizations/alpha.example/peers/peer0.alpha.example"
    certificate = peer / "msp/signcerts/peer0.alpha.example-cert.pem"
    certificate.unlink()
    larger = parse_topology(
        SMALL.replace("port: 7251}]", "port: 7251}, {name: peer1, port: 7351}]")
    )
    progress = generate_materials(larger, tmp_path, NOW)
    after = snapshot(tmp_path)
    kept = {name: content for name, content in before.items() if after.get(name) == content}
    assert len(kept) == len(before) - 1
    assert certificate in progress.written
    assert any("peer1.beta.example" in str(path) for path in progress.written)
    # The key was there and is used again.
    load_signer(peer / "msp", "AlphaMSP")


def test_every_interruption_can_be_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power off before each single file: the next run completes it to a working whole."""
    real, topology = write_file, small()
    total = len(generate_materials(topology, tmp_path / "whole", NOW).written)
    for limit in range(0, total, 9):
        folder = tmp_path / f"cut{limit}"
        left = limit

        def cut(path: Path, content: bytes, *, secret: bool = False) -> None:
            nonlocal left
            if left == 0:
                (path.parent).mkdir(parents=True, exist_ok=True)
                (path.parent / f".{path.name}.partial").write_bytes(content[:10])
                raise InterruptedError
            left -= 1
            real(path, content, secret=secret)

        monkeypatch.setattr(materials_module, "write_file", cut)
        with pytest.raises(InterruptedError):
            generate_materials(topology, folder, NOW)
        monkeypatch.setattr(materials_module, "write_file", real)
        generate_materials(topology, folder, NOW)
        assert not list(folder.rglob("*.partial"))
        assert set(snapshot(folder)) == set(snapshot(tmp_path / "whole"))
        block = build_genesis(topology, topology.channels[0], folder, b"n" * 24, NOW)
        config = ChannelConfig.from_block(block)
        for org in topology.organizations:
            signer = load_signer(Folders(folder).user_msp(org, "Admin"), org.msp_id)
            msp = config.msps.msp(org.msp_id)
            msp.satisfies(msp.identity(signer.creator), role_principal(org.msp_id, 1))


def test_ca_key_kept_elsewhere(tmp_path: Path) -> None:
    generate_materials(small(), tmp_path, NOW)
    org = tmp_path / "organizations/peerOrganizations/alpha.example"
    (org / "ca/priv_sk").unlink()
    assert generate_materials(small(), tmp_path, NOW).written == []
    (org / "users/User1@alpha.example/msp/signcerts/User1@alpha.example-cert.pem").unlink()
    with pytest.raises(MissingKey, match=r"User1@alpha\.example is missing and the CA's key"):
        generate_materials(small(), tmp_path, NOW)
    with pytest.raises(MissingKey, match="no CA certificate together with its key"):
        load_authority(org / "ca")
    assert (
        load_authority(org / "tlsca")
        .certificate.subject.rfc4514_string()
        .startswith("CN=tlsca.alpha.example")
    )


def test_validity_and_users_of_the_topology(tmp_path: Path) -> None:
    text = SMALL.replace(
        "role: payer,", "role: payer, users: [{name: officer, attributes: {role: claims}}],"
    )
    text += "certificates: {caValidity: 10y, validity: 90d}\n"
    generate_materials(parse_topology(text), tmp_path, NOW)
    org = tmp_path / "organizations/peerOrganizations/beta.example"
    path = org / "users/officer@beta.example/msp/signcerts/officer@beta.example-cert.pem"
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    assert read_attributes(certificate) == {"role": "claims"}
    assert certificate.not_valid_after_utc == datetime(2026, 5, 30, 11, 55, tzinfo=UTC)
    ca = load_authority(org / "ca").certificate
    assert (ca.not_valid_after_utc - ca.not_valid_before_utc).days == 3650


def test_tls_names_cover_how_nodes_are_called() -> None:
    folder = small_materials() / "organizations/peerOrganizations/alpha.example"
    for name, fqdn in (
        ("peers/peer0.alpha.example/tls/server.crt", "peer0.alpha.example"),
        ("chaincode/tls/server.crt", "chaincode.alpha.example"),
    ):
        certificate = x509.load_pem_x509_certificate((folder / name).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {fqdn, "localhost"} <= set(names.get_values_for_type(x509.DNSName))
        assert "127.0.0.1" in {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}


# MSP folders


def admin_msp() -> Path:
    return (
        small_materials()
        / "organizations/peerOrganizations/alpha.example/users/Admin@alpha.example/msp"
    )


def copy_msp(target: Path) -> Path:
    for path in admin_msp().rglob("*"):
        if path.is_file():
            place = target / path.relative_to(admin_msp())
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def test_key_is_found_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    msp = copy_msp(tmp_path)
    key = (msp / "keystore/priv_sk").read_bytes()
    (msp / "keystore/priv_sk").rename(msp / "keystore/zzz.pem")
    (msp / "keystore/aaa.pem").write_bytes(b"no key at all")
    signer = load_signer(msp, "AlphaMSP")
    assert signer.certificate_pem in [p.read_bytes() for p in (msp / "signcerts").iterdir()]
    (msp / "keystore/zzz.pem").unlink()
    with pytest.raises(InvalidMspFolder, match="no private key in") as caught:
        load_signer(msp, "AlphaMSP")
    assert key.decode()[40:60] not in str(caught.value)


def test_expired_signer_is_refused_when_asked() -> None:
    load_signer(admin_msp(), "AlphaMSP", NOW)
    with pytest.raises(InvalidMspFolder, match="signing identity expired"):
        load_signer(admin_msp(), "AlphaMSP", NOW + timedelta(days=4000))


def test_folder_rules(tmp_path: Path) -> None:
    msp = copy_msp(tmp_path)
    (msp / "cacerts/notes.txt").write_text("no PEM: passed over")
    (msp / "tlsintermediatecerts").mkdir()
    config = open_msp_config(load_msp_config(msp, "AlphaMSP"))
    assert len(config.root_certs) == 1
    assert config.fabric_node_ous.admin_ou_identifier.certificate == config.root_certs[0]
    assert not config.HasField("signing_identity")
    text = (msp / "config.yaml").read_text().replace("Enable: true", "Enable: false")
    (msp / "config.yaml").write_text(text)
    assert not open_msp_config(load_msp_config(msp, "AlphaMSP")).HasField("fabric_node_ous")


def test_missing_certifier_means_any_chain(tmp_path: Path) -> None:
    msp = copy_msp(tmp_path)
    text = (msp / "config.yaml").read_text().replace("cacerts/", "elsewhere/")
    (msp / "config.yaml").write_text(text)
    config = open_msp_config(load_msp_config(msp, "AlphaMSP"))
    assert config.fabric_node_ous.admin_ou_identifier.certificate == b""
    Msp(config)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidMspFolder, match="no ca certificate found"):
        load_msp_config(tmp_path, "AlphaMSP")
    with pytest.raises(InvalidMspFolder, match="no signing certificate found"):
        load_signer(tmp_path, "AlphaMSP")


def test_a_second_ca_is_in_every_msp_of_its_organisation(tmp_path: Path) -> None:
    topology = small()
    generate_materials(topology, tmp_path, NOW)
    folders = Folders(tmp_path)
    alpha, other = topology.organization("Alpha"), topology.organizations[0]
    theirs = next((folders.organization_msp(other) / "cacerts").iterdir()).read_bytes()
    (folders.organization_msp(alpha) / "cacerts" / "second.pem").write_bytes(theirs)
    node = next(one for one in topology.nodes() if one.organization is alpha and one.kind == "peer")
    generate_materials(topology, tmp_path, NOW)
    for msp in (folders.organization_msp(alpha), folders.node_msp(node)):
        config = open_msp_config(load_msp_config(msp, alpha.msp_id))
        assert theirs in config.root_certs
        assert len(config.root_certs) == 2
        assert config.fabric_node_ous.admin_ou_identifier.certificate == b""
    assert not generate_materials(topology, tmp_path, NOW).written


# Fabric's own peer


def test_peer_signs_with_our_msp(tmp_path: Path) -> None:
    """`peer channel signconfigtx` sets up our folder as its local MSP and signs with our key."""
    topology = small()
    block = build_genesis(topology, topology.channels[0], small_materials(), b"n" * 24, NOW)
    config = ChannelConfig.from_block(block)
    updated = configtx_pb2.Config()
    updated.CopyFrom(config.config)
    updated.channel_group.mod_policy = "Writers"
    update = compute_update(config.config, updated, "small")
    data = configtx_pb2.ConfigUpdateEnvelope(config_update=update.SerializeToString())
    header = build_channel_header(
        type=common_pb2.CONFIG_UPDATE, channel_id="small", timestamp=NOW, tx_id=""
    )
    signature_header = build_signature_header(b"", secrets.token_bytes(24))
    payload = build_payload(header, signature_header, data.SerializeToString())
    path = tmp_path / "update.tx"
    path.write_bytes(build_envelope(payload, b""))
    (tmp_path / "core.yaml").write_text(
        "peer:\n  BCCSP: {Default: SW, SW: {Hash: SHA2, Security: 256}}\n"
    )
    run_fabric(
        *("peer", "channel", "signconfigtx", "-f", path),
        FABRIC_CFG_PATH=str(tmp_path),
        CORE_PEER_LOCALMSPID="AlphaMSP",
        CORE_PEER_MSPCONFIGPATH=str(admin_msp()),
        HOME=os.environ.get("HOME", "/"),
    )
    signed = configtx_pb2.ConfigUpdateEnvelope.FromString(open_envelope(path.read_bytes()).data)
    (entry,) = update_signed_data(signed)
    assert isinstance(entry, SignedData)
    identity = config.msps.identity(entry.identity)
    verify_signature(identity, entry.data, entry.signature)
    config.msps.satisfies(identity, role_principal("AlphaMSP", 1))
