"""Why a transaction is valid or not, from what is on the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass

from fabric_protos.common import policies_pb2
from fabric_protos.peer import policy_pb2

from admin.explain import explain_code
from admin.procedures.ledgers.blocks import BlockView, TransactionView, find_writer, view_block
from admin.procedures.ledgers.ledger import read_blocks
from network.client import lifecycle
from network.client.peer import PeerClient
from network.rules.policy.dsl import format_policy

LOOK_BACK = 50  # blocks searched for whoever changed a key


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict in words.

    Attributes:
        transaction: the transaction.
        meaning: what its code means.
        findings: what the ledger shows about it, a sentence each.
        remedy: what to do.
    """

    transaction: TransactionView
    meaning: str
    findings: tuple[str, ...]
    remedy: str


async def explain_transaction(
    peer: PeerClient, channel_id: str, transaction: TransactionView, block: BlockView
) -> Explanation:
    """Why the transaction got its code."""
    known = explain_code(transaction.code_name)
    findings: list[str] = []
    if transaction.code_name == "ENDORSEMENT_POLICY_FAILURE":
        findings = await _endorsement(peer, channel_id, transaction)
    elif transaction.code_name in ("MVCC_READ_CONFLICT", "PHANTOM_READ_CONFLICT"):
        findings = await _conflict(peer, channel_id, transaction, block)
    elif transaction.code_name == "BAD_CREATOR_SIGNATURE":
        findings = [f"submitted by {transaction.submitter}"]
    elif transaction.valid and transaction.endorsers:
        findings = [f"endorsed by: {', '.join(transaction.endorsers)}"]
    return Explanation(transaction, known.meaning, tuple(findings), known.remedy)


async def _endorsement(
    peer: PeerClient, channel_id: str, transaction: TransactionView
) -> list[str]:
    findings = []
    name = transaction.chaincode.partition(" ")[0]
    committed = await lifecycle.get_committed(peer, channel_id, name)
    if committed:
        parameter = committed[0].validation_parameter
        findings.append(f"{name} requires {describe_policy(parameter)}")
        missing = get_missing(parameter, transaction.endorsers)
        findings.append(f"endorsed by: {', '.join(transaction.endorsers) or 'nobody'}")
        if missing:
            findings.append(missing)
        else:
            findings.append(
                "that is enough for the chaincode's policy: a key or a collection has a stricter "
                "one, or the definition changed since"
            )
    return findings


async def _conflict(
    peer: PeerClient, channel_id: str, transaction: TransactionView, block: BlockView
) -> list[str]:
    first = max(0, block.number - LOOK_BACK)
    # In the same block only what stands before it counts.
    before = BlockView(
        block.number,
        block.hash,
        block.previous_hash,
        block.data_hash,
        block.intact,
        block.transactions[: transaction.position],
    )
    earlier: list[BlockView] = []
    if block.number > first:
        earlier = [
            view_block(one) async for one in read_blocks(peer, channel_id, first, block.number - 1)
        ]
    findings = []
    for namespace in transaction.namespaces:
        versions: Mapping[str, str] = {read.key: read.version for read in namespace.reads}
        for key, seen in versions.items():
            writer = find_writer([*earlier, before], namespace.namespace, frozenset({key}))
            if writer and _is_newer(writer, seen):
                findings.append(
                    f"it read {key} at version {seen or 'none'}; transaction "
                    f"{writer.transaction_id[:8]} in block {writer.block_number} changed it"
                )
        if namespace.ranges:
            findings.append(f"it read {namespace.ranges} ranges of keys in {namespace.namespace}")
    return findings


def _is_newer(writer: TransactionView, seen: str) -> bool:
    if not seen:
        return True
    block, _, position = seen.partition(":")
    return (writer.block_number, writer.position) > (int(block), int(position))


def describe_policy(parameter: bytes) -> str:
    """An endorsement policy (`protos.ApplicationPolicy`) in words."""
    policy = policy_pb2.ApplicationPolicy.FromString(parameter)
    if policy.channel_config_policy_reference:
        return f"the channel's policy {policy.channel_config_policy_reference}"
    envelope = policy.signature_policy
    rule = envelope.rule.n_out_of
    flat = all(one.WhichOneof("Type") == "signed_by" for one in rule.rules)
    text = format_policy(envelope)
    if flat and len(rule.rules) > 1:
        names = [_principal(envelope, one.signed_by) for one in rule.rules]
        return f"{rule.n} of {', '.join(names)}"
    return text


def _principal(envelope: policies_pb2.SignaturePolicyEnvelope, index: int) -> str:
    single = policies_pb2.SignaturePolicyEnvelope()
    single.rule.signed_by = 0
    single.identities.append(envelope.identities[index])
    return format_policy(single).strip("'")


def get_missing(parameter: bytes, endorsers: tuple[str, ...]) -> str:
    """What lacks to satisfy a flat policy, in words; empty where nothing does or none can say."""
    policy = policy_pb2.ApplicationPolicy.FromString(parameter)
    rule = policy.signature_policy.rule.n_out_of
    if not rule.rules or any(one.WhichOneof("Type") != "signed_by" for one in rule.rules):
        return ""
    wanted = [
        _principal(policy.signature_policy, one.signed_by).partition(".")[0] for one in rule.rules
    ]
    given = {endorser.partition("/")[0] for endorser in endorsers}
    lacking = rule.n - sum(1 for msp_id in wanted if msp_id in given)
    if lacking <= 0:
        return ""
    absent = [msp_id for msp_id in wanted if msp_id not in given]
    return f"missing: {lacking} more of {', '.join(absent)}"
