"""Where deliveries may go, over real TLS: names, addresses, redirects, certificates."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from admin.events.deliveries import sign_delivery
from admin.events.target import (
    Address,
    BadCertificate,
    BadTarget,
    Target,
    TargetOptions,
    Undelivered,
    choose_address,
    validate_url,
)
from tests.admin.events.receiver import Receiver, receiving
from tests.chaincode.authority import Authority

SECRETS = (b"s" * 32,)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path, SECRETS) as found:
        yield found


def signed(body: bytes = b"{}") -> dict[str, str]:
    return sign_delivery("evt_1", body, SECRETS, datetime.now(UTC))


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://hooks.example/in", "not https"),
        ("ftp://hooks.example/in", "not https"),
        ("hooks.example/in", "not https"),
        ("https:///in", "no host"),
        ("https://me:pass@hooks.example/in", "user name or password"),
        ("https://hooks.example/in#x", "fragment"),
        ("https://hooks.example:0/in", "no host"),
        ("https://hooks.example:99999/in", "no URL"),
        ("https://[::1/in", "no URL"),
    ],
)
def test_what_is_no_webhooks_address(url: str, text: str) -> None:
    with pytest.raises(BadTarget, match=text) as refusal:
        validate_url(url)
    assert "pass@" not in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1"),
        *("::1", "fe80::1", "fc00::1", "::", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::"),
    ],
)
def test_addresses_inside_are_refused(address: str) -> None:
    inside = ipaddress.ip_address(address)
    outside = ipaddress.ip_address("93.184.215.14")
    for found in ([inside], [outside, inside]):
        with pytest.raises(Undelivered, match="not public"):
            choose_address(list[Address](found), allow_private=False)
    assert choose_address([outside], allow_private=False) == outside


def test_some_addresses_are_nobodys_even_where_private_ones_are_allowed() -> None:
    assert str(choose_address([ipaddress.ip_address("10.0.0.1")], allow_private=True)) == "10.0.0.1"
    for address in ("0.0.0.0", "224.0.0.1", "::"):
        with pytest.raises(Undelivered):
            choose_address([ipaddress.ip_address(address)], allow_private=True)
    with pytest.raises(Undelivered, match="no address"):
        choose_address([], allow_private=True)


async def test_a_delivery_over_tls(receiver: Receiver) -> None:
    async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
        answer = await target.send(b"{}", signed())
    assert answer.accepted
    assert receiver.seen == [("evt_1", b"{}")]
    (headers,) = receiver.headers
    assert headers["Host"].startswith("127.0.0.1:")
    assert headers["content-type"] == "application/json"


async def test_loopback_is_refused_unless_allowed(receiver: Receiver) -> None:
    async with Target(receiver.url, TargetOptions(receiver.ca_file)) as target:
        with pytest.raises(Undelivered, match="not public"):
            await target.send(b"{}", signed())
    assert not receiver.attempts


async def test_a_name_is_judged_at_every_connection_and_nothing_else_is_dialled(
    receiver: Receiver,
) -> None:
    """A name that led outside when it was written down leads inside when it is used."""

    async def rebound(host: str, port: int) -> list[Address]:
        return [ipaddress.ip_address("127.0.0.1")]

    url = receiver.url.replace("127.0.0.1", "hooks.example")
    async with Target(url, TargetOptions(receiver.ca_file), resolve=rebound) as target:
        with pytest.raises(Undelivered, match="not public"):
            await target.send(b"{}", signed())
    # Allowed, it goes to the judged address, but the certificate must be the name's.
    async with Target(url, TargetOptions(receiver.ca_file, True), resolve=rebound) as target:
        with pytest.raises(Undelivered, match="certificate is not trusted"):
            await target.send(b"{}", signed())
    assert not receiver.attempts


async def test_a_certificate_of_another_ca_is_refused(receiver: Receiver, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    for ca_file in (str(other.path), None):
        async with Target(receiver.url, TargetOptions(ca_file, True)) as target:
            with pytest.raises(Undelivered, match="certificate is not trusted"):
                await target.send(b"{}", signed())
    assert not receiver.attempts


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.decide = lambda delivery_id, body: (status, {"Location": receiver.url + "/elsewhere"})
    async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
        answer = await target.send(b"{}", signed())
    assert (answer.status, answer.accepted) == (status, False)
    assert len(receiver.attempts) == 1


async def test_the_environments_proxies_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
        assert (await target.send(b"{}", signed())).accepted


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("999999", 3600.0), ("soon", 0.0), ("-3", 0.0)]
)
async def test_retry_after_is_heard_within_reason(
    receiver: Receiver, header: str, expected: float
) -> None:
    receiver.decide = lambda delivery_id, body: (429, {"Retry-After": header})
    async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
        assert (await target.send(b"{}", signed())).retry_after == expected


async def test_nobody_there(tmp_path: Path) -> None:
    async with Target("https://127.0.0.1:9/in", TargetOptions(None, True, 2.0)) as target:
        with pytest.raises(Undelivered, match="cannot be reached"):
            await target.send(b"{}", signed())
    async with Target("https://no-such-host.invalid/in") as target:
        with pytest.raises(Undelivered, match="no such host"):
            await target.send(b"{}", signed())


async def test_a_receiver_that_does_not_answer_is_left(receiver: Receiver) -> None:
    from threading import Event

    given_up = Event()

    def slow(delivery_id: str, body: bytes) -> tuple[int, dict[str, str]]:
        given_up.wait(60)
        return 200, {}

    receiver.decide = slow
    async with Target(receiver.url, TargetOptions(receiver.ca_file, True, 0.2)) as target:
        with pytest.raises(Undelivered, match="no answer"):
            await target.send(b"{}", signed())
    given_up.set()


# -- client certificates ---------------------------------------------------------------------------


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    (tmp_path / "clients").mkdir()
    return Authority(tmp_path / "clients", "clients")


async def test_a_client_certificate_is_shown_and_renewed(
    tmp_path: Path, clients: Authority
) -> None:
    key, certificate = clients.issue("forwarder")
    with receiving(tmp_path, SECRETS, clients) as receiver:
        options = TargetOptions(
            receiver.ca_file, True, client_certificate=str(certificate), client_key=str(key)
        )
        receiver.decide = lambda delivery_id, body: (204, {"connection": "close"})
        async with Target(receiver.url, options) as target:
            assert (await target.send(b"{}", signed())).accepted
            # Another lies in its place while the forwarder runs: new connections show it.
            new_key, new_certificate = clients.issue("renewed")
            new_key.replace(key)
            new_certificate.replace(certificate)
            assert (await target.send(b"{}", signed())).accepted
    first, second = receiver.shown
    assert first != second


async def test_without_the_client_certificate_that_is_asked_for_nothing_is_delivered(
    tmp_path: Path, clients: Authority
) -> None:
    with receiving(tmp_path, SECRETS, clients) as receiver:
        async with Target(receiver.url, TargetOptions(receiver.ca_file, True)) as target:
            with pytest.raises(Undelivered):  # by an alert, or by a reset
                await target.send(b"{}", signed())
    assert receiver.attempts == []


def test_what_is_no_client_certificate_is_refused_before_anything_is_sent(
    tmp_path: Path, clients: Authority
) -> None:
    key, certificate = clients.issue("one")
    other, _ = clients.issue("other")
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        load_pem_private_key(key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    for given, said in (
        ((certificate, other), "not the certificate's"),
        ((certificate, locked), "encrypted"),
        ((locked, key), "no PEM"),
    ):
        options = TargetOptions(client_certificate=str(given[0]), client_key=str(given[1]))
        with pytest.raises(BadCertificate, match=said):
            Target("https://hooks.example/in", options)
