"""What can go wrong between a caller and a committed transaction, one class a stage.

"The call failed" (`GatewayError` and its children) and "the ledger said no" (`CommitError`) are
different types. Every error names the transaction it belongs to, and `GatewayError` carries what
the peers said. Nothing here imports gRPC: statuses are gRPC's canonical names as text.
"""

from dataclasses import dataclass

NO_ORDERER = "could successfully process transaction"  # Fabric: internal/pkg/gateway/submit.go
UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
REFUSED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})


@dataclass(frozen=True, slots=True)
class PeerDetail:
    """What one peer or orderer said (`gateway.ErrorDetail`)."""

    address: str
    msp_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.address} ({self.msp_id}): {self.message}"


class ClientError(Exception):
    """Root of everything that this client raises on purpose."""


class ProfileError(ClientError):
    """The caller's own set-up is wrong: no such network file, identity, key or certificate.

    Attributes:
        remedy: what the caller can do about it, one sentence, may be empty.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class IdentityExpiredError(ProfileError):
    """The identity's certificate is not valid now, so that every node would refuse it."""


class UnsignedError(ClientError):
    """A stage was asked to go on without a signature, and the client holds no signer."""


class GatewayError(ClientError):
    """A call to a node failed.

    Attributes:
        status: gRPC's canonical status name, such as `ABORTED`.
        message: the node's message.
        address: the node that was called.
        transaction_id: the transaction concerned, empty when there is none.
        details: what the peers or orderers behind the gateway said.
    """

    stage = "call"

    def __init__(
        self,
        status: str,
        message: str,
        *,
        address: str = "",
        transaction_id: str = "",
        details: tuple[PeerDetail, ...] = (),
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.address = address
        self.transaction_id = transaction_id
        self.details = details

    @property
    def unreachable(self) -> bool:
        """Whether nobody answered in time; the same call may succeed later."""
        return self.status in UNREACHABLE and not self.details

    @property
    def leaderless(self) -> bool:
        """Whether the gateway found no orderer that takes transactions: none is up, or none leads.

        The transaction may be sent again as it is.
        """
        return self.status == "UNAVAILABLE" and NO_ORDERER in self.message

    @property
    def refused(self) -> bool:
        """Whether the node refused the identity that called."""
        return self.status in REFUSED

    def __str__(self) -> str:
        where = f" at {self.address}" if self.address else ""
        lines = [f"{self.stage} failed{where}: {self.status}: {self.message}"]
        lines += [f"  {detail}" for detail in self.details]
        return "\n".join(lines)


class EvaluateError(GatewayError):
    """A query could not be evaluated."""

    stage = "evaluate"


class EndorseError(GatewayError):
    """Not enough endorsements could be collected; nothing was sent to the orderer."""

    stage = "endorse"


class SubmitError(GatewayError):
    """No orderer accepted the endorsed transaction."""

    stage = "submit"


class CommitStatusError(GatewayError):
    """The orderer took the transaction, but whether it committed is not known."""

    stage = "commit status"


class EventsError(GatewayError):
    """A stream of events ended with an error."""

    stage = "events"


class NodeError(GatewayError):
    """A peer, orderer or REST interface refused an administrator's call."""

    stage = "administration"


class ProposalRefusedError(NodeError):
    """A peer answered a proposal with a status outside 200 to 399.

    Attributes:
        response_status: the status in the proposal response (404, 500, …).
    """

    stage = "proposal"

    def __init__(self, response_status: int, message: str, *, address: str = "") -> None:
        super().__init__("UNKNOWN", message, address=address)
        self.response_status = response_status

    def __str__(self) -> str:
        return f"{self.address} answered {self.response_status}: {self.message}"


class CommitError(ClientError):
    """The transaction is in a block and the ledger marked it invalid.

    Attributes:
        transaction_id: the transaction.
        code: Fabric's `TxValidationCode`.
        code_name: its name, such as `MVCC_READ_CONFLICT`.
        block_number: the block that holds it.
    """

    def __init__(self, transaction_id: str, code: int, code_name: str, block_number: int) -> None:
        super().__init__(transaction_id, code)
        self.transaction_id = transaction_id
        self.code = code
        self.code_name = code_name
        self.block_number = block_number

    def __str__(self) -> str:
        return (
            f"transaction {self.transaction_id} was marked {self.code_name} ({self.code}) "
            f"in block {self.block_number}"
        )
