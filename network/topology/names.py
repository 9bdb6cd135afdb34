"""Names and policies as Fabric accepts them; each check raises ValueError in plain words."""

import ipaddress
import re
from collections.abc import Callable

from network.rules.channel.configtree import (
    CHANNEL_ID,
    MAX_NAME_LENGTH,
    InvalidConfigTree,
)
from network.rules.channel.configtree import validate_config_name as _validate_config_name
from network.rules.lifecycle.names import (
    CHAINCODE_NAME,
    CHAINCODE_VERSION,
    COLLECTION_NAME,
    LIFECYCLE,
    SYSTEM_NAMES,
)
from network.rules.policy.dsl import (
    MSP_ID_IN_POLICY,
    InvalidPolicyText,
    parse_config_policy,
    parse_policy,
)

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_NETWORK = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_POLICY_PATH = re.compile(r"/Channel(/[A-Za-z0-9.-]+)+")


def validate_config_name(name: str) -> str:
    """Return a name that may be a group of a channel configuration."""
    try:
        _validate_config_name(name)
    except InvalidConfigTree:
        raise ValueError(
            f"{name!r} cannot name an organisation: use letters, digits, '.' and '-', "
            f"at most {MAX_NAME_LENGTH}"
        ) from None
    return name


def validate_msp_id(msp_id: str) -> str:
    """Return an MSP id that policies can mention."""
    if not MSP_ID_IN_POLICY.fullmatch(msp_id):
        raise ValueError(
            f"{msp_id!r} cannot be an MSP id: Fabric's policies allow letters, digits, '.' and "
            "'-' only"
        )
    return msp_id


def validate_network_name(name: str) -> str:
    """Return a name that may be a folder."""
    return _match(_NETWORK, name, "a network", "lower-case letters, digits and '-', at most 63")


def validate_node_name(name: str) -> str:
    """Return a short host name."""
    return _match(_NODE, name, "a node", "lower-case letters, digits and '-', at most 63")


def validate_domain(name: str) -> str:
    """Return a DNS domain in lower case with at least one dot."""
    return _match(_DOMAIN, name, "a domain", "lower-case words with dots, like hospital.example")


def validate_host(host: str) -> str:
    """Return an IP address or a DNS name; IPv6 in brackets, as it stands before a port.

    Fabric, too, puts a host and a port together with a colon and nothing else.
    """
    inside = re.fullmatch(r"\[(.*:.*)\]", host)
    try:
        address = ipaddress.ip_address(inside[1] if inside else host)
        return f"[{address}]" if address.version == 6 else host
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(
                f"{host!r} is neither an IP address nor a host name; leave out scheme and port"
            ) from None
        return host


def validate_user_name(name: str) -> str:
    """Return a user's name."""
    return _match(_USER, name, "a user", "letters, digits, '.', '_' and '-', at most 64")


def validate_channel_name(name: str) -> str:
    """Return a channel id as `common/configtx/validator.go` allows it."""
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"is longer than {MAX_NAME_LENGTH} characters")
    return _match(
        CHANNEL_ID, name, "a channel", "lower-case letters, digits, '.' and '-', a letter first"
    )


def validate_chaincode_name(name: str) -> str:
    """Return a chaincode name that is not a system chaincode's."""
    if name in SYSTEM_NAMES or name == LIFECYCLE:
        raise ValueError(f"{name!r} is the name of one of Fabric's system chaincodes")
    return _match(
        CHAINCODE_NAME, name, "a chaincode", "letters and digits, joined by single '-' or '_'"
    )


def validate_chaincode_version(version: str) -> str:
    """Return a chaincode version."""
    return _match(CHAINCODE_VERSION, version, "a version", "letters, digits, '.', '_', '+' and '-'")


def validate_collection_name(name: str) -> str:
    """Return a collection name."""
    if name.startswith("_implicit_org_"):
        raise ValueError("names that start with _implicit_org_ belong to Fabric")
    return _match(COLLECTION_NAME, name, "a collection", "letters, digits, '-' and, inside, '_'")


def validate_version(value: object) -> object:
    """Return fabricVersion as text: YAML reads 2.5 as a number."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    return {"2": "2.5", "3": "3.1", "3.0": "3.1"}.get(text, text) if isinstance(text, str) else text


def validate_implicit_or_signature(text: str) -> str:
    """Return the text of a channel policy of either kind."""
    return _policy(text, parse_config_policy)


def validate_endorsement(text: str) -> str:
    """Return a chaincode's endorsement policy: a signature policy or a channel policy's path."""
    if text.startswith("/"):
        if not _POLICY_PATH.fullmatch(text):
            raise ValueError(
                f"{text!r} is no policy path; write one like /Channel/Application/Endorsement"
            )
        return text
    return _policy(text, parse_policy)


def _policy(text: str, parse: Callable[[str], object]) -> str:
    try:
        parse(text)
    except InvalidPolicyText as error:
        raise ValueError(f"is no policy: {error}") from None
    return text


def _match(pattern: re.Pattern[str], name: str, what: str, allowed: str) -> str:
    if not pattern.fullmatch(name):
        raise ValueError(f"{name!r} cannot name {what}: use {allowed}")
    return name
