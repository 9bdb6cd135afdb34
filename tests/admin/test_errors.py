"""Exceptions as faults: exit codes, remedies, what a chaincode said."""

import pytest

from admin.errors import ExitCode, get_chaincode_answer, input_error, to_fault
from network.client.errors import (
    CommitError,
    CommitStatusError,
    EndorseError,
    EvaluateError,
    IdentityExpiredError,
    NodeError,
    PeerDetail,
    ProfileError,
    ProposalRefusedError,
    SubmitError,
)

DENIED = PeerDetail("p:7051", "Org1MSP", "chaincode response 403, Denied: role is missing")


@pytest.mark.parametrize(
    ("failure", "exit_code", "code"),
    [
        (input_error("bad"), ExitCode.INVALID, "invalid-input"),
        (CommitError("t" * 64, 11, "MVCC_READ_CONFLICT", 4), ExitCode.LEDGER, "MVCC_READ_CONFLICT"),
        (ProfileError("no such user"), ExitCode.INVALID, "invalid-input"),
        (IdentityExpiredError("expired"), ExitCode.REFUSED, "identity-expired"),
        (EvaluateError("UNAVAILABLE", "refused"), ExitCode.UNREACHABLE, "unreachable"),
        (
            NodeError("UNAVAILABLE", "its TLS certificate is not trusted: expired"),
            ExitCode.UNREACHABLE,
            "untrusted-certificate",
        ),
        (CommitStatusError("DEADLINE_EXCEEDED", ""), ExitCode.UNREACHABLE, "timed-out"),
        (EndorseError("ABORTED", "failed", details=(DENIED,)), ExitCode.REFUSED, "Denied"),
        (
            EvaluateError("UNKNOWN", "chaincode response 404, NotFound: c1"),
            ExitCode.INVALID,
            "NotFound",
        ),
        (EvaluateError("PERMISSION_DENIED", "no"), ExitCode.REFUSED, "PERMISSION_DENIED"),
        (ProposalRefusedError(404, "namespace X"), ExitCode.INVALID, "invalid-input"),
        (ProposalRefusedError(500, "access denied"), ExitCode.REFUSED, "refused"),
        (FileNotFoundError(2, "No such file", "a.json"), ExitCode.INVALID, "no-such-file"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
        (TimeoutError(), ExitCode.UNREACHABLE, "timed-out"),
        (RuntimeError("odd"), ExitCode.BUG, "bug"),
    ],
)
def test_exit_codes(failure: BaseException, exit_code: ExitCode, code: str) -> None:
    fault = to_fault(failure)
    assert (fault.exit_code, fault.code) == (exit_code, code)
    assert fault.message
    assert "\n" not in fault.message


def test_what_the_chaincode_said_comes_first_and_details_stay() -> None:
    fault = to_fault(EndorseError("ABORTED", "failed to endorse", details=(DENIED, DENIED)))
    assert fault.message == "Denied: role is missing"
    assert len(fault.details) == 2


def test_no_chaincode_answer_where_none_is() -> None:
    assert get_chaincode_answer(EvaluateError("UNKNOWN", "chaincode response")) is None
    assert get_chaincode_answer(EvaluateError("UNKNOWN", "x")) is None


def test_the_topologys_error_keeps_every_mistake() -> None:
    from network.topology.errors import Mistake, TopologyError

    mistakes = [Mistake("n.yaml", 3, ("name",), "missing"), Mistake("n.yaml", 9, (), "odd")]
    fault = to_fault(TopologyError(mistakes))
    assert fault.exit_code is ExitCode.INVALID
    assert fault.message == "n.yaml:3 name: missing"
    assert fault.details == ("n.yaml:9: odd",)


def test_an_engines_error_keeps_remedy_and_details() -> None:
    from network.engines.engine import NotReadyError, PortsTakenError

    taken = to_fault(PortsTakenError("127.0.0.1:7051 is in use", "stop it", ("a", "b")))
    assert (taken.exit_code, taken.code) == (ExitCode.INVALID, "port-in-use")
    assert (taken.remedy, taken.details) == ("stop it", ("a", "b"))
    assert to_fault(NotReadyError("late")).exit_code is ExitCode.UNREACHABLE


def test_what_a_gateway_hides_behind_details_is_told() -> None:
    text = "failed to endorse transaction, see attached details for more info"
    detail = PeerDetail("127.0.0.1:7051", "AlphaMSP", "failed to distribute private collection")
    fault = to_fault(EndorseError("ABORTED", text, details=(detail,)))
    assert fault.message.startswith("failed to endorse transaction: 127.0.0.1:7051")
    assert fault.message.endswith("failed to distribute private collection")
    assert fault.remedy == ""  # there is nothing more to read
    assert "--verbose" in to_fault(EndorseError("ABORTED", text, details=(detail, detail))).remedy


def test_no_orderer_is_not_an_unreachable_peer() -> None:
    text = "no orderers could successfully process transaction"
    fault = to_fault(SubmitError("UNAVAILABLE", text, address="127.0.0.1:7051"))
    assert (fault.exit_code, fault.code) == (ExitCode.UNREACHABLE, "no-orderer")
    assert "no orderer takes transactions" in fault.message
