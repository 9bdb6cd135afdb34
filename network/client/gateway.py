"""The way in: one connection to a gateway peer on behalf of one identity."""

import os
from dataclasses import dataclass
from typing import Self

from network.client.calls import GatewayCalls
from network.client.commit import Commit, open_commit
from network.client.endpoint import Endpoint
from network.client.network import Network
from network.client.proposal import Proposal, open_proposed
from network.client.session import Deadlines, OfflineIdentity, Session
from network.client.transaction import Transaction, open_prepared
from network.rules.identity.identity import Signing


@dataclass(frozen=True, slots=True)
class Gateway:
    """A connected client. Use it as an async context manager, or call `close`.

    Example:
        async with Gateway.connect("network.yaml", identity="UnitedPayer/adjudicator") as gateway:
            claims = gateway.network("care").contract("health", "claims")
            status = await claims.submit("Adjudicate", claim_id, transient={"decision": decision})
    """

    session: Session

    @classmethod
    def connect(
        cls,
        network: str | os.PathLike[str] | None = None,
        *,
        identity: str | bytes | None = None,
        endpoint: str | Endpoint | None = None,
        tls_root: bytes | str | os.PathLike[str] | None = None,
        server_name: str | None = None,
        signer: Signing | None = None,
        deadlines: Deadlines | None = None,
    ) -> "Gateway":
        """A client, either of a network file or of any Fabric gateway given by its address.

        Nothing is asked of the network before the first call, and it reconnects by itself.

        Args:
            network: a `network.yaml`; the gateway is then the identity's own organisation's
                first peer, and the certificates come from `.medfabric/` beside the file.
            identity: with a network file, `Organization/user`; with an endpoint and no signer,
                the serialised identity of a key that is kept elsewhere (offline signing).
            endpoint: `host:port`, or an `Endpoint` with everything in it.
            tls_root: PEM certificates (or a file with them) that the gateway's TLS certificate
                chains to; None means plaintext, which only tests should use.
            server_name: the name to expect in the gateway's certificate, where it is not the host.
            signer: who signs; such as `network.topology.mspfolder.load_signer` gives.
            deadlines: seconds a stage may take.

        Raises:
            ProfileError: no such file, organisation, identity, key or certificate.
            IdentityExpiredError: the identity's certificate is not valid now.
        """
        if network is not None:
            if not isinstance(identity, str):
                raise TypeError('name the identity, such as identity="GeneralHospital/admin"')
            # Here, so that a client of a plain endpoint does not load the topology's model.
            from network.client.profile import load_profile

            profile = load_profile(network, identity)
            target, who = profile.endpoint, signer or profile.signer
        else:
            target = _endpoint(endpoint, tls_root, server_name)
            who = signer or _offline(identity)
        return cls(Session(GatewayCalls(target), who, deadlines or Deadlines()))

    @property
    def endpoint(self) -> Endpoint:
        """The gateway peer this client talks to."""
        return self.session.calls.endpoint

    def network(self, channel_id: str) -> Network:
        """A channel; nothing is asked of the network yet."""
        return Network(self.session, channel_id)

    def open_proposal(self, raw: bytes, signature: bytes | None = None) -> Proposal:
        """The proposal that `Proposal.bytes` of any Fabric Gateway SDK carried here.

        Args:
            raw: the serialised `gateway.ProposedTransaction`.
            signature: over `Proposal.digest`, made where the key is.

        Raises:
            MalformedMessage: the bytes are not a proposal.
        """
        return open_proposed(self.session, raw, signature)

    def open_transaction(self, raw: bytes, signature: bytes | None = None) -> Transaction:
        """The endorsed transaction that `Transaction.bytes` carried here.

        Raises:
            MalformedMessage: the bytes are not a transaction.
        """
        return open_prepared(self.session, raw, signature)

    def open_commit(self, raw: bytes, signature: bytes | None = None) -> Commit:
        """The commit that `Commit.bytes` carried here.

        Raises:
            MalformedMessage: the bytes are not a commit status request.
        """
        return open_commit(self.session, raw, signature)

    async def close(self) -> None:
        """The connection is closed; streams end."""
        await self.session.calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _endpoint(
    given: str | Endpoint | None,
    tls_root: bytes | str | os.PathLike[str] | None,
    server_name: str | None,
) -> Endpoint:
    if isinstance(given, Endpoint):
        return given
    if not given:
        raise TypeError("name a network file or an endpoint")
    if isinstance(tls_root, str | os.PathLike):
        with open(tls_root, "rb") as file:
            tls_root = file.read()
    return Endpoint(given, tls_root, server_name)


def _offline(identity: str | bytes | None) -> OfflineIdentity:
    if not isinstance(identity, bytes):
        raise TypeError("give a signer, or a serialised identity (bytes) to sign offline")
    return OfflineIdentity(identity)
