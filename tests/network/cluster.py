"""Three orderers of ours on one channel, in this process: started, stopped, asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from fabric_protos.orderer import configuration_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2

from network.node.ordering.orderer import Orderer
from network.node.serving.logs import LogSpec
from network.node.serving.settings import Settings
from network.rules.blocks.block import open_block, validate_block
from network.rules.channel.config import Consenter
from network.rules.channel.spec import OrgSpec
from network.rules.policy.manager import BLOCK_VALIDATION
from tests.network.consortium import CHANNEL, Consortium, build_message
from tests.network.node.probes import broadcast
from tests.network.updates import build_update
from tests.ports import free_ports

PATIENCE = 120


@dataclass
class Cluster:
    """Orderers 0, 1, 2 … of one organisation; the first of them leads."""

    folder: Path
    size: int = 3
    consortium: Consortium = field(default_factory=Consortium)
    running: dict[int, Orderer] = field(default_factory=dict)
    genesis: dict[tuple[int, ...], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tls = [self.consortium.orderer.enrol_tls(f"orderer{n}") for n in range(self.size)]
        self.ports = free_ports(self.size)

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{port}" for port in self.ports)

    def consenter(self, number: int) -> Consenter:
        certificate = self.tls[number][0]
        return Consenter("127.0.0.1", self.ports[number], certificate, certificate)

    def build_genesis(self, listed: Sequence[int] | None = None) -> Any:
        """The same block for the same consenters, as one file handed to everyone is."""
        numbers = tuple(range(self.size) if listed is None else listed)
        if numbers not in self.genesis:
            self.genesis[numbers] = self._make_genesis(numbers)
        return self.genesis[numbers]

    def _make_genesis(self, numbers: tuple[int, ...]) -> Any:
        org = OrgSpec(
            "OrdererOrg", "OrdererMSP", self.consortium.orderer.msp_config, self.addresses
        )
        return self.consortium.build_genesis(
            orderer_orgs=[org], consenters=[self.consenter(number) for number in numbers]
        )

    def write(self, number: int, **settings: str) -> dict[str, str]:
        folder = self.folder / f"orderer{number}"
        port = {"ORDERER_GENERAL_LISTENPORT": str(self.ports[number])}
        environment = self.consortium.write_orderer(folder, **port, **settings)
        certificate, key = self.tls[number]
        (folder / "tls" / "server.crt").write_bytes(certificate)
        (folder / "tls" / "server.key").write_bytes(key)
        return environment

    async def start(self, number: int, **settings: str) -> Orderer:
        environment = self.write(number, **settings)
        orderer = self.running[number] = Orderer(Settings.load("orderer", environment), LogSpec())
        await orderer.start()
        return orderer

    async def stop(self, number: int) -> None:
        await self.running.pop(number).stop()

    def chain(self, number: int) -> Any:
        chain = self.running[number].registrar.get(CHANNEL)
        assert chain is not None
        return chain

    async def send(self, number: int, *datas: bytes) -> list[str]:
        messages = [build_message(self.consortium.alice, data) for data in datas or (b"data",)]
        return await self.send_raw(number, messages)

    async def send_raw(self, number: int, messages: list[bytes]) -> list[str]:
        async with self.connect(number) as channel:
            return await broadcast(channel, messages)

    async def list_consenters(self, via: int, *listed: int) -> list[str]:
        """Have the config name these consenters, in this order."""

        def change(orderer: Any) -> None:
            consensus = configuration_pb2.ConsensusType.FromString(
                orderer.values["ConsensusType"].value
            )
            metadata = etcdraft_pb2.ConfigMetadata.FromString(consensus.metadata)
            del metadata.consenters[:]
            for number in listed:
                one = self.consenter(number)
                metadata.consenters.add(
                    host=one.host,
                    port=one.port,
                    client_tls_cert=one.client_tls_certificate,
                    server_tls_cert=one.server_tls_certificate,
                )
            consensus.metadata = metadata.SerializeToString()
            orderer.values["ConsensusType"].value = consensus.SerializeToString()

        config = self.chain(via).config
        update = build_update(self.consortium, config, change, [self.consortium.orderer_admin])
        return await self.send_raw(via, [update])

    @asynccontextmanager
    async def connect(self, number: int) -> AsyncIterator[Any]:
        credentials = grpc.ssl_channel_credentials(self.consortium.orderer.tls_root)
        async with grpc.aio.secure_channel(self.addresses[number], credentials) as channel:
            yield channel

    async def settle(self, height: int) -> None:
        """Return when every orderer that runs has so many blocks."""
        async with asyncio.timeout(PATIENCE):
            for number in self.running:
                while self.chain(number).height < height:
                    await asyncio.sleep(0.02)

    async def validate(self) -> int:
        """All chains are one chain that a peer takes; returns its height."""
        chains = []
        for number in self.running:
            chain = self.chain(number)
            chains.append([await chain.get_block(n) for n in range(chain.height)])
        longest = max(chains, key=len)
        for raws in chains:
            assert raws == longest[: len(raws)]
        blocks = [open_block(raw) for raw in longest]
        policy = self.consortium.config.policies.get(BLOCK_VALIDATION)
        for previous, block in zip([None, *blocks], blocks, strict=False):
            validate_block(block, previous, policy)
        return len(longest)


@asynccontextmanager
async def running_cluster(folder: Path, size: int = 3) -> AsyncIterator[Cluster]:
    """All orderers run and have joined the channel."""
    cluster = Cluster(folder, size)
    try:
        genesis = cluster.build_genesis()
        for number in range(size):
            await cluster.start(number)
        for number in range(size):
            await cluster.running[number].registrar.join(genesis)
        yield cluster
    finally:
        for number in list(cluster.running):
            await cluster.stop(number)
