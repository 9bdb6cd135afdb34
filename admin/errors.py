"""Every failure a person can meet, as one value: what, where, what to do, and the exit code.

`to_fault` is the only place that turns an exception into it; the command line prints it. An
exception that is not known here is a bug of ours and says how to report it.
"""

import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from admin.explain import explain_code, explain_status
from network.client import errors as client

REPORT = "please report it, with the command and what it prints under --verbose"


class ExitCode(IntEnum):
    """What a program that calls us can rely on."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INVALID = 3
    REFUSED = 4
    LEDGER = 5
    UNREACHABLE = 6
    DIFFERENT = 10  # no failure: 'network plan' and 'channel diff' found something to change
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure as it is shown.

    Attributes:
        exit_code: the program's exit code.
        code: a stable word for programs, such as `invalid-input` or a validation code's name.
        message: what happened, one line.
        where: file, option, node or transaction it happened at; may be empty.
        remedy: what to do, one line; may be empty.
        details: further lines, such as what each peer said.
    """

    exit_code: ExitCode
    code: str
    message: str
    where: str = ""
    remedy: str = ""
    details: tuple[str, ...] = ()


class FaultError(Exception):
    """Raised by our own code where it knows the fault already."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def usage_error(message: str, remedy: str = "", where: str = "") -> FaultError:
    """The command was called wrongly (exit code 2)."""
    return FaultError(Fault(ExitCode.USAGE, "usage", message, where, remedy))


def input_error(
    message: str, remedy: str = "", where: str = "", details: tuple[str, ...] = ()
) -> FaultError:
    """A file or a value is not what it should be (exit code 3)."""
    return FaultError(Fault(ExitCode.INVALID, "invalid-input", message, where, remedy, details))


def refused_error(message: str, remedy: str = "", where: str = "") -> FaultError:
    """Identity, consent or policy forbids it (exit code 4)."""
    return FaultError(Fault(ExitCode.REFUSED, "refused", message, where, remedy))


def unreachable_error(message: str, remedy: str = "", where: str = "") -> FaultError:
    """Nobody answered, or not in time (exit code 6)."""
    return FaultError(Fault(ExitCode.UNREACHABLE, "unreachable", message, where, remedy))


def to_fault(failure: BaseException) -> Fault:
    """The fault that an exception means."""
    for judge in (
        *(_from_ours, _from_client, _from_exchange),
        *(_from_engine, _from_topology, _from_system),
    ):
        fault = judge(failure)
        if fault is not None:
            return fault
    kind = type(failure).__name__
    return Fault(
        ExitCode.BUG, "bug", f"this is a fault of ours: {kind}: {first_line(failure)}", "", REPORT
    )


def first_line(failure: object) -> str:
    """The first line of an exception's text."""
    return next(iter(str(failure).splitlines()), "")


def _from_ours(failure: BaseException) -> Fault | None:
    return failure.fault if isinstance(failure, FaultError) else None


def _from_client(failure: BaseException) -> Fault | None:
    if isinstance(failure, client.CommitError):
        meaning = explain_code(failure.code_name)
        return Fault(
            ExitCode.LEDGER,
            failure.code_name,
            f"the ledger marked the transaction {failure.code_name}: {meaning.meaning}",
            f"transaction {failure.transaction_id}, block {failure.block_number}",
            meaning.remedy,
        )
    if isinstance(failure, client.IdentityExpiredError):
        return Fault(ExitCode.REFUSED, "identity-expired", first_line(failure), "", failure.remedy)
    if isinstance(failure, client.ProfileError):
        return Fault(ExitCode.INVALID, "invalid-input", first_line(failure), "", failure.remedy)
    if isinstance(failure, client.ProposalRefusedError):
        return _from_refusal(failure)
    if isinstance(failure, client.GatewayError):
        return _from_call(failure)
    if isinstance(failure, client.ClientError):
        return Fault(ExitCode.INVALID, "invalid-input", first_line(failure))
    return None


def _from_refusal(failure: client.ProposalRefusedError) -> Fault:
    code = {400: ExitCode.INVALID, 404: ExitCode.INVALID, 409: ExitCode.INVALID}.get(
        failure.response_status, ExitCode.REFUSED
    )
    name = "invalid-input" if code is ExitCode.INVALID else "refused"
    return Fault(code, name, failure.message, f"peer {failure.address}")


ANSWERS = {
    400: "correct what the message names, and try again",
    403: "act as somebody who may, with --as; see: medfabric identity list",
    404: "check the id; lists show what there is",
    409: "look at the present state, and try again on it",
}
CHAINCODE_PREFIX = "chaincode response "


_STATUS_EXITS = {
    "UNAVAILABLE": ExitCode.UNREACHABLE,
    "INVALID_ARGUMENT": ExitCode.INVALID,
    "NOT_FOUND": ExitCode.INVALID,
    "ALREADY_EXISTS": ExitCode.INVALID,
}


