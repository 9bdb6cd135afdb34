"""A gateway and a Deliver service in this process, told by each test what to answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2, gateway_pb2_grpc
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import events_pb2, events_pb2_grpc, proposal_response_pb2
from google.protobuf import any_pb2
from google.rpc import status_pb2

from network.client import Gateway
from network.rules.envelope import open_envelope
from network.rules.identity.identity import Signer, signer_from_pem
from network.rules.proposal import open_proposal
from network.rules.transaction import build_response_payload, build_transaction_payload

Answer = Callable[[Any], Any]


def make_signer(msp_id: str = "Org1MSP", name: str = "user1") -> Signer:
    """A signer with a self-signed certificate, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return signer_from_pem(
        msp_id,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@dataclass
class Refusal(Exception):
    """What a call shall fail with."""

    code: Any
    message: str
    details: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class GatewayDouble:
    """Answers as the test says; keeps the requests it got.

    `results`, `codes` and `refusals` are used up one by one; the last result or code stays.
    """

    results: list[bytes] = field(default_factory=lambda: [b"done"])
    codes: list[int] = field(default_factory=lambda: [0])
    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    blocks: list[Any] = field(default_factory=list)
    requests: list[tuple[str, Any]] = field(default_factory=list)
    address: str = ""

    def seen(self, name: str) -> list[Any]:
        """The requests of one kind."""
        return [request for kind, request in self.requests if kind == name]

    async def _take(self, name: str, request: Any, context: Any) -> None:
        self.requests.append((name, request))
        waiting = self.refusals.get(name)
        if waiting:
            await refuse(context, waiting.pop(0))

    async def Evaluate(self, request: Any, context: Any) -> Any:
        await self._take("Evaluate", request, context)
        response = gateway_pb2.EvaluateResponse()
        response.result.status = 200
        response.result.payload = _next(self.results)
        return response

    async def Endorse(self, request: Any, context: Any) -> Any:
        await self._take("Endorse", request, context)
        raw = request.proposed_transaction.proposal_bytes
        proposal = open_proposal(raw)
        payload = build_response_payload(
            proposal_hash=proposal.proposal_hash,
            results=b"",
            event=b"",
            response=proposal_response_pb2.Response(status=200, payload=_next(self.results)),
            chaincode_name=proposal.chaincode_name,
            chaincode_version="1",
        )
        endorsement = proposal_response_pb2.Endorsement(endorser=b"peer", signature=b"signed")
        envelope = common_pb2.Envelope(
            payload=build_transaction_payload(raw, payload, [endorsement])
        )
        return gateway_pb2.EndorseResponse(prepared_transaction=envelope)

    async def Submit(self, request: Any, context: Any) -> Any:
        await self._take("Submit", request, context)
        return gateway_pb2.SubmitResponse()

    async def CommitStatus(self, request: Any, context: Any) -> Any:
        await self._take("CommitStatus", request, context)
        return gateway_pb2.CommitStatusResponse(result=_next(self.codes), block_number=7)

    async def ChaincodeEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await self._take("ChaincodeEvents", request, context)
        asked = gateway_pb2.ChaincodeEventsRequest.FromString(request.request)
        passing = asked.after_transaction_id
        for response in self.events:
            if response.block_number < asked.start_position.specified.number:
                continue
            wanted = gateway_pb2.ChaincodeEventsResponse(block_number=response.block_number)
            for event in response.events:
                if not passing:
                    wanted.events.append(event)
                elif event.tx_id == passing:
                    passing = ""
            if wanted.events:
                yield wanted

    async def Deliver(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for envelope in requests:
            await self._take("Deliver", envelope, context)
            seek = ab_pb2.SeekInfo.FromString(open_envelope(envelope.SerializeToString()).data)
            for block in self.blocks:
                if seek.start.specified.number <= block.header.number <= seek.stop.specified.number:
                    yield events_pb2.DeliverResponse(block=block)
            yield events_pb2.DeliverResponse(status=common_pb2.SUCCESS)


async def refuse(context: Any, refusal: Refusal) -> None:
    """The call fails with the refusal's code, message and peers' details."""
    status = status_pb2.Status(code=refusal.code.value[0], message=refusal.message)
    for address, msp_id, message in refusal.details:
        packed = any_pb2.Any()
        packed.Pack(gateway_pb2.ErrorDetail(address=address, msp_id=msp_id, message=message))
        status.details.append(packed)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(refusal.code, refusal.message)


@asynccontextmanager
async def serving(double: GatewayDouble) -> AsyncIterator[GatewayDouble]:
    """The double listens at its `address`, in plaintext."""
    server = grpc.aio.server()
    gateway_pb2_grpc.add_GatewayServicer_to_server(double, server)
    events_pb2_grpc.add_DeliverServicer_to_server(_DeliverDouble(double), server)
    double.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield double
    finally:
        await server.stop(None)


class _DeliverDouble(events_pb2_grpc.DeliverServicer):  # type: ignore[misc]
    def __init__(self, double: GatewayDouble) -> None:
        self.Deliver = double.Deliver


def connect(double: GatewayDouble, signer: Signer | None = None) -> Gateway:
    """A client of the double."""
    return Gateway.connect(endpoint=double.address, signer=signer or make_signer())


def _next(values: list[Any]) -> Any:
    return values.pop(0) if len(values) > 1 else values[0]


def make_events(block: int, *events: tuple[str, str, bytes]) -> Any:
    """One response with events: transaction id, name, payload."""
    response = gateway_pb2.ChaincodeEventsResponse(block_number=block)
    for tx_id, name, payload in events:
        response.events.add(chaincode_id="health", tx_id=tx_id, event_name=name, payload=payload)
    return response


def make_block(number: int) -> Any:
    """An empty block."""
    block = common_pb2.Block()
    block.header.number = number
    return block
