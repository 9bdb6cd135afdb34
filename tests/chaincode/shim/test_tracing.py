"""Spans say that a transaction ran, and nothing of what it was about."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from chaincode.contract import Context, Contract, ContractChaincode, query
from chaincode.errors import ConfigurationError, NotFound
from chaincode.shim.tracing import Traced
from tests.chaincode.talk import Talk

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")


class Notes(Contract):
    @query
    async def Read(self, ctx: Context, key: str) -> str:
        if key == "missing":
            raise NotFound("no such note of jane doe")
        if key == "broken":
            raise KeyError("jane doe")
        return key


@pytest.fixture
def spans() -> tuple[Any, Any]:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


@pytest.mark.parametrize(
    ("key", "status", "failed"), [("jane doe", 200, False), ("missing", 404, False)]
)
async def test_a_span_has_id_channel_and_status(
    spans: tuple[Any, Any], key: str, status: int, failed: bool
) -> None:
    provider, exporter = spans
    talk = Talk(Traced(ContractChaincode([Notes()]), provider))
    talk.invoke("Read", key, tx="tx1")
    assert (await talk.answered()).status == status
    (span,) = exporter.get_finished_spans()
    assert span.name == "chaincode.transaction"
    assert dict(span.attributes) == {
        "fabric.transaction_id": "tx1",
        "fabric.channel": "c",
        "fabric.status": status,
    }
    assert (span.status.status_code.name == "ERROR") is failed


async def test_a_failure_is_told_by_its_type_alone(spans: tuple[Any, Any]) -> None:
    provider, exporter = spans
    talk = Talk(Traced(ContractChaincode([Notes()]), provider))
    talk.invoke("Read", "broken")
    assert (await talk.answered()).status == 500
    (span,) = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "KeyError"
    assert span.status.status_code.name == "ERROR"
    assert "jane" not in span.to_json()
    assert "Read" not in span.to_json()


def test_without_the_package_it_is_a_mistake_of_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"medfabric\[tracing\]"):
        Traced(ContractChaincode([Notes()]))
