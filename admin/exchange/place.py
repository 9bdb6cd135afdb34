"""Where an organisation's exchange lives: its identity, keys, store, address and channel."""

from dataclasses import dataclass
from pathlib import Path

from admin.errors import input_error
from admin.exchange.store import UnusableStore, validate_store_url
from network.client.endpoint import Endpoint
from network.client.profile import Profile, Surroundings
from network.topology.model import Organization

SERVICE_USER = "exchange"
"""The identity (role=service) in whose name an organisation's exchange acts."""

ENCRYPTION = "encryption"


@dataclass(frozen=True, slots=True)
class ExchangePlace:
    """Everything one exchange starts from."""

    profile: Profile
    channel_id: str
    address: str
    tls_key: Path
    tls_certificate: Path
    keys: Path
    store_url: str
    checkpoint: Path
    batches: Path


def exchange_folder(surroundings: Surroundings, organization: Organization) -> Path:
    """Return where an organisation's exchange keeps its files."""
    return surroundings.folder / "exchange" / organization.name


def batches_folder(surroundings: Surroundings, organization: Organization) -> Path:
    """Return where an organisation's batches of anchors lie."""
    return exchange_folder(surroundings, organization) / "batches"


def store_url(surroundings: Surroundings, organization: Organization) -> str:
    """Return where an organisation's sealed records lie: `exchange.store`, else its own folder."""
    if organization.exchange is not None and organization.exchange.store:
        url = organization.exchange.store
        try:
            validate_store_url(url)
        except UnusableStore as error:
            raise input_error(str(error), "correct it in the network file", "exchange.store") from (
                error
            )
        return url
    return exchange_folder(surroundings, organization).as_uri()


def keys_folder(surroundings: Surroundings, organization: Organization, user: str) -> Path:
    """Return where a user's encryption keys lie."""
    return surroundings.folders.user(organization, user) / ENCRYPTION


def exchange_endpoint(surroundings: Surroundings, organization: Organization) -> Endpoint:
    """Return where an organisation serves its records. Raises FaultError if it does not."""
    if organization.exchange is None:
        raise input_error(
            f"{organization.name} has no record exchange in the network file",
            f"add `exchange: {{port: …}}` to {organization.name}, then: medfabric network up",
        )
    return Endpoint(
        f"{organization.exchange.host or surroundings.topology.host}:{organization.exchange.port}",
        surroundings.folders.tls_root(organization).read_bytes(),
        f"exchange.{organization.domain}",
    )


def channel_of(surroundings: Surroundings, organization: Organization) -> str:
    """Return the first channel that the organisation is a member of."""
    for channel in surroundings.topology.channels:
        if organization.name in channel.members:
            return channel.name
    raise input_error(f"{organization.name} is a member of no channel", "add it to one")


def open_place(
    surroundings: Surroundings, organization_name: str, store: str = ""
) -> ExchangePlace:
    """Return where the organisation's exchange lives; `store` is another URL than the file's.

    Raises FaultError, ProfileError.
    """
    organization = surroundings.topology.organization(organization_name)
    endpoint = exchange_endpoint(surroundings, organization)
    tls = surroundings.folders.exchange_tls(organization)
    folder = exchange_folder(surroundings, organization)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return ExchangePlace(
        profile=surroundings.profile(f"{organization.name}/{SERVICE_USER}"),
        channel_id=channel_of(surroundings, organization),
        address=endpoint.address,
        tls_key=tls / "server.key",
        tls_certificate=tls / "server.crt",
        keys=keys_folder(surroundings, organization, SERVICE_USER),
        store_url=store or store_url(surroundings, organization),
        checkpoint=folder / "checkpoint.json",
        batches=batches_folder(surroundings, organization),
    )
