"""Gateway → Network → Contract → Proposal → Transaction → Commit, against a gateway double."""

import hashlib

import grpc
import pytest

from network.client import (
    CommitError,
    CommitStatusError,
    EndorseError,
    EvaluateError,
    Gateway,
    Retry,
    SubmitError,
)
from network.client.errors import UnsignedError
from network.rules.envelope import open_envelope
from network.rules.identity.identity import read_identity, verify_signature
from network.rules.proposal import open_proposal
from tests.network.client.gateway_double import (
    GatewayDouble,
    Refusal,
    connect,
    make_signer,
    serving,
)


async def test_submit_takes_every_stage_in_order() -> None:
    async with (
        serving(GatewayDouble(results=[b'{"id":"c1"}'])) as double,
        connect(double) as gateway,
    ):
        contract = gateway.network("care").contract("health", "consent")
        status = await contract.submit("Grant", "text", {"b": 1, "a": [True]}, b"\x00raw", 7)
    assert [kind for kind, _ in double.requests] == ["Endorse", "Submit", "CommitStatus"]
    assert status.json() == {"id": "c1"}
    assert (status.code_name, status.block_number, status.successful) == ("VALID", 7, True)
    proposal = open_proposal(double.seen("Endorse")[0].proposed_transaction.proposal_bytes)
    assert proposal.args == (b"consent:Grant", b"text", b'{"a":[true],"b":1}', b"\x00raw", b"7")
    assert status.transaction_id == proposal.channel_header.tx_id


async def test_every_signature_is_the_callers() -> None:
    signer = make_signer()
    identity = read_identity(signer.creator)
    async with serving(GatewayDouble()) as double, connect(double, signer) as gateway:
        await gateway.network("care").contract("health").submit("Put")
    proposed = double.seen("Endorse")[0].proposed_transaction
    verify_signature(identity, proposed.proposal_bytes, proposed.signature)
    envelope = double.seen("Submit")[0].prepared_transaction
    verify_signature(identity, envelope.payload, envelope.signature)
    asked = double.seen("CommitStatus")[0]
    verify_signature(identity, asked.request, asked.signature)


async def test_transient_data_goes_to_peers_but_not_into_the_transaction() -> None:
    async with serving(GatewayDouble()) as double, connect(double) as gateway:
        contract = gateway.network("care").contract("health")
        await contract.submit("Put", transient={"secret": "s3cr3t"}, organizations=["Org1MSP"])
    request = double.seen("Endorse")[0]
    assert list(request.endorsing_organizations) == ["Org1MSP"]
    proposal = open_proposal(request.proposed_transaction.proposal_bytes)
    assert proposal.transient == {"secret": b"s3cr3t"}
    assert b"s3cr3t" not in double.seen("Submit")[0].prepared_transaction.payload


async def test_stages_can_be_carried_to_another_machine_and_signed_there() -> None:
    """Offline signing: the connected client has no key, the key's holder no connection."""
    signer = make_signer()
    async with (
        serving(GatewayDouble(results=[b"offline"])) as double,
        Gateway.connect(endpoint=double.address, identity=signer.creator) as gateway,
    ):
        contract = gateway.network("care").contract("health")
        proposal = contract.proposal("Put", "value")
        with pytest.raises(UnsignedError):
            await proposal.endorse()
        signature = signer.sign(double_check(proposal.bytes, proposal.digest, signer))
        transaction = await gateway.open_proposal(proposal.bytes, signature).endorse()
        assert transaction.transaction_id == proposal.transaction_id
        payload = transaction.message.envelope.payload
        assert hashlib.sha256(payload).digest() == transaction.digest
        signed = gateway.open_transaction(transaction.bytes, signer.sign(payload))
        assert signed.result == b"offline"
        commit = await signed.submit()
        request = commit.message.request
        assert hashlib.sha256(request).digest() == commit.digest
        status = await gateway.open_commit(commit.bytes, signer.sign(request)).status()
    assert status.successful
    assert status.transaction_id == proposal.transaction_id
    assert (
        open_envelope(
            double.seen("Submit")[0].prepared_transaction.SerializeToString()
        ).channel_header.channel_id
        == "care"
    )


def double_check(raw: bytes, digest: bytes, signer: object) -> bytes:
    """The bytes to sign, after checking that the digest is theirs."""
    from fabric_protos.gateway import gateway_pb2

    to_sign: bytes = gateway_pb2.ProposedTransaction.FromString(raw).proposal.proposal_bytes
    assert hashlib.sha256(to_sign).digest() == digest
    return to_sign


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("Endorse", EndorseError),
        ("Submit", SubmitError),
        ("CommitStatus", CommitStatusError),
    ],
)
async def test_each_stage_has_its_error_with_what_the_peers_said(
    stage: str, error: type[EndorseError]
) -> None:
    said = [("peer0:7051", "Org1MSP", "chaincode response 403, Denied: no role")]
    double = GatewayDouble(refusals={stage: [Refusal(grpc.StatusCode.ABORTED, "failed", said)]})
    async with serving(double), connect(double) as gateway:
        with pytest.raises(error) as caught:
            await gateway.network("care").contract("health").submit("Put")
    failure = caught.value
    assert type(failure) is error
    assert failure.status == "ABORTED"
    assert failure.message == "failed"
    assert failure.details[0].msp_id == "Org1MSP"
    assert "Denied: no role" in str(failure)
    assert len(failure.transaction_id) == 64
    assert not failure.unreachable


