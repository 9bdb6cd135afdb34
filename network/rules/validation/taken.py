"""What only the recording peer can know of a block, and is taken from it as it says.

The endorsement verdicts under the 1.x lifecycle (`lscc`), and in which of several unordered ways
Fabric came upon a transaction that is wrong in more than one namespace.
"""

from collections.abc import Sequence
from dataclasses import replace

from fabric_protos.peer import transaction_pb2

from network.rules.channel.config import ChannelConfig
from network.rules.lifecycle.errors import LifecycleError
from network.rules.state.rwset import Rwset
from network.rules.validation.chainreport import Taken
from network.rules.validation.txchecks import VALID, CheckedTransaction
from network.rules.validation.verdicts import LedgerView, check_block

_MVCC = (int(transaction_pb2.MVCC_READ_CONFLICT), int(transaction_pb2.PHANTOM_READ_CONFLICT))
_PER_NAMESPACE = (
    int(transaction_pb2.ENDORSEMENT_POLICY_FAILURE),
    int(transaction_pb2.INVALID_CHAINCODE),
    int(transaction_pb2.INVALID_OTHER_REASON),
)
_LEGACY_LIFECYCLE = "lscc"


def take_recorded(
    transactions: Sequence[CheckedTransaction],
    codes: list[int],
    recorded: bytes,
    config: ChannelConfig,
    view: LedgerView,
) -> dict[int, Taken]:
    """Put what must be taken from the recorded codes into `codes`; return what, by place."""
    taken = _take_legacy(transactions, codes, recorded, config, view)
    return taken | _take_order(transactions, codes, recorded, config, view)


def _take_legacy(
    transactions: Sequence[CheckedTransaction],
    codes: list[int],
    recorded: bytes,
    config: ChannelConfig,
    view: LedgerView,
) -> dict[int, Taken]:
    """Where the 1.x lifecycle rules, put the endorsement verdict the peer recorded into `codes`.

    MVCC is judged afterwards all the same, so its codes stand for an endorsement that held.
    """
    taken = {}
    for index, checked in enumerate(transactions):
        if not checked.is_endorsed or checked.content != VALID:
            continue
        if not _is_legacy(checked, config, view) or view.has_transaction(checked.tx_id):
            continue
        theirs = recorded[index] if index < len(recorded) else VALID
        codes[index] = VALID if theirs in _MVCC else theirs
        taken[index] = Taken.LEGACY
    return taken


def _is_legacy(checked: CheckedTransaction, config: ChannelConfig, view: LedgerView) -> bool:
    if not config.capabilities.lifecycle_v20:
        return True
    names = {checked.chaincode} | {part.namespace for part in checked.rwset.namespaces}
    return any(
        view.reader.get_state(_LEGACY_LIFECYCLE, name) is not None and _is_undefined(name, view)
        for name in names
    )


def _is_undefined(name: str, view: LedgerView) -> bool:
    try:
        return view.get_definition(name) is None
    except LifecycleError:
        return False  # it has one, of the new lifecycle


def _take_order(
    transactions: Sequence[CheckedTransaction],
    codes: list[int],
    recorded: bytes,
    config: ChannelConfig,
    view: LedgerView,
) -> dict[int, Taken]:
    """Take the recorded code where several namespaces are wrong and it is one of theirs.

    Fabric goes through a transaction's namespaces in random order and keeps the first failure.
    """
    taken = {}
    for index, (theirs, ours) in enumerate(zip(recorded, codes, strict=False)):
        if theirs == ours or theirs not in _PER_NAMESPACE or ours not in _PER_NAMESPACE:
            continue
        checked = transactions[index]
        singles = [
            replace(checked, chaincode=part.namespace, rwset=Rwset((part,)))
            for part in checked.rwset.namespaces
        ]
        before = list(transactions[:index])
        if any(check_block([*before, one], config, view).codes[-1] == theirs for one in singles):
            codes[index] = theirs
            taken[index] = Taken.ORDER
    return taken
