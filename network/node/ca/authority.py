"""The CA itself: it knows its callers, registers, issues, revokes and lists what was revoked.

Each act asks `rules.identity.enrollment` whether it may be done, does it, and remembers it in the
store before it answers. Sources: fabric-ca `lib/serverrequestcontext.go` (authentication),
`lib/serverenroll.go`, `lib/serverrevoke.go`, `lib/servergencrl.go`.
"""

import secrets
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from network.node.ca.store import CaStore, IssuedCertificate
from network.rules.identity.certificates import (
    SERIAL_BITS,
    Revocation,
    Validity,
    build_crl,
    build_encryption_leaf,
    build_leaf,
    build_tls_leaf,
)
from network.rules.identity.certificates import Authority as Issuer
from network.rules.identity.enrollment import (
    REVOCATION_REASONS,
    AttributeRequest,
    Code,
    EnrollmentRefused,
    Registration,
    certificate_attributes,
    complete_registration,
    organizational_units,
    registrations_below,
    validate_registration,
    validate_revocation,
)
from network.rules.identity.enrollment_token import BadToken, open_basic, open_token

SECRET_LENGTH = 20
MAX_FAILURES = 10
TLS_PROFILE = "tls"
ENCRYPTION_PROFILE = "encryption"


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What an enrolment asks for: a PKCS#10 request and, optionally, which attributes."""

    csr_pem: bytes
    profile: str = ""
    hosts: tuple[str, ...] = ()
    attributes: tuple[AttributeRequest, ...] | None = None


@dataclass(frozen=True, slots=True)
class CaIdentity:
    """The CA's own certificate, chain and key."""

    name: str
    certificate: x509.Certificate
    chain_pem: bytes
    key: ec.EllipticCurvePrivateKey


