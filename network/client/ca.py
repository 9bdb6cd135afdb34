"""A certificate authority's client: enrol, renew, register, revoke, over fabric-ca's REST API.

Works against our CA and against Fabric's. Keys are made here and never leave: the CA sees a PKCS#10
request. Sources: fabric-ca `swagger/swagger-fabric-ca.json`, `lib/client.go`, `lib/identity.go`.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from network.client.errors import NodeError
from network.client.rest import RestAnswer, RestEndpoint, request
from network.rules.identity.enrollment import Attribute, AttributeRequest
from network.rules.identity.enrollment_token import build_token
from network.rules.identity.identity import Signer

API = "/api/v1"
ENCRYPTION_PROFILE = "encryption"
TLS_PROFILE = "tls"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
}


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A certificate just issued, with its key (PKCS#8 PEM) and the CA's chain (PEM)."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    chain_pem: bytes = b""


@dataclass(frozen=True, slots=True)
class CaIdentity:
    """An identity as the CA lists it."""

    id: str
    type: str
    affiliation: str
    attributes: Mapping[str, str]
    max_enrollments: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation did: (serial, AKI) of each certificate, and the new CRL (PEM) if asked."""

    certificates: tuple[tuple[str, str], ...]
    crl_pem: bytes = b""


class CaClient:
    """One CA. Every method raises NodeError with the CA's own words when it refuses."""

    def __init__(self, endpoint: RestEndpoint, ca_name: str = "") -> None:
        self._endpoint = endpoint
        self._ca_name = ca_name

    async def info(self) -> tuple[str, bytes]:
        """Return the CA's name and its certificate chain (PEM)."""
        result = await self._call("GET", "/cainfo")
        return str(result["CAName"]), base64.b64decode(result["CAChain"])

    async def enroll(
        self,
        name: str,
        secret: str,
        *,
        attributes: Sequence[AttributeRequest] | None = None,
        hosts: Sequence[str] = (),
        profile: str = "",
    ) -> Enrolled:
        """Return the first certificate of a registered name, for its secret."""
        basic = base64.b64encode(f"{name}:{secret}".encode()).decode()
        key = ec.generate_private_key(ec.SECP256R1())
        body = self._enrollment(name, key, attributes, hosts, profile)
        result = await self._call("POST", "/enroll", body, f"Basic {basic}")
        return _enrolled(result, key)

    async def renew(
        self, signer: Signer, *, key: ec.EllipticCurvePrivateKey | None = None
    ) -> Enrolled:
        """Return a new certificate for the signer's identity, over a new key by default."""
        name = _common_name(signer)
        key = key or ec.generate_private_key(ec.SECP256R1())
        body = self._enrollment(name, key, None, (), "")
        return _enrolled(await self._signed("POST", "/reenroll", signer, body), key)

    async def certify_encryption_key(
        self, signer: Signer, key: ec.EllipticCurvePrivateKey
    ) -> Enrolled:
        """Return a certificate over a key that others will encrypt to; it is no identity.

        Our CA knows the profile `encryption`; Fabric's needs one of this name in its configuration.
        """
        body = self._enrollment(_common_name(signer), key, None, (), ENCRYPTION_PROFILE)
        return _enrolled(await self._signed("POST", "/reenroll", signer, body), key)

    async def enroll_tls(self, signer: Signer, hosts: Sequence[str] = ()) -> Enrolled:
        """Return a TLS certificate in the name of an enrolled identity, over a key of its own.

        The profile `tls` is Fabric CA's own; the certificate serves clients and, with `hosts`,
        servers.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        body = self._enrollment(_common_name(signer), key, None, hosts, TLS_PROFILE)
        return _enrolled(await self._signed("POST", "/reenroll", signer, body), key)

    async def register(
        self,
        registrar: Signer,
        name: str,
        *,
        kind: str = "client",
        affiliation: str = "",
        attributes: Sequence[Attribute] = (),
        secret: str = "",
        max_enrollments: int | None = None,
    ) -> str:
        """Register an identity and return its enrolment secret."""
        body: dict[str, Any] = {
            "id": name,
            "type": kind,
            "affiliation": affiliation,
            "attrs": [{"name": a.name, "value": a.value, "ecert": a.ecert} for a in attributes],
            "caname": self._ca_name,
        }
        if secret:
            body["secret"] = secret
        if max_enrollments is not None:
            body["max_enrollments"] = max_enrollments
        result = await self._signed("POST", "/register", registrar, body)
        return str(result["secret"])

    async def set_secret(self, registrar: Signer, name: str, secret: str) -> None:
        """A registered identity enrols with this secret from now on."""
        body = {"secret": secret, "caname": self._ca_name}
        await self._signed("PUT", f"/identities/{quote(name, safe='')}", registrar, body)

    async def add_affiliation(self, registrar: Signer, name: str) -> None:
        """The CA knows the affiliation (`org.department`) and those above it."""
        body = {"name": name, "caname": self._ca_name}
        await self._signed("POST", "/affiliations?force=true", registrar, body)

    async def revoke(
        self,
        caller: Signer,
        *,
        name: str = "",
        serial: str = "",
        aki: str = "",
        reason: str = "",
        crl: bool = False,
    ) -> Revoked:
        """Revoke one certificate, or an identity with all of its certificates."""
        body = {
            "id": name,
            "serial": serial,
            "aki": aki,
            "reason": reason,
            "gencrl": crl,
            "caname": self._ca_name,
        }
        result = await self._signed("POST", "/revoke", caller, body)
        revoked = tuple((c["Serial"], c["AKI"]) for c in result.get("RevokedCerts") or ())
        return Revoked(revoked, base64.b64decode(result.get("CRL") or ""))

    async def crl(self, caller: Signer) -> bytes:
        """Return the PEM list of revoked, unexpired certificates."""
        result = await self._signed("POST", "/gencrl", caller, {"caname": self._ca_name})
        return base64.b64decode(result["CRL"])

    async def identities(self, caller: Signer) -> list[CaIdentity]:
        """Return the identities that the caller may see."""
        result = await self._signed("GET", "/identities", caller)
        return [_identity(entry) for entry in result.get("identities") or ()]

    async def certificates(self, caller: Signer, name: str = "") -> list[bytes]:
        """Return the certificates (PEM) of an identity, or of all that the caller may see."""
        query = f"?id={name}" if name else ""
        result = await self._signed("GET", f"/certificates{query}", caller)
        return [str(entry["PEM"]).encode() for entry in result.get("certs") or ()]

    def _enrollment(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        attributes: Sequence[AttributeRequest] | None,
        hosts: Sequence[str],
        profile: str,
    ) -> dict[str, Any]:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject)
        body: dict[str, Any] = {
            "certificate_request": csr.sign(key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
            .decode(),
            "caname": self._ca_name,
            "profile": profile,
            "hosts": list(hosts),
        }
        if attributes is not None:
            body["attr_reqs"] = [{"name": a.name, "optional": a.optional} for a in attributes]
        return body

    async def _signed(
        self, method: str, path: str, signer: Signer, body: Mapping[str, Any] | None = None
    ) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        token = build_token(method, API + path, raw, signer.certificate_pem, signer.sign)
        return await self._send(method, path, raw, token)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        authorization: str = "",
    ) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        return await self._send(method, path, raw, authorization)

    async def _send(self, method: str, path: str, raw: bytes, authorization: str) -> Any:
        answer = await request(
            self._endpoint, method, API + path, document=raw or None, authorization=authorization
        )
        return self._result(answer)

    def _result(self, answer: RestAnswer) -> Any:
        frame = answer.body if isinstance(answer.body, dict) else {}
        if frame.get("success"):
            return frame["result"]
        told = "; ".join(str(error.get("message")) for error in frame.get("errors") or ())
        raise NodeError(
            _STATUSES.get(answer.status, "INTERNAL"),
            told or f"the CA answered {answer.status}",
            address=self._endpoint.address,
        )


def _enrolled(result: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> Enrolled:
    return Enrolled(
        base64.b64decode(result["Cert"]),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        base64.b64decode(result["ServerInfo"]["CAChain"]),
    )


def _identity(entry: Mapping[str, Any]) -> CaIdentity:
    return CaIdentity(
        str(entry["id"]),
        str(entry.get("type", "")),
        str(entry.get("affiliation", "")),
        {str(a["name"]): str(a["value"]) for a in entry.get("attrs") or ()},
        int(entry.get("max_enrollments", 0)),
    )


def _common_name(signer: Signer) -> str:
    certificate = x509.load_pem_x509_certificate(signer.certificate_pem)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)
