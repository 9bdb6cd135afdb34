"""The Gateway client: a transaction's journey as small values, usable as an SDK.

Start with `Gateway.connect`. The type names are the plot: `Gateway` → `Network` → `Contract` →
`Proposal` → `Transaction` → `Commit`; each stage has `bytes`, `digest`, `transaction_id` and one
verb that gives the next stage. `network.client.blocking` is the synchronous twin for scripts.

It works against any Fabric gateway (2.4 and later). Beside it stand the clients an administrator
needs: `lifecycle`, `channel`, `participation` (osnadmin's REST interface) and `operations`.

Names are imported when first used, so that a program which only reads `network.client.errors`
never loads gRPC.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from network.client.checkpoint import Checkpoint
    from network.client.commit import Commit, CommitStatus
    from network.client.contract import Contract
    from network.client.endpoint import Endpoint
    from network.client.errors import (
        ClientError,
        CommitError,
        CommitStatusError,
        EndorseError,
        EvaluateError,
        EventsError,
        GatewayError,
        PeerDetail,
        SubmitError,
    )
    from network.client.events import ChaincodeEvent
    from network.client.gateway import Gateway
    from network.client.network import Network
    from network.client.proposal import Proposal
    from network.client.retry import Retry
    from network.client.session import Deadlines
    from network.client.transaction import Transaction

_HOMES = {
    "ChaincodeEvent": "events",
    "Checkpoint": "checkpoint",
    "ClientError": "errors",
    "Commit": "commit",
    "CommitError": "errors",
    "CommitStatus": "commit",
    "CommitStatusError": "errors",
    "Contract": "contract",
    "Deadlines": "session",
    "EndorseError": "errors",
    "Endpoint": "endpoint",
    "EvaluateError": "errors",
    "EventsError": "errors",
    "Gateway": "gateway",
    "GatewayError": "errors",
    "Network": "network",
    "PeerDetail": "errors",
    "Proposal": "proposal",
    "Retry": "retry",
    "SubmitError": "errors",
    "Transaction": "transaction",
}

__all__ = [  # noqa: RUF022 (in the order of the journey)
    "Gateway",
    "Network",
    "Contract",
    "Proposal",
    "Transaction",
    "Commit",
    "CommitStatus",
    "ChaincodeEvent",
    "Checkpoint",
    "Deadlines",
    "Endpoint",
    "Retry",
    "ClientError",
    "GatewayError",
    "EvaluateError",
    "EndorseError",
    "SubmitError",
    "CommitStatusError",
    "CommitError",
    "EventsError",
    "PeerDetail",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"network.client.{_HOMES[name]}"), name)
