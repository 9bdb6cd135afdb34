"""An identity's encryption keys on disk: the newest to publish, the older to open what came before.

They lie beside the identity's MSP folder, `users/<user>@<domain>/encryption/<key id>.pem`, PKCS#8
with mode 0600; the certificate of each is beside it as `<key id>.crt`.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from admin.exchange.errors import NotARecipient
from admin.exchange.header import Header, key_id
from admin.exchange.keywrap import RecordSecret, public_key_spki
from admin.exchange.sealing import unwrap_for
from network.topology.safefiles import write_file


class KeyRing:
    """The encryption keys in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the ids of the keys that are here."""
        return sorted(file.stem for file in self._folder.glob("*.pem"))

    def find(self, name: str) -> ec.EllipticCurvePrivateKey | None:
        """Return the key of this id, or None."""
        file = self._folder / f"{name}.pem"
        if not file.is_file():
            return None
        key = load_pem_private_key(file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NotARecipient(f"{file} is no P-256 key")
        return key

    def add(self, key_pem: bytes, certificate_pem: bytes) -> str:
        """Keep a key and its certificate; return the key's id."""
        key = load_pem_private_key(key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise NotARecipient("an encryption key is a P-256 key")
        name = key_id(public_key_spki(key))
        write_file(self._folder / f"{name}.pem", key_pem, secret=True)
        write_file(self._folder / f"{name}.crt", certificate_pem, secret=True)
        return name

    def unwrap(self, header: Header) -> RecordSecret:
        """Return the secret of a sealed record. Raises NotARecipient if no key here opens it."""
        for recipient in header.recipients:
            key = self.find(recipient.key_id)
            if key is not None:
                return unwrap_for(header, key)
        raise NotARecipient(
            f"record {header.manifest.record} was not sealed for this identity: request access: "
            f"medfabric record request {header.manifest.record[:8]}"
        )
