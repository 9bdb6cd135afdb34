"""Fabric's own `osnadmin` does every step on our orderer's participation API."""

import asyncio
from pathlib import Path
from typing import Any

from network.node.ordering.orderer import Orderer
from network.node.serving.logs import LogSpec
from network.node.serving.settings import Settings
from tests.fabric_binaries import fabric_binary, run_fabric
from tests.network.consortium import CHANNEL, Consortium
from tests.network.updates import build_update, set_batch_size


async def test_join_list_update_fetch_remove(tmp_path: Path) -> None:
    fabric_binary("osnadmin")
    consortium = Consortium()
    genesis = consortium.build_genesis().SerializeToString()
    (tmp_path / "genesis.block").write_bytes(genesis)
    orderer = Orderer(Settings.load("orderer", consortium.write_orderer(tmp_path)), LogSpec())
    await orderer.start()
    tls = tmp_path / "tls"

    async def osnadmin(verb: str, *arguments: Any) -> str:
        return await asyncio.to_thread(
            run_fabric, "osnadmin", "channel", verb, "-o", f"127.0.0.1:{orderer.admin_port}",
            "--ca-file", tls / "ca.crt", "--client-cert", tls / "server.crt",
            "--client-key", tls / "server.key", *arguments,
        )  # fmt: skip

    try:
        assert '"channels": null' in await osnadmin("list")
        join = ("join", "--channelID", CHANNEL, "--config-block", tmp_path / "genesis.block")
        assert "Status: 201" in await osnadmin(*join)
        again = await osnadmin(*join)
        assert "Status: 405" in again
        assert "cannot join: channel already exists" in again
        assert '"status": "active"' in await osnadmin("list", "--channelID", CHANNEL)

        chain = orderer.registrar.get(CHANNEL)
        assert chain is not None
        update = build_update(consortium, chain.config, set_batch_size, [consortium.orderer_admin])
        (tmp_path / "update.pb").write_bytes(update)
        updated = await osnadmin(
            "update", "--channelID", CHANNEL, "--config-update-envelope", tmp_path / "update.pb"
        )
        assert "Status: 201" in updated
        assert '"height": 2' in updated

        for wanted, number in (("oldest", 0), ("config", 1), ("1", 1)):
            file = tmp_path / f"{wanted}.block"
            await osnadmin("fetch", "--channelID", CHANNEL, "-b", wanted, "-f", file)
            assert file.read_bytes() == await chain.get_block(number)

        assert "Status: 204" in await osnadmin("remove", "--channelID", CHANNEL)
        assert "channel does not exist" in await osnadmin("list", "--channelID", CHANNEL)
    finally:
        await orderer.stop()
