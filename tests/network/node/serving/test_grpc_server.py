"""The gRPC server: limits, addresses, and what it knows of a caller's certificate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from network.node.serving.grpc_server import (
    Limits,
    ListenError,
    RotatingTls,
    ServerTls,
    get_tls_cert_hash,
    make_server,
)
from tests.network.consortium import Org, make_org

METHOD = "/test.Test/Hash"


@pytest.fixture(scope="module")
def org() -> Org:
    return make_org("Org1MSP")


@asynccontextmanager
async def serving(tls: Any = None, limits: Limits | None = None) -> AsyncIterator[int]:
    """A server that answers with the hash of its caller's certificate."""

    async def answer(request: bytes, context: Any) -> bytes:
        del request
        return get_tls_cert_hash(context)

    server = make_server(tls, limits or Limits())
    handler = grpc.unary_unary_rpc_method_handler(answer)
    server.grpc.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Test", {"Hash": handler})]
    )
    port = await server.start("127.0.0.1:0")
    try:
        yield port
    finally:
        await server.stop(0)


async def ask(port: int, org: Org, client: tuple[bytes, bytes] | None, request: bytes = b"") -> Any:
    certificate, key = client or (None, None)
    credentials = grpc.ssl_channel_credentials(org.tls_root, key, certificate)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return await channel.unary_unary(METHOD)(request, timeout=60)


def make_tls(org: Org, **changes: Any) -> ServerTls:
    certificate, key = org.enrol_tls("server")
    return ServerTls(key, certificate, **changes)


async def test_a_required_certificate_is_known_by_its_hash(org: Org) -> None:
    client = org.enrol_tls("client")
    der = x509.load_pem_x509_certificate(client[0]).public_bytes(Encoding.DER)
    async with serving(make_tls(org, client_auth_required=True, client_roots=org.tls_root)) as port:
        assert await ask(port, org, client) == sha256(der).digest()


async def test_a_certificate_that_is_not_asked_for_is_not_seen(org: Org) -> None:
    async with serving(make_tls(org)) as port:
        assert await ask(port, org, org.enrol_tls("client")) == b""
        assert await ask(port, org, None) == b""


async def test_client_roots_may_change_while_it_runs(org: Org) -> None:
    other = make_org("Org2MSP")
    first = make_tls(org, client_auth_required=True, client_roots=org.tls_root)
    tls = RotatingTls(first)
    async with serving(tls) as port:
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(port, org, other.enrol_tls("client"))
        roots = org.tls_root + other.tls_root
        tls.tls = ServerTls(first.key, first.certificate, True, roots)
        assert await ask(port, org, other.enrol_tls("client"))


async def test_messages_above_the_limit_are_refused(org: Org) -> None:
    async with serving(make_tls(org), Limits(max_receive_size=1000)) as port:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(port, org, None, bytes(2000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_two_servers_do_not_share_a_port(org: Org) -> None:
    async with serving(make_tls(org)) as port:
        for tls in (make_tls(org), None):
            with pytest.raises(ListenError, match=f"127.0.0.1:{port}"):
                await make_server(tls).start(f"127.0.0.1:{port}")


async def test_a_key_of_another_certificate_is_refused(org: Org) -> None:
    mixed = ServerTls(org.enrol_tls("a")[1], org.enrol_tls("b")[0])
    with pytest.raises(ListenError, match="do not belong together"):
        await make_server(mixed).start("127.0.0.1:0")
