"""A forwarder's metrics, as Prometheus reads them."""

import asyncio
import urllib.request
from pathlib import Path

from admin.events.forwarding import Patience
from admin.events.metrics import ForwardingMetrics
from admin.events.target import Answer, Undelivered
from tests.admin.events.test_forwarding import Place, event, stream


def read_page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as page:
        text: str = page.read().decode()
        return text


async def test_attempts_and_what_became_of_events_are_counted(tmp_path: Path) -> None:
    metrics, place = ForwardingMetrics(), Place(tmp_path)
    answers = [204, 500, 204, 429, None, 400]

    async def send(body: bytes, headers: dict[str, str]) -> Answer:
        status = answers.pop(0)
        if status is None:
            raise Undelivered("it cannot be reached")
        return Answer(status)

    def block() -> int:
        assert place.checkpoint.position is not None
        return place.checkpoint.position.block_number

    forwarder = place.forwarder(
        metrics.measure(send), patience=Patience(attempts=3), tell=metrics.count
    )
    metrics.watch(lambda: forwarder.underway, block)
    await forwarder.run(stream(event(1), event(2), event(3)))
    port = metrics.serve("127.0.0.1", 0)
    lines = (await asyncio.to_thread(read_page, f"http://127.0.0.1:{port}/metrics")).splitlines()
    read = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    prefix = "medfabric_webhook_"
    attempts = {
        status: read[f'{prefix}attempts_total{{status="{status}"}}']
        for status in ("2xx", "4xx", "5xx", "none")
    }
    assert attempts == {"2xx": "2.0", "4xx": "2.0", "5xx": "1.0", "none": "1.0"}
    assert read[f'{prefix}events_total{{outcome="delivered"}}'] == "2.0"
    assert read[f'{prefix}events_total{{outcome="dead-letter"}}'] == "1.0"
    assert read[f'{prefix}events_total{{outcome="passed-over"}}'] == "0.0"
    assert read[f"{prefix}attempt_seconds_count"] == "6.0"
    assert read[f"{prefix}underway"] == "0.0"
    assert read[f"{prefix}checkpoint_block"] == "3.0"
    assert float(read[f"{prefix}last_delivered_timestamp_seconds"]) > 1.7e9
