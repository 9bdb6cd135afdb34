"""The majority that guards the consortium's own keys: key-level endorsement policies."""

from __future__ import annotations

from collections.abc import Iterable

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from chaincode.directory.rules import majority


def build_majority_policy(msp_ids: Iterable[str]) -> bytes:
    """Return the SignaturePolicyEnvelope by which a peer of a majority of these must endorse."""
    listed = sorted(set(msp_ids))
    principals = [
        msp_principal_pb2.MSPPrincipal(
            principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
            principal=msp_principal_pb2.MSPRole(
                msp_identifier=msp_id, role=msp_principal_pb2.MSPRole.PEER
            ).SerializeToString(deterministic=True),
        )
        for msp_id in listed
    ]
    signed_by = [policies_pb2.SignaturePolicy(signed_by=i) for i in range(len(listed))]
    envelope = policies_pb2.SignaturePolicyEnvelope(
        rule=policies_pb2.SignaturePolicy(
            n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=majority(len(listed)), rules=signed_by)
        ),
        identities=principals,
    )
    return bytes(envelope.SerializeToString(deterministic=True))
