"""Changes of a channel's configuration as an operator names them, done on a copy of its tree.

Every change leaves alone what says the same already, mod policies and bytes included, so that the
update computed from it holds nothing but the change (`network.rules.channel.configupdate`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from fabric_protos.common import configtx_pb2, configuration_pb2
from fabric_protos.msp import msp_config_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as etcdraft_pb2
from fabric_protos.peer import configuration_pb2 as peer_pb2
from google.protobuf.message import Message

from network.rules.channel.configtree import validate_config_name
from network.rules.channel.configvalues import Batch, Consenter
from network.rules.channel.spec import (
    ADMINS,
    OrgSpec,
    build_anchor_peers,
    build_application_org_group,
    build_orderer_org_group,
)
from network.rules.duration import format_duration
from network.rules.identity.revocation import open_revocation_list
from network.rules.policy.dsl import parse_config_policy

Change = Callable[[Any], None]
"""Done on a channel's root group; raises `ImpossibleChange`."""
_Value = TypeVar("_Value", bound=Message)

ORDERER, APPLICATION = "Orderer", "Application"


class ImpossibleChange(ValueError):
    """The configuration has not what is to be changed, or has already what is to be added."""


def edit_config(config: configtx_pb2.Config, changes: Iterable[Change]) -> configtx_pb2.Config:
    """Return a copy of the configuration with the changes done to it, in order.

    Raises `ImpossibleChange`, and `InvalidPolicyText` or `InvalidConfigTree` for what is written
    wrongly.
    """
    edited = configtx_pb2.Config()
    edited.CopyFrom(config)
    for change in changes:
        change(edited.channel_group)
    return edited


# The channel's own settings


def set_batch(batch: Batch) -> Change:
    """Blocks are cut so: BatchSize and BatchTimeout."""

    def change(root: Any) -> None:
        orderer = root.groups[ORDERER]
        size = orderer_pb2.BatchSize(
            max_message_count=batch.max_messages,
            absolute_max_bytes=batch.absolute_max_bytes,
            preferred_max_bytes=batch.preferred_max_bytes,
        )
        _set_value(orderer, "BatchSize", size)
        timeout = format_duration(round(batch.timeout * 1_000_000_000))
        _set_value(orderer, "BatchTimeout", orderer_pb2.BatchTimeout(timeout=timeout))

    return change


def set_policy(path: Sequence[str], name: str, text: str) -> Change:
    """The group at ``path`` (names below /Channel) has this policy."""
    policy = parse_config_policy(text)
    validate_config_name(name)

    def change(root: Any) -> None:
        policies = _find_group(root, path).policies
        if name not in policies:
            policies[name].mod_policy = ADMINS
        if policies[name].policy != policy:
            policies[name].policy.CopyFrom(policy)

    return change


def set_acls(acls: Mapping[str, str | None]) -> Change:
    """These resources are guarded by these policies; None takes Fabric's default again."""

    def change(root: Any) -> None:
        application = _find_group(root, (APPLICATION,))
        value = _get_value(application, "ACLs", peer_pb2.ACLs)
        for resource, policy in acls.items():
            if policy is None:
                if resource in value.acls:
                    del value.acls[resource]
            else:
                value.acls[resource].policy_ref = policy
        if value.acls or "ACLs" in application.values:
            _set_value(application, "ACLs", value)

    return change


def set_capabilities(section: str, names: Iterable[str]) -> Change:
    """The section (`channel`, `orderer` or `application`) requires these capabilities."""
    wanted = sorted(names)

    def change(root: Any) -> None:
        path = {"channel": (), "orderer": (ORDERER,), "application": (APPLICATION,)}[section]
        value = configuration_pb2.Capabilities()
        for name in wanted:
            value.capabilities[name].SetInParent()
        _set_value(_find_group(root, path), "Capabilities", value)

    return change


# Organisations


def add_application_org(org: OrgSpec) -> Change:
    """The organisation is a member of the channel."""
    return _adding(APPLICATION, org, build_application_org_group, "a member of the channel")


