"""Every transaction of the health chaincode that a test commits is held to the event catalogue."""

from typing import Any

import pytest

from chaincode import canonical, events
from chaincode.health import CONTRACTS
from chaincode.phi import refuse_phi
from chaincode.simulator import Result, Simulator
from chaincode.simulator.link import Proposal

HEALTH = {
    f"{contract.name}:{name}": found
    for contract in CONTRACTS
    for name, found in contract.transactions.items()
}
PUBLIC_NAMES = ("name",)  # of a table that a payer loads


@pytest.fixture(autouse=True)
def _every_change_has_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Simulator._commit

    def checked(self: Simulator, proposal: Proposal, outcome: Any) -> Result:
        result = commit(self, proposal, outcome)
        function = proposal.args[0].decode("utf-8", "replace") if proposal.args else ""
        if function in HEALTH and proposal.chaincode == self.name:
            check_event(function, self.name, result)
        return result

    monkeypatch.setattr(Simulator, "_commit", checked)


def check_event(function: str, chaincode: str, result: Result) -> None:
    """Assert that public writes come with a catalogued event, whose payload is of its type."""
    if result.event is None:
        changed = set(result.rwset.writes.get((chaincode, ""), {}))
        assert not changed or function in events.SILENT, f"{function} wrote, and set no event"
        return
    kind = events.BY_NAME.get(result.event.name)
    assert kind is not None, f"{result.event.name} is not in chaincode/events.py"
    assert function in kind.by, f"{function} is not among those that set {kind.name}"
    value: Any = canonical.decode(kind.payload, result.event.payload)
    assert canonical.encode(value) == result.event.payload
    wire = canonical.to_wire(value)
    assert kind.subject in wire, f"{kind.name} has no {kind.subject}"
    refuse_phi(wire, allow=PUBLIC_NAMES)