async def test_a_refused_evaluation_is_an_evaluate_error() -> None:
    refusal = Refusal(grpc.StatusCode.UNKNOWN, "chaincode response 404, NotFound: c1")
    double = GatewayDouble(refusals={"Evaluate": [refusal]})
    async with serving(double), connect(double) as gateway:
        contract = gateway.network("care").contract("health", "consent")
        with pytest.raises(EvaluateError, match="NotFound: c1"):
            await contract.evaluate("Get", "c1")
        assert await contract.evaluate("Get", "c1") == b"done"


async def test_a_gateway_that_is_not_there_is_unreachable() -> None:
    async with Gateway.connect(endpoint="127.0.0.1:1", signer=make_signer()) as gateway:
        with pytest.raises(EvaluateError) as caught:
            await gateway.network("care").contract("health").evaluate("Get", timeout=2)
    assert caught.value.unreachable
    assert caught.value.address == "127.0.0.1:1"


async def test_the_ledgers_no_is_not_a_failed_call() -> None:
    async with serving(GatewayDouble(codes=[11])) as double, connect(double) as gateway:
        contract = gateway.network("care").contract("health")
        with pytest.raises(CommitError) as caught:
            await contract.submit("Put")
        assert (caught.value.code, caught.value.code_name) == (11, "MVCC_READ_CONFLICT")
        assert caught.value.block_number == 7
        commit = await (await contract.proposal("Put").endorse()).submit()
        status = await commit.status()  # asked for, the verdict is a value
    assert not status.successful


async def test_a_conflict_is_tried_again_with_a_fresh_proposal() -> None:
    async with serving(GatewayDouble(codes=[11, 12, 0])) as double, connect(double) as gateway:
        contract = gateway.network("care").contract("health")
        status = await contract.submit("Put", retry=Retry(attempts=3, first_delay=0.001))
    assert status.successful
    ids = {request.transaction_id for request in double.seen("Endorse")}
    assert len(ids) == 3


async def test_retrying_has_a_limit_and_other_verdicts_are_final() -> None:
    retry = Retry(attempts=2, first_delay=0.001)
    async with serving(GatewayDouble(codes=[11])) as double, connect(double) as gateway:
        with pytest.raises(CommitError):
            await gateway.network("care").contract("health").submit("Put", retry=retry)
    assert len(double.seen("Submit")) == 2
    async with serving(GatewayDouble(codes=[10])) as double, connect(double) as gateway:
        with pytest.raises(CommitError, match="ENDORSEMENT_POLICY_FAILURE"):
            await gateway.network("care").contract("health").submit("Put", retry=retry)
    assert len(double.seen("Submit")) == 1


NO_LEADER = Refusal(
    grpc.StatusCode.UNAVAILABLE, "no orderers could successfully process transaction"
)


async def test_while_no_orderer_leads_the_same_transaction_is_sent_again() -> None:
    refusals = {"Submit": [NO_LEADER, NO_LEADER]}
    async with serving(GatewayDouble(refusals=refusals)) as double, connect(double) as gateway:
        status = await gateway.network("care").contract("health").submit("Put", retry=Retry())
    assert status.successful
    assert len(double.seen("Endorse")) == 1
    sent = {request.prepared_transaction.SerializeToString() for request in double.seen("Submit")}
    assert (len(double.seen("Submit")), len(sent)) == (3, 1)


@pytest.mark.parametrize("retry", [None, Retry(patience=0.0)])
async def test_without_patience_a_missing_orderer_is_told_at_once(retry: Retry | None) -> None:
    refusals = {"Submit": [NO_LEADER]}
    async with serving(GatewayDouble(refusals=refusals)) as double, connect(double) as gateway:
        with pytest.raises(SubmitError) as caught:
            await gateway.network("care").contract("health").submit("Put", retry=retry)
    assert caught.value.leaderless
    assert len(double.seen("Submit")) == 1


async def test_another_refusal_to_order_is_final() -> None:
    refusals = {"Submit": [Refusal(grpc.StatusCode.ABORTED, "status=FORBIDDEN, info=no")]}
    async with serving(GatewayDouble(refusals=refusals)) as double, connect(double) as gateway:
        with pytest.raises(SubmitError, match="FORBIDDEN"):
            await gateway.network("care").contract("health").submit("Put", retry=Retry())
    assert len(double.seen("Submit")) == 1


def test_what_connect_needs_is_told() -> None:
    with pytest.raises(TypeError, match="identity"):
        Gateway.connect("network.yaml")
    with pytest.raises(TypeError, match="endpoint"):
        Gateway.connect(signer=make_signer())
    with pytest.raises(TypeError, match="signer"):
        Gateway.connect(endpoint="127.0.0.1:1")
