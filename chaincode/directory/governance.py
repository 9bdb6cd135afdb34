"""The majority that guards the consortium's own keys: key-level endorsement policies."""

from __future__ import annotations

from collections.abc import Iterable

from chaincode.directory.rules import majority
from chaincode.shim.statebased import RoleType, build_policy


def build_majority_policy(msp_ids: Iterable[str]) -> bytes:
    """Return the SignaturePolicyEnvelope by which a peer of a majority of these must endorse."""
    roles = dict.fromkeys(msp_ids, RoleType.PEER)
    return build_policy(majority(len(roles)), roles)
