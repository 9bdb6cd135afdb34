"""Keys, certificates and client roots that are renewed on disk, without a restart."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509

from chaincode.contract import Context, Contract, ContractChaincode, query
from chaincode.shim.server import ChaincodeServer
from chaincode.shim.settings import ServerSettings, load_server_tls
from tests.chaincode.authority import Authority


class Nothing(Contract):
    @query
    async def Nothing(self, ctx: Context) -> None: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tls"
    made.mkdir()
    return made


def install(folder: Path, servers: Authority, name: str, clients: Authority) -> None:
    key, certificate = servers.issue(name)
    shutil.copy(key, folder / "server.key")
    shutil.copy(certificate, folder / "server.crt")
    shutil.copy(clients.path, folder / "clients.crt")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[int]:
    env = {
        "CHAINCODE_TLS_KEY": str(folder / "server.key"),
        "CHAINCODE_TLS_CERT": str(folder / "server.crt"),
        "CHAINCODE_CLIENT_CA_CERT": str(folder / "clients.crt"),
    }
    settings = ServerSettings(
        "cc:1", "127.0.0.1:0", load_server_tls(env), renew_tls=lambda: load_server_tls(env)
    )
    server = ChaincodeServer(settings, ContractChaincode([Nothing()]))
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(0)


async def connect(
    port: int, roots: Authority, client: tuple[Path, Path], host: str | None = None
) -> tuple[str, asyncio.StreamWriter]:
    """The common name that the server shows, and the connection, after it spoke."""
    context = ssl.create_default_context(cafile=roots.path)
    context.check_hostname = host is not None
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(client[1], client[0])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=host or ""
    )
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    if not await asyncio.wait_for(reader.read(9), 60):  # the server's SETTINGS
        raise ConnectionResetError
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    name = x509.load_der_x509_certificate(shown).subject.rfc4514_string()
    return name, writer


async def test_new_connections_get_the_renewed_files(tmp_path: Path, folder: Path) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    peer = clients.issue("peer")
    install(folder, servers, "first", clients)
    async with serving(folder) as port:
        name, standing = await connect(port, servers, peer)
        assert name == "CN=first"
        install(folder, servers, "second", clients)
        assert (await connect(port, servers, peer))[0] == "CN=second"
        assert (await connect(port, servers, peer, host="127.0.0.1"))[0] == "CN=second"
        assert not standing.is_closing()
        standing.write(b"\0\0\0\4\1\0\0\0\0")  # the old connection still takes frames
        await standing.drain()


async def test_new_roots_and_a_new_ca_take_over(tmp_path: Path, folder: Path) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    later_servers, later_clients = Authority(tmp_path, "servers2"), Authority(tmp_path, "clients2")
    peer, later_peer = clients.issue("peer"), later_clients.issue("peer2")
    install(folder, servers, "first", clients)
    async with serving(folder) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, servers, later_peer)
        install(folder, later_servers, "second", later_clients)
        assert (await connect(port, later_servers, later_peer))[0] == "CN=second"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, later_servers, peer)


@pytest.mark.parametrize("mistake", ["missing", "no PEM", "another's key"])
async def test_files_that_do_not_fit_leave_the_last_good_ones_in_use(
    tmp_path: Path, folder: Path, mistake: str
) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    peer = clients.issue("peer")
    install(folder, servers, "first", clients)
    async with serving(folder) as port:
        if mistake == "missing":
            (folder / "server.key").unlink()
        elif mistake == "no PEM":
            (folder / "server.crt").write_text("nothing")
        else:
            shutil.copy(servers.issue("half")[1], folder / "server.crt")
        assert (await connect(port, servers, peer))[0] == "CN=first"
        install(folder, servers, "whole", clients)
        assert (await connect(port, servers, peer))[0] == "CN=whole"
