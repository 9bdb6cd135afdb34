"""Organisations, identities and a channel made in memory, for tests of orderers and their rules.

`Consortium()` has an orderer organisation and two members; everything is real cryptography in
cryptogen's profile. `write_orderer` puts on disk what a Fabric orderer starts from.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from fabric_protos.common import common_pb2
from fabric_protos.msp import msp_config_pb2

from network.rules.channel.config import Batch, ChannelConfig, Consenter
from network.rules.channel.spec import (
    DEFAULT_BATCH,
    ChannelSpec,
    OrgSpec,
    build_channel_group,
    build_genesis_block,
)
from network.rules.envelope import (
    build_channel_header,
    build_envelope,
    build_payload,
    build_signature_header,
    compute_tx_id,
)
from network.rules.identity.certificates import (
    Authority,
    Validity,
    build_ca,
    build_leaf,
    build_tls_leaf,
    certificate_pem,
    private_key_pem,
)
from network.rules.identity.identity import Signer, signer_from_pem

CHANNEL = "care"
ROLES = ("client", "peer", "admin", "orderer")
_serials = count(1000)


def now() -> datetime:
    return datetime.now(UTC)


@cache
def _validity() -> Validity:
    return Validity(now() - timedelta(days=1), now() + timedelta(days=30))


@dataclass(frozen=True)
class Org:
    """One organisation: its CAs, and identities made on demand."""

    msp_id: str
    ca: Authority
    tls_ca: Authority

    def enrol(self, name: str, ou: str = "client", validity: Validity | None = None) -> Signer:
        certificate, key = self.enrol_pem(name, ou, validity)
        return signer_from_pem(self.msp_id, certificate, key)

    def enrol_pem(
        self, name: str, ou: str, validity: Validity | None = None
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = build_leaf(
            common_name=name,
            public_key=key.public_key(),
            issuer=self.ca,
            serial=next(_serials),
            validity=validity or _validity(),
            ous=(ou,),
        )
        return certificate_pem(certificate), private_key_pem(key)

    def enrol_tls(self, name: str) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = build_tls_leaf(
            common_name=name,
            public_key=key.public_key(),
            issuer=self.tls_ca,
            serial=next(_serials),
            validity=_validity(),
            hosts=(name, "localhost", "127.0.0.1"),
        )
        return certificate_pem(certificate), private_key_pem(key)

    @property
    def tls_root(self) -> bytes:
        return certificate_pem(self.tls_ca.certificate)

    @property
    def msp_config(self) -> bytes:
        identifiers = {
            f"{role}_ou_identifier": msp_config_pb2.FabricOUIdentifier(
                organizational_unit_identifier=role
            )
            for role in ROLES
        }
        config = msp_config_pb2.FabricMSPConfig(
            name=self.msp_id,
            root_certs=[certificate_pem(self.ca.certificate)],
            tls_root_certs=[self.tls_root],
            crypto_config=msp_config_pb2.FabricCryptoConfig(
                signature_hash_family="SHA2", identity_identifier_hash_function="SHA256"
            ),
            fabric_node_ous=msp_config_pb2.FabricNodeOUs(enable=True, **identifiers),
        )
        return bytes(
            msp_config_pb2.MSPConfig(config=config.SerializeToString()).SerializeToString()
        )

    def write_msp(self, folder: Path, certificate: bytes, key: bytes) -> None:
        files = {
            "cacerts/ca.pem": certificate_pem(self.ca.certificate),
            "tlscacerts/tlsca.pem": self.tls_root,
            "signcerts/cert.pem": certificate,
            "keystore/priv_sk": key,
            "config.yaml": yaml.safe_dump(
                {
                    "NodeOUs": {"Enable": True}
                    | {
                        f"{role.capitalize()}OUIdentifier": {
                            "Certificate": "cacerts/ca.pem",
                            "OrganizationalUnitIdentifier": role,
                        }
                        for role in ROLES
                    }
                }
            ).encode(),
        }
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def make_org(msp_id: str) -> Org:
    def make_authority(name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate: x509.Certificate = build_ca(
            common_name=name,
            organization=msp_id,
            key=key,
            serial=next(_serials),
            validity=_validity(),
        )
        return Authority(certificate, key)

    return Org(msp_id, make_authority(f"ca.{msp_id}"), make_authority(f"tlsca.{msp_id}"))


@dataclass
class Consortium:
    """An orderer organisation and two members on one channel."""

    batch: Batch = DEFAULT_BATCH
    address: str = "127.0.0.1:7050"
    orderer: Org = field(default_factory=lambda: make_org("OrdererMSP"))
    org1: Org = field(default_factory=lambda: make_org("Org1MSP"))
    org2: Org = field(default_factory=lambda: make_org("Org2MSP"))

    def __post_init__(self) -> None:
        self.orderer_pem = self.orderer.enrol_pem("orderer", "orderer")
        self.orderer_tls = self.orderer.enrol_tls("orderer")
        self.orderer_signer = signer_from_pem("OrdererMSP", *self.orderer_pem)
        self.orderer_admin = self.orderer.enrol("Admin@orderer", "admin")
        self.alice = self.org1.enrol("alice")
        self.peer = self.org1.enrol("peer0", "peer")
        self.admin1 = self.org1.enrol("Admin@org1", "admin")
        self.stranger = make_org("StrangerMSP").enrol("mallory")

    def build_genesis(self, channel_id: str = CHANNEL, **changes: Any) -> Any:
        host, port = self.address.split(":")
        consenter = Consenter(host, int(port), self.orderer_tls[0], self.orderer_tls[0])
        values: dict[str, Any] = {
            "channel_id": channel_id,
            "orderer_orgs": [
                OrgSpec("OrdererOrg", "OrdererMSP", self.orderer.msp_config, (self.address,))
            ],
            "application_orgs": [
                OrgSpec("Org1MSP", "Org1MSP", self.org1.msp_config),
                OrgSpec("Org2MSP", "Org2MSP", self.org2.msp_config),
            ],
            "consenters": [consenter],
            "batch": self.batch,
        } | changes
        group = build_channel_group(ChannelSpec(**values))
        return build_genesis_block(channel_id, group, secrets.token_bytes(24), now())

    @property
    def config(self) -> ChannelConfig:
        return ChannelConfig.from_block(self.build_genesis())

    def write_orderer(self, folder: Path, **settings: str) -> dict[str, str]:
        """Write MSP, TLS and orderer.yaml under `folder`; returns the environment to start with."""
        self.orderer.write_msp(folder / "msp", *self.orderer_pem)
        files = {
            "server.crt": self.orderer_tls[0],
            "server.key": self.orderer_tls[1],
            "ca.crt": self.orderer.tls_root,
        }
        for name, content in files.items():
            (folder / "tls").mkdir(exist_ok=True)
            (folder / "tls" / name).write_bytes(content)
        tls = {
            "Enabled": True,
            "Certificate": "tls/server.crt",
            "PrivateKey": "tls/server.key",
            "RootCAs": ["tls/ca.crt"],
        }
        secure = tls | {"ClientAuthRequired": True, "ClientRootCAs": ["tls/ca.crt"]}
        values = {
            "General": {
                "ListenAddress": "127.0.0.1",
                "ListenPort": 0,
                "LocalMSPDir": "msp",
                "LocalMSPID": "OrdererMSP",
                "TLS": tls,
                "Authentication": {"TimeWindow": "15m"},
            },
            "FileLedger": {"Location": "ledger"},
            "Operations": {"ListenAddress": "127.0.0.1:0"},
            "Admin": {"ListenAddress": "127.0.0.1:0", "TLS": secure},
            "Metrics": {"Provider": "prometheus"},
        }
        (folder / "orderer.yaml").write_text(yaml.safe_dump(values))
        return {"FABRIC_CFG_PATH": str(folder)} | settings


def build_message(
    signer: Signer,
    data: bytes = b"data",
    *,
    channel_id: str = CHANNEL,
    type: int = common_pb2.ENDORSER_TRANSACTION,  # noqa: A002
    moment: datetime | None = None,
    tls_cert_hash: bytes = b"",
) -> bytes:
    """A signed envelope with any data, as Broadcast and Deliver take them."""
    nonce = secrets.token_bytes(24)
    channel_header = build_channel_header(
        type=type,
        channel_id=channel_id,
        timestamp=moment or now(),
        tx_id=compute_tx_id(nonce, signer.creator),
        tls_cert_hash=tls_cert_hash,
    )
    payload = build_payload(channel_header, build_signature_header(signer.creator, nonce), data)
    return build_envelope(payload, signer.sign(payload))
