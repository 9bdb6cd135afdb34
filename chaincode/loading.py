"""Finding the chaincode that a command line names as `module:name`."""

from __future__ import annotations

import importlib

from chaincode.errors import ConfigurationError
from chaincode.shim.interface import Chaincode


def load_chaincode(place: str) -> Chaincode:
    """The chaincode at `module:name`, called if it is a function or a class.

    Raises ConfigurationError: there is no such thing, or it is no chaincode.
    """
    module_name, separator, name = place.partition(":")
    if not separator:
        raise ConfigurationError(f"--chaincode {place}: expected module:name")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"--chaincode {place}: {error}") from None
    made = found if hasattr(found, "invoke") and not isinstance(found, type) else found()
    if not hasattr(made, "invoke"):
        raise ConfigurationError(f"--chaincode {place}: has no method invoke")
    chaincode: Chaincode = made
    return chaincode
