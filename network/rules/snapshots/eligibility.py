"""Whose private data a peer that begins with a snapshot should have, and asks others for.

The blocks that brought it are not there; the config history tells which collections were defined
when. Source: core/ledger/pvtdatastorage/snapshot_data_importer.go.
"""

from collections.abc import Callable, Iterable
from typing import Any

from fabric_protos.peer import collection_pb2
from google.protobuf.message import DecodeError

from network.rules.lifecycle.states import implicit_collection, implicit_collection_org
from network.rules.snapshots.form import CollectionsEntry, MalformedSnapshot


class EligibilityHistory:
    """When this peer belonged to which collection."""

    def __init__(
        self, entries: Iterable[CollectionsEntry], msp_id: str, is_member: Callable[[Any], bool]
    ) -> None:
        """`is_member` evaluates a member policy (SignaturePolicyEnvelope) on this peer.

        Raises:
            MalformedSnapshot: an entry does not hold collections.
        """
        self._implicit = implicit_collection(msp_id)
        self._newest_first: dict[tuple[str, str], list[tuple[int, bool]]] = {}
        for entry in sorted(entries, key=lambda entry: -entry.block):
            for config in _open_package(entry):
                at = (entry.chaincode, config.name)
                belongs = is_member(config.member_orgs_policy.signature_policy)
                self._newest_first.setdefault(at, []).append((entry.block, belongs))

    def is_eligible(self, namespace: str, collection: str, block: int) -> bool:
        """Whether this peer should have what the block wrote into the collection.

        So it is if it belonged when the block came, or has come to belong since.

        Raises:
            MalformedSnapshot: there was no such collection then.
        """
        if implicit_collection_org(collection) is not None:
            return collection == self._implicit
        history = self._newest_first.get((namespace, collection), [])
        for defined, belongs in history:
            if defined < block:
                return belongs
            if belongs:
                return True
        raise MalformedSnapshot(
            f"unexpected error - no collection config found below block number [{block}] for"
            f" <namespace={namespace}, collection={collection}>"
        )


def _open_package(entry: CollectionsEntry) -> list[Any]:
    try:
        package = collection_pb2.CollectionConfigPackage.FromString(entry.package)
    except DecodeError as error:
        raise MalformedSnapshot(
            f"the collections of {entry.chaincode} at block {entry.block} cannot be read"
        ) from error
    return [config.static_collection_config for config in package.config]
