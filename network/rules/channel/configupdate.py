"""The difference between two channel configurations as a ConfigUpdate.

The computation of `configtxlator compute_update` (`internal/configtxlator/update/update.go`): the
read set pins what the change depends on, the write set holds what changes. Versions in the
updated configuration are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fabric_protos.common import configtx_pb2

_Leaf = Any  # ConfigValue or ConfigPolicy
_Group: TypeAlias = configtx_pb2.ConfigGroup


class NoDifference(ValueError):
    """Both configurations say the same, so there is nothing to update."""


@dataclass(slots=True)
class _Sets:
    """What one kind of member contributes: read, write, unchanged; and whether names changed."""

    read: dict[str, Any] = field(default_factory=dict)
    write: dict[str, Any] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    members_changed: bool = False


def compute_update(
    original: configtx_pb2.Config, updated: configtx_pb2.Config, channel_id: str
) -> configtx_pb2.ConfigUpdate:
    """Return the update that leads from ``original`` to ``updated``; raises `NoDifference`."""
    read, write, changed = _compute_group(original.channel_group, updated.channel_group)
    if not changed:
        raise NoDifference("no differences detected between original and updated config")
    return configtx_pb2.ConfigUpdate(channel_id=channel_id, read_set=read, write_set=write)


def _compute_group(original: _Group, updated: _Group) -> tuple[_Group, _Group, bool]:
    values = _compute_leaves(
        original.values, updated.values, configtx_pb2.ConfigValue, _equal_values
    )
    policies = _compute_leaves(
        original.policies, updated.policies, configtx_pb2.ConfigPolicy, _equal_policies
    )
    groups = _compute_groups(original.groups, updated.groups)
    kinds = (policies, values, groups)
    version = original.version
    if original.mod_policy == updated.mod_policy and not any(k.members_changed for k in kinds):
        if not any(kind.read or kind.write for kind in kinds):
            return _Group(version=version), _Group(version=version), False
        # Only something deeper changed: this group keeps its version and lists just that.
        return (
            _Group(version=version, policies=policies.read, values=values.read, groups=groups.read),
            _Group(
                version=version, policies=policies.write, values=values.write, groups=groups.write
            ),
            True,
        )
    for kind in kinds:
        kind.read.update(kind.same)
        kind.write.update(kind.same)
    read = _Group(version=version, policies=policies.read, values=values.read, groups=groups.read)
    write = _Group(
        version=version + 1,
        mod_policy=updated.mod_policy,
        policies=policies.write,
        values=values.write,
        groups=groups.write,
    )
    return read, write, True


def _compute_groups(original: Mapping[str, _Group], updated: Mapping[str, _Group]) -> _Sets:
    sets = _Sets()
    for name, before in original.items():
        if name not in updated:
            sets.members_changed = True
            continue
        read, write, changed = _compute_group(before, updated[name])
        if changed:
            sets.read[name], sets.write[name] = read, write
        else:
            sets.same[name] = read
    for name, after in updated.items():
        if name in original:
            continue
        sets.members_changed = True
        _, write, _ = _compute_group(_Group(), after)
        write.version, write.mod_policy = 0, after.mod_policy
        sets.write[name] = write
    return sets


def _compute_leaves(
    original: Mapping[str, _Leaf],
    updated: Mapping[str, _Leaf],
    kind: Callable[..., _Leaf],
    equal: Callable[[_Leaf, _Leaf], bool],
) -> _Sets:
    sets = _Sets()
    for name, before in original.items():
        if name not in updated:
            sets.members_changed = True
        elif equal(before, updated[name]):
            sets.same[name] = kind(version=before.version)
        else:
            sets.write[name] = _with_version(updated[name], before.version + 1)
    for name, after in updated.items():
        if name not in original:
            sets.members_changed = True
            sets.write[name] = _with_version(after, 0)
    return sets


def _with_version(leaf: _Leaf, version: int) -> _Leaf:
    copy = type(leaf)()
    copy.CopyFrom(leaf)
    copy.version = version
    return copy


def _equal_values(left: configtx_pb2.ConfigValue, right: configtx_pb2.ConfigValue) -> bool:
    return bool(left.mod_policy == right.mod_policy and left.value == right.value)


def _equal_policies(left: configtx_pb2.ConfigPolicy, right: configtx_pb2.ConfigPolicy) -> bool:
    same_presence = left.HasField("policy") == right.HasField("policy")
    return bool(
        left.mod_policy == right.mod_policy and same_presence and left.policy == right.policy
    )
