"""What can be wrong with a sealed record, by whose fault it is."""


class ExchangeError(Exception):
    """Base class of everything the exchange raises on purpose."""


class SealBroken(ExchangeError):
    """The sealed file is not what its sender sealed: changed, truncated, reordered or unsigned."""


class NotARecipient(ExchangeError):
    """The sealed file was not sealed for this key, so this key cannot open it."""


class NotSealed(ExchangeError):
    """The file is no sealed record of ours, or of a newer format."""


class StoreAway(ExchangeError):
    """The store of sealed records cannot be reached, or refuses; the same may succeed later."""
