"""What Fabric's codes mean to a person, and what to do about them.

The tables cover every `TxValidationCode` (fabric-protos peer/transaction.proto), every gRPC
status the gateway uses (internal/pkg/gateway), and our own exit codes. No gRPC is needed.
"""

from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Meaning:
    """A code in words.

    Attributes:
        name: the code's name.
        kind: `validation code`, `gateway status` or `exit code`.
        number: its number, where it has one.
        meaning: what it means, one sentence without a full stop.
        remedy: what to do, one sentence.
    """

    name: str
    kind: str
    number: int | None
    meaning: str
    remedy: str


AGAIN = "submit it again"
OURS = "the client that built it is at fault; use the gateway, or update the client"

_CODES: tuple[tuple[int, str, str, str], ...] = (
    (0, "VALID", "the transaction is valid and its writes are in the state", "nothing"),
    (1, "NIL_ENVELOPE", "the block holds an empty envelope", OURS),
    (2, "BAD_PAYLOAD", "the envelope's payload cannot be read", OURS),
    (3, "BAD_COMMON_HEADER", "the header is malformed or names another channel", OURS),
    (
        4,
        "BAD_CREATOR_SIGNATURE",
        "the submitter's signature or certificate is not accepted by the channel",
        "check the identity: expired, revoked, or of an organisation outside the channel? "
        "medfabric identity show",
    ),
    (5, "INVALID_ENDORSER_TRANSACTION", "the endorsed transaction is malformed", OURS),
    (
        6,
        "INVALID_CONFIG_TRANSACTION",
        "the configuration update is malformed or not authorised",
        "compare it with the present configuration: medfabric channel diff",
    ),
    (7, "UNSUPPORTED_TX_PAYLOAD", "the peer does not know this kind of transaction", OURS),
    (8, "BAD_PROPOSAL_TXID", "the transaction id does not follow from nonce and creator", OURS),
    (
        9,
        "DUPLICATE_TXID",
        "a transaction with this id is already on the ledger",
        "nothing is lost: the first one counts; make a new proposal for another",
    ),
    (
        10,
        "ENDORSEMENT_POLICY_FAILURE",
        "the endorsements do not satisfy the endorsement policy",
        "see which organisations are missing: medfabric tx explain; submit through the gateway "
        "without --endorse-by",
    ),
    (
        11,
        "MVCC_READ_CONFLICT",
        "another transaction changed a key that this one read, before it committed",
        AGAIN + "; it is simulated afresh on the new state",
    ),
    (
        12,
        "PHANTOM_READ_CONFLICT",
        "another transaction added or removed a key in a range that this one read",
        AGAIN + "; it is simulated afresh on the new state",
    ),
    (13, "UNKNOWN_TX_TYPE", "the peer does not know this type of transaction", OURS),
    (
        14,
        "TARGET_CHAIN_NOT_FOUND",
        "the transaction names a channel this peer has not joined",
        OURS,
    ),
    (15, "MARSHAL_TX_ERROR", "the transaction could not be serialised", OURS),
    (16, "NIL_TXACTION", "the transaction has no action", OURS),
    (
        17,
        "EXPIRED_CHAINCODE",
        "the chaincode's definition changed between endorsement and commit",
        AGAIN,
    ),
    (
        18,
        "CHAINCODE_VERSION_CONFLICT",
        "the chaincode was upgraded between endorsement and commit",
        AGAIN,
    ),
    (19, "BAD_HEADER_EXTENSION", "the header's extension is malformed", OURS),
    (20, "BAD_CHANNEL_HEADER", "the channel header is malformed", OURS),
    (21, "BAD_RESPONSE_PAYLOAD", "the endorsed response cannot be read", OURS),
    (22, "BAD_RWSET", "the read-write set cannot be read", OURS),
    (
        23,
        "ILLEGAL_WRITESET",
        "the transaction writes where it must not, such as to another chaincode's lifecycle",
        "the chaincode is at fault; tell its author",
    ),
    (24, "INVALID_WRITESET", "the write set names an invalid key or collection", OURS),
    (25, "INVALID_CHAINCODE", "the chaincode's name or definition does not match", OURS),
    (
        254,
        "NOT_VALIDATED",
        "the peer has not validated this transaction",
        "wait, or ask another peer: medfabric network status",
    ),
    (
        255,
        "INVALID_OTHER_REASON",
        "the transaction is invalid for a reason without a code of its own",
        "look into the peer's log: medfabric network logs PEER",
    ),
)

