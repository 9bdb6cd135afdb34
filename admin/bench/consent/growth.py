"""How evaluations fare as the ledger grows: a network of its own, filled and asked in stages.

One organisation with a peer and a chaincode server, one orderer, on this machine, in a folder of
its own. Between the stages the network is down and its peer's ledger is filled (see
`admin.bench.filling`); at each stage clients ask `consent:Evaluate` about patients drawn from all.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from admin.bench.consent.samples import Population, build_patient, build_population
from admin.bench.filling import Chaincode, LedgerFiller, Signers
from admin.bench.load import Supply, run_load
from admin.bench.ports import find_free_ports
from admin.bench.process import read_usage, subtract
from admin.bench.statistics import Measured, Usage, summarize_round
from admin.bench.workload import Mode, Workload
from admin.procedures.networks.bootstrap import bootstrap
from chaincode import canonical
from chaincode.consent.messages import EvaluationRequest
from chaincode.consent.model import Decision, Verdict
from network.client import Gateway, Proposal
from network.client.profile import Surroundings, load_surroundings
from network.engines.choice import open_engine
from network.engines.engine import Engine
from network.topology.mspfolder import load_signer
from network.topology.values import NodeKind

CHANNEL, CHAINCODE, ORGANIZATION, MSP_ID = "care", "health", "Hospital", "HospitalMSP"
PATIENTS_A_TRANSACTION = 40
TRANSACTIONS_A_BLOCK = 20
TRIMMED_EVERY = 50
UP_SECONDS = 180.0
_TOPOLOGY = """\
version: 1
name: growth
engine: embedded
host: 127.0.0.1
organizations:
  - {{name: Office, mspId: OfficeMSP, domain: office.example, role: orderer,
     orderers: [{{name: orderer0, port: {orderer}}}]}}
  - {{name: Hospital, mspId: HospitalMSP, domain: hospital.example, role: provider,
     chaincode: {{port: {chaincode}}}, peers: [{{name: peer0, port: {peer}}}]}}
channels:
  - name: care
    orderers: [Office]
    members: [Hospital]
    chaincodes: [{{name: health}}]
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Course:
    """How a run is made up.

    Attributes:
        stages: numbers of patients, ascending.
        consents: consents of each patient.
        seconds: length of each measured window.
        concurrency: evaluations in flight where the rate is measured.
        lean: write and keep only what an evaluation can read: patients and current consents in
            the state, without trail, earlier versions, history and old blocks' bytes. A tenth of
            the disk.
    """

    stages: tuple[int, ...]
    consents: int = 5
    seconds: float = 10.0
    concurrency: int = 16
    lean: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """What was seen with so many patients on the ledger. Times are seconds.

    Attributes:
        patients: how many.
        consents: of all of them.
        filled: how long filling took since the last stage.
        bytes: size of the peer's ledger on disk.
        first: p50 and p95 of an evaluation alone, about a patient not asked about before.
        again: the same about one of a few patients who are asked about all the time.
        rate: evaluations a second with many in flight, patients as for `first`.
        rate_again: the same, patients as for `again`.
        latency: p50 and p95 with many in flight, patients as for `first`.
        peer_cpu: the peer's processor time for each of them.
        chaincode_cpu: and the chaincode server's.
        failed: how many evaluations failed.
    """

    patients: int
    consents: int
    filled: float
    bytes: int
    first: tuple[float, float]
    again: tuple[float, float]
    rate: float
    rate_again: float
    latency: tuple[float, float]
    peer_cpu: float
    chaincode_cpu: float
    failed: int


@dataclass(slots=True)
class Questions(Supply):
    """Evaluations about patients drawn from a population; see `admin.bench.load.Supply`."""

    patients: range = range(1)
    draw: random.Random = field(default_factory=lambda: random.Random(5))  # noqa: S311

    def _make(self) -> Proposal:
        handle = build_patient(self.draw.choice(self.patients))
        request = canonical.encode(EvaluationRequest(handle, "TREAT"))
        return self.contract.proposal("consent:Evaluate", request).signed()


async def run_growth(folder: Path, course: Course, say: Say) -> list[Stage]:
    """Every stage's figures; the network is down afterwards, and stays in `folder`.

    Args:
        folder: where the network is made; one made by an earlier run is filled on.
        course: how far and how.
        say: told what is being done.

    Raises:
        EngineError: the network could not be brought up.
        FillingError: what was built is not valid.
    """
    engine = open_engine(_prepare(folder))
    population = await build_population(MSP_ID, course.consents)
    if course.lean:
        population = population.reduce()
    found: list[Stage] = []
    begun = 0
    say("bringing the network up")
    await bootstrap(engine, lambda _: None, timeout=UP_SECONDS)
    try:
        for patients in course.stages:
            await engine.down(lambda _: None)
            started = time.monotonic()
            await _fill(engine.surroundings, population, range(begun, patients), course, say)
            filled, begun = time.monotonic() - started, patients
            await engine.up(lambda _: None, timeout=UP_SECONDS)
            found.append(await _measure(engine, patients, filled, course))
            say(describe(found[-1]))
    finally:
        await engine.down(lambda _: None)
    return found


