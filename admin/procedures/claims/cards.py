"""What a claim is called on the ledger: the same handle and salt whenever its file is sent again.

A card lies in the organisation's folder, `claims/<Organization>/cards/<name>.json`, mode 0600. Its
name is a keyed digest of what the claim is called outside (submitter, payer, claim number), so that
the folder tells nobody a claim number, and sending a file twice is recognised on any machine that
has the folder. Losing a card loses the salt: the claim stays, but a second sending becomes a second
claim, which the duplicate check meets.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from admin.errors import input_error
from chaincode import commitment
from network.client.profile import Surroundings
from network.topology.safefiles import write_file
from network.topology.values import Organization

CARD = b"medfabric/claim-card/v1\x00"
HANDLE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Card:
    """A handle and the salt of the commitments that go with it; `known` if it was here before."""

    name: str
    handle: str
    salt: bytes
    known: bool = False


class Cards:
    """The cards of one organisation, in one folder."""

    def __init__(self, surroundings: Surroundings, organization: Organization, key: bytes) -> None:
        self._folder = claims_folder(surroundings, organization) / "cards"
        self._key = key

    def find(self, parts: Sequence[str]) -> Card:
        """Return the card of what these parts name outside; a fresh one, not yet kept, if new.

        Raises FaultError: the card's file is damaged.
        """
        name = commitment.fingerprint(self._key, CARD, parts).hex()
        file = self._folder / f"{name}.json"
        try:
            held = json.loads(file.read_bytes())
            return Card(name, str(held["handle"]), bytes.fromhex(held["salt"]), known=True)
        except FileNotFoundError:
            return self.renewed(name)
        except (ValueError, KeyError, TypeError):
            raise input_error(
                "the card of a claim is damaged", "restore it from a copy, or remove it", str(file)
            ) from None

    def renewed(self, name: str) -> Card:
        """Return a fresh card under the same name, not yet kept."""
        return Card(
            name, secrets.token_hex(HANDLE_BYTES), secrets.token_bytes(commitment.SALT_SIZE)
        )

    def keep(self, card: Card) -> None:
        """The card is on disk. To be called before anything is sent under its handle."""
        if not card.known:
            content = json.dumps({"handle": card.handle, "salt": card.salt.hex()})
            write_file(self._folder / f"{card.name}.json", content.encode(), secret=True)


def claims_folder(surroundings: Surroundings, organization: Organization) -> Path:
    """Return where an organisation keeps what belongs to its claims."""
    return surroundings.folder / "claims" / organization.name
