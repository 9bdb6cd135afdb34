"""Changing a channel's configuration: who may change what, and what comes out.

Source: Fabric `common/configtx/{update,validator}.go`, `common/channelconfig/bundle.go`
(ValidateNew). An orderer calls `authorize_update`; a peer re-does the same on every config block
through `validate_config_envelope`.
"""

from collections.abc import Mapping, Sequence

from fabric_protos.common import common_pb2, configtx_pb2
from google.protobuf.message import DecodeError

from network.rules.channel.config import ChannelConfig, InvalidConfig
from network.rules.channel.configtree import (
    Element,
    InvalidConfigTree,
    flatten,
    unflatten,
    validate_mod_policy,
)
from network.rules.channel.configupdate import NoDifference, compute_update
from network.rules.envelope import (
    MalformedMessage,
    SignedData,
    build_signature_header,
    open_envelope,
)
from network.rules.identity.identity import Signing
from network.rules.policy.evaluation import Policy, PolicyUnsatisfied

__all__ = [
    "NoDifference",
    "RefusedUpdate",
    "apply_update",
    "authorize_update",
    "build_update_envelope",
    "compute_update",
    "list_guarded",
    "locate_mod_policy",
    "sign_update",
    "update_signed_data",
    "validate_config_envelope",
    "validate_successor",
]

Elements = Mapping[str, Element]


class RefusedUpdate(ValueError):
    """The update does not fit the configuration or lacks signatures; the text is Fabric's.

    ``unsatisfied`` tells, when signatures are what lacks, which policy is not met and by whom.
    """

    def __init__(self, text: str, unsatisfied: PolicyUnsatisfied | None = None) -> None:
        super().__init__(text)
        self.unsatisfied = unsatisfied


def authorize_update(config: ChannelConfig, update_envelope: bytes) -> configtx_pb2.Config:
    """Return the next configuration that a CONFIG_UPDATE envelope leads to.

    ``update_envelope`` is the whole Envelope. Its own signature is not looked at here: ordering
    checks it against /Channel/Writers. Raises `RefusedUpdate`.
    """
    update = _open_update_envelope(update_envelope)
    try:
        proposed = _authorize(config, update)
    except RefusedUpdate as error:
        raise RefusedUpdate(f"error authorizing update: {error}", error.unsatisfied) from None
    following = configtx_pb2.Config(sequence=config.sequence + 1, channel_group=proposed)
    opened = _open_config(config.channel_id, following)
    _validate_compatible(opened)
    validate_successor(config, opened)
    return following


def _validate_compatible(config: ChannelConfig) -> None:
    """What an orderer asks of a new config besides (`multichannel/ledger_resources.go` fn
    checkResources): capabilities of the application are the peers' own affair."""
    prefix = "config update is not compatible"
    if not config.has_orderer:
        raise RefusedUpdate(f"{prefix}: config does not contain orderer config")
    unsupported = config.capabilities.unsupported()
    for kind in ("Orderer", "Channel"):
        for text in unsupported:
            if text.startswith(f"{kind} "):
                where = f"config requires unsupported {kind.lower()} capabilities: {text}"
                raise RefusedUpdate(f"{prefix}: {where}: {text}")


def validate_config_envelope(
    config: ChannelConfig, envelope: configtx_pb2.ConfigEnvelope
) -> ChannelConfig:
    """Return the configuration that a config block's ConfigEnvelope installs.

    Its update is authorised again and must lead to exactly the configuration that the envelope
    carries. Raises `RefusedUpdate`; a peer that meets it must not commit the block.
    """
    if not envelope.HasField("config"):
        raise RefusedUpdate("config envelope has nil config")
    if envelope.config.sequence != config.sequence + 1:
        raise RefusedUpdate(
            f"config currently at sequence {config.sequence}, cannot validate config at "
            f"sequence {envelope.config.sequence}"
        )
    update = _open_update_envelope(envelope.last_update.SerializeToString())
    if _authorize(config, update) != envelope.config.channel_group:
        raise RefusedUpdate("ConfigEnvelope LastUpdate did not produce the supplied config result")
    following = _open_config(config.channel_id, envelope.config)
    validate_successor(config, following)
    return following