def describe(stage: Stage) -> str:
    """A stage in one line."""
    return (
        f"{stage.patients:,} patients: {stage.rate:,.0f}/s, alone {stage.first[0] * 1000:.1f} ms"
        + (f", {stage.failed} failed" if stage.failed else "")
    )


def _prepare(folder: Path) -> Surroundings:
    file = folder / "network.yaml"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        orderer, peer, chaincode = find_free_ports(3)
        file.write_text(_TOPOLOGY.format(orderer=orderer, peer=peer, chaincode=chaincode))
    return load_surroundings(file)


async def _fill(
    surroundings: Surroundings,
    population: Population,
    numbers: range,
    course: Course,
    say: Say,
) -> None:
    filler = await LedgerFiller.open(
        _ledger(surroundings),
        Chaincode(CHANNEL, CHAINCODE, surroundings.topology.channels[0].chaincodes[0].version),
        _load_signers(surroundings),
    )
    try:
        total, done, blocks = len(numbers), 0, 0
        transactions = population.list_stage(numbers.start, numbers.stop, PATIENTS_A_TRANSACTION)
        while block := list(islice(transactions, TRANSACTIONS_A_BLOCK)):
            await filler.commit(block)
            done, blocks = done + len(block) * PATIENTS_A_TRANSACTION, blocks + 1
            if blocks % TRIMMED_EVERY == 0:
                say(f"filled {numbers.start + min(done, total):,} of {numbers.stop:,} patients")
                if course.lean:
                    await asyncio.to_thread(filler.trim)
        if course.lean:
            await asyncio.to_thread(filler.trim)
    finally:
        await filler.close()


def _ledger(surroundings: Surroundings) -> Path:
    peer = surroundings.nodes(NodeKind.PEER)[0]
    return surroundings.folder / "nodes" / peer.fqdn / "ledger" / "channels" / CHANNEL


def _load_signers(surroundings: Surroundings) -> Signers:
    folders = surroundings.folders
    peer, orderer = (surroundings.nodes(kind)[0] for kind in (NodeKind.PEER, NodeKind.ORDERER))
    return Signers(
        creator=surroundings.signer(f"{ORGANIZATION}/Admin"),
        endorsers=(load_signer(folders.node_msp(peer), peer.organization.msp_id),),
        orderer=load_signer(folders.node_msp(orderer), orderer.organization.msp_id),
    )


async def _measure(engine: Engine, patients: int, filled: float, course: Course) -> Stage:
    surroundings = engine.surroundings
    processes = {status.kind: status.pid for status in await engine.status()}
    profile = surroundings.profile(f"{ORGANIZATION}/Admin")
    everybody, few = range(patients), range(min(patients, 20))
    async with Gateway.connect(endpoint=profile.endpoint, signer=profile.signer) as gateway:
        contract = gateway.network(CHANNEL).contract(CHAINCODE)
        request = canonical.encode(EvaluationRequest(build_patient(patients - 1), "TREAT"))
        answer = canonical.decode(Decision, await contract.evaluate("consent:Evaluate", request))
        if answer.verdict is not Verdict.PERMIT:
            raise AssertionError(f"the last patient's consents say {answer.verdict.value}")

        async def ask(whom: range, concurrency: int) -> Measured:
            workload = Workload(
                Mode.EVALUATE, "", (), 0, concurrency, seconds=course.seconds, lead=1.0
            )
            return await run_load(Questions(contract, workload, "", patients=whom))

        first, again = await ask(everybody, 1), await ask(few, 1)
        before = _usages(processes)
        many = await ask(everybody, course.concurrency)
        used = _usages(processes)
        many_again = await ask(few, course.concurrency)
    rounds = [summarize_round([one]) for one in (first, again, many, many_again)]
    answered = len(many.latencies) + many.outside
    return Stage(
        patients=patients,
        consents=patients * course.consents,
        filled=filled,
        bytes=sum(one.stat().st_size for one in _ledger(surroundings).iterdir()),
        first=(rounds[0].latency.p50, rounds[0].latency.p95),
        again=(rounds[1].latency.p50, rounds[1].latency.p95),
        rate=rounds[2].rate,
        rate_again=rounds[3].rate,
        latency=(rounds[2].latency.p50, rounds[2].latency.p95),
        peer_cpu=_each(used, before, "peer", answered),
        chaincode_cpu=_each(used, before, "chaincode", answered),
        failed=sum(sum(one.errors.values()) for one in rounds),
    )


def _usages(processes: dict[str, int | None]) -> dict[str, Usage | None]:
    return {kind: read_usage(pid) if pid else None for kind, pid in processes.items()}


def _each(
    after: dict[str, Usage | None], before: dict[str, Usage | None], kind: str, count: int
) -> float:
    used = subtract(after.get(kind), before.get(kind))
    return used.cpu / count if used and count else 0.0
