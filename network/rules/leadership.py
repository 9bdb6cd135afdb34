"""Which of a channel's ordering nodes orders, where none of them runs consensus.

Our orderers have no consensus of their own: two that both ordered one channel would fork it. So
exactly one does, the *first* consenter in the channel's config; an orderer knows itself by the TLS
certificate listed there, as Fabric's does (orderer/consensus/etcdraft/util.go).
"""

from collections.abc import Callable
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from network.rules.config import ChannelConfig, Consenter


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


def _same_key_as(tls_certificate: bytes) -> Callable[[Consenter], bool]:
    own = _get_key(tls_certificate)

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
