"""Errors by whose fault they are: the caller's, the peer's, the contract author's.

A transaction answers with a status and a message `"<Code>: <text>"`; `ContractError` and its
subclasses are how a contract says so. Texts name what is missing and what to do, and never repeat
an argument, a key or a value: they travel to clients and into other people's logs.
"""

from __future__ import annotations


class ContractError(Exception):
    """The transaction is refused: it answers `status` with the message `"<code>: <text>"`.

    Raise a subclass where one fits; raise this one with a `status` (400..599) and a `code`
    (one upper camel case word) for anything else.
    """

    status: int = 500
    code: str = "Internal"

    def __init__(self, text: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code

    @property
    def message(self) -> str:
        """What the client reads: `"Denied: attribute role=clinician is missing"`."""
        return f"{self.code}: {self.text}"

    def __str__(self) -> str:
        return self.message


class InvalidArgument(ContractError):
    """An argument cannot be understood or breaks a rule of form. Status 400."""

    status = 400
    code = "InvalidArgument"

    @property
    def path(self) -> str:
        """Where in the argument the fault is (`directive.rules[2].period`), "" if unknown."""
        head, separator, _ = self.text.partition(": ")
        return head if separator else ""


class Denied(ContractError):
    """The caller may not do this. Status 403; the text names what is missing."""

    status = 403
    code = "Denied"


class NotFound(ContractError):
    """What the transaction speaks of does not exist. Status 404."""

    status = 404
    code = "NotFound"


class UnknownTransaction(NotFound):
    """No contract or transaction has this name. Status 404; the text suggests the nearest."""

    code = "UnknownTransaction"


class Conflict(ContractError):
    """The ledger's state does not allow it (exists already, wrong version). Status 409."""

    status = 409
    code = "Conflict"


class Busy(ContractError):
    """The chaincode has more transactions than it may hold. Status 503; try again later."""

    status = 503
    code = "Busy"


class WriteInQuery(ContractError):
    """A `@query` tried to write. Status 500: the contract's author has to repair it."""

    code = "WriteInQuery"


class PeerError(ContractError):
    """The peer refused a request of the stub; `text` is the peer's own.

    Left alone it fails the transaction with status 500, as in Go; a contract may catch it.
    """

    code = "PeerRefused"


class StreamClosed(PeerError):
    """The stream to the peer ended while the transaction was running; nobody hears its answer."""

    code = "StreamClosed"


class MessageTooLarge(PeerError):
    """A request would exceed the 100 MB that a peer reads in one message."""

    code = "MessageTooLarge"


class InvalidKey(ContractError, ValueError):
    """A key or a composite key part breaks Fabric's rules (see `compositekey`). Status 400."""

    status = 400
    code = "InvalidKey"


class MalformedIdentity(ContractError, ValueError):
    """The creator of the transaction cannot be read as an X.509 identity. Status 403."""

    status = 403
    code = "MalformedIdentity"


class ConfigurationError(Exception):
    """The chaincode server cannot start as configured; the text is one line for the operator."""


class ContractDefinitionError(TypeError):
    """A contract class is written wrongly; raised while it is being defined or registered."""


_BY_CODE: dict[str, type[ContractError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        Denied,
        NotFound,
        UnknownTransaction,
        Conflict,
        Busy,
        WriteInQuery,
        PeerError,
        InvalidKey,
        MalformedIdentity,
    )
}


def read_contract_error(status: int, message: str) -> ContractError:
    """The error that a response with this status and message was made from."""
    code, separator, text = message.partition(": ")
    if separator and code in _BY_CODE:
        return _BY_CODE[code](text, status=status)
    if separator and code.isalpha() and code[:1].isupper():
        return ContractError(text, status=status, code=code)
    return ContractError(message, status=status, code="Failed")
