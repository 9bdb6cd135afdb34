"""A whole orderer over TLS: Fabric's answers, osnadmin's REST, operations, restart, mutual TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2

from network.node.ordering.orderer import Orderer
from network.node.serving.grpc_server import ListenError
from network.node.serving.logs import LogSpec
from network.node.serving.settings import Settings, SettingsError
from network.rules.blocks.block import open_block
from network.rules.channel.spec import DEFAULT_BATCH
from tests.network.consortium import CHANNEL, Consortium, build_message
from tests.network.node.probes import (
    MAX_UINT64,
    Asker,
    at,
    broadcast,
    build_seek,
    deliver,
    newest,
    run_probes,
)
from tests.network.updates import build_update, set_batch_size, set_maintenance

ANSWERS = Path(__file__).parents[3] / "vectors" / "orderer" / "answers.json"
KILOBYTE = 1024


@pytest.fixture(scope="module")
def consortium() -> Consortium:
    batch = replace(
        DEFAULT_BATCH,
        max_messages=1,
        absolute_max_bytes=512 * KILOBYTE,
        preferred_max_bytes=256 * KILOBYTE,
    )
    return Consortium(batch=batch)


@asynccontextmanager
async def running(consortium: Consortium, folder: Path, **settings: str) -> AsyncIterator[Orderer]:
    environment = consortium.write_orderer(folder, **settings)
    orderer = Orderer(Settings.load("orderer", environment), LogSpec())
    try:
        await orderer.start()
        yield orderer
    finally:
        await orderer.stop()


@asynccontextmanager
async def connected(
    consortium: Consortium, orderer: Orderer, client: tuple[bytes, bytes] | None = None
) -> AsyncIterator[Any]:
    certificate, key = client or (None, None)
    credentials = grpc.ssl_channel_credentials(
        consortium.orderer.tls_root, private_key=key, certificate_chain=certificate
    )
    address = f"127.0.0.1:{orderer.port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        yield channel


@asynccontextmanager
async def administering(
    consortium: Consortium, orderer: Orderer, folder: Path, *, shows_certificate: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cadata=consortium.orderer.tls_root.decode())
    if shows_certificate:
        context.load_cert_chain(folder / "tls" / "server.crt", folder / "tls" / "server.key")
    base = f"https://127.0.0.1:{orderer.admin_port}"
    async with httpx.AsyncClient(base_url=base, verify=context) as client:
        yield client


async def join(client: httpx.AsyncClient, block: Any) -> httpx.Response:
    return await client.post(
        "/participation/v1/channels",
        files={"config-block": ("config.block", block.SerializeToString())},
    )


async def test_it_answers_as_fabric_does(consortium: Consortium, tmp_path: Path) -> None:
    async with running(consortium, tmp_path) as orderer:
        await orderer.registrar.join(consortium.build_genesis())
        async with connected(consortium, orderer) as channel:
            answers = await run_probes(Asker(channel, consortium.admin1, consortium.stranger))
    expected = json.loads(ANSWERS.read_text())
    assert {name: blur(answer) for name, answer in answers.items()} == {
        name: blur(answer) for name, answer in expected.items()
    }


def blur(answers: list[str]) -> list[str]:
    """A message's size depends on the names in its creator's certificate."""
    return [
        "too large" if "exceeds maximum allowed 524288 bytes" in answer else answer
        for answer in answers
    ]


class TestParticipation:
    async def test_join_list_info_remove(self, consortium: Consortium, tmp_path: Path) -> None:
        genesis = consortium.build_genesis()
        info = {
            "name": CHANNEL,
            "url": f"/participation/v1/channels/{CHANNEL}",
            "consensusRelation": "consenter",
            "status": "active",
            "height": 1,
        }
        async with (
            running(consortium, tmp_path) as orderer,
            administering(consortium, orderer, tmp_path) as client,
        ):
            empty = await client.get("/participation/v1/channels")
            assert empty.text == '{"systemChannel":null,"channels":null}\n'
            joined = await join(client, genesis)
            assert (joined.status_code, joined.json()) == (201, info)
            assert joined.headers["location"] == info["url"]
            again = await join(client, genesis)
            assert again.status_code == 405
            assert again.json() == {"error": "cannot join: channel already exists"}
            assert again.headers["allow"] == "GET, DELETE"
            listed = await client.get("/participation/v1/channels")
            assert listed.json()["channels"] == [{"name": CHANNEL, "url": info["url"]}]
            assert listed.headers["cache-control"] == "no-store"
            one = await client.get(f"/participation/v1/channels/{CHANNEL}")
            assert one.json() == info
            removed = await client.delete(f"/participation/v1/channels/{CHANNEL}")
            assert removed.status_code == 204
            gone = await client.get(f"/participation/v1/channels/{CHANNEL}")
            assert (gone.status_code, gone.json()) == (404, {"error": "channel does not exist"})
            rejoined = await join(client, genesis)
            assert rejoined.status_code == 201

    async def test_blocks_are_fetched_by_name_and_number(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        genesis = consortium.build_genesis()
        async with (
            running(consortium, tmp_path) as orderer,
            administering(consortium, orderer, tmp_path) as client,
            connected(consortium, orderer) as channel,
        ):
            await join(client, genesis)
            await broadcast(channel, [build_message(consortium.alice)])
            numbers = {}
            for wanted in ("oldest", "newest", "config", "1"):
                path = f"/participation/v1/channels/{CHANNEL}/blocks/{wanted}"
                answer = await client.get(path)
                assert answer.headers["content-type"] == "application/octet-stream"
                numbers[wanted] = open_block(answer.content).header.number
            assert numbers == {"oldest": 0, "newest": 1, "config": 0, "1": 1}
            for wanted, status in (("2", 404), ("-1", 404), ("9" * 5000, 404), ("x", 400)):
                path = f"/participation/v1/channels/{CHANNEL}/blocks/{wanted}"
                assert (await client.get(path)).status_code == status, wanted

    async def test_an_update_is_ordered(self, consortium: Consortium, tmp_path: Path) -> None:
        async with (
            running(consortium, tmp_path) as orderer,
            administering(consortium, orderer, tmp_path) as client,
        ):
            chain = await orderer.registrar.join(consortium.build_genesis())
            update = build_update(
                consortium, chain.config, set_batch_size, [consortium.orderer_admin]
            )
            answers = [
                await client.put(
                    "/participation/v1/channels", files={"config-update-envelope": ("u", update)}
                )
                for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [201, 400]
            assert answers[0].json()["height"] == 2
            assert "but key is at version 1" in answers[1].json()["error"]

    async def test_bad_requests_are_answered_as_fabric_does(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        block = consortium.build_genesis().SerializeToString()
        changed = consortium.build_genesis()
        changed.header.data_hash = b"other"
        path = "/participation/v1/channels"
        async with (
            running(consortium, tmp_path) as orderer,
            administering(consortium, orderer, tmp_path) as client,
        ):

            async def post(**request: Any) -> tuple[int, str]:
                answer = await client.post(path, **request)
                return answer.status_code, answer.json()["error"]

            part = ("f", block)
            assert await post(files={"other": part}) == (
                400,
                "form does not contains part key: config-block",
            )
            assert await post(files={"config-block": part, "second": part}) == (
                400,
                "form contains too many parts",
            )
            assert await post(content=b"x") == (400, "unsupported Content-Type: []")
            status, text = await post(files={"config-block": ("f", b"\xff")})
            assert (status, text.split(":")[0]) == (
                400,
                "cannot unmarshal file part config-block into a block",
            )
            assert await post(files={"config-block": ("f", b"")}) == (
                400,
                "invalid join block: block is not a config block",
            )
            assert await post(files={"config-block": ("f", changed.SerializeToString())}) == (
                400,
                "invalid join block: invalid block: "
                "Header.DataHash is different from Hash(block.Data)",
            )
            status, text = await post(files={"config-block": ("f", bytes(2 << 20))})
            assert (status, text) == (
                400,
                "cannot read form from request body: http: request body too large",
            )
            for method, url, allow in (
                ("PATCH", path, "GET, POST, PUT"),
                ("POST", f"{path}/{CHANNEL}", "GET, DELETE"),
                ("DELETE", f"{path}/{CHANNEL}/blocks/0", "GET"),
            ):
                answer = await client.request(method, url)
                assert (answer.status_code, answer.headers["allow"]) == (405, allow)
                assert answer.json() == {"error": f"invalid request method: {method}"}
            answer = await client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 406
            answer = await client.get(f"{path}/Not_A_Channel")
            assert answer.json() == {
                "error": "invalid channel ID: 'Not_A_Channel' contains illegal characters"
            }
            assert (await client.delete(f"{path}/{CHANNEL}")).json() == {
                "error": "cannot remove: channel does not exist"
            }
            redirect = await client.get("/participation/v1/")
            assert (redirect.status_code, redirect.headers["location"]) == (302, path)
            assert (await client.get("/elsewhere")).status_code == 404

    async def test_a_client_certificate_is_needed(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        async with (
            running(consortium, tmp_path) as orderer,
            administering(consortium, orderer, tmp_path, shows_certificate=False) as client,
        ):
            with pytest.raises(httpx.TransportError):
                await client.get("/participation/v1/channels")


async def test_a_restart_loses_nothing(consortium: Consortium, tmp_path: Path) -> None:
    async with running(consortium, tmp_path) as orderer:
        await orderer.registrar.join(consortium.build_genesis())
        await orderer.registrar.join(consortium.build_genesis("second"))
        async with connected(consortium, orderer) as channel:
            assert (
                await broadcast(channel, [build_message(consortium.alice)] * 3) == ["SUCCESS"] * 3
            )
    async with running(consortium, tmp_path) as orderer:
        assert [(c.channel_id, c.height) for c in orderer.registrar.list()] == [
            (CHANNEL, 4),
            ("second", 1),
        ]
        async with connected(consortium, orderer) as channel:
            assert await broadcast(channel, [build_message(consortium.alice)]) == ["SUCCESS"]
            assert await deliver(channel, build_seek(consortium.alice, newest(), newest())) == [
                "block 4",
                "SUCCESS",
            ]


class TestDeliver:
    async def test_a_waiting_reader_gets_each_block_as_it_comes(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        async with running(consortium, tmp_path) as orderer:
            await orderer.registrar.join(consortium.build_genesis())
            async with connected(consortium, orderer) as channel:
                stream = channel.stream_stream("/orderer.AtomicBroadcast/Deliver")()
                await stream.write(build_seek(consortium.peer, at(0), at(MAX_UINT64)))
                assert await read_number(stream) == 0
                for number in (1, 2, 3):
                    await broadcast(channel, [build_message(consortium.alice)])
                    assert await read_number(stream) == number
                stream.cancel()

    async def test_a_reader_who_loses_the_right_is_sent_away(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        async with running(consortium, tmp_path) as orderer:
            chain = await orderer.registrar.join(consortium.build_genesis())
            async with connected(consortium, orderer) as channel:
                stream = channel.stream_stream("/orderer.AtomicBroadcast/Deliver")()
                await stream.write(build_seek(consortium.peer, at(0), at(MAX_UINT64)))
                assert await read_number(stream) == 0
                # In maintenance mode only orderer organisations read.
                update = build_update(
                    consortium, chain.config, set_maintenance, [consortium.orderer_admin]
                )
                assert await broadcast(channel, [update]) == ["SUCCESS"]
                answer = ab_pb2.DeliverResponse.FromString(await stream.read())
                assert answer.status == common_pb2.FORBIDDEN
                assert await stream.read() is grpc.aio.EOF


async def read_number(stream: Any) -> int:
    async with asyncio.timeout(60):
        answer = ab_pb2.DeliverResponse.FromString(await stream.read())
    return int(answer.block.header.number)


class TestMutualTls:
    async def test_deliver_is_bound_to_the_connection(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        certificate, key = consortium.org1.enrol_tls("client")
        der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
        settings = {
            "ORDERER_GENERAL_TLS_CLIENTAUTHREQUIRED": "true",
            "ORDERER_GENERAL_TLS_CLIENTROOTCAS": "tls/ca.crt",
        }
        async with running(consortium, tmp_path, **settings) as orderer:
            # Org1's TLS root is trusted from the channel's config, not from orderer.yaml.
            await orderer.registrar.join(consortium.build_genesis())
            async with connected(consortium, orderer, (certificate, key)) as channel:
                for claimed, answer in (
                    (sha256(der).digest(), ["block 0", "SUCCESS"]),
                    (b"", ["BAD_REQUEST"]),
                    (bytes(32), ["BAD_REQUEST"]),
                ):
                    seek = build_seek(consortium.alice, newest(), newest(), tls_cert_hash=claimed)
                    assert await deliver(channel, seek) == answer

    async def test_no_certificate_no_connection(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        settings = {
            "ORDERER_GENERAL_TLS_CLIENTAUTHREQUIRED": "true",
            "ORDERER_GENERAL_TLS_CLIENTROOTCAS": "tls/ca.crt",
        }
        async with (
            running(consortium, tmp_path, **settings) as orderer,
            connected(consortium, orderer) as channel,
        ):
            call = channel.stream_stream("/orderer.AtomicBroadcast/Broadcast")(timeout=60)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


class TestOperations:
    async def test_health_version_metrics_and_logspec(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        async with running(consortium, tmp_path) as orderer:
            chain = await orderer.registrar.join(consortium.build_genesis())
            base = f"http://127.0.0.1:{orderer.operations_port}"
            async with httpx.AsyncClient(base_url=base) as client:
                assert (await client.get("/healthz")).json()["status"] == "OK"
                assert (await client.get("/version")).json()["Version"] == "3.1.5"
                metrics = (await client.get("/metrics")).text
                assert f'ledger_blockchain_height{{channel="{CHANNEL}"}} 1.0' in metrics
                assert f'consensus_etcdraft_is_leader{{channel="{CHANNEL}"}} 1.0' in metrics
                assert f'participation_status{{channel="{CHANNEL}"}} 1.0' in metrics
                async with connected(consortium, orderer) as channel:
                    await broadcast(channel, [build_message(consortium.alice)])
                    await broadcast(channel, [build_message(consortium.stranger)])
                metrics = (await client.get("/metrics")).text
                labels = f'{{channel="{CHANNEL}",status="%s",type="ENDORSER_TRANSACTION"}} 1.0'
                for name in ("validate_duration_count", "enqueue_duration_count"):
                    assert f"broadcast_{name}" + labels % "SUCCESS" in metrics
                assert "broadcast_validate_duration_count" + labels % "FORBIDDEN" in metrics
                assert f'blockcutter_block_fill_duration_count{{channel="{CHANNEL}"}}' in metrics
                assert (await client.get("/logspec")).json() == {"spec": "info"}
                wanted = {"spec": "common.deliver=debug:warn"}
                assert (await client.put("/logspec", json=wanted)).status_code == 204
                assert (await client.get("/logspec")).json() == wanted
                bad = await client.put("/logspec", json={"spec": "loud"})
                assert bad.json() == {
                    "error": "invalid logging specification 'loud': bad segment 'loud'"
                }
                await client.put("/logspec", json={"spec": "info"})
                chain._store.fail("the disk is full")
                sick = await client.get("/healthz")
                assert sick.status_code == 503
                assert sick.json()["failed_checks"] == [
                    {"component": "orderer", "reason": f"channel {CHANNEL}: the disk is full"}
                ]


class TestStarting:
    """What it cannot start with is said in one line."""

    async def refuse(
        self, consortium: Consortium, folder: Path, text: str, **settings: str
    ) -> None:
        with pytest.raises((SettingsError, ListenError), match=text) as caught:
            async with running(consortium, folder, **settings):
                pass
        assert "\n" not in str(caught.value)

    async def test_a_port_in_use(self, consortium: Consortium, tmp_path: Path) -> None:
        async with running(consortium, tmp_path) as first:
            other = tmp_path / "other"
            for key, port in (
                ("ORDERER_GENERAL_LISTENPORT", f"{first.port}"),
                ("ORDERER_ADMIN_LISTENADDRESS", f"127.0.0.1:{first.admin_port}"),
            ):
                await self.refuse(consortium, other, "in use", **{key: port})

    async def test_missing_material(self, consortium: Consortium, tmp_path: Path) -> None:
        for key, text in (
            ("ORDERER_GENERAL_LOCALMSPDIR", r"General\.LocalMSPDir: .*/nowhere"),
            ("ORDERER_GENERAL_TLS_PRIVATEKEY", r"General\.TLS\.PrivateKey cannot read .*/nowhere"),
            ("ORDERER_ADMIN_TLS_CERTIFICATE", "nowhere"),
        ):
            await self.refuse(consortium, tmp_path, text, **{key: "nowhere"})

    async def test_what_fabric_forbids(self, consortium: Consortium, tmp_path: Path) -> None:
        await self.refuse(
            consortium, tmp_path, "system channel", ORDERER_GENERAL_BOOTSTRAPMETHOD="file"
        )
        await self.refuse(
            consortium,
            tmp_path,
            r"Admin\.TLS\.ClientAuthRequired",
            ORDERER_ADMIN_TLS_CLIENTAUTHREQUIRED="false",
        )

    async def test_a_block_folder_that_cannot_be_used(
        self, consortium: Consortium, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        await self.refuse(
            consortium, tmp_path, r"FileLedger\.Location", ORDERER_FILELEDGER_LOCATION="file"
        )
