"""Salted commitments and keyed fingerprints: what of a secret may stand on the ledger.

A plain hash of health data can be guessed from the few values it may have, so each commitment takes
a fresh 32-byte salt that never reaches the ledger: destroying the salt leaves a value that can be
linked to nobody. Domain tags keep a commitment made for one purpose from being replayed for
another.

A fingerprint is an HMAC under a key the consortium's payers share: equal inputs collide across
payers, and without the key nothing can be guessed. Pure; salts and keys come in as arguments.
"""

import hashlib
import hmac
from collections.abc import Iterable

SALT_SIZE = 32
MINIMUM_KEY_SIZE = 32

RECORD = b"medfabric/record/v1\x00"
"""A record version's exact stored bytes."""
RECORD_CANONICAL = b"medfabric/record-canonical/v1\x00"
"""The canonical static form of a FHIR JSON record."""
CONSENT = b"medfabric/consent/v1\x00"
"""The signed original of a consent, byte for byte."""
CLAIM = b"medfabric/claim/v1\x00"
"""A claim's details in canonical JSON."""
DECISION = b"medfabric/claim-decision/v1\x00"
"""An adjudication with its amounts in canonical JSON."""
REMITTANCE = b"medfabric/claim-remittance/v1\x00"
"""A payment with its amounts in canonical JSON."""
INFORMATION = b"medfabric/claim-information/v1\x00"
"""What was asked or supplied while a claim was pended."""
COVERAGE = b"medfabric/coverage/v1\x00"
"""A coverage's facts in canonical JSON."""
AUTHORIZATION = b"medfabric/authorization/v1\x00"
"""A prior authorisation's facts in canonical JSON."""
LOG_EVENT = b"medfabric/log-event/v1\x00"
"""One event of an organisation's access log, byte for byte."""
ENROLMENT = b"medfabric/enrolment/v1\x00"
"""A provider's enrolment with a payer in canonical JSON."""

FINGERPRINT_KEY = b"medfabric/fingerprint-key/v1\x00"
"""The digest under which a fingerprint key is known."""
FINGERPRINT_CLAIM = b"medfabric/fingerprint-claim/v1\x00"
"""A whole claim: the exact duplicate."""
FINGERPRINT_LINE = b"medfabric/fingerprint-line/v1\x00"
"""One service: the possible duplicate."""


def commit(tag: bytes, salt: bytes, content: bytes) -> bytes:
    """Return SHA-256(tag || salt || content); raises ``ValueError`` unless the salt is 32 bytes."""
    return commit_stream(tag, salt, [content])


def commit_stream(tag: bytes, salt: bytes, chunks: Iterable[bytes]) -> bytes:
    """As :func:`commit`, over content that comes in chunks; the cut makes no difference.

    Raises ValueError unless the salt is `SALT_SIZE` bytes.
    """
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a salt is {SALT_SIZE} bytes, not {len(salt)}")
    digest = hashlib.sha256(tag + salt)
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def opens(commitment: bytes, tag: bytes, salt: bytes, content: bytes) -> bool:
    """Whether this salt and content are what the commitment was made of."""
    return len(salt) == SALT_SIZE and hmac.compare_digest(commitment, commit(tag, salt, content))


def fingerprint(key: bytes, tag: bytes, parts: Iterable[str]) -> bytes:
    """Return HMAC-SHA256(key, tag || parts), each part with its length before it, so that no two
    lists meet.

    Raises ``ValueError`` for a key shorter than 32 bytes.
    """
    if len(key) < MINIMUM_KEY_SIZE:
        raise ValueError(f"a fingerprint key has at least {MINIMUM_KEY_SIZE} bytes, not {len(key)}")
    mac = hmac.new(key, tag, hashlib.sha256)
    for part in parts:
        raw = part.encode()
        mac.update(len(raw).to_bytes(4, "big") + raw)
    return mac.digest()


def key_digest(key: bytes) -> bytes:
    """Return the digest by which everyone can see that they hold the same fingerprint key."""
    return hashlib.sha256(FINGERPRINT_KEY + key).digest()
