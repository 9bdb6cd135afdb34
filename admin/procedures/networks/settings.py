"""A channel's settings as `KEY=VALUE`, the form in which the command line takes changes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fabric_protos.common import configtx_pb2

from admin.errors import FaultError, input_error, refused_error, usage_error
from network.rules.channel.capabilities import KNOWN_APPLICATION, KNOWN_CHANNEL, KNOWN_ORDERER
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configedit import (
    Change,
    ImpossibleChange,
    edit_config,
    set_acls,
    set_anchor_peers,
    set_batch,
    set_capabilities,
    set_endpoints,
    set_msp,
    set_policy,
    set_revocation_lists,
)
from network.rules.channel.configtree import InvalidConfigTree
from network.rules.identity.revocation import MalformedRevocationList, open_revocation_list
from network.rules.policy.dsl import InvalidPolicyText, parse_config_policy
from network.topology.mspfolder import InvalidMspFolder, load_msp_config
from network.topology.quantities import parse_duration, parse_size

KEYS = (
    "batch.timeout",
    "batch.maxMessages",
    "batch.preferredBytes",
    "batch.absoluteBytes",
    "policies.NAME",
    "/Channel/…/NAME",
    "acls.RESOURCE",
    "capabilities.channel",
    "capabilities.orderer",
    "capabilities.application",
    "anchorPeers.ORG",
    "endpoints.ORG",
    "msp.ORG",
    "crl.ORG",
)


def _read_count(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no number of messages")
    return int(text)


_BATCH: dict[str, tuple[str, Callable[[str], Any]]] = {
    "batch.timeout": ("timeout", lambda text: parse_duration(text).total_seconds()),
    "batch.maxMessages": ("max_messages", _read_count),
    "batch.preferredBytes": ("preferred_max_bytes", parse_size),
    "batch.absoluteBytes": ("absolute_max_bytes", parse_size),
}


def parse_settings(config: ChannelConfig, texts: Sequence[str]) -> list[Change]:
    """The changes that settings mean, to be done in order.

    Args:
        config: the channel as it is.
        texts: `KEY=VALUE` each, a key of `KEYS`.

    Raises:
        FaultError: a key that does not exist, or a value that is not one.
    """
    changes: list[Change] = []
    batch = config.batch
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise usage_error(f"{text!r} is no setting", f"write KEY=VALUE, such as {KEYS[0]}=1s")
        try:
            if key in _BATCH:
                name, read = _BATCH[key]
                batch = replace(batch, **{name: read(value)})
            else:
                changes.append(_parse(config, key, value))
        except FaultError:
            raise
        except (ValueError, InvalidPolicyText, InvalidConfigTree, InvalidMspFolder) as error:
            raise input_error(f"{key}: {error}") from None
    if batch != config.batch:
        _validate_batch(batch.max_messages, batch.preferred_max_bytes, batch.absolute_max_bytes)
        changes.insert(0, set_batch(batch))
    return changes


def edit(config: ChannelConfig, changes: Sequence[Change]) -> configtx_pb2.Config:
    """The configuration with the changes done.

    Raises:
        FaultError: a change is not possible; says why.
    """
    try:
        return edit_config(config.config, changes)
    except ImpossibleChange as error:
        raise refused_error(str(error), "see: medfabric channel show") from None
    except (InvalidPolicyText, InvalidConfigTree) as error:
        raise input_error(str(error)) from None


def _validate_batch(messages: int, preferred: int, absolute: int) -> None:
    if messages < 1:
        raise input_error("batch.maxMessages: should be at least 1")
    if preferred > absolute:
        raise input_error("batch.preferredBytes should not be more than batch.absoluteBytes")


def _parse(config: ChannelConfig, key: str, value: str) -> Change:
    if key.startswith("/Channel/"):
        *path, name = key.removeprefix("/Channel/").split("/")
        parse_config_policy(value)
        return set_policy(tuple(path), name, value)
    section, _, name = key.partition(".")
    parser = _SECTIONS.get(section)
    if parser is None or not name:
        near = get_close_matches(key, KEYS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise usage_error(f"there is no setting {key!r}", f"{hint}there are: {', '.join(KEYS)}")
    return parser(config, name, value)


def _policy(config: ChannelConfig, name: str, value: str) -> Change:
    del config
    parse_config_policy(value)
    return set_policy(("Application",), name, value)


def _acl(config: ChannelConfig, name: str, value: str) -> Change:
    del config
    return set_acls({name: value or None})


def _capabilities(config: ChannelConfig, name: str, value: str) -> Change:
    present = {
        "channel": config.capabilities.channel,
        "orderer": config.capabilities.orderer,
        "application": config.capabilities.application,
    }
    if name not in present:
        raise ValueError("there are channel, orderer and application")
    names = _split(value)
    known = {
        "channel": KNOWN_CHANNEL,
        "orderer": KNOWN_ORDERER,
        "application": KNOWN_APPLICATION,
    }[name]
    unknown = [one for one in names if one not in known]
    if unknown:
        raise refused_error(
            f"{unknown[0]} is no {name} capability of Fabric up to 3.1: nodes would stop at it",
            f"known are: {', '.join(sorted(known))}",
        )
    return set_capabilities(name, names)


def _anchors(config: ChannelConfig, name: str, value: str) -> Change:
    _validate_known(name, sorted(config.application_orgs))
    return set_anchor_peers(name, [parse_address(text) for text in _split(value)])


def _endpoints(config: ChannelConfig, name: str, value: str) -> Change:
    _validate_known(name, sorted(config.orderer_orgs))
    addresses = _split(value)
    for text in addresses:
        parse_address(text)
    return set_endpoints(name, addresses)


def _msp(config: ChannelConfig, name: str, value: str) -> Change:
    return set_msp(load_msp_config(Path(value), find_msp_id(config, name)))


def _crl(config: ChannelConfig, name: str, value: str) -> Change:
    crls = []
    for file in _split(value):
        content = Path(file).read_bytes()
        try:
            open_revocation_list(content)
        except MalformedRevocationList as error:
            raise input_error(str(error), "give a CRL in PEM", file) from None
        crls.append(content)
    return set_revocation_lists(find_msp_id(config, name), crls)


_SECTIONS: dict[str, Callable[[ChannelConfig, str, str], Change]] = {
    "policies": _policy,
    "acls": _acl,
    "capabilities": _capabilities,
    "anchorPeers": _anchors,
    "endpoints": _endpoints,
    "msp": _msp,
    "crl": _crl,
}


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "host:port"; raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is no address; write host:port")
    return host.strip("[]"), int(port)


def find_msp_id(config: ChannelConfig, name: str) -> str:
    """The MSP id of an organisation of the channel, by its name or MSP id.

    Raises:
        FaultError: there is none.
    """
    known = {org.name: org.msp_id for org in config.orderer_orgs.values()}
    known |= {org.name: org.msp_id for org in config.application_orgs.values()}
    if name in known.values():
        return name
    _validate_known(name, sorted(known))
    return known[name]


def _validate_known(name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise input_error(
            f"{name!r} is no organisation of the channel there",
            f"{hint}there are: {', '.join(names)}",
        )


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
