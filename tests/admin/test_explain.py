"""The tables of meanings are complete."""

import grpc
from fabric_protos.peer import transaction_pb2

from admin.errors import ExitCode
from admin.explain import MEANINGS, explain_code, explain_status, explain_term


def test_every_validation_code_of_fabric_is_explained() -> None:
    ours = {one.name: one.number for one in MEANINGS if one.kind == "validation code"}
    assert ours == dict(transaction_pb2.TxValidationCode.items())


def test_every_grpc_status_is_explained() -> None:
    ours = {one.name: one.number for one in MEANINGS if one.kind == "gateway status"}
    theirs = {status.name: status.value[0] for status in grpc.StatusCode if status.name != "OK"}
    assert ours == theirs


def test_every_exit_code_is_explained() -> None:
    ours = {one.number for one in MEANINGS if one.kind == "exit code"}
    assert ours == {int(code) for code in ExitCode}


def test_terms_are_found_by_name_part_and_number() -> None:
    assert [one.name for one in explain_term("mvcc-read conflict")] == ["MVCC_READ_CONFLICT"]
    assert {one.name for one in explain_term("11")} == {"MVCC_READ_CONFLICT", "OUT_OF_RANGE"}
    assert len(explain_term("conflict")) == 3
    assert explain_term("nothing like it") == []


def test_codes_of_a_later_fabric_get_a_general_word() -> None:
    assert explain_code("NEW_CODE").name == "NEW_CODE"
    assert explain_status("NEW_STATUS").remedy
