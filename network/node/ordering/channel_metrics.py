"""What an orderer's channels tell Prometheus, under Fabric's names.

orderer/common/multichannel/metrics.go, orderer/common/blockcutter/metrics.go, and of
orderer/consensus/etcdraft/metrics.go what is true here as well.
"""

from collections.abc import Callable, Iterator, Sequence

from network.node.ordering.chain import Chain
from network.node.serving.metrics import CollectorRegistry, Durations, Readings
from network.rules.ordering.leadership import Part

_CHANNEL = ("channel",)
_INACTIVE, _ACTIVE, _ONBOARDING, _FAILED = range(4)
_OTHER, _CONSENTER, _FOLLOWER = range(3)

Rows = Iterator[tuple[tuple[str, ...], float]]


class ChannelMetrics:
    """Read when Prometheus asks, but for how long batches were open."""

    def __init__(
        self, registry: CollectorRegistry, list_chains: Callable[[], Sequence[Chain]]
    ) -> None:
        self._list_chains = list_chains
        self._filling = Durations(
            "blockcutter_block_fill_duration",
            "The time from first transaction enqueuing to the block being cut in seconds.",
            _CHANNEL,
            registry,
        )
        readings: tuple[tuple[str, str, Callable[[Chain], float]], ...] = (
            ("ledger_blockchain_height", "Height of the chain in blocks.", lambda c: c.height),
            (
                "participation_status",
                "The channel participation status of the node: 0 if inactive, 1 if active, 2 if "
                "onboarding, 3 if failed.",
                _get_status,
            ),
            (
                "participation_consensus_relation",
                "The channel participation consensus relation of the node: 0 if other, 1 if "
                "consenter, 2 if follower, 3 if config-tracker.",
                lambda c: _FOLLOWER if c.part is Part.OUTSIDER else _CONSENTER,
            ),
            (
                "consensus_etcdraft_is_leader",
                "The leadership status of the current node: 1 if it is the leader else 0.",
                lambda c: c.leads(),
            ),
            (
                "consensus_etcdraft_cluster_size",
                "Number of nodes in this channel.",
                lambda c: len(c.config.consenters),
            ),
            (
                "consensus_etcdraft_committed_block_number",
                "The block number of the latest block committed.",
                lambda c: max(c.height - 1, 0),
            ),
        )
        for name, text, read in readings:
            Readings(name, text, _CHANNEL, registry, self._build_reader(read))

    def observe_cut(self, channel_id: str, seconds: float) -> None:
        """A batch had been open so long when it was cut."""
        self._filling.observe(seconds, channel_id)

    def _build_reader(self, read: Callable[[Chain], float]) -> Callable[[], Rows]:
        def rows() -> Rows:
            for chain in self._list_chains():
                yield (chain.channel_id,), float(read(chain))

        return rows


def _get_status(chain: Chain) -> float:
    if chain.failure:
        return _FAILED
    return _ONBOARDING if chain.is_onboarding else _ACTIVE