def _from_call(failure: client.GatewayError) -> Fault:
    details = tuple(str(detail) for detail in failure.details)
    where = failure.address and f"{failure.stage} at {failure.address}"
    answer = get_chaincode_answer(failure)
    if answer is not None:
        status, text = answer
        exit_code = ExitCode.INVALID if status in (400, 404, 409) else ExitCode.REFUSED
        name = text.partition(":")[0] if ": " in text else "refused"
        return Fault(exit_code, name, text, "", ANSWERS.get(status, ""), details)
    if failure.unreachable and "certificate" in failure.message.lower():
        return Fault(
            ExitCode.UNREACHABLE,
            "untrusted-certificate",
            f"{failure.address} is not trusted: {first_line(failure.message)}",
            where,
            "see which certificates have ended: medfabric network certs",
        )
    if failure.leaderless:
        return Fault(
            ExitCode.UNREACHABLE,
            "no-orderer",
            "no orderer takes transactions: none is up, or those that are have no leader",
            where,
            "see which orderers run: medfabric network status",
            details,
        )
    if failure.unreachable:
        return Fault(
            ExitCode.UNREACHABLE,
            "timed-out" if failure.status == "DEADLINE_EXCEEDED" else "unreachable",
            f"no answer from {failure.address or 'the node'}: {first_line(failure.message)}",
            where,
            "see whether the network is up: medfabric network status",
            details,
        )
    meaning = explain_status(failure.status)
    exit_code = _STATUS_EXITS.get(failure.status, ExitCode.REFUSED)
    message = first_line(failure.message) or meaning.meaning
    told, hidden, _ = message.partition(", see attached details")
    remedy = meaning.remedy
    if hidden and details:  # Fabric's gateway says that there are reasons; say the first
        message = f"{told}: {first_line(details[0])}"
        remedy = remedy if len(details) > 1 else ""
    return Fault(exit_code, failure.status, message, where, remedy, details)


def get_chaincode_answer(failure: client.GatewayError) -> tuple[int, str] | None:
    """Status and text that a chaincode refused with, wherever the gateway put it; None if none.

    Fabric's gateway writes `chaincode response 403, Denied: …` into the message (evaluate) or
    into a peer's detail (endorse).
    """
    for text in [*(detail.message for detail in failure.details), failure.message]:
        _, found, rest = text.partition(CHAINCODE_PREFIX)
        status, comma, message = rest.partition(", ")
        if found and comma and status.isdigit():
            return int(status), message
    return None


def _is_a(failure: BaseException, module: str, name: str) -> bool:
    """Whether it is of a class whose module we would not load for this: not loaded, not raised."""
    kind: Any = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(failure, kind)


def _from_exchange(failure: BaseException) -> Fault | None:
    errors = "admin.exchange.errors"
    if not _is_a(failure, errors, "ExchangeError"):
        return None
    if _is_a(failure, errors, "NotARecipient"):
        return Fault(
            ExitCode.REFUSED,
            "not-a-recipient",
            first_line(failure),
            "",
            "ask for it: medfabric record request RECORD --purpose CODE",
        )
    if _is_a(failure, errors, "StoreAway"):
        return Fault(
            ExitCode.UNREACHABLE,
            "store-away",
            first_line(failure),
            remedy="for S3: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY",
        )
    code = "seal-broken" if _is_a(failure, errors, "SealBroken") else "invalid-record"
    return Fault(ExitCode.INVALID, code, first_line(failure))


def _from_engine(failure: BaseException) -> Fault | None:
    module = "network.engines.engine"
    if _is_a(failure, module, "EngineError"):
        unreachable = _is_a(failure, module, "NotReadyError")
        exit_code = ExitCode.UNREACHABLE if unreachable else ExitCode.INVALID
        taken = _is_a(failure, module, "PortsTakenError")
        code = "not-ready" if unreachable else "port-in-use" if taken else "engine"
        remedy = getattr(failure, "remedy", "")
        details = getattr(failure, "details", ())
        return Fault(exit_code, code, first_line(failure), "", remedy, details)
    for place, name in (
        ("network.topology.materials", "MissingKey"),
        ("network.topology.mspfolder", "InvalidMspFolder"),
    ):
        if _is_a(failure, place, name):
            return Fault(ExitCode.INVALID, "invalid-material", first_line(failure))
    return None


def _from_topology(failure: BaseException) -> Fault | None:
    if not _is_a(failure, "network.topology.errors", "TopologyError"):
        return None
    lines = str(failure).splitlines()
    return Fault(
        ExitCode.INVALID,
        "invalid-network-file",
        lines[0] if lines else "the network file is not valid",
        "",
        "correct the file; its schema: medfabric network init --schema",
        tuple(lines[1:]),
    )


def _from_system(failure: BaseException) -> Fault | None:
    if isinstance(failure, KeyboardInterrupt):
        return Fault(
            ExitCode.INTERRUPTED, "interrupted", "interrupted", "", "run it again to go on"
        )
    if isinstance(failure, FileNotFoundError):
        return Fault(
            ExitCode.INVALID, "no-such-file", "no such file", str(failure.filename or ""), ""
        )
    if isinstance(failure, IsADirectoryError):
        return Fault(
            ExitCode.INVALID, "no-such-file", "this is a folder, not a file", str(failure.filename)
        )
    if isinstance(failure, PermissionError):
        return Fault(
            ExitCode.INVALID,
            "no-permission",
            "no permission to read or write this file",
            str(failure.filename or ""),
            "check its owner and mode",
        )
    if isinstance(failure, TimeoutError):
        return Fault(
            ExitCode.UNREACHABLE,
            "timed-out",
            first_line(failure) or "timed out",
            "",
            "see whether the network is up: medfabric network status",
        )
    if isinstance(failure, OSError) and failure.strerror:
        return Fault(
            ExitCode.INVALID, "system", failure.strerror.lower(), str(failure.filename or "")
        )
    return None