def add_orderer_org(org: OrgSpec) -> Change:
    """The organisation may run orderers of the channel; its consenters are added apart."""
    return _adding(ORDERER, org, build_orderer_org_group, "an orderer organisation of the channel")


def _adding(
    section: str, org: OrgSpec, build: Callable[[OrgSpec], configtx_pb2.ConfigGroup], what: str
) -> Change:
    def change(root: Any) -> None:
        validate_config_name(org.name)
        groups = _find_group(root, (section,)).groups
        if org.name in groups:
            raise ImpossibleChange(f"{org.name} is {what} already")
        groups[org.name].CopyFrom(build(org))

    return change


def remove_org(section: str, name: str) -> Change:
    """The organisation is in the section, `Application` or `Orderer`, no longer."""

    def change(root: Any) -> None:
        groups = _find_group(root, (section,)).groups
        if name not in groups:
            raise ImpossibleChange(
                f"{name} is no organisation of {section}; there are: {', '.join(sorted(groups))}"
            )
        if len(groups) == 1:
            raise ImpossibleChange(
                f"{name} is the last organisation of {section}: with it gone nobody could change "
                "the channel again"
            )
        del groups[name]

    return change


def set_anchor_peers(name: str, anchors: Sequence[tuple[str, int]]) -> Change:
    """The member's anchor peers are these (host, port)."""

    def change(root: Any) -> None:
        group = _find_group(root, (APPLICATION, name))
        if not anchors:
            if "AnchorPeers" in group.values:
                del group.values["AnchorPeers"]
            return
        _set_value(group, "AnchorPeers", build_anchor_peers(anchors))

    return change


def set_endpoints(name: str, addresses: Sequence[str]) -> Change:
    """The orderer organisation's orderers serve at these "host:port"."""

    def change(root: Any) -> None:
        value = configuration_pb2.OrdererAddresses(addresses=addresses)
        _set_value(_find_group(root, (ORDERER, name)), "Endpoints", value)

    return change


def change_msp(msp_id: str, revise: Callable[[Any], None]) -> Change:
    """The MSP (FabricMSPConfig) is revised wherever the channel has it: it may stand twice, as a
    member's and as an orderer organisation's, and both must be equal."""

    def change(root: Any) -> None:
        found = False
        for group in _list_orgs(root):
            value = _get_value(group, "MSP", msp_config_pb2.MSPConfig)
            msp = msp_config_pb2.FabricMSPConfig.FromString(value.config)
            if msp.name != msp_id:
                continue
            found = True
            before = msp.SerializeToString(deterministic=True)
            revise(msp)
            after = msp.SerializeToString(deterministic=True)
            if after != before:
                value.config = after
                _set_value(group, "MSP", value)
        if not found:
            raise ImpossibleChange(f"no organisation of the channel has the MSP {msp_id}")

    return change


def set_msp(msp_config: bytes) -> Change:
    """The MSP of that id is this one (MSPConfig bytes)."""
    wanted = msp_config_pb2.MSPConfig.FromString(msp_config)
    msp = msp_config_pb2.FabricMSPConfig.FromString(wanted.config)
    return change_msp(msp.name, lambda present: present.CopyFrom(msp))


def set_revocation_lists(msp_id: str, crls: Sequence[bytes]) -> Change:
    """The MSP's revocation lists are these (PEM); earlier ones are gone."""

    def revise(msp: Any) -> None:
        del msp.revocation_list[:]
        msp.revocation_list.extend(crls)

    return change_msp(msp_id, revise)


def add_revocation_lists(msp_id: str, crls: Sequence[bytes]) -> Change:
    """The MSP heeds these revocation lists (PEM) too; an earlier one of the same issuer gives way,
    since a CA's list names everybody it has revoked."""
    return change_msp(msp_id, lambda msp: merge_revocation_lists(msp, crls))