def validate_successor(current: ChannelConfig, following: ChannelConfig) -> None:
    """Return when the second configuration may follow the first (fn ValidateNew).

    Raises `RefusedUpdate`, with Fabric's text.
    """
    if current.has_orderer and not following.has_orderer:
        raise RefusedUpdate("current config has orderer section, but new config does not")
    if (
        not current.capabilities.consensus_type_migration
        and current.consensus_type != following.consensus_type
    ):
        raise RefusedUpdate(
            "attempted to change consensus type from "
            f"{current.consensus_type} to {following.consensus_type}"
        )
    if current.has_application and not following.has_application:
        raise RefusedUpdate("current config has application section, but new config does not")
    for kind, before, after in (
        ("orderer", current.orderer_orgs, following.orderer_orgs),
        ("application", current.application_orgs, following.application_orgs),
    ):
        for name, org in before.items():
            if name in after and after[name].msp_id != org.msp_id:
                raise RefusedUpdate(
                    f"{kind} org {name} attempted to change MSP ID "
                    f"from {org.msp_id} to {after[name].msp_id}"
                )


def sign_update(signer: Signing, update: bytes, nonce: bytes) -> configtx_pb2.ConfigSignature:
    """Return the signature of one administrator under ConfigUpdate bytes."""
    header = build_signature_header(signer.creator, nonce)
    return configtx_pb2.ConfigSignature(
        signature_header=header, signature=signer.sign(header + update)
    )


def build_update_envelope(
    update: bytes, signatures: Sequence[configtx_pb2.ConfigSignature]
) -> configtx_pb2.ConfigUpdateEnvelope:
    """Return the ConfigUpdateEnvelope that collects signatures: the data of a CONFIG_UPDATE."""
    return configtx_pb2.ConfigUpdateEnvelope(config_update=update, signatures=signatures)


def update_signed_data(envelope: configtx_pb2.ConfigUpdateEnvelope) -> list[SignedData]:
    """Return what the mod policies judge: each signature over its header and the update.

    Raises `RefusedUpdate` for a signature header that does not parse.
    """
    signed = []
    for signature in envelope.signatures:
        try:
            header = common_pb2.SignatureHeader.FromString(signature.signature_header)
        except DecodeError as error:
            raise RefusedUpdate(f"error unmarshaling SignatureHeader: {error}") from None
        data = signature.signature_header + envelope.config_update
        signed.append(SignedData(data, header.creator, signature.signature))
    return signed


def _authorize(
    config: ChannelConfig, envelope: configtx_pb2.ConfigUpdateEnvelope
) -> configtx_pb2.ConfigGroup:
    """Fn authorizeUpdate and configMapToConfig: return the resulting tree."""
    try:
        update = configtx_pb2.ConfigUpdate.FromString(envelope.config_update)
    except DecodeError as error:
        raise RefusedUpdate(f"error unmarshalling ConfigUpdate: {error}") from None
    if update.channel_id != config.channel_id:
        raise RefusedUpdate(
            f"ConfigUpdate for channel '{update.channel_id}' "
            f"but envelope for channel '{config.channel_id}'"
        )
    current = flatten(config.config.channel_group)
    delta, write_set = _read_delta(current, update)
    _validate_delta(config, current, delta, update_signed_data(envelope))
    proposed = {**current, **delta}
    for key in write_set:
        if key not in proposed:
            raise RefusedUpdate(
                "full config did not verify: "
                f"writeset contained key {key} which did not appear in proposed config"
            )
    try:
        return unflatten(proposed)
    except InvalidConfigTree as error:
        raise RefusedUpdate(f"could not turn configMap back to channelGroup: {error}") from None


def apply_update(config: ChannelConfig, update: configtx_pb2.ConfigUpdate) -> configtx_pb2.Config:
    """Return the configuration that the update leads to, whoever signed it: for showing.

    Raises `RefusedUpdate` where the update does not fit the configuration.
    """
    current = flatten(config.config.channel_group)
    delta, _ = _read_delta(current, update)
    try:
        group = unflatten({**current, **delta})
    except InvalidConfigTree as error:
        raise RefusedUpdate(f"could not turn configMap back to channelGroup: {error}") from None
    return configtx_pb2.Config(sequence=config.sequence + 1, channel_group=group)


def list_guarded(
    config: ChannelConfig, update: configtx_pb2.ConfigUpdate
) -> list[tuple[Element, str, Policy | None]]:
    """Return what the update changes of what exists, with each element's mod policy, by its path
    and compiled (None where the channel has no such policy): whose signatures it needs.

    Raises `RefusedUpdate` where the update does not fit the configuration.
    """
    current = flatten(config.config.channel_group)
    delta, _ = _read_delta(current, update)
    guarded = [current[key] for key in sorted(delta) if key in current]
    return [
        (element, locate_mod_policy(element), _find_mod_policy(config, element))
        for element in guarded
    ]


