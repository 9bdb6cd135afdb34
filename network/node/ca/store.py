"""What a CA must not forget: identities with their secrets' digests, and every certificate issued.

One SQLite database; each method is one transaction that is on disk when it returns.
"""

import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from network.rules.identity.enrollment import Attribute, Registration

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identities (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, affiliation TEXT NOT NULL, attributes TEXT NOT NULL,
    max_enrollments INTEGER NOT NULL, enrollments INTEGER NOT NULL DEFAULT 0,
    revoked INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
    salt BLOB, secret BLOB) STRICT;
CREATE TABLE IF NOT EXISTS certificates (
    serial TEXT NOT NULL, aki TEXT NOT NULL, id TEXT NOT NULL, pem BLOB NOT NULL,
    not_after TEXT NOT NULL, revoked_at TEXT, reason TEXT,
    PRIMARY KEY (serial, aki)) STRICT;
CREATE INDEX IF NOT EXISTS certificates_by_id ON certificates (id);
CREATE TABLE IF NOT EXISTS affiliations (name TEXT PRIMARY KEY) STRICT;
"""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate as the CA remembers it; `serial` and `aki` are lower hex without leading 0."""

    serial: str
    aki: str
    id: str
    pem: bytes
    not_after: datetime
    revoked_at: datetime | None
    reason: str | None


