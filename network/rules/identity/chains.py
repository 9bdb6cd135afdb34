"""Certificate chains as Go's crypto/x509 builds them, under the options Fabric gives it.

Fabric verifies at the certificate's own NotBefore + 1 s, so that expiry is no MSP error
(`msp/mspimplvalidate.go` fn getValidityOptsForCert), and leaves the key usages at Go's default:
every certificate of the chain that lists extended key usages must list serverAuth or any.
Name constraints are honoured only in the form of Go 1.14 that Fabric keeps
(`msp/mspimpl.go` fn verifyLegacyNameConstraints).
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

Chain = list[x509.Certificate]

_MAX_SIGNATURE_CHECKS = 100  # Go's maxChainSignatureChecks
_HOSTNAME_LABEL = re.compile(r"[a-zA-Z0-9_:][a-zA-Z0-9_:-]*\Z")
_KNOWN_EXTENSIONS = frozenset(
    {
        ExtensionOID.KEY_USAGE,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.INHIBIT_ANY_POLICY,
        ExtensionOID.POLICY_MAPPINGS,
    }
)


class InvalidChain(ValueError):
    """No acceptable chain leads from the certificate to a root; the text is Go's and Fabric's."""


@dataclass(slots=True)
class TrustAnchors:
    """Roots and intermediates of one MSP (or of its TLS side)."""

    roots: list[x509.Certificate] = field(default_factory=list)
    intermediates: list[x509.Certificate] = field(default_factory=list)

    def unique_chain(self, certificate: x509.Certificate) -> Chain:
        """Return the only chain [certificate … root]; raises `InvalidChain` for none or several."""
        try:
            chains = self.verify(certificate)
        except InvalidChain as error:
            raise InvalidChain(f"the supplied identity is not valid: {error}") from None
        if len(chains) != 1:
            raise InvalidChain(
                f"this MSP only supports a single validation chain, got {len(chains)}"
            )
        _validate_legacy_name_constraints(chains[0])
        return chains[0]

    def verify(self, certificate: x509.Certificate, moment: datetime | None = None) -> list[Chain]:
        """Return every chain that Go's Certificate.Verify finds; raises `InvalidChain` for none.

        Without a moment the certificate is judged as of when it began: expiry is passed over.
        """
        search = _Search(self, moment or certificate.not_valid_before_utc + timedelta(seconds=1))
        search.validate_link(certificate, [], intermediate=False)
        chains = [[certificate]] if certificate in self.roots else search.extend([certificate])
        usable = [chain for chain in chains if _serves(chain)]
        if not usable:
            raise InvalidChain("x509: certificate specifies an incompatible key usage")
        return usable


def get_extension(
    certificate: x509.Certificate | x509.CertificateRevocationList, oid: x509.ObjectIdentifier
) -> x509.ExtensionType | None:
    """Return the value of an extension, or None when it is absent."""
    try:
        return certificate.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether basic constraints are present and say CA."""
    basic = get_extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
    return isinstance(basic, x509.BasicConstraints) and basic.ca


def check_signed_by(certificate: x509.Certificate, parent: x509.Certificate) -> str | None:
    """Return None when ``parent`` may sign certificates and signed this one, else Go's reason."""
    basic = get_extension(parent, ExtensionOID.BASIC_CONSTRAINTS)
    if not isinstance(basic, x509.BasicConstraints) or not basic.ca:
        return "x509: invalid signature: parent certificate cannot sign this kind of certificate"
    usage = get_extension(parent, ExtensionOID.KEY_USAGE)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        return "x509: invalid signature: parent certificate cannot sign this kind of certificate"
    try:
        certificate.verify_directly_issued_by(parent)
    except InvalidSignature:
        return "x509: ECDSA verification failure"
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        return f"x509: cannot verify signature: {error}"
    return None


