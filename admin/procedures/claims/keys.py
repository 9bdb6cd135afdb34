"""The fingerprint key: one secret of the consortium, by which a service billed twice is seen.

It lies in the network's folder as `secrets/fingerprint.key`, 64 hexadecimal digits, mode 0600.
Where the whole network is on this machine it is made at first use. A real consortium draws it once
and hands it to every payer and provider outside this system; `medfabric claim key --import FILE`
puts it in place. It never reaches a ledger, only its digest may (the policy parameter
`claims.fingerprintKey`).
"""

import os
import secrets
from pathlib import Path

from admin.errors import input_error
from chaincode import commitment
from network.client.profile import Surroundings
from network.topology.safefiles import make_folder, write_file

ENROLMENT_HANDLE = b"medfabric/enrolment-handle/v1\x00"
"""The handle under which a payer states a provider's enrolment: everyone with the key finds it."""

_HANDLE_SIZE = 16


def open_key(surroundings: Surroundings) -> bytes:
    """Return the consortium's fingerprint key; make it if the whole network is on this machine.

    Raises FaultError: it is not here, or the file does not hold one.
    """
    file = key_file(surroundings)
    if not file.exists():
        if not surroundings.topology.is_local:
            raise input_error(
                "the consortium's fingerprint key is not on this machine",
                "ask the consortium for it, then: medfabric claim key --import FILE",
                str(file),
            )
        _make(file)
    return read_key(file.read_bytes(), str(file))


def import_key(surroundings: Surroundings, raw: bytes, where: str) -> bytes:
    """The key in these bytes is this machine's from now on; returns it. Raises FaultError."""
    key = read_key(raw, where)
    file = key_file(surroundings)
    if file.exists() and read_key(file.read_bytes(), str(file)) != key:
        raise input_error(
            "another fingerprint key is here already; claims were compared under it",
            "remove the file if the consortium has changed its key",
            str(file),
        )
    write_file(file, key.hex().encode() + b"\n", secret=True)
    return key


def key_file(surroundings: Surroundings) -> Path:
    """Return where the key lies."""
    return surroundings.folder / "secrets" / "fingerprint.key"


def read_key(raw: bytes, where: str) -> bytes:
    """Return the key in a file's bytes. Raises FaultError."""
    try:
        key = bytes.fromhex(raw.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) < commitment.MINIMUM_KEY_SIZE:
        raise input_error(
            "not a fingerprint key",
            f"it is a file of {2 * commitment.MINIMUM_KEY_SIZE} hexadecimal digits",
            where,
        )
    return key


def enrolment_handle(key: bytes, payer: str, npi: str) -> str:
    """Return the handle of a provider's enrolment with a payer."""
    return commitment.fingerprint(key, ENROLMENT_HANDLE, (payer, npi))[:_HANDLE_SIZE].hex()


def _make(file: Path) -> None:
    """A fresh key is in the file, or that of who was quicker: it is never replaced."""
    make_folder(file.parent)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(commitment.MINIMUM_KEY_SIZE) + "\n")
        os.link(part, file)
    except FileExistsError:
        pass
    finally:
        part.unlink(missing_ok=True)
