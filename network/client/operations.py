"""A node's operations interface: its health, of any Fabric peer or orderer."""

from dataclasses import dataclass

from network.client.rest import RestEndpoint, request


@dataclass(frozen=True, slots=True)
class Health:
    """What a node says about itself.

    Attributes:
        ok: whether all its checks pass.
        failures: what fails, component and reason.
    """

    ok: bool
    failures: tuple[str, ...] = ()


async def get_health(node: RestEndpoint) -> Health:
    """The node's `/healthz`.

    Raises:
        NodeError: it does not answer.
    """
    answer = await request(node, "GET", "/healthz")
    body = answer.body if isinstance(answer.body, dict) else {}
    failed = tuple(
        f"{check.get('component')}: {check.get('reason')}"
        for check in body.get("failed_checks") or ()
    )
    return Health(answer.status == 200 and not failed, failed)