class Authority:
    """One CA over its store. Methods raise EnrollmentRefused and are safe to call from threads."""

    def __init__(
        self,
        ca: CaIdentity,
        store: CaStore,
        *,
        validity: timedelta = timedelta(days=365),
        crl_validity: timedelta = timedelta(days=1),
        reenroll_expired: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.ca = ca
        self.store = store
        self.reenroll_expired = reenroll_expired
        self.now = now
        self._validity = validity
        self._crl_validity = crl_validity
        # One act at a time: a limit on enrolments or a duplicate name must not be raced past.
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The CA's name, as clients address it."""
        return self.ca.name

    @property
    def chain_pem(self) -> bytes:
        """The CA's certificate chain, root first."""
        return self.ca.chain_pem

    # -- who calls -----------------------------------------------------------------------------

    def authenticate_secret(self, header: str) -> Registration:
        """Return the identity whose name and secret the Basic header carries."""
        try:
            name, secret = open_basic(header)
        except BadToken as error:
            raise _unauthenticated() from error
        with self._lock:
            if self.store.failures(name) >= MAX_FAILURES:
                raise EnrollmentRefused(
                    401,
                    Code.PASSWORD_ATTEMPTS,
                    f"Incorrect password entered {MAX_FAILURES} times: set a new secret",
                )
            right = self.store.check_secret(name, secret)
            identity = self.store.get_identity(name)
        if not right or identity is None or identity.revoked:
            raise _unauthenticated()
        if 0 <= identity.max_enrollments <= identity.enrollments:
            raise _unauthenticated()
        return identity

    def authenticate_token(
        self, header: str, method: str, uri: str, body: bytes, *, allow_expired: bool
    ) -> Registration:
        """Return the identity whose current certificate signed the request."""
        try:
            caller = open_token(header, method, uri, body)
            caller.certificate.verify_directly_issued_by(self.ca.certificate)
        except Exception as error:
            raise _unauthenticated() from error
        issued = self.store.get_certificate(*_names(caller.certificate))
        identity = self.store.get_identity(issued.id) if issued else None
        if issued is None or identity is None or identity.revoked or issued.revoked_at:
            raise _unauthenticated()
        if issued.not_after < self.now() and not allow_expired:
            raise _unauthenticated()
        return identity

    # -- identities ----------------------------------------------------------------------------

    def register(self, caller: Registration, registration: Registration, secret: str | None) -> str:
        """Add an identity and return its secret, a fresh one if none was chosen."""
        if not registration.id or len(registration.id) > 64:
            # The id becomes the certificate's common name (RFC 5280: ub-common-name 64).
            raise EnrollmentRefused(400, Code.BAD_BODY, "An id has 1 to 64 characters")
        validate_registration(caller, registration)
        self._validate_affiliation_known(registration.affiliation)
        secret = secret or _random_secret()
        with self._lock:
            if not self.store.add_identity(complete_registration(registration), secret):
                raise EnrollmentRefused(
                    409,
                    Code.DUPLICATE_IDENTITY,
                    f"Identity '{registration.id}' is already registered",
                )
        return secret

    def modify(self, caller: Registration, registration: Registration, secret: str | None) -> None:
        """Change an identity within what the caller may register."""
        changed = complete_registration(registration)
        fixed = {a.name for a in changed.attributes[-3:]}
        asked = tuple(a for a in registration.attributes if a.name not in fixed)
        validate_registration(
            caller, Registration(changed.id, changed.type, changed.affiliation, asked)
        )
        self._validate_affiliation_known(registration.affiliation)
        with self._lock:
            self.store.change_identity(changed, secret)

    def remove(self, caller: Registration, identity: Registration) -> None:
        """Revoke an identity's certificates and forget it."""
        validate_revocation(caller, identity)
        with self._lock:
            self._revoke(self.store.list_certificates(identity.id), "cessationofoperation")
            self.store.remove_identity(identity.id)

    def visible_identity(self, caller: Registration, id: str) -> Registration:
        """Return an identity that the caller may see."""
        identity = self.store.get_identity(id)
        if identity is None or not registrations_below(caller, [identity]):
            raise EnrollmentRefused(404, Code.USER_NOT_FOUND, f"Identity '{id}' was not found")
        return identity

    # -- certificates --------------------------------------------------------------------------

    def issue(self, identity: Registration, request: Enrollment) -> bytes:
        """Return a new certificate (PEM) for the identity over the request's public key."""
        csr = _open_csr(request.csr_pem)
        _validate_subject(csr, identity.id)
        public_key = csr.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(
            public_key.curve, ec.SECP256R1
        ):
            raise EnrollmentRefused(400, Code.BAD_CSR, "The key must be an ECDSA P-256 key")
        now = self.now()
        not_after = min(now + self._validity, self.ca.certificate.not_valid_after_utc)
        # Not before the CA itself: peers judge the chain at the moment the certificate begins.
        begin = max(now - timedelta(minutes=5), self.ca.certificate.not_valid_before_utc)
        validity = Validity(begin, not_after)
        certificate = self._certify(identity, request, csr, public_key, validity)
        # An encryption certificate makes nobody known, so it neither counts nor can it call.
        if request.profile != ENCRYPTION_PROFILE:
            self.remember(certificate, identity.id, enrollment=True)
        return certificate.public_bytes(Encoding.PEM)

    def remember(self, certificate: x509.Certificate, id: str, *, enrollment: bool = False) -> None:
        """Know a certificate that this CA's key has signed, so that it can be used and revoked."""
        with self._lock:
            self.store.add_certificate(
                *_names(certificate),
                id,
                certificate.public_bytes(Encoding.PEM),
                certificate.not_valid_after_utc,
                enrollment=enrollment,
            )

    def revoke(
        self,
        caller: Registration,
        *,
        id: str,
        serial: str,
        aki: str,
        reason: str,
    ) -> list[IssuedCertificate]:
        """Revoke one certificate (serial and AKI), or an identity with all of its certificates."""
        if reason and reason.lower() not in REVOCATION_REASONS:
            raise EnrollmentRefused(
                400,
                Code.BAD_BODY,
                f"Unknown reason '{reason}': use one of {', '.join(sorted(REVOCATION_REASONS))}",
            )
        with self._lock:
            if serial and aki:
                certificates = [self._owned_certificate(caller, id, _hex(serial), _hex(aki))]
            elif id:
                owner = self.store.get_identity(id)
                if owner is None:
                    raise EnrollmentRefused(
                        404, Code.REVOKED_ID_NOT_FOUND, f"Identity {id} was not found"
                    )
                validate_revocation(caller, owner)
                self.store.revoke_identity(id)
                certificates = [c for c in self.store.list_certificates(id) if not c.revoked_at]
            else:
                raise EnrollmentRefused(
                    400,
                    Code.MISSING_REVOKE_ARGUMENTS,
                    "Either Name or Serial and AKI are required for a revoke request",
                )
            self._revoke(certificates, reason.lower() or "unspecified")
        return certificates

    def build_crl(
        self,
        *,
        revoked_after: datetime | None = None,
        revoked_before: datetime | None = None,
        expire_after: datetime | None = None,
        expire_before: datetime | None = None,
    ) -> bytes:
        """Return the PEM list of revoked certificates that have not expired."""
        now = self.now()
        listed = [
            Revocation(int(c.serial, 16), c.revoked_at)
            for c in self.store.list_certificates()
            if c.revoked_at is not None
            and _within(c.revoked_at, revoked_after, revoked_before)
            and _within(c.not_after, expire_after or now, expire_before)
        ]
        return build_crl(
            issuer=Issuer(self.ca.certificate, self.ca.key),
            revocations=listed,
            this_update=now,
            next_update=now + self._crl_validity,
            number=int(now.timestamp()),
        )

    # -- helpers -------------------------------------------------------------------------------

    def _certify(
        self,
        identity: Registration,
        request: Enrollment,
        csr: x509.CertificateSigningRequest,
        public_key: ec.EllipticCurvePublicKey,
        validity: Validity,
    ) -> x509.Certificate:
        issuer = Issuer(self.ca.certificate, self.ca.key)
        serial = secrets.randbits(SERIAL_BITS)
        if request.profile == ENCRYPTION_PROFILE:
            return build_encryption_leaf(
                common_name=identity.id,
                public_key=public_key,
                issuer=issuer,
                serial=serial,
                validity=validity,
            )
        if request.profile == TLS_PROFILE:
            return build_tls_leaf(
                common_name=identity.id,
                public_key=public_key,
                issuer=issuer,
                serial=serial,
                validity=validity,
                hosts=request.hosts or _csr_hosts(csr),
            )
        return build_leaf(
            common_name=identity.id,
            public_key=public_key,
            issuer=issuer,
            serial=serial,
            validity=validity,
            ous=organizational_units(identity),
            attributes=certificate_attributes(identity, request.attributes),
        )

    def _owned_certificate(
        self,
        caller: Registration,
        id: str,
        serial: str,
        aki: str,
    ) -> IssuedCertificate:
        certificate = self.store.get_certificate(serial, aki)
        owner = self.store.get_identity(certificate.id) if certificate else None
        if certificate is None or owner is None:
            raise EnrollmentRefused(
                404,
                Code.CERTIFICATE_NOT_FOUND,
                f"Certificate with serial {serial} and AKI {aki} was not found",
            )
        validate_revocation(caller, owner)
        if certificate.revoked_at:
            raise EnrollmentRefused(
                404,
                Code.ALREADY_REVOKED,
                f"Certificate with serial {serial} and AKI {aki} was already revoked",
            )
        if id and id != certificate.id:
            raise EnrollmentRefused(
                400,
                Code.WRONG_OWNER,
                f"Certificate with serial {serial} and AKI {aki} is not owned by {id}",
            )
        return certificate

    def _revoke(self, certificates: list[IssuedCertificate], reason: str) -> None:
        self.store.revoke_certificates(certificates, reason, self.now())

    def _validate_affiliation_known(self, affiliation: str) -> None:
        if affiliation and affiliation not in self.store.list_affiliations():
            raise EnrollmentRefused(
                404,
                Code.USER_NOT_FOUND,
                f"Affiliation '{affiliation}' does not exist: add it first",
            )


def _unauthenticated() -> EnrollmentRefused:
    return EnrollmentRefused(401, Code.AUTHENTICATION, "Authentication failure")


def _random_secret() -> str:
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(SECRET_LENGTH))