class _Search:
    """Depth-first search for chains, roots before intermediates, with Go's limits."""

    def __init__(self, anchors: TrustAnchors, moment: datetime) -> None:
        self._anchors = anchors
        self._moment = moment
        self._signature_checks = 0

    def extend(self, chain: Chain) -> list[Chain]:
        """Return every completion of ``chain`` (leaf first); raises `InvalidChain` for none."""
        found: list[Chain] = []
        reason: InvalidChain | None = None
        hint: tuple[str, x509.Certificate] | None = None
        candidates = [(root, True) for root in self._anchors.roots]
        candidates += [(other, False) for other in self._anchors.intermediates]
        for candidate, is_root in candidates:
            if candidate.subject != chain[-1].issuer or candidate in chain:
                continue
            self._count_signature_check()
            doubt = check_signed_by(chain[-1], candidate)
            if doubt is not None:
                hint = hint or (doubt, candidate)
                continue
            try:
                self.validate_link(candidate, chain, intermediate=not is_root)
                found += [[*chain, candidate]] if is_root else self.extend([*chain, candidate])
            except InvalidChain as error:
                reason = error
        if not found:
            raise reason or InvalidChain(_unknown_authority(hint))
        return found

    def validate_link(
        self, certificate: x509.Certificate, chain: Chain, *, intermediate: bool
    ) -> None:
        """Go's isValid: critical extensions, time, CA flag and path length."""
        for extension in certificate.extensions:
            if extension.critical and extension.oid not in _KNOWN_EXTENSIONS:
                raise InvalidChain("x509: unhandled critical extension")
        if self._moment < certificate.not_valid_before_utc:
            raise InvalidChain(
                "x509: certificate has expired or is not yet valid: current time "
                f"{_go_time(self._moment)} is before {_go_time(certificate.not_valid_before_utc)}"
            )
        if self._moment > certificate.not_valid_after_utc:
            raise InvalidChain(
                "x509: certificate has expired or is not yet valid: current time "
                f"{_go_time(self._moment)} is after {_go_time(certificate.not_valid_after_utc)}"
            )
        if intermediate and not is_ca(certificate):
            raise InvalidChain("x509: certificate is not authorized to sign other certificates")
        basic = get_extension(certificate, ExtensionOID.BASIC_CONSTRAINTS)
        limit = basic.path_length if isinstance(basic, x509.BasicConstraints) else None
        if limit is not None and len(chain) - 1 > limit:
            raise InvalidChain("x509: too many intermediates for path length constraint")

    def _count_signature_check(self) -> None:
        self._signature_checks += 1
        if self._signature_checks > _MAX_SIGNATURE_CHECKS:
            raise InvalidChain(
                "x509: signature check attempts limit reached while verifying certificate chain"
            )


def _serves(chain: Chain) -> bool:
    """Tell whether every certificate with extended key usages allows serverAuth (Go's default)."""
    wanted = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    for certificate in chain:
        usages = get_extension(certificate, ExtensionOID.EXTENDED_KEY_USAGE)
        if isinstance(usages, x509.ExtendedKeyUsage) and not wanted.intersection(usages):
            return False
    return True


def _unknown_authority(hint: tuple[str, x509.Certificate] | None) -> str:
    text = "x509: certificate signed by unknown authority"
    if hint is None:
        return text
    doubt, candidate = hint
    return (
        f'{text} (possibly because of "{doubt}" while trying to verify candidate authority '
        f'certificate "{_name_of(candidate)}")'
    )


def _name_of(certificate: x509.Certificate) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        names = certificate.subject.get_attributes_for_oid(oid)
        if names:
            return str(names[0].value)
    return f"serial:{certificate.serial_number}"


def _validate_legacy_name_constraints(chain: Chain) -> None:
    leaf = chain[0]
    if len(chain) < 2 or get_extension(leaf, ExtensionOID.SUBJECT_ALTERNATIVE_NAME) is not None:
        return
    names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names or not _is_hostname(str(names[-1].value)):
        return
    for certificate in chain[1:]:
        if get_extension(certificate, ExtensionOID.NAME_CONSTRAINTS) is not None:
            raise InvalidChain(
                "the supplied identity is not valid: x509: issuer has name constraints but leaf "
                "doesn't have a SAN extension"
            )


def _is_hostname(text: str) -> bool:
    labels = text.removesuffix(".").split(".")
    if labels[0] == "*" and len(labels) > 1:
        labels = labels[1:]
    return all(_HOSTNAME_LABEL.match(label) for label in labels)


def _go_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def to_der(certificate: x509.Certificate) -> bytes:
    """Return the certificate's DER."""
    return certificate.public_bytes(serialization.Encoding.DER)
