"""`docs/events.md` is what the catalogue says, and the catalogue's shapes are the wire's."""

from datetime import UTC, datetime
from pathlib import Path

from admin.events.catalogue import build_document, describe_payload
from chaincode import canonical
from chaincode.audit.model import LogAnchor, LogBatch
from chaincode.claims.model import ClaimEvent
from chaincode.claims.states import Status

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "events.md"


def test_the_document_is_what_the_catalogue_says() -> None:
    assert DOCUMENT.read_text() == build_document(), "run: make events"


def test_the_fields_are_those_of_the_wire() -> None:
    event = ClaimEvent("c", "p", "PayerMSP", "ProviderMSP", Status.ACCEPTED, 1)
    wire = canonical.to_wire(event)
    told = {field.name: field.optional for field in describe_payload(ClaimEvent)}
    assert set(wire) == {name for name, optional in told.items() if not optional}
    assert told["outcome"]


def test_a_value_within_is_told_by_its_path() -> None:
    anchor = LogAnchor(
        "AMSP", LogBatch("ehr", 1, 2, b"\0" * 32), datetime(2026, 1, 1, tzinfo=UTC), "t"
    )
    wire = canonical.to_wire(anchor)
    assert [field.name for field in describe_payload(LogAnchor)] == [
        "mspId",
        *(f"batch.{name}" for name in wire["batch"]),
        "anchoredAt",
        "txId",
    ]
