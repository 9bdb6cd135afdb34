"""Whose signatures count off the chain: the channel's own members, as its configuration says."""

from datetime import datetime

from network.rules.channel.config import ChannelConfig
from network.rules.identity.identity import Identity, verify_signature


class ChannelTrust:
    """The members of a channel at one configuration."""

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config

    def identify(self, serialized: bytes, *, now: datetime | None = None) -> Identity:
        """Return the valid identity of a member; with `now` its certificate must be in force.

        Raises IdentityError with Fabric's reason.
        """
        identity = self._config.msps.identity(serialized)
        self._config.msps.validate(identity)
        if now is not None and identity.not_after < now:
            raise ValueError(f"the certificate of {identity.common_name} has expired")
        return identity

    def verify(self, serialized: bytes, data: bytes, signature: bytes) -> None:
        """Raise unless a member of the channel signed `data`.

        Expiry is left out on purpose: what was signed while the certificate was valid stays signed.
        """
        verify_signature(self.identify(serialized), data, signature)
