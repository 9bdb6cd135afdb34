"""Mutants of REST requests: CA, channel participation, operations. Never a 500, never a hang."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client import CollectorRegistry

from network.node.ca.service import CertificateAuthority, load_settings
from network.node.ordering.chain import Node
from network.node.ordering.participation import build_participation
from network.node.ordering.registrar import Registrar
from network.node.serving.connections import Connections, Credentials
from network.node.serving.logs import LogSpec
from network.node.serving.operations import build_operations
from network.rules.identity.enrollment_token import build_token
from network.rules.identity.identity import signer_from_pem
from tests.network.consortium import CHANNEL, Consortium
from tests.network.fuzz.mutation import EXAMPLES, SEED, mutate, mutate_bytes
from tests.network.node.ca.test_ca import write_home

CONSORTIUM = Consortium()
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "X"]
WORST = 500


def mutate_json(value: Any, chance: Random, depth: int = 0) -> Any:
    """A value of another kind somewhere, or one too many, or one too few."""
    if isinstance(value, dict) and value and chance.random() < 0.8 and depth < 6:
        name = chance.choice(sorted(value))
        kept = dict(value)
        kept[name] = mutate_json(value[name], chance, depth + 1)
        return kept
    odd: list[Any] = [
        None, True, 0, -1, 2**70, 1e308, "", "\x00", "x" * 5000, "../../etc", [], {}, [[[]]],
        [value], {"a": value}, "\ud800", "é\u202e", "${HOME}", "' OR 1=1",
    ]  # fmt: skip
    return chance.choice(odd)


async def ask(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    async with asyncio.timeout(60):
        answer = await client.request(method, path, **more)
    assert answer.status_code != WORST, (method, path, more, answer.text)
    return answer


async def test_the_ca_answers_whatever_is_posted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = write_home(tmp_path)
    admin = signer_from_pem("GeneralHospitalMSP", certificate, key)
    ca = CertificateAuthority(load_settings({"FABRIC_CA_SERVER_HOME": str(tmp_path)}), LogSpec())
    await ca.start()
    chance = Random(f"{SEED} ca")
    bodies: dict[str, Any] = {
        "/api/v1/enroll": {
            "certificate_request": "-----BEGIN CERTIFICATE REQUEST-----\nMA==\n"
            "-----END CERTIFICATE REQUEST-----\n",
            "attr_reqs": [{"name": "role", "optional": True}], "caname": "ca-hospital",
        },
        "/api/v1/reenroll": {"certificate_request": "x"},
        "/api/v1/register": {
            "id": "nurse", "type": "client", "secret": "s", "max_enrollments": 1,
            "attrs": [{"name": "role", "value": "nurse", "ecert": True}], "affiliation": "ward",
        },
        "/api/v1/revoke": {"id": "nurse", "serial": "07", "aki": "00", "reason": "keycompromise"},
        "/api/v1/gencrl": {"revokedafter": "2026-01-01T00:00:00Z"},
        "/api/v1/identities": {"id": "x"}, "/api/v1/identities/x": {"attrs": []},
        "/api/v1/affiliations": {"name": "ward.north"}, "/api/v1/certificates": {},
        "/api/v1/cainfo": {"caname": ""},
    }  # fmt: skip
    tokens = ["", "Bearer x", "Basic Ym9vdDpib290cHc=", "Basic !!!", "x.y", "x"]
    async with httpx.AsyncClient(
        base_url=f"https://localhost:{ca.port}",
        verify=ssl.create_default_context(cafile=str(tmp_path / "ca.pem")),
    ) as client:
        for path, body in bodies.items():
            for _ in range(EXAMPLES):
                raw = json.dumps(mutate_json(body, chance)).encode()
                if chance.random() < 0.3:
                    raw = mutate_bytes(raw, chance)
                method = chance.choice(["POST", "POST", "POST", "PUT", *METHODS])
                query = chance.choice(["", "?ca=x", "?notexpired=&time=", "?a=%00&serial=%ff"])
                url, registrar = path + query, chance.random() < 0.5
                token = chance.choice(tokens)
                if registrar:
                    token = build_token(method, url, raw, certificate, admin.sign)
                answer = await ask(
                    client, method, url, content=raw, headers={"authorization": token}
                )
                taken = answer.status_code < 300 and path != "/api/v1/cainfo"
                known = token.startswith("Basic Ym9") and "enroll" in path
                assert not taken or known or registrar, (path, raw, token)
        assert (await client.get("/api/v1/cainfo")).status_code == 200
    await ca.stop()
    assert "Traceback" not in caplog.text, caplog.text[-3000:]


async def test_participation_and_operations_answer_whatever_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registrar = Registrar(tmp_path, Node(CONSORTIUM.orderer_signer))
    await registrar.open()
    connections = Connections(Credentials(enabled=False))
    spec = LogSpec()
    apps: dict[str, Any] = {
        "participation": build_participation(registrar, connections),
        "operations": build_operations(
            checks={"orderer": registrar.check_health},
            log_spec=spec,
            registry=CollectorRegistry(),
            needs_certificate=False,
        ),
    }
    genesis = CONSORTIUM.build_genesis().SerializeToString()
    chance = Random(f"{SEED} rest")
    base = "/participation/v1/channels"
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=apps["participation"]), base_url="http://orderer"
    ) as client:
        for _ in range(EXAMPLES * 4):
            block = mutate(genesis, chance)
            part = chance.choice(["config-block", "config-block", "config-update-envelope", "x"])
            answer = await ask(
                client, chance.choice(["POST", "PUT"]),
                base + chance.choice(["", "", "/", f"/{CHANNEL}", "/x"]),
                files={part: ("b", block)},
            )  # fmt: skip
            if answer.status_code == 201 and block != genesis:
                validate_joined(registrar, block, genesis)
                await ask(client, "DELETE", f"{base}/{CHANNEL}")
        for _ in range(EXAMPLES * 2):
            name = chance.choice([CHANNEL, "..", "é", "a" * 300, "%2e%2e", "\x00", "A B", "💥"])
            place = chance.choice(["", "/blocks/newest", "/blocks/-1", "/blocks/" + "9" * 40])
            headers = {"content-type": chance.choice(["", "multipart/form-data; boundary=", "x/y"])}
            await ask(
                client, chance.choice(METHODS), f"{base}/{quote(name)}{place}",
                content=chance.randbytes(50), headers=headers,
            )  # fmt: skip
        assert (await client.get(base)).status_code == 200
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=apps["operations"]), base_url="http://orderer"
    ) as client:
        for _ in range(EXAMPLES * 2):
            raw = json.dumps(mutate_json({"spec": "info:gossip=debug"}, chance)).encode()
            if chance.random() < 0.5:
                raw = mutate_bytes(raw, chance)
            path = chance.choice(["/logspec", "/logspec", "/healthz", "/metrics", "/version", "/x"])
            await ask(client, chance.choice(["PUT", *METHODS]), path, content=raw)
        assert (await client.get("/healthz")).status_code == 200
    spec.activate("info")
    await registrar.close()
    assert "Traceback" not in caplog.text, caplog.text[-3000:]


def validate_joined(registrar: Registrar, block: bytes, genesis: bytes) -> None:
    """A mutant that is a config block all the same: nobody signs one, the operator chose it."""
    joined = registrar.get(CHANNEL)
    assert joined is not None
    assert joined.height in (0, 1), (block.hex(), genesis.hex())