def locate_mod_policy(element: Element) -> str:
    """Return the absolute path of the policy that guards the element."""
    if element.mod_policy.startswith("/"):
        return element.mod_policy
    path = (*element.path, element.name) if element.kind == "group" else element.path
    return "/" + "/".join((*path, element.mod_policy))


def _read_delta(
    current: Elements, update: configtx_pb2.ConfigUpdate
) -> tuple[dict[str, Element], dict[str, Element]]:
    """What the update changes, and its whole write set."""
    read_set = _map_set(update, "read_set", "ReadSet")
    _validate_read_set(current, read_set)
    write_set = _map_set(update, "write_set", "WriteSet")
    return _compute_delta(read_set, write_set), write_set


def _map_set(update: configtx_pb2.ConfigUpdate, name: str, title: str) -> dict[str, Element]:
    if not update.HasField(name):
        return {}
    try:
        return flatten(getattr(update, name))
    except InvalidConfigTree as error:
        raise RefusedUpdate(f"error mapping {title}: {error}") from None


def _validate_read_set(current: Elements, read_set: Elements) -> None:
    for key, element in read_set.items():
        existing = current.get(key)
        if existing is None:
            raise RefusedUpdate(
                "error validating ReadSet: existing config does not contain element for "
                f"{key} but was in the read set"
            )
        if existing.version != element.version:
            raise RefusedUpdate(
                f"error validating ReadSet: proposed update requires that key {key} be at "
                f"version {element.version}, but it is currently at version {existing.version}"
            )


def _compute_delta(read_set: Elements, write_set: Elements) -> dict[str, Element]:
    return {
        key: element
        for key, element in write_set.items()
        if key not in read_set or read_set[key].version != element.version
    }


def _validate_delta(
    config: ChannelConfig, current: Elements, delta: Elements, signed: Sequence[SignedData]
) -> None:
    prefix = "error validating DeltaSet: "
    if not delta:
        raise RefusedUpdate(f"{prefix}delta set was empty -- update would have no effect")
    for key, element in sorted(delta.items()):
        try:
            validate_mod_policy(element.mod_policy)
        except InvalidConfigTree as error:
            raise RefusedUpdate(f"{prefix}invalid mod_policy for element {key}: {error}") from None
        existing = current.get(key)
        if existing is None:
            # A new element needs no policy of its own: its group's change is what is guarded.
            if element.version != 0:
                raise RefusedUpdate(
                    f"{prefix}attempted to set key {key} to version {element.version}, "
                    "but key does not exist"
                )
            continue
        if element.version != existing.version + 1:
            raise RefusedUpdate(
                f"{prefix}attempt to set key {key} to version {element.version}, "
                f"but key is at version {existing.version}"
            )
        policy = _find_mod_policy(config, existing)
        if policy is None:
            raise RefusedUpdate(
                f"{prefix}unexpected missing policy {existing.mod_policy} for item {key}"
            )
        try:
            policy.evaluate(signed)
        except PolicyUnsatisfied as error:
            raise RefusedUpdate(f"{prefix}policy for {key} not satisfied: {error}", error) from None


def _find_mod_policy(config: ChannelConfig, element: Element) -> Policy | None:
    """Fn policyForItem: a relative name counts from the element's group, a group's from itself."""
    manager = config.policies
    if not element.mod_policy.startswith("/") and element.path and element.mod_policy:
        path = element.path[1:]
        if element.kind == "group":
            path = (*path, element.name)
        found = manager.manager(path)
        if found is None:
            return None
        manager = found
    return manager.find(element.mod_policy)


def _open_update_envelope(envelope: bytes) -> configtx_pb2.ConfigUpdateEnvelope:
    try:
        opened = open_envelope(envelope)
        if opened.channel_header.type != common_pb2.CONFIG_UPDATE:
            raise RefusedUpdate(
                "error converting envelope to config update: "
                f"invalid type {opened.channel_header.type}, expected CONFIG_UPDATE"
            )
        return configtx_pb2.ConfigUpdateEnvelope.FromString(opened.data)
    except MalformedMessage as error:
        raise RefusedUpdate(f"error converting envelope to config update: {error}") from None
    except DecodeError:
        raise RefusedUpdate(
            "error converting envelope to config update: error unmarshalling message for type "
            "CONFIG_UPDATE: proto: cannot parse invalid wire-format data"
        ) from None


def _open_config(channel_id: str, config: configtx_pb2.Config) -> ChannelConfig:
    try:
        return ChannelConfig(channel_id, config)
    except InvalidConfig as error:
        raise RefusedUpdate(str(error).removeprefix(f"channel {channel_id}: ")) from None