class CaStore:
    """The CA's memory in one SQLite file of mode 0600."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    # -- identities ----------------------------------------------------------------------------

    def get_identity(self, id: str) -> Registration | None:
        """Return the identity, or None."""
        row = self._database.execute(
            "SELECT id, type, affiliation, attributes, max_enrollments, enrollments, revoked"
            " FROM identities WHERE id = ?",
            (id,),
        ).fetchone()
        return _registration(row) if row else None

    def list_identities(self) -> list[Registration]:
        """Return every identity, by name."""
        rows = self._database.execute(
            "SELECT id, type, affiliation, attributes, max_enrollments, enrollments, revoked"
            " FROM identities ORDER BY id"
        )
        return [_registration(row) for row in rows]

    def add_identity(self, registration: Registration, secret: str | None) -> bool:
        """Add an identity; False if the name is taken. Without a secret it can only re-enrol."""
        salt, digest = _digest_new(secret) if secret is not None else (None, None)
        with self._transaction():
            cursor = self._database.execute(
                "INSERT OR IGNORE INTO identities (id, type, affiliation, attributes,"
                " max_enrollments, salt, secret) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    registration.id,
                    registration.type,
                    registration.affiliation,
                    _attributes_text(registration),
                    registration.max_enrollments,
                    salt,
                    digest,
                ),
            )
        return cursor.rowcount == 1

    def change_identity(self, registration: Registration, secret: str | None) -> None:
        """Replace type, affiliation, attributes and limit; the secret too if one is given."""
        with self._transaction():
            self._database.execute(
                "UPDATE identities SET type = ?, affiliation = ?, attributes = ?,"
                " max_enrollments = ? WHERE id = ?",
                (
                    registration.type,
                    registration.affiliation,
                    _attributes_text(registration),
                    registration.max_enrollments,
                    registration.id,
                ),
            )
            if secret is not None:
                self._database.execute(
                    "UPDATE identities SET salt = ?, secret = ?, failures = 0 WHERE id = ?",
                    (*_digest_new(secret), registration.id),
                )

    def remove_identity(self, id: str) -> None:
        """Forget an identity; its certificates stay known."""
        with self._transaction():
            self._database.execute("DELETE FROM identities WHERE id = ?", (id,))

    def check_secret(self, id: str, secret: str) -> bool:
        """Return whether the secret is the identity's, and count a wrong one."""
        row = self._database.execute(
            "SELECT salt, secret FROM identities WHERE id = ?", (id,)
        ).fetchone()
        salt, digest = row if row and row[0] is not None else (b"\0" * 16, b"")
        # An unknown name costs the same time as a wrong secret, so that names cannot be probed.
        right = hmac.compare_digest(_digest(secret, salt), digest)
        with self._transaction():
            self._database.execute(
                "UPDATE identities SET failures = CASE WHEN ? THEN 0 ELSE failures + 1 END"
                " WHERE id = ?",
                (right, id),
            )
        return right

    def failures(self, id: str) -> int:
        """Return how often a wrong secret was given since the last right one."""
        row = self._database.execute(
            "SELECT failures FROM identities WHERE id = ?", (id,)
        ).fetchone()
        return int(row[0]) if row else 0

    # -- certificates --------------------------------------------------------------------------

    def add_certificate(
        self,
        serial: str,
        aki: str,
        id: str,
        pem: bytes,
        not_after: datetime,
        *,
        enrollment: bool,
    ) -> None:
        """Remember an issued certificate; with `enrollment` it counts against the limit."""
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO certificates (serial, aki, id, pem, not_after)"
                " VALUES (?, ?, ?, ?, ?)",
                (serial, aki, id, pem, not_after.isoformat()),
            )
            if enrollment:
                self._database.execute(
                    "UPDATE identities SET enrollments = enrollments + 1 WHERE id = ?", (id,)
                )

    def get_certificate(self, serial: str, aki: str) -> IssuedCertificate | None:
        """Return the certificate, or None."""
        row = self._database.execute(
            "SELECT * FROM certificates WHERE serial = ? AND aki = ?", (serial, aki)
        ).fetchone()
        return _certificate(row) if row else None

    def list_certificates(self, id: str | None = None) -> list[IssuedCertificate]:
        """Return all certificates, or those of one identity, the oldest first."""
        rows = self._database.execute(
            "SELECT * FROM certificates WHERE ?1 IS NULL OR id = ?1 ORDER BY rowid", (id,)
        )
        return [_certificate(row) for row in rows]

    def revoke_certificates(
        self, certificates: list[IssuedCertificate], reason: str, now: datetime
    ) -> None:
        """Mark the certificates revoked, in one transaction."""
        with self._transaction():
            self._database.executemany(
                "UPDATE certificates SET revoked_at = ?, reason = ?"
                " WHERE serial = ? AND aki = ? AND revoked_at IS NULL",
                [(now.isoformat(), reason, c.serial, c.aki) for c in certificates],
            )

    def revoke_identity(self, id: str) -> None:
        """Disable an identity: it can neither enrol nor call."""
        with self._transaction():
            self._database.execute("UPDATE identities SET revoked = 1 WHERE id = ?", (id,))

    # -- affiliations --------------------------------------------------------------------------

    def list_affiliations(self) -> list[str]:
        """Return the affiliations, by name."""
        return [r[0] for r in self._database.execute("SELECT name FROM affiliations ORDER BY name")]

    def add_affiliation(self, name: str) -> None:
        """Add an affiliation and its parents."""
        parts = name.split(".")
        with self._transaction():
            self._database.executemany(
                "INSERT OR IGNORE INTO affiliations VALUES (?)",
                [(".".join(parts[: i + 1]),) for i in range(len(parts))],
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _digest_new(secret: str) -> tuple[bytes, bytes]:
    salt = os.urandom(16)
    return salt, _digest(secret, salt)


def _digest(secret: str, salt: bytes) -> bytes:
    # About 50 ms a check: a stolen database is slow to search.
    return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1)


def _attributes_text(registration: Registration) -> str:
    return json.dumps([[a.name, a.value, a.ecert] for a in registration.attributes])


def _registration(row: tuple[str, str, str, str, int, int, int]) -> Registration:
    attributes = tuple(Attribute(*entry) for entry in json.loads(row[3]))
    return Registration(row[0], row[1], row[2], attributes, row[4], row[5], bool(row[6]))


def _certificate(
    row: tuple[str, str, str, bytes, str, str | None, str | None],
) -> IssuedCertificate:
    serial, aki, id_, pem, not_after, revoked_at, reason = row
    return IssuedCertificate(
        serial,
        aki,
        id_,
        pem,
        datetime.fromisoformat(not_after).astimezone(UTC),
        datetime.fromisoformat(revoked_at) if revoked_at else None,
        reason,
    )
