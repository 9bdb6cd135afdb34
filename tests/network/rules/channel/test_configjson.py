"""Configurations as JSON: as configtxlator 3.1.5 wrote them, and run beside it."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from fabric_protos.common import common_pb2, configtx_pb2
from hypothesis import given
from hypothesis import strategies as st

from network.rules.channel.configjson import (
    InvalidConfigJson,
    format_config_json,
    parse_config_json,
)
from network.rules.channel.configtx import build_update_envelope, sign_update
from tests.fabric_binaries import run_fabric
from tests.network.consortium import build_message
from tests.network.rules.changes import CHANGES, changed, consortium, original

VECTORS = Path(__file__).parents[3] / "vectors" / "config_updates"
KINDS = {"original": configtx_pb2.Config, "update": configtx_pb2.ConfigUpdate}


@pytest.mark.parametrize("name", KINDS)
def test_vectors_of_configtxlator(name: str) -> None:
    folder = VECTORS / "several"
    message = KINDS[name].FromString((folder / f"{name}.pb").read_bytes())
    theirs = (folder / f"{name}.json").read_text()
    assert format_config_json(message) == theirs
    assert parse_config_json(theirs, KINDS[name]) == message


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_written_is_read_again(name: str) -> None:
    config = changed(CHANGES[name])
    assert parse_config_json(format_config_json(config), configtx_pb2.Config) == config


def envelope() -> Any:
    update = (VECTORS / "several" / "update.pb").read_bytes()
    signed = build_update_envelope(
        update, [sign_update(consortium().admin1, update, b"n" * 24)]
    ).SerializeToString()
    raw = build_message(consortium().alice, signed, type=common_pb2.CONFIG_UPDATE)
    return common_pb2.Envelope.FromString(raw)


def test_envelopes_and_blocks_too(tmp_path: Path) -> None:
    block = consortium().build_genesis()
    for message in (envelope(), block):
        kind = message.DESCRIPTOR.full_name
        path = tmp_path / kind
        path.write_bytes(message.SerializeToString())
        theirs = run_fabric("configtxlator", "proto_decode", "--type", kind, "--input", path)
        ours = format_config_json(message)
        assert ours == theirs
        (tmp_path / "ours.json").write_text(ours)
        run_fabric(
            "configtxlator", "proto_encode", "--type", kind,
            "--input", tmp_path / "ours.json", "--output", tmp_path / "back",
        )  # fmt: skip
        back = type(message).FromString((tmp_path / "back").read_bytes())
        assert format_config_json(back) == ours


def test_a_signed_envelope_is_read_again() -> None:
    """The maps in it may come in another order: they are one message."""
    text = format_config_json(envelope())
    back = parse_config_json(text, common_pb2.Envelope)
    assert format_config_json(back) == text
    raw = back.SerializeToString()
    assert parse_config_json(text, common_pb2.Envelope).SerializeToString() == raw


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("sequence",), "many", "sequence: 'many' is no whole number"),
        (("channel_group", "version"), True, "channel_group.version: True is no whole number"),
        (("channel_group", "groups"), [], "channel_group.groups should be an object"),
        (("channel_group", "colour"), "red", "there is no such field in common.ConfigGroup"),
        (
            ("channel_group", "values", "Capabilities", "value"),
            "!",
            "channel_group.values.Capabilities.value: '!' is no base64",
        ),
        (
            ("channel_group", "policies", "Admins", "policy", "value", "rule"),
            "MOST",
            "is no one of ANY, ALL, MAJORITY",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(path: tuple[str, ...], value: Any, said: str) -> None:
    tree = json.loads(format_config_json(original()))
    place = tree
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvalidConfigJson) as caught:
        parse_config_json(json.dumps(tree), configtx_pb2.Config)
    assert said in str(caught.value)


@given(st.text(max_size=40) | st.recursive(st.none() | st.text(), st.lists, max_leaves=5).map(str))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(InvalidConfigJson):
        assert isinstance(parse_config_json(text, configtx_pb2.Config), configtx_pb2.Config)
