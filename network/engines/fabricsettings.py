"""What Fabric's own peer needs in its core.yaml beyond what ours does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Peers join one after the other and refuse those whose channel they do not know yet: with Fabric's
# 25 s between attempts a new channel takes half a minute to find itself.
_GOSSIP = {
    "reconnectInterval": "2s",
    "publishStateInfoInterval": "1s",
    "requestStateInfoInterval": "1s",
}

# As in Fabric's sample; without them private data is not sent, and others have worse defaults.
_PRIVATE_DATA = {
    "pushAckTimeout": "3s",
    "implicitCollectionDisseminationPolicy": {"requiredPeerCount": 0, "maxPeerCount": 1},
}
_BATCHES = {
    "useWriteBatch": True,
    "maxSizeWriteBatch": 1000,
    "useGetMultipleKeys": True,
    "maxSizeGetMultipleKeys": 1000,
}


def adapt_core(settings: Mapping[str, Any], builder: Path) -> dict[str, Any]:
    """A peer's settings for Fabric's own program.

    Args:
        settings: those of our peer.
        builder: the folder of the external builder for chaincode as a service.
    """
    peer, chaincode, ledger = (settings[name] for name in ("peer", "chaincode", "ledger"))
    gossip = peer["gossip"]
    (external,) = chaincode["externalBuilders"]
    return {
        **settings,
        "peer": {
            **peer,
            "gossip": {**gossip, **_GOSSIP, "pvtData": {**gossip["pvtData"], **_PRIVATE_DATA}},
            "deliveryclient": {**peer["deliveryclient"], "blockGossipEnabled": False},
            "discovery": {
                **peer["discovery"],
                "authCacheEnabled": True,
                "authCacheMaxSize": 1000,
                "authCachePurgeRetentionRatio": 0.75,
            },
        },
        "chaincode": {
            **chaincode,
            "externalBuilders": [{**external, "path": str(builder)}],
            "runtimeParams": _BATCHES,
        },
        "ledger": {**ledger, "state": {**ledger["state"], "stateDatabase": "goleveldb"}},
    }