_STATUSES: tuple[tuple[int, str, str, str], ...] = (
    (1, "CANCELLED", "the call was cancelled", "run it again"),
    (
        2,
        "UNKNOWN",
        "the chaincode answered with an error of its own",
        "read its message; it says what it wants",
    ),
    (3, "INVALID_ARGUMENT", "the request is malformed or lacks a signature", OURS),
    (
        4,
        "DEADLINE_EXCEEDED",
        "the answer did not come in time",
        "a submitted transaction may still commit: medfabric tx show ID; is the network up? "
        "medfabric network status",
    ),
    (5, "NOT_FOUND", "there is no such channel, block or transaction", "check the name"),
    (6, "ALREADY_EXISTS", "it exists already", "nothing, or choose another name"),
    (
        7,
        "PERMISSION_DENIED",
        "the channel's policies refuse this identity",
        "use another identity with --as; see medfabric identity list",
    ),
    (
        8,
        "RESOURCE_EXHAUSTED",
        "the node is at its limit of concurrent calls or message size",
        "try again later, or send less at once",
    ),
    (
        9,
        "FAILED_PRECONDITION",
        "no set of peers can do it: the chaincode is not running, or too few peers are up",
        "see medfabric network status and medfabric chaincode list",
    ),
    (
        10,
        "ABORTED",
        "not enough peers endorsed, or the orderer refused; the details say why",
        "read what each peer said, with --verbose",
    ),
    (
        11,
        "OUT_OF_RANGE",
        "the position lies outside the ledger",
        "see the ledger's height: medfabric ledger show",
    ),
    (
        12,
        "UNIMPLEMENTED",
        "the node does not offer this service",
        "is this the address of a peer with a gateway (Fabric 2.4 or later)?",
    ),
    (13, "INTERNAL", "the node failed", "look into its log: medfabric network logs NODE"),
    (
        14,
        "UNAVAILABLE",
        "the node, or those behind it, cannot be reached",
        "see whether the network is up: medfabric network status",
    ),
    (15, "DATA_LOSS", "the node lost data", "look into its log: medfabric network logs NODE"),
    (
        16,
        "UNAUTHENTICATED",
        "the node does not know who calls",
        "check certificate and key of the identity: medfabric identity show",
    ),
)

_EXITS: tuple[tuple[int, str, str, str], ...] = (
    (0, "EXIT_0", "done", "nothing"),
    (1, "EXIT_1", "a fault of ours", "report it, with what --verbose shows"),
    (2, "EXIT_2", "the command was called wrongly", "see its --help"),
    (3, "EXIT_3", "a file or value is not valid", "correct what the message names"),
    (4, "EXIT_4", "refused: identity, consent or policy", "see the message for what is missing"),
    (5, "EXIT_5", "the ledger said no; the validation code is named", "medfabric explain CODE"),
    (6, "EXIT_6", "unreachable or timed out", "medfabric network status"),
    (10, "EXIT_10", "something is different (plan, diff)", "medfabric network apply"),
    (130, "EXIT_130", "interrupted", "run it again; long work goes on where it stopped"),
)

MEANINGS: tuple[Meaning, ...] = tuple(
    Meaning(name, kind, number, meaning, remedy)
    for kind, table in (
        ("validation code", _CODES),
        ("gateway status", _STATUSES),
        ("exit code", _EXITS),
    )
    for number, name, meaning, remedy in table
)


def explain_code(name: str) -> Meaning:
    """What a validation code means; codes that Fabric may add later get a general word."""
    return _find(name, "validation code") or Meaning(
        name, "validation code", None, "the ledger did not accept it", "look into a peer's log"
    )


def explain_status(name: str) -> Meaning:
    """What a gRPC status from a gateway means."""
    return _find(name, "gateway status") or Meaning(
        name, "gateway status", None, "the call failed", "look into the node's log"
    )


def explain_term(term: str) -> list[Meaning]:
    """Everything a term may mean: a name, a part of one, or a number. Empty when nothing fits."""
    if term.isdigit():
        return [one for one in MEANINGS if one.number == int(term)]
    wanted = term.upper().replace("-", "_").replace(" ", "_")
    exact = [one for one in MEANINGS if one.name == wanted]
    return exact or [one for one in MEANINGS if wanted in one.name]


def get_near_terms(term: str) -> list[str]:
    """Names that look like the term, best first."""
    return get_close_matches(term.upper(), [one.name for one in MEANINGS], 3, 0.5)


def _find(name: str, kind: str) -> Meaning | None:
    return next((one for one in MEANINGS if one.name == name and one.kind == kind), None)
