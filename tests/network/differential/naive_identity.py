"""Who signed, and whether a policy holds: the naive way, from Fabric's words alone.

Nothing of `network` is used here: certificates and signatures are checked by `cryptography`,
policies by their plain meaning. Each question is answered anew, from the bytes, every time.
Source: msp/mspimpl*.go, common/cauthdsl/cauthdsl.go, common/policies/{policy,implicitmeta}.go.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID
from fabric_protos.common import configtx_pb2, policies_pb2
from fabric_protos.msp import identities_pb2, msp_config_pb2, msp_principal_pb2
from fabric_protos.peer import policy_pb2
from google.protobuf.message import DecodeError

ROLES = {"client", "peer", "admin", "orderer"}
HALF = {"secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2}


@dataclass(frozen=True)
class Person:
    """A certificate and the organisation that it claims."""

    msp_id: str
    certificate: x509.Certificate


class NaiveChannel:
    """What a channel's configuration says of members and policies."""

    def __init__(self, config: Any) -> None:
        """`config`: a common.Config."""
        self.root = config.channel_group
        self.authorities: dict[str, list[x509.Certificate]] = {}
        for section in ("Orderer", "Application"):
            for org in self.root.groups[section].groups.values():
                outer = msp_config_pb2.MSPConfig.FromString(org.values["MSP"].value)
                msp = msp_config_pb2.FabricMSPConfig.FromString(outer.config)
                found = [x509.load_pem_x509_certificate(raw) for raw in msp.root_certs]
                self.authorities[msp.name] = found

    # --- identities ---

    def find(self, raw: bytes) -> Person | None:
        """The person in a SerializedIdentity, if this channel knows the authority."""
        try:
            identity = identities_pb2.SerializedIdentity.FromString(raw)
            certificate = x509.load_pem_x509_certificate(identity.id_bytes)
        except (DecodeError, ValueError):
            return None
        if not any(_issued(ca, certificate) for ca in self.authorities.get(identity.mspid, ())):
            return None
        return Person(identity.mspid, certificate)

    def is_valid(self, person: Person) -> bool:
        """Whether its organisation stands by it: exactly one role, and no authority itself."""
        try:
            constraints = person.certificate.extensions.get_extension_for_class(
                x509.BasicConstraints
            )
            if constraints.value.ca:
                return False
        except x509.ExtensionNotFound:
            pass
        return len(_units(person) & ROLES) == 1

    def has_signed(self, person: Person, data: bytes, signature: bytes) -> bool:
        key = person.certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        try:
            if utils.decode_dss_signature(signature)[1] > HALF[key.curve.name]:
                return False
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    # --- policies ---

    def endorsers(self, payload: bytes, endorsements: Any) -> list[Person]:
        """Who endorsed: each person once, whose signature is right."""
        found: list[Person] = []
        for endorsement in endorsements:
            person = self.find(endorsement.endorser)
            if person is None or person in found:
                continue
            if self.has_signed(person, payload + endorsement.endorser, endorsement.signature):
                found.append(person)
        return found

    def allows(self, application_policy: bytes, people: list[Person]) -> bool:
        """Whether a marshalled ApplicationPolicy is satisfied."""
        policy = policy_pb2.ApplicationPolicy.FromString(application_policy)
        if policy.WhichOneof("Type") == "signature_policy":
            return self.signed(policy.signature_policy, people)
        path = policy.channel_config_policy_reference
        return self._allows_at(path.strip("/").split("/"), people)

    def org_endorsement(self, msp_id: str, people: list[Person]) -> bool | None:
        """Whether an organisation's own Endorsement policy is satisfied; None without the org."""
        for name, org in self.root.groups["Application"].groups.items():
            outer = msp_config_pb2.MSPConfig.FromString(org.values["MSP"].value)
            if msp_config_pb2.FabricMSPConfig.FromString(outer.config).name == msp_id:
                return self._allows_at(["Channel", "Application", name, "Endorsement"], people)
        return None

    def _allows_at(self, path: list[str], people: list[Person]) -> bool:
        group: Any = self.root
        for name in path[1:-1]:
            if name not in group.groups:
                return False
            group = group.groups[name]
        if path[-1] not in group.policies:
            return False
        policy = group.policies[path[-1]].policy
        if policy.type == policies_pb2.Policy.SIGNATURE:
            return self.signed(
                policies_pb2.SignaturePolicyEnvelope.FromString(policy.value), people
            )
        meta = policies_pb2.ImplicitMetaPolicy.FromString(policy.value)
        votes = [
            self._allows_at([*path[:-1], name, meta.sub_policy], people) for name in group.groups
        ]
        needed = {
            policies_pb2.ImplicitMetaPolicy.ANY: min(1, len(votes)),
            policies_pb2.ImplicitMetaPolicy.ALL: len(votes),
            policies_pb2.ImplicitMetaPolicy.MAJORITY: len(votes) // 2 + 1,
        }[meta.rule]
        return sum(votes) >= needed

    def signed(self, envelope: Any, people: list[Person]) -> bool:
        """Whether a SignaturePolicyEnvelope is satisfied; each person counts once, in order."""
        return self._count(envelope.rule, envelope.identities, people, [False] * len(people))

    def _count(self, rule: Any, principals: Any, people: list[Person], used: list[bool]) -> bool:
        if rule.WhichOneof("Type") == "signed_by":
            for at, person in enumerate(people):
                if not used[at] and self._is(person, principals[rule.signed_by]):
                    used[at] = True
                    return True
            return False
        met = 0
        for inner in rule.n_out_of.rules:
            tried = list(used)
            if self._count(inner, principals, people, tried):
                met += 1
                used[:] = tried
        return bool(met >= rule.n_out_of.n)

    def _is(self, person: Person, principal: Any) -> bool:
        assert principal.principal_classification == msp_principal_pb2.MSPPrincipal.ROLE
        role = msp_principal_pb2.MSPRole.FromString(principal.principal)
        if role.msp_identifier != person.msp_id or not self.is_valid(person):
            return False
        wanted = msp_principal_pb2.MSPRole.MSPRoleType.Name(role.role).lower()
        return wanted == "member" or wanted in _units(person)


def open_config(data: bytes) -> Any:
    """The common.Config in a ConfigEnvelope."""
    return configtx_pb2.ConfigEnvelope.FromString(data).config


def _units(person: Person) -> set[str]:
    names = person.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return {str(name.value) for name in names}


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    # No matter what time it is now: the authority was one when the certificate began.
    began = certificate.not_valid_before_utc + timedelta(seconds=1)
    if not authority.not_valid_before_utc <= began <= authority.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
