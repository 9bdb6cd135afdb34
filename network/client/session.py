"""What every stage of a journey shares: the calls, who signs, and the deadlines."""

from dataclasses import dataclass, field

from network.client.calls import GatewayCalls
from network.client.errors import UnsignedError
from network.rules.identity.identity import Signing


@dataclass(frozen=True, slots=True)
class OfflineIdentity:
    """An identity whose key is elsewhere: stages must be given their signatures."""

    creator: bytes

    def sign(self, data: bytes) -> bytes:
        """Refuses: the key is not here.

        Raises:
            UnsignedError: always.
        """
        raise UnsignedError(
            "this client signs offline: sign the stage's digest elsewhere and pass the result "
            "to its signed() method"
        )


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long each stage may take, in seconds; a keyword of the call overrides it."""

    evaluate: float = 30.0
    endorse: float = 30.0
    submit: float = 15.0
    commit: float = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """One connection to a gateway on behalf of one identity."""

    calls: GatewayCalls
    signer: Signing = field(repr=False)
    deadlines: Deadlines
