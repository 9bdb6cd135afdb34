"""What a block's own bytes must say, whoever gives it: its hashes, its form, its signatures.

Each check returns what does not hold, in words; nothing where all does.
"""

from typing import Any

from fabric_protos.common import configtx_pb2

from network.rules.blocks.block import (
    InvalidBlock,
    data_hash,
    header_hash,
    validate_signatures,
    validate_well_formed,
)
from network.rules.channel.config import ChannelConfig
from network.rules.envelope import open_envelope
from network.rules.policy.manager import BLOCK_VALIDATION
from network.rules.validation.chainreport import Check, Difference


def check_trust(block: Any, trusted: Any) -> list[Difference]:
    """Compare a block with the one of its number that the verifier had from elsewhere."""
    number = int(block.header.number)
    if header_hash(block.header) == header_hash(trusted.header):
        return []
    text = (
        f"its header's hash is {header_hash(block.header).hex()}, that of the trusted block"
        f" {number} {header_hash(trusted.header).hex()}: this is another chain"
    )
    return [Difference(number, Check.TRUST, text)]


def check_genesis(block: Any) -> list[Difference]:
    """Return why the first block is no genesis block."""
    if block.header.previous_hash:
        return [Difference(0, Check.PREVIOUS_HASH, "the genesis block names a block before it")]
    message = configtx_pb2.ConfigEnvelope.FromString(open_envelope(block.data.data[0]).data)
    if len(block.data.data) != 1 or message.config.sequence or message.HasField("last_update"):
        text = "the first block is no genesis block: its configuration is not the first one"
        return [Difference(0, Check.GENESIS, text)]
    return []


def check_data_hash(block: Any) -> list[Difference]:
    """Return where the transactions are not those that the header was made for."""
    computed = data_hash(block.data.data)
    if computed == block.header.data_hash:
        return []
    text = (
        f"its transactions hash to {computed.hex()}, its header says"
        f" {block.header.data_hash.hex()}: transactions or header were changed"
    )
    return [Difference(int(block.header.number), Check.DATA_HASH, text)]


def check_form(block: Any) -> list[Difference]:
    """Return where the block or an envelope in it is not in the form that peers demand."""
    try:
        validate_well_formed(block)
    except InvalidBlock as error:
        return [Difference(int(block.header.number), Check.FORM, str(error))]
    return []


def check_orderers(block: Any, config: ChannelConfig) -> list[Difference]:
    """Return why the orderers' signatures do not suffice under the configuration."""
    policy = config.policies.get(BLOCK_VALIDATION)
    try:
        validate_signatures(block, policy, config.block_signers)
    except InvalidBlock as error:
        return [Difference(int(block.header.number), Check.ORDERER_SIGNATURE, str(error))]
    return []
