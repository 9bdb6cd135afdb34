"""The configuration tree seen as a flat map of elements, as config updates compare it.

Source: Fabric `common/configtx/configmap.go`, `validator.go`, `compare.go`. Element keys read
"[Group]  /Channel/Application", "[Value]  /Channel/…", "[Policy] /Channel/…".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabric_protos.common import configtx_pb2

ROOT = "Channel"
MAX_NAME_LENGTH = 249
CHANNEL_ID = re.compile(r"[a-z][a-z0-9.-]*")
CONFIG_NAME = re.compile(r"[a-zA-Z0-9.-]+")

# ConfigGroup, ConfigValue or ConfigPolicy; the generated classes are opaque to the type checker.
ConfigItem = Any
_PREFIXES = {"group": "[Group]  ", "value": "[Value]  ", "policy": "[Policy] "}


class InvalidConfigTree(ValueError):
    """A name or a shape that Fabric's configuration tree does not allow."""


@dataclass(frozen=True, slots=True)
class Element:
    """One group, value or policy with its place: ``path`` holds the names of the groups above."""

    kind: str  # "group", "value" or "policy"
    path: tuple[str, ...]
    name: str
    item: ConfigItem

    @property
    def key(self) -> str:
        """The element's name in Fabric's error texts."""
        return _PREFIXES[self.kind] + "/" + "/".join((*self.path, self.name))

    @property
    def version(self) -> int:
        """How often the element was changed."""
        return int(self.item.version)

    @property
    def mod_policy(self) -> str:
        """The policy that guards changes of the element."""
        return str(self.item.mod_policy)


def validate_channel_id(channel_id: str) -> None:
    """Return when the name may be a channel's; raises `InvalidConfigTree` with Fabric's text."""
    if not channel_id:
        raise InvalidConfigTree("channel ID illegal, cannot be empty")
    if len(channel_id) > MAX_NAME_LENGTH:
        raise InvalidConfigTree(f"channel ID illegal, cannot be longer than {MAX_NAME_LENGTH}")
    if not CHANNEL_ID.fullmatch(channel_id):
        raise InvalidConfigTree(f"'{channel_id}' contains illegal characters")


def validate_config_name(name: str) -> None:
    """Return when the name may be a key of the tree; raises `InvalidConfigTree`."""
    if not name:
        raise InvalidConfigTree("config ID illegal, cannot be empty")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidConfigTree(f"config ID illegal, cannot be longer than {MAX_NAME_LENGTH}")
    if name in (".", ".."):
        raise InvalidConfigTree(f"name '{name}' for config ID is not allowed")
    if not CONFIG_NAME.fullmatch(name):
        raise InvalidConfigTree(f"config ID '{name}' contains illegal characters")


def validate_mod_policy(mod_policy: str) -> None:
    """Return when the text can name a policy; raises `InvalidConfigTree`."""
    if not mod_policy:
        raise InvalidConfigTree("mod_policy not set")
    for number, name in enumerate(mod_policy.removeprefix("/").split("/")):
        try:
            validate_config_name(name)
        except InvalidConfigTree as error:
            raise InvalidConfigTree(f"path element at {number} is invalid: {error}") from None


def flatten(group: configtx_pb2.ConfigGroup) -> dict[str, Element]:
    """Return every element of the tree by key; raises `InvalidConfigTree` for illegal names."""
    elements: dict[str, Element] = {}
    _flatten(elements, Element("group", (), ROOT, group))
    return elements


def validate_tree_keys(group: configtx_pb2.ConfigGroup) -> None:
    """Return when every name of the tree is legal; raises `InvalidConfigTree`."""
    flatten(group)


def unflatten(elements: Mapping[str, Element]) -> configtx_pb2.ConfigGroup:
    """Return the tree below the root group; raises `InvalidConfigTree` for missing elements.

    Elements in the map that no group lists are dropped: that is how members are removed.
    """
    return _unflatten(elements, (ROOT,))


def _flatten(elements: dict[str, Element], element: Element) -> None:
    _add(elements, element)
    group = element.item
    path = (*element.path, element.name)
    for name, child in group.groups.items():
        _flatten(elements, Element("group", path, name, child))
    for name, value in group.values.items():
        _add(elements, Element("value", path, name, value))
    for name, policy in group.policies.items():
        _add(elements, Element("policy", path, name, policy))


def _add(elements: dict[str, Element], element: Element) -> None:
    try:
        validate_config_name(element.name)
    except InvalidConfigTree as error:
        raise InvalidConfigTree(
            f"illegal characters in key: {_PREFIXES[element.kind]}: {error}"
        ) from None
    elements[element.key] = element


def _unflatten(elements: Mapping[str, Element], path: tuple[str, ...]) -> configtx_pb2.ConfigGroup:
    listed = _get(elements, "group", path).item
    group = configtx_pb2.ConfigGroup(version=listed.version, mod_policy=listed.mod_policy)
    for name in listed.groups:
        group.groups[name].CopyFrom(_unflatten(elements, (*path, name)))
    for name in listed.values:
        group.values[name].CopyFrom(_get(elements, "value", (*path, name)).item)
    for name in listed.policies:
        group.policies[name].CopyFrom(_get(elements, "policy", (*path, name)).item)
    if f"{_PREFIXES['value']}/{ROOT}/Orderer/Capabilities" in elements:
        _fill_mod_policies(group)
    return group


def _fill_mod_policies(group: configtx_pb2.ConfigGroup) -> None:
    """Channels made by Fabric 1.0 lack some mod_policies; with capabilities they become Admins."""
    for item in (group, *group.values.values(), *group.policies.values()):
        if not item.mod_policy:
            item.mod_policy = "Admins"


def _get(elements: Mapping[str, Element], kind: str, path: tuple[str, ...]) -> Element:
    key = _PREFIXES[kind] + "/" + "/".join(path)
    try:
        return elements[key]
    except KeyError:
        raise InvalidConfigTree(f"missing {kind} at path: {key}") from None