def merge_revocation_lists(msp: Any, crls: Sequence[bytes]) -> None:
    """The FabricMSPConfig has these lists, and of others' those that it had."""
    replaced = {open_revocation_list(crl).authority_key_id for crl in crls} - {None}
    kept = [
        crl
        for crl in msp.revocation_list
        if crl not in crls and open_revocation_list(crl).authority_key_id not in replaced
    ]
    del msp.revocation_list[:]
    msp.revocation_list.extend([*kept, *crls])


# Consenters


def add_consenter(consenter: Consenter) -> Change:
    """The orderer takes part in ordering. Fabric allows one more with each update."""

    def revise(metadata: Any) -> None:
        if _find_consenter(metadata, consenter.host, consenter.port) is not None:
            raise ImpossibleChange(f"{consenter.host}:{consenter.port} is a consenter already")
        metadata.consenters.append(_build_consenter(consenter))

    return _change_consenters(revise)


def remove_consenter(host: str, port: int) -> Change:
    """The orderer takes no part in ordering any more. Fabric allows one less with each update."""

    def revise(metadata: Any) -> None:
        found = _find_consenter(metadata, host, port)
        if found is None:
            raise ImpossibleChange(f"{host}:{port} is no consenter of the channel")
        if len(metadata.consenters) == 1:
            raise ImpossibleChange(
                f"{host}:{port} is the channel's last consenter: nobody could order after it"
            )
        metadata.consenters.remove(found)

    return _change_consenters(revise)


def replace_consenter(place: tuple[str, int], consenter: Consenter) -> Change:
    """The consenter at ``place`` (host, port) is this one: how certificates are renewed, and how
    one moves to another address. Its place in the order stays."""

    def revise(metadata: Any) -> None:
        found = _find_consenter(metadata, *place)
        if found is None:
            raise ImpossibleChange(f"{place[0]}:{place[1]} is no consenter of the channel")
        found.CopyFrom(_build_consenter(consenter))

    return _change_consenters(revise)


def _change_consenters(revise: Callable[[Any], None]) -> Change:
    def change(root: Any) -> None:
        orderer = _find_group(root, (ORDERER,))
        value = _get_value(orderer, "ConsensusType", orderer_pb2.ConsensusType)
        if value.type != "etcdraft":
            raise ImpossibleChange(
                f"the channel's consensus is {value.type}; only etcdraft's consenters are changed "
                "here"
            )
        metadata = etcdraft_pb2.ConfigMetadata.FromString(value.metadata)
        revise(metadata)
        value.metadata = metadata.SerializeToString(deterministic=True)
        _set_value(orderer, "ConsensusType", value)

    return change


def _find_consenter(metadata: Any, host: str, port: int) -> Any | None:
    return next((one for one in metadata.consenters if (one.host, one.port) == (host, port)), None)


def _build_consenter(consenter: Consenter) -> Any:
    return etcdraft_pb2.Consenter(
        host=consenter.host,
        port=consenter.port,
        client_tls_cert=consenter.client_tls_certificate,
        server_tls_cert=consenter.server_tls_certificate,
    )


# The tree


def _find_group(root: Any, path: Sequence[str]) -> Any:
    group = root
    for number, name in enumerate(path):
        if name not in group.groups:
            above = "/".join(("/Channel", *path[:number]))
            there = ", ".join(sorted(group.groups)) or "none"
            raise ImpossibleChange(f"{above} has no group {name}; there are: {there}")
        group = group.groups[name]
    return group


def _list_orgs(root: Any) -> Iterator[Any]:
    for section in (ORDERER, APPLICATION):
        if section in root.groups:
            yield from (group for _, group in sorted(root.groups[section].groups.items()))


def _get_value(group: Any, key: str, kind: type[_Value]) -> Any:
    return kind.FromString(group.values[key].value) if key in group.values else kind()


def _set_value(group: Any, key: str, value: Message) -> None:
    """The value is there; where the group says the same already nothing is touched."""
    if key not in group.values:
        group.values[key].mod_policy = ADMINS
    elif type(value).FromString(group.values[key].value) == value:
        return
    group.values[key].value = value.SerializeToString(deterministic=True)
