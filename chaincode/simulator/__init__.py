"""A peer in memory: run a contract in a unit test, without any network.

The real handler, stub and contract API run; only the peer's end of the talk is simulated, with its
rules (no own writes read back, pages of 100, no writes after a paginated query, collections).

    async def test_create() -> None:
        sim = Simulator(AssetContract())                  # or a ContractChaincode, or several
        alice = sim.identity("GeneralHospitalMSP", "alice", attributes={"role": "clinician"})
        result = await sim.submit(alice, "assets:Create", Asset(id="a1"), transient={"k": b"v"})
        assert result.value(Asset).id == "a1"             # also result.payload, .text, .event
        assert sim.events[-1].name == "AssetCreated"
        assert "a1" in sim.state                          # also sim.private["collection"]
        with pytest.raises(Denied, match="role"):
            await sim.evaluate(sim.identity("OtherMSP", "bob"), "assets:Get", "a1")
        sim.advance(days=30)                              # or sim.now = datetime(…, tzinfo=UTC)

A refusal raises the `ContractError` that the contract raised; `submit` of a transaction whose reads
were overtaken by another one raises `Conflict`.

`simulator` is the whole, `people` makes identities, `world` is the committed ledger, `simulation`
one transaction's reads and writes, `query` a selector over JSON values.
"""

from chaincode.simulator.people import Person
from chaincode.simulator.simulation import Collection
from chaincode.simulator.simulator import Result, Simulator
from chaincode.simulator.world import CommittedEvent

__all__ = ["Collection", "CommittedEvent", "Person", "Result", "Simulator"]
