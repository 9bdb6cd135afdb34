"""An orderer's channel participation interface, as `osnadmin channel …` uses it.

Source: orderer/common/channelparticipation/restapi.go.
"""

from dataclasses import dataclass
from typing import Any

from network.client.errors import NodeError
from network.client.rest import RestAnswer, RestEndpoint, request

CHANNELS = "/participation/v1/channels"


@dataclass(frozen=True, slots=True)
class Participation:
    """How an orderer takes part in a channel.

    Attributes:
        name: the channel.
        status: `active`, `onboarding`, `inactive` or `failed`.
        relation: `consenter`, `follower`, `config-tracker` or `other`.
        height: its number of blocks.
    """

    name: str
    status: str
    relation: str
    height: int


async def get_channels(orderer: RestEndpoint) -> list[str]:
    """Names of the channels the orderer serves, sorted."""
    answer = await _expect(orderer, "GET", CHANNELS, 200)
    return sorted(channel["name"] for channel in answer.get("channels") or ())


async def get_channel(orderer: RestEndpoint, channel_id: str) -> Participation | None:
    """How the orderer takes part in the channel; None when it does not."""
    answer = await request(orderer, "GET", f"{CHANNELS}/{channel_id}")
    if answer.status == 404:
        return None
    return _participation(_checked(orderer, answer, 200))


async def join(orderer: RestEndpoint, block: bytes) -> Participation:
    """The orderer serves the channel of this genesis (or configuration) block.

    Raises:
        NodeError: it refused, for instance because it serves the channel already (405).
    """
    return _participation(
        await _expect(orderer, "POST", CHANNELS, 201, form=("config-block", block))
    )


async def remove(orderer: RestEndpoint, channel_id: str) -> None:
    """The orderer no longer serves the channel, and its blocks there are deleted.

    Raises:
        NodeError: it refused, for instance because it does not serve it (404).
    """
    await _expect(orderer, "DELETE", f"{CHANNELS}/{channel_id}", 204)


async def _expect(
    orderer: RestEndpoint,
    method: str,
    path: str,
    status: int,
    form: tuple[str, bytes] | None = None,
) -> Any:
    return _checked(orderer, await request(orderer, method, path, form=form), status)


def _checked(orderer: RestEndpoint, answer: RestAnswer, expected: int) -> Any:
    if answer.status == expected:
        return answer.body
    told = answer.body.get("error") if isinstance(answer.body, dict) else answer.body
    status = {
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        405: "ALREADY_EXISTS",
    }.get(answer.status, "FAILED_PRECONDITION")
    raise NodeError(status, f"HTTP {answer.status}: {told}", address=orderer.address)


def _participation(body: Any) -> Participation:
    return Participation(
        str(body.get("name", "")),
        str(body.get("status", "")),
        str(body.get("consensusRelation", "")),
        int(body.get("height", 0)),
    )
