"""Which of a channel's ordering nodes orders, where none of them runs consensus.

Our orderers have no consensus of their own: two that both ordered one channel would fork it. So
exactly one does, the *first* consenter in the channel's config; an orderer knows itself by the TLS
certificate listed there, as Fabric's does (orderer/consensus/etcdraft/util.go).

**Never two leaders.** Who may make block n + 1 is said by the config in force after block n. An
orderer judges by the blocks on its own disk, and makes a block only at the end of them. When block
n names another leader, the old one has just written n and stops; the new one learns of it only by
having n. So for each number there is one orderer that may make the block, and none makes it twice,
as long as no orderer loses blocks that it has shown (`judge_start` is for one that did).

This is no fault tolerance: while the leader is away nothing is ordered.
"""

from collections.abc import Callable, Sequence
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from network.rules.channel.config import ChannelConfig, Consenter, OrdererEndpoint


class Part(Enum):
    """What an orderer is to a channel."""

    LEADER = "leader"  # orders
    CONSENTER = "consenter"  # listed, but another leads
    OUTSIDER = "outsider"  # not listed


def find_part(config: ChannelConfig, tls_certificate: bytes) -> Part:
    """The part in the channel of the orderer with this TLS certificate (PEM).

    A renewed certificate with the same key counts as the same. Without TLS (b"") only the sole
    consenter of a channel can be told: it leads. In a BFT channel an orderer of ours has no part.
    """
    if config.consensus_type != "etcdraft":
        return Part.OUTSIDER
    if not tls_certificate:
        return Part.LEADER if len(config.consenters) <= 1 else Part.OUTSIDER
    is_ours = _same_key_as(tls_certificate)
    listed = [is_ours(consenter) for consenter in config.consenters]
    if not any(listed):
        return Part.OUTSIDER
    return Part.LEADER if listed[0] else Part.CONSENTER


class Start(Enum):
    """What an orderer that leads by its config does first, when it is started."""

    LEAD = "lead"
    CATCH_UP = "catch up"  # another has more blocks
    WAIT = "wait"  # too few have said how many they have


def judge_start(height: int, heights: Sequence[int | None], *, fresh: bool) -> Start:
    """What a leader of `height` blocks does, given the other consenters' heights (None: silent).

    One who has ordered before goes on at once unless another shows more blocks than it has (its
    disk was set back). A `fresh` one, joined and without a block of its own, may be a leader whose
    disk was lost: like a Raft node it waits until most consenters, itself included, have answered.
    """
    answers = [answer for answer in heights if answer is not None]
    if any(answer > height for answer in answers):
        return Start.CATCH_UP
    if fresh and 2 * (1 + len(answers)) <= 1 + len(heights):
        return Start.WAIT
    return Start.LEAD


def find_leader(config: ChannelConfig) -> OrdererEndpoint | None:
    """Where the channel's leader serves; None where the config lists no consenter."""
    consenters = _list_endpoints(config, config.consenters)
    return consenters[0] if consenters else None


def list_other_consenters(
    config: ChannelConfig, tls_certificate: bytes
) -> tuple[OrdererEndpoint, ...]:
    """Where the consenters but the one with this TLS certificate (PEM) serve, the leader first."""
    if find_part(config, tls_certificate) is Part.LEADER:
        return _list_endpoints(config, config.consenters[1:])
    is_ours = _same_key_as(tls_certificate)
    return _list_endpoints(config, [one for one in config.consenters if not is_ours(one)])


def list_sources(config: ChannelConfig, tls_certificate: bytes) -> tuple[OrdererEndpoint, ...]:
    """Where blocks may be had, each address once: the other consenters, then the endpoints that
    clients are told of."""
    is_ours = _same_key_as(tls_certificate)
    own = {_get_address(one) for one in config.consenters if is_ours(one)}
    sources: dict[str, OrdererEndpoint] = {}
    for source in (*list_other_consenters(config, tls_certificate), *config.orderer_endpoints):
        if source.address not in own:
            sources.setdefault(source.address, source)
    return tuple(sources.values())


def _list_endpoints(
    config: ChannelConfig, consenters: Sequence[Consenter]
) -> tuple[OrdererEndpoint, ...]:
    """Their addresses, with the TLS roots of every organisation that runs orderers: a consenter of
    a Raft channel does not say whose it is."""
    roots = {
        root: None for org in config.orderer_orgs.values() for root in config.tls_roots(org.msp_id)
    }
    return tuple(
        OrdererEndpoint(_get_address(consenter), consenter.msp_id, tuple(roots))
        for consenter in consenters
    )


def _get_address(consenter: Consenter) -> str:
    return f"{consenter.host}:{consenter.port}"


def _same_key_as(tls_certificate: bytes) -> Callable[[Consenter], bool]:
    own = _get_key(tls_certificate) if tls_certificate else b""

    def is_ours(consenter: Consenter) -> bool:
        certificates = (consenter.server_tls_certificate, consenter.client_tls_certificate)
        return own != b"" and own in [_get_key(pem) for pem in certificates]

    return is_ours


def _get_key(pem: bytes) -> bytes:
    """The public key in a PEM certificate; b"" where it cannot be read."""
    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        return b""
