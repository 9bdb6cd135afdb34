"""What has to change in a running channel so that it is as its topology says.

The difference is a list of updates, each one config block, in an order in which every step leaves a
channel that works: certificates first, then settings, then who comes, then who goes. Consenters
come and go one at a time, as Raft needs. What cannot be done, or could not be undone, is a refusal
and not an update. Pure: nothing is read but the topology, the MSP folders and the configuration.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from fabric_protos.msp import msp_config_pb2

from network.rules.channel.config import ChannelConfig, Consenter
from network.rules.channel.configedit import (
    APPLICATION,
    ORDERER,
    Change,
    add_application_org,
    add_consenter,
    add_orderer_org,
    change_msp,
    merge_revocation_lists,
    remove_consenter,
    remove_org,
    replace_consenter,
    set_acls,
    set_anchor_peers,
    set_batch,
    set_capabilities,
    set_endpoints,
    set_policy,
)
from network.rules.channel.spec import ChannelSpec, OrgSpec
from network.rules.policy.dsl import format_config_policy, parse_config_policy
from network.topology.channelspec import build_channel_spec
from network.topology.values import Channel, Topology

_CERTIFICATES = (
    "root_certs",
    "intermediate_certs",
    "admins",
    "tls_root_certs",
    "tls_intermediate_certs",
    "revocation_list",
)


class Phase(Enum):
    """When an update is done."""

    CERTIFY = "certify"  # before any node starts with its new certificates
    GROW = "grow"  # with the new nodes running
    SHRINK = "shrink"  # when everything else is as it shall be


@dataclass(frozen=True, slots=True)
class ChannelUpdate:
    """One config block to come.

    Attributes:
        text: what it does, a sentence.
        phase: when.
        changes: what it changes in the configuration.
    """

    text: str
    phase: Phase
    changes: tuple[Change, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """What makes a channel as its topology says.

    Attributes:
        channel: the channel.
        updates: in order.
        refusals: what the topology asks for that is not possible or not safe, a sentence each.
    """

    channel: str
    updates: tuple[ChannelUpdate, ...]
    refusals: tuple[str, ...]


def plan_channel(
    topology: Topology, channel: Channel, folder: Path, config: ChannelConfig
) -> ChannelPlan:
    """Return the difference between the topology's channel and its present configuration.

    ``folder`` is the network's. Where keys are still to be made the plan tells what will be done,
    and is to be made again before it is.
    """
    spec = build_channel_spec(topology, channel, folder, planned=True)
    planner = _Planner(channel, config, spec)
    refusals = tuple(planner.find_refusals())
    if refusals:
        return ChannelPlan(channel.name, (), refusals)
    return ChannelPlan(channel.name, tuple(planner.plan()), ())


class _Planner:
    def __init__(
        self,
        channel: Channel,
        config: ChannelConfig,
        spec: ChannelSpec,
    ) -> None:
        self._channel = channel
        self._config = config
        self._spec = spec
        self._members = {org.name: org for org in spec.application_orgs}
        self._orderers = {org.name: org for org in spec.orderer_orgs}

    def plan(self) -> Iterator[ChannelUpdate]:
        yield from self._plan_authorities()
        yield from self._plan_consenter_certificates()
        yield from self._plan_settings()
        yield from self._plan_arrivals()
        yield from self._plan_anchor_peers()
        yield from self._plan_departures()

    # What is not possible

    def find_refusals(self) -> Iterator[str]:
        config = self._config
        for kind, wanted, present in (
            ("member", self._members, config.application_orgs),
            ("orderer organisation", self._orderers, config.orderer_orgs),
        ):
            for name, org in wanted.items():
                if name in present and present[name].msp_id != org.msp_id:
                    yield (
                        f"{kind} {name} has the MSP id {present[name].msp_id} on the channel and "
                        f"{org.msp_id} in the network file: an MSP id never changes; remove the "
                        "organisation and add it under another name"
                    )
                elif name in present and org.msp_config and not self._shares_authority(org):
                    yield (
                        f"{name} has another CA here than on the channel: its certificates would "
                        "not be known; put the right keys back, or add the new CA beside the old"
                    )
        yield from self._refuse_lower_capabilities()
        if not self._spec.consenters:
            yield f"channel {self._channel.name} would have no orderer"
        kept = [name for name in config.application_orgs if name in self._members]
        if not kept:
            yield "no present member would stay: nobody could sign for the channel"
        if self._spec.consenters and config.consensus_type != "etcdraft":
            yield from self._refuse_other_consensus()

    def _refuse_other_consensus(self) -> Iterator[str]:
        present = {one.server_tls_certificate for one in self._config.consenters}
        if present != {one.server_tls_certificate for one in self._spec.consenters}:
            yield (
                f"the channel's consensus is {self._config.consensus_type}: its consenters are "
                "changed with Fabric's own tools"
            )

    def _shares_authority(self, org: OrgSpec) -> bool:
        here = set(_open_msp(org.msp_config).root_certs)
        return bool(here & set(self._config.msps.msp(org.msp_id).config.root_certs))

    def _refuse_lower_capabilities(self) -> Iterator[str]:
        now, then = self._config.capabilities, self._spec.capabilities
        for section in ("channel", "orderer", "application"):
            present, wanted = getattr(now, section), getattr(then, section)
            lower = present and wanted and _level(wanted) < _level(present)
            if lower:
                yield (
                    f"the {section} capabilities would go from {', '.join(sorted(present))} back "
                    f"to {', '.join(sorted(wanted)) or 'none'}: blocks of the channel rely on the "
                    "newer rules"
                )

    # Certificates

    def _plan_authorities(self) -> Iterator[ChannelUpdate]:
        seen: set[str] = set()
        for org in (*self._members.values(), *self._orderers.values()):
            if org.msp_id in seen or not org.msp_config or not self._is_known(org):
                continue
            seen.add(org.msp_id)
            present = self._config.msps.msp(org.msp_id).config
            here = _open_msp(org.msp_config)
            lists = {
                name: [one for one in getattr(here, name) if one not in getattr(present, name)]
                for name in _CERTIFICATES
            }
            told = [f"{len(new)} {_NOUNS[name]}" for name, new in lists.items() if new]
            changes = [change_msp(org.msp_id, _extend(lists))] if told else []
            texts = [f"make {', '.join(told)} of {org.name} known"] if told else []
            if _has_bound_roles(present) and not _has_bound_roles(here):
                changes.append(change_msp(org.msp_id, _unbind_roles))
                texts.append(f"take roles of {org.name}'s people from any of its CAs")
            if changes:
                yield ChannelUpdate(", ".join(texts), Phase.CERTIFY, tuple(changes))

    def _is_known(self, org: OrgSpec) -> bool:
        return org.msp_id in self._config.msps.msps

    # Settings

    def _plan_settings(self) -> Iterator[ChannelUpdate]:
        config, spec = self._config, self._spec
        if spec.batch != config.batch:
            yield ChannelUpdate(
                f"cut blocks at {spec.batch.max_messages} transactions, "
                f"{spec.batch.preferred_max_bytes} bytes or {spec.batch.timeout:g} s",
                Phase.GROW,
                (set_batch(spec.batch),),
            )
        application = config.config.channel_group.groups[APPLICATION]
        for name, text in spec.application_policies.items():
            present = application.policies[name].policy if name in application.policies else None
            if present != parse_config_policy(text):
                before = format_config_policy(present) if present is not None else "none"
                yield ChannelUpdate(
                    f"change policy {name} from {before} to {text}",
                    Phase.GROW,
                    (set_policy((APPLICATION,), name, text),),
                )
        yield from self._plan_acls()
        for section in ("orderer", "channel", "application"):
            present, wanted = (
                getattr(config.capabilities, section),
                getattr(spec.capabilities, section),
            )
            if present != wanted:
                yield ChannelUpdate(
                    f"require {section} capabilities {', '.join(sorted(wanted))} "
                    f"instead of {', '.join(sorted(present)) or 'none'}",
                    Phase.GROW,
                    (set_capabilities(section, wanted),),
                )

    def _plan_acls(self) -> Iterator[ChannelUpdate]:
        present = self._config.own_acls
        changed: dict[str, str | None] = {
            resource: policy
            for resource, policy in self._spec.acls.items()
            if present.get(resource) != policy
        }
        changed |= {resource: None for resource in present if resource not in self._spec.acls}
        if changed:
            told = ", ".join(
                f"{resource} by {policy or 'its default'}" for resource, policy in changed.items()
            )
            yield ChannelUpdate(f"guard {told}", Phase.GROW, (set_acls(changed),))

    # Nodes and organisations

    def _plan_consenter_certificates(self) -> Iterator[ChannelUpdate]:
        """A consenter with a new certificate, or at a new address with the old one."""
        by_address = {_address(one): one for one in self._config.consenters}
        by_certificate = {one.server_tls_certificate: one for one in self._config.consenters}
        for one in self._spec.consenters:
            same = by_certificate.get(one.server_tls_certificate)
            known = same or by_address.get(_address(one))
            if known is None or not one.server_tls_certificate:
                continue
            if _known_as(known) == _known_as(one):
                continue
            text = (
                f"consenter {_address(known)} is at {_address(one)} now"
                if same
                else f"consenter {_address(one)} has a new TLS certificate"
            )
            place = (known.host, known.port)
            yield ChannelUpdate(text, Phase.CERTIFY, (replace_consenter(place, one),))

    def _plan_arrivals(self) -> Iterator[ChannelUpdate]:
        for name, org in self._orderers.items():
            if name not in self._config.orderer_orgs:
                yield ChannelUpdate(
                    f"let {name} run orderers of the channel", Phase.GROW, (add_orderer_org(org),)
                )
            elif org.endpoints != self._config.orderer_orgs[name].endpoints:
                yield ChannelUpdate(
                    f"tell clients of {name}'s orderers at {', '.join(org.endpoints)}",
                    Phase.GROW,
                    (set_endpoints(name, org.endpoints),),
                )
        for one in self._spec.consenters:
            if not _is_among(one, self._config.consenters):
                yield ChannelUpdate(f"let {_address(one)} order", Phase.GROW, (add_consenter(one),))
        for name, org in self._members.items():
            if name not in self._config.application_orgs:
                yield ChannelUpdate(
                    f"take {name} in as a member", Phase.GROW, (add_application_org(org),)
                )

    def _plan_anchor_peers(self) -> Iterator[ChannelUpdate]:
        for name, org in self._members.items():
            present = self._config.application_orgs.get(name)
            if present is not None and present.anchor_peers != org.anchor_peers:
                told = ", ".join(f"{host}:{port}" for host, port in org.anchor_peers) or "nothing"
                yield ChannelUpdate(
                    f"reach {name} at {told}",
                    Phase.GROW,
                    (set_anchor_peers(name, org.anchor_peers),),
                )

    def _plan_departures(self) -> Iterator[ChannelUpdate]:
        for one in self._config.consenters if self._spec.consenters else ():
            if not _is_among(one, self._spec.consenters):
                yield ChannelUpdate(
                    f"let {_address(one)} order no more",
                    Phase.SHRINK,
                    (remove_consenter(one.host, one.port),),
                )
        for section, present, wanted in (
            (ORDERER, self._config.orderer_orgs, self._orderers),
            (APPLICATION, self._config.application_orgs, self._members),
        ):
            for name in present:
                if name not in wanted:
                    what = "orderers" if section == ORDERER else "the members"
                    yield ChannelUpdate(
                        f"remove {name} from {what}", Phase.SHRINK, (remove_org(section, name),)
                    )


_NOUNS = {
    "root_certs": "CA certificate(s)",
    "intermediate_certs": "intermediate CA certificate(s)",
    "admins": "administrator certificate(s)",
    "tls_root_certs": "TLS CA certificate(s)",
    "tls_intermediate_certs": "intermediate TLS CA certificate(s)",
    "revocation_list": "revocation list(s)",
}


def _known_as(consenter: Consenter) -> tuple[str, int, bytes, bytes]:
    """What a Raft channel knows of a consenter."""
    return (
        consenter.host,
        consenter.port,
        consenter.client_tls_certificate,
        consenter.server_tls_certificate,
    )


def _is_among(one: Consenter, others: Iterable[Consenter]) -> bool:
    """Whether the consenter is one of these, known by its address or its certificate."""
    return any(
        _address(one) == _address(other)
        or one.server_tls_certificate == other.server_tls_certificate
        for other in others
    )


def _extend(lists: dict[str, list[bytes]]) -> Any:
    def revise(msp: Any) -> None:
        for name, new in lists.items():
            if name == "revocation_list" and new:
                merge_revocation_lists(msp, new)
            else:
                getattr(msp, name).extend(new)

    return revise


def _list_roles(msp: Any) -> list[Any]:
    ous = msp.fabric_node_ous
    return [
        ous.client_ou_identifier,
        ous.peer_ou_identifier,
        ous.admin_ou_identifier,
        ous.orderer_ou_identifier,
    ]


def _has_bound_roles(msp: Any) -> bool:
    """Whether one CA alone says who is a client, peer, administrator or orderer."""
    return any(role.certificate for role in _list_roles(msp))


def _unbind_roles(msp: Any) -> None:
    for role in _list_roles(msp):
        role.certificate = b""


def _open_msp(msp_config: bytes) -> Any:
    outer = msp_config_pb2.MSPConfig.FromString(msp_config)
    return msp_config_pb2.FabricMSPConfig.FromString(outer.config)


def _level(names: Iterable[str]) -> tuple[int, ...]:
    """How new the newest of capability names such as V1_4_2 is."""
    numbers = [
        tuple(int(part) for part in name.removeprefix("V").split("_") if part.isdigit())
        for name in names
    ]
    return max(numbers, default=())


def _address(consenter: Consenter) -> str:
    return f"{consenter.host}:{consenter.port}"