def _open_csr(pem: bytes) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise EnrollmentRefused(400, Code.BAD_CSR, "CSR Decode failed") from error
    if not csr.is_signature_valid:
        raise EnrollmentRefused(400, Code.BAD_CSR, "The CSR's own signature does not hold")
    return csr


def _validate_subject(csr: x509.CertificateSigningRequest, id_: str) -> None:
    names = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [str(n.value) for n in names] != [id_]:
        raise EnrollmentRefused(
            403,
            Code.NAME_MISMATCH,
            "The CSR subject common name must equal the enrollment ID",
        )
    try:
        constraints = csr.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return
    if constraints.value.ca:
        raise EnrollmentRefused(403, Code.AUTHORIZATION, "This CA issues no CA certificates")


def _csr_hosts(csr: x509.CertificateSigningRequest) -> tuple[str, ...]:
    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def _names(certificate: x509.Certificate) -> tuple[str, str]:
    """Return serial and AKI as fabric-ca writes them: lower hex without leading zeros."""
    try:
        identifier = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        aki = (identifier.value.key_identifier or b"").hex()
    except x509.ExtensionNotFound:
        aki = ""
    return f"{certificate.serial_number:x}", _hex(aki)


def _hex(text: str) -> str:
    return text.lower().lstrip("0").replace(":", "")


def _within(moment: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or moment >= after) and (before is None or moment <= before)
