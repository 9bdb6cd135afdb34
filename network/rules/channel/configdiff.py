"""What is different between two configurations, told for people.

A configuration is told as lines: the path of what it sets and the setting in words (policies as
policy text, certificates by subject and serial number). The difference is that of the lines; an
organisation that comes or goes is one line. And whether a change locks its makers out.
"""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fabric_protos.common import configtx_pb2, policies_pb2
from fabric_protos.msp import msp_config_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.acls import resolve_acl_reference
from network.rules.channel.config import ChannelConfig
from network.rules.channel.configjson import InvalidConfigJson, to_tree
from network.rules.channel.configtree import flatten
from network.rules.channel.configtx import locate_mod_policy
from network.rules.identity.identity import IdentityError, load_certificate
from network.rules.identity.pem import first_pem
from network.rules.identity.revocation import MalformedRevocationList, open_revocation_list
from network.rules.policy.dsl import format_config_policy
from network.rules.policy.evaluation import ImplicitMetaPolicy, Policy, SignaturePolicy

# Values that are read as one: name → the field whose text stands for the whole.
_SINGLE_FIELDS = {
    "BatchTimeout": "timeout",
    "HashingAlgorithm": "name",
    "OrdererAddresses": "addresses",
    "Endpoints": "addresses",
}


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One setting that changes.

    Attributes:
        path: where it stands, such as `Orderer/BatchSize/max_message_count`.
        before: what it was; empty when it is new.
        after: what it becomes; empty when it goes.
    """

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        if not self.before:
            return f"+ {self.path}: {self.after}"
        if not self.after:
            return f"- {self.path}: {self.before}"
        return f"~ {self.path}: {self.before} → {self.after}"


def describe_changes(before: configtx_pb2.Config, after: configtx_pb2.Config) -> list[ConfigChange]:
    """Return what changes from the first to the second, by path; versions are passed over."""
    old, new = describe_config(before), describe_config(after)
    gone, come = _list_groups(before), _list_groups(after)
    changes = []
    for path in sorted({*old, *new}):
        owner = next((group for group in come.keys() ^ gone.keys() if _is_below(path, group)), None)
        if owner is None and old.get(path) != new.get(path):
            changes.append(ConfigChange(path, old.get(path, ""), new.get(path, "")))
    for group in sorted(come.keys() ^ gone.keys()):
        if not any(_is_below(group, other) for other in come.keys() ^ gone.keys()):
            changes.append(ConfigChange(group, gone.get(group, ""), come.get(group, "")))
    return sorted(changes, key=lambda change: change.path)


def describe_config(config: configtx_pb2.Config) -> dict[str, str]:
    """Return every setting of the configuration in words, by its path below /Channel."""
    return dict(_describe_group(config.channel_group, "", "channel"))


def find_lockouts(before: ChannelConfig, after: ChannelConfig) -> list[str]:
    """Return the mod policies that everybody together can satisfy now and after the change could
    not: what they guard could never be changed again."""
    locked = []
    paths = {locate_mod_policy(one) for one in flatten(after.config.channel_group).values()}
    for path in sorted(paths):
        ahead = after.find_policy(path)
        if ahead is not None and _can_satisfy(ahead, set(after.msps.msps)):
            continue
        now = before.find_policy(path)
        if now is not None and _can_satisfy(now, set(before.msps.msps)):
            locked.append(path)
    return locked


def find_doubts(before: ChannelConfig, after: ChannelConfig) -> list[str]:
    """Return a line for everything that the change closes to everybody: what it is, and what to do.

    Fabric takes such changes: an ACL may name a policy that is nowhere, a policy may ask for an
    organisation that is none of the channel's.
    """
    known = set(_list_doubts(before))
    return [line for line in _list_doubts(after) if line not in known]


def _list_doubts(config: ChannelConfig) -> Iterator[str]:
    members = set(config.msps.msps)
    for resource, reference in config.own_acls.items():
        policy = config.find_policy(resolve_acl_reference(reference))
        if policy is None:
            yield (
                f"acls.{resource} names {reference}, a policy that does not exist: nobody may call "
                "it then; make that policy in the same step, or name another"
            )
        elif not _can_satisfy(policy, members):
            yield (
                f"acls.{resource} names {reference}, a policy that nobody can satisfy: nobody may "
                "call it then; change that policy, or name another"
            )
    for name, policy in config.policies.policies.items():
        if not _can_satisfy(policy, members):
            yield (
                f"policy /Channel/{name} can be satisfied by nobody of the channel: what it guards "
                "is closed; name organisations that are in the channel, no more than there are"
            )
    for path in sorted(
        {locate_mod_policy(one) for one in flatten(config.config.channel_group).values()}
    ):
        if config.find_policy(path) is None:
            yield (
                f"the mod policy {path} does not exist: what it guards can never be changed; make "
                "that policy in the same step, or name another"
            )


def _can_satisfy(policy: Policy, msp_ids: set[str]) -> bool:
    if isinstance(policy, ImplicitMetaPolicy):
        able = sum(_can_satisfy(child, msp_ids) for child in policy.children.values())
        return able >= policy.threshold > 0
    if isinstance(policy, SignaturePolicy):
        present = [_names_member(one, msp_ids) for one in policy.envelope.identities]
        return _can_satisfy_rule(policy.envelope.rule, present)
    return False


def _can_satisfy_rule(rule: Any, present: list[bool]) -> bool:
    if rule.WhichOneof("Type") == "signed_by":
        index: int = rule.signed_by
        return index < len(present) and present[index]
    gate = rule.n_out_of
    return bool(sum(_can_satisfy_rule(part, present) for part in gate.rules) >= gate.n)


def _names_member(principal: Any, msp_ids: set[str]) -> bool:
    """Whether the principal is of one of the MSPs; what names none is given the benefit."""
    tree = to_tree(principal)["principal"] or {}
    named = tree.get("msp_identifier", tree.get("mspid", ""))
    return not named or named in msp_ids


# Telling a configuration


def _describe_group(group: Any, path: str, place: str) -> Iterator[tuple[str, str]]:
    yield _below(path, "mod_policy"), group.mod_policy
    for name, policy in sorted(group.policies.items()):
        where = _below(path, f"policies/{name}")
        yield where, _describe_policy(policy.policy)
        if policy.mod_policy != "Admins":
            yield f"{where}/mod_policy", policy.mod_policy
    for name, value in sorted(group.values.items()):
        where = _below(path, name)
        yield from _describe_value(value, where, f"{place}:{name}", name)
        if value.mod_policy != "Admins":
            yield f"{where}/mod_policy", value.mod_policy
    for name, child in sorted(group.groups.items()):
        inner = name if place == "channel" else f"{place}/organization"
        yield from _describe_group(child, _below(path, name), inner)


def _describe_value(value: Any, path: str, place: str, name: str) -> Iterator[tuple[str, str]]:
    try:
        tree = to_tree(value, place)["value"]
    except InvalidConfigJson:
        tree = None
    if not isinstance(tree, dict):
        yield path, f"{len(value.value)} bytes"
    elif name == "MSP":
        yield from _describe_msp(value.value, path)
    elif name == "Capabilities":
        yield path, ", ".join(sorted(tree["capabilities"])) or "none"
    elif name == "AnchorPeers":
        yield path, _list_places(tree["anchor_peers"])
    elif name == "ACLs":
        for resource, acl in sorted(tree["acls"].items()):
            yield f"{path}/{resource}", acl["policy_ref"]
    elif name == "ConsensusType":
        yield from _describe_consensus(tree, path)
    elif name in _SINGLE_FIELDS:
        yield path, _to_text(tree[_SINGLE_FIELDS[name]])
    else:
        for key, entry in sorted(tree.items()):
            yield f"{path}/{key}", _to_text(entry)


def _describe_consensus(tree: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    yield f"{path}/type", tree["type"]
    yield f"{path}/state", tree["state"]
    metadata = tree["metadata"] or {}
    for consenter in metadata.get("consenters", ()):
        where = f"{path}/consenters/{consenter['host']}:{consenter['port']}"
        for kind in ("client_tls_cert", "server_tls_cert"):
            yield f"{where}/{kind}", _describe_certificate(b64decode(consenter[kind]))
    for key, entry in sorted((metadata.get("options") or {}).items()):
        yield f"{path}/options/{key}", _to_text(entry)


def _describe_msp(value: bytes, path: str) -> Iterator[tuple[str, str]]:
    try:
        outer = msp_config_pb2.MSPConfig.FromString(value)
        msp = msp_config_pb2.FabricMSPConfig.FromString(outer.config)
    except DecodeError:
        yield path, f"{len(value)} bytes"
        return
    yield f"{path}/name", msp.name
    for field in (
        "root_certs",
        "intermediate_certs",
        "admins",
        "tls_root_certs",
        "tls_intermediate_certs",
    ):
        for pem in getattr(msp, field):
            yield f"{path}/{field}/{_describe_certificate(pem)}", "present"
    for crl in msp.revocation_list:
        for serial in _list_revoked(crl):
            yield f"{path}/revoked/{serial}", "revoked"
    units = to_tree(msp.fabric_node_ous) if msp.HasField("fabric_node_ous") else {}
    for key, entry in sorted(units.items()):
        text = entry["organizational_unit_identifier"] if isinstance(entry, dict) else entry
        yield f"{path}/node_ous/{key}", _to_text(text)


def _list_revoked(crl: bytes) -> list[str]:
    try:
        return [f"{serial:x}" for serial in sorted(open_revocation_list(crl).serials)]
    except MalformedRevocationList:
        return ["a list that cannot be read"]


def _describe_certificate(pem: bytes) -> str:
    try:
        certificate = load_certificate(pem) if first_pem(pem) is not None else None
    except IdentityError:
        certificate = None
    if certificate is None:
        return f"{len(pem)} bytes"
    names = [str(part.value) for part in certificate.subject if part.oid.dotted_string == "2.5.4.3"]
    return f"{names[0] if names else 'certificate'} ({certificate.serial_number:x})"


def _describe_policy(policy: policies_pb2.Policy) -> str:
    try:
        return format_config_policy(policy)
    except (ValueError, DecodeError):
        return f"a policy of type {policy.type}"


def _list_groups(config: configtx_pb2.Config) -> dict[str, str]:
    """Groups below /Channel by path, and what they are in a few words."""
    found: dict[str, str] = {}

    def visit(group: Any, path: str) -> None:
        for name, child in group.groups.items():
            where = _below(path, name)
            told = (
                dict(_describe_msp(child.values["MSP"].value, "")) if "MSP" in child.values else {}
            )
            found[where] = f"organisation {told['/name']}" if "/name" in told else "a group"
            visit(child, where)

    visit(config.channel_group, "")
    return found


def _list_places(entries: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['host']}:{one['port']}" for one in entries)


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_to_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_to_text(entry)}" for key, entry in sorted(value.items()))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _is_below(path: str, group: str) -> bool:
    return path.startswith(f"{group}/")
