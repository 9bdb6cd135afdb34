"""`network.yaml`: defaults, and every mistake with file, line, path and remedy, all at once."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from network.topology.model import TopologyError, load_topology, parse_topology
from network.topology.values import Engine, NodeKind, Role
from tests.network.topology.examples import CARE, SMALL, care, small

TEXT = CARE.read_text()


def mistakes(text: str, environment: str | None = None) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse_topology(text, "care.yaml", environment)
    return str(caught.value).splitlines()


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_the_shipped_example() -> None:
    topology = care()
    assert (topology.name, topology.engine, topology.host) == ("care", Engine.EMBEDDED, "127.0.0.1")
    assert [org.role for org in topology.organizations] == [
        Role.ORDERER,
        Role.PROVIDER,
        Role.PROVIDER,
        Role.PAYER,
        Role.PATIENT_TRUST,
    ]
    channel = topology.channel("care")
    assert channel.members == ("GeneralHospital", "CityClinic", "UnitedPayer", "PatientTrust")
    assert channel.batch.timeout == timedelta(milliseconds=500)
    assert channel.batch.preferred_bytes == 2 * 1024 * 1024
    collection = channel.chaincodes[0].collections[0]
    assert collection.members == ("GeneralHospital", "UnitedPayer")
    assert [n.fqdn for n in topology.nodes() if n.kind is NodeKind.PEER] == [
        "peer0.hospital.example",
        "peer0.clinic.example",
        "peer0.payer.example",
        "peer0.trust.example",
    ]


def test_the_example_is_the_documented_one() -> None:
    """Everything the interface page shows stands in the shipped file."""
    content = yaml.safe_load(TEXT)
    ports = [org["peers"][0]["port"] for org in content["organizations"][1:]]
    assert ports == [7051, 8051, 9051, 10051]
    assert [org["ca"]["port"] for org in content["organizations"][1:]] == [
        7054,
        8054,
        9054,
        10054,
    ]


def test_derived_defaults() -> None:
    text = SMALL.replace("domain: alpha.example, ", "")
    org = parse_topology(text).organization("Alpha")
    assert (org.msp_id, org.domain) == ("AlphaMSP", "alpha.example")
    nodes = {node.fqdn: node for node in small().nodes()}
    orderer, peer = nodes["orderer0.ord.example"], nodes["peer0.alpha.example"]
    assert (orderer.admin_port, orderer.operations_port) == (7053, 17050)
    assert (peer.address, peer.operations_port) == ("127.0.0.1:7151", 17151)
    chaincode = small().organization("Alpha").chaincode
    assert chaincode is not None
    assert chaincode.port == 7152


def test_issue_sentence() -> None:
    """The mistake that the project promises to show, word for word."""
    text = TEXT.replace("port: 8051", "port: 7051")
    (mistake,) = mistakes(text)
    line = line_of(text, "ca: {port: 8054}")
    assert mistake == (
        f"care.yaml:{line} organizations[2].peers[0].port: "
        "7051 is already used by organizations[1].peers[0]"
    )


REPLACEMENTS: list[tuple[str, str, str, str]] = [
    ("peers: [{name: peer0, port: 9051}]", "peers: [{name: peer0, prt: 9051}]",
     "organizations[3].peers[0].prt", "is not a known field; did you mean 'port'?"),
    ("port: 9051", "port: 99999",
     "organizations[3].peers[0].port", "should be a port between 1 and 65535"),
    ("port: 9051", "port: nine",
     "organizations[3].peers[0].port", "should be a whole number, not 'nine'"),
    ("version: 1", "version: 7", "version", "should be 1, not 7"),
    ("engine: embedded", "engine: embeded",
     "engine", "should be embedded or fabric, not 'embeded'; did you mean 'embedded'?"),
    ("role: payer,", "role: payor,", "organizations[3].role", "did you mean 'payer'?"),
    ("name: UnitedPayer,  ", "name: CityClinic,  ",
     "organizations[3].name", "the name 'CityClinic' is already used by organizations[2]"),
    ("mspId: UnitedPayerMSP", "mspId: CityClinicMSP",
     "organizations[3].mspId", "the MSP id 'CityClinicMSP' is already used by organizations[2]"),
    ("domain: payer.example", "domain: clinic.example",
     "organizations[3].domain", "the domain 'clinic.example' is already used"),
    ("mspId: UnitedPayerMSP", "mspId: United_PayerMSP",
     "organizations[3].mspId", "letters, digits, '.' and '-' only"),
    ("name: UnitedPayer, ", "name: United_Payer, ",
     "organizations[3].name", "cannot name an organisation"),
    ("domain: payer.example", "domain: Payer",
     "organizations[3].domain", "cannot name a domain"),
    ("- name: care\n", "- name: Care\n", "channels[0].name", "cannot name a channel"),
    ("orderers: [Consortium]", "orderers: [CityClinic]",
     "channels[0].orderers[0]", "CityClinic has no orderers; add some or leave it out"),
    ("UnitedPayer, PatientTrust]", "UnitedPayer, Consortium]",
     "channels[0].members[3]", "Consortium has no peers"),
    ("UnitedPayer, PatientTrust]", "UnitedPayer, PatientTrst]",
     "channels[0].members[3]", "is no organisation of this network; did you mean 'PatientTrust'?"),
    ("UnitedPayer, PatientTrust]", "UnitedPayer, PatientTrust, CityClinic]",
     "channels[0].members[4]", "CityClinic is listed twice"),
    ("timeout: 500ms", "timeout: 500",
     "channels[0].batch.timeout", "should be a time span such as 500ms, 2s"),
    ("timeout: 500ms", "timeout: 0s",
     "channels[0].batch.timeout", "should be longer than nothing"),
    ("preferredBytes: 2MB", "preferredBytes: 2 elephants",
     "channels[0].batch.preferredBytes", "should be a size such as 512KB, 2MB"),
    ("preferredBytes: 2MB", "preferredBytes: 20MB",
     "channels[0].batch.preferredBytes", "should not be more than absoluteBytes"),
    ("maxMessages: 500", "maxMessages: 0",
     "channels[0].batch.maxMessages", "should be 1 or more"),
    ("MAJORITY Endorsement", "MOST Endorsement",
     "channels[0].policies.lifecycleEndorsement", "is no policy: expected AND, OR or OutOf"),
    ("'CityClinicMSP.peer'", "'CityClinicMSP.pear'",
     "channels[0].chaincodes[0].endorsement", "(at character 37)"),
    ("'CityClinicMSP.peer'", "'CityClinikMSP.peer'",
     "channels[0].chaincodes[0].endorsement",
     "CityClinikMSP is the MSP id of no member of the channel; did you mean 'CityClinicMSP'?"),
    ("- name: health", "- name: _lifecycle",
     "channels[0].chaincodes[0].name", "system chaincodes"),
    ("[GeneralHospital, UnitedPayer]", "[GeneralHospital, Consortium]",
     "channels[0].chaincodes[0].collections[0].members[1]",
     "'Consortium' is no member of the channel"),
    ("[GeneralHospital, UnitedPayer]", "[]",
     "channels[0].chaincodes[0].collections[0].members", "needs at least one entry"),
    ("memberOnlyRead: true", "memberOnlyRead: maybe",
     "channels[0].chaincodes[0].collections[0].memberOnlyRead", "should be true or false"),
    ("blockToLive: 0", "blockToLive: -1",
     "channels[0].chaincodes[0].collections[0].blockToLive", "should be 0 or more"),
    ("blockToLive: 0", "requiredPeerCount: 2",
     "channels[0].chaincodes[0].collections[0].requiredPeerCount",
     "the members have only 1 besides the endorsing one"),
    ("blockToLive: 0", "requiredPeerCount: 1, maxPeerCount: 0",
     "channels[0].chaincodes[0].collections[0].maxPeerCount", "less than requiredPeerCount"),
    ("name: claims-GeneralHospital-UnitedPayer", "name: _implicit_org_X",
     "channels[0].chaincodes[0].collections[0].name", "belong to Fabric"),
    ("engine: embedded", "fabricVersion: 1.4",
     "fabricVersion", "should be 2.5 or 3.1, not '1.4'"),
    ("engine: embedded", "host: https://here",
     "host", "is neither an IP address nor a host name"),
    ("port: 8051", "port: 7052",
     "organizations[1].chaincode.port", "its default 7052 is already used by organizations[2]"),
    ("port: 8051", "port: 17051",
     "organizations[1].peers[0].operationsPort", "set operationsPort here"),
    ("exchange: {port: 8056}", "exchange: {port: 8054}",
     "organizations[2].exchange.port", "8054 is already used by organizations[2].ca"),
    ("role: orderer,", "role: provider,", "organizations[0].role", "should be orderer"),
    ("engine: embedded", "certificates: {validity: -1d}",
     "certificates.validity", "should be a time span"),
    ("blockToLive: 0", "blockToLive: 0, blockToLive: 1",
     "channels[0].chaincodes[0].collections[0].blockToLive", "is written twice"),
    ("engine: embedded", "engine:", "engine", "should be embedded or fabric"),
    ("orderers: [Consortium]", "orderers: Consortium",
     "channels[0].orderers", "should be a list"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "text"), REPLACEMENTS)
def test_one_mistake(old: str, new: str, path: str, text: str) -> None:
    assert old in TEXT
    changed = TEXT.replace(old, new, 1)
    found = [mistake for mistake in mistakes(changed) if f" {path}: " in mistake]
    assert len(found) == 1, mistakes(changed)
    assert text in found[0]
    assert "pydantic" not in found[0].lower()
    assert "input should" not in found[0].lower()
    if not path.endswith("operationsPort") and "its default" not in found[0]:
        assert found[0].startswith(f"care.yaml:{line_of(TEXT, old)} ")


def test_all_mistakes_at_once_in_the_files_order() -> None:
    text = TEXT
    for old, new, _, _ in (REPLACEMENTS[0], REPLACEMENTS[5], REPLACEMENTS[17], REPLACEMENTS[26]):
        text = text.replace(old, new, 1)
    found = mistakes(text)
    assert len(found) >= 4
    lines = [int(mistake.split(":")[1].split()[0]) for mistake in found]
    assert lines == sorted(lines)


def test_missing_fields_say_what_they_are() -> None:
    found = mistakes("version: 1\norganizations: [{name: A}]\n")
    assert "care.yaml:1 name: is missing: names the network's folder and what is shown" in found
    assert any("organizations[0].role: is missing: orderer, provider" in text for text in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "care.yaml:1: this is no valid YAML"),
        ("a: b: c", "care.yaml:1: this is no valid YAML"),
        ("", "should be a mapping that starts with 'version: 1'"),
        ("- a", "should be a mapping"),
        # A tag makes no object: what it stands on is judged as the mapping it is.
        ("!!python/object:os.system {}", "version: is missing"),
    ],
)
def test_not_even_a_topology(text: str, expected: str) -> None:
    assert expected in mistakes(text)[0]


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="the file cannot be read: no such file"):
        load_topology(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(TopologyError, match="not UTF-8"):
        load_topology(tmp_path / "latin.yaml")


ENVIRONMENTS = """
environments:
  laptop:
    host: 127.0.0.2
    organizations:
      - {name: Alpha, peers: [{name: peer0, port: 9999}]}
  broken:
    organizations:
      - {name: Beta, peers: [{name: peer0, port: 7151}]}
"""


def test_environments_lay_over_by_name() -> None:
    topology = parse_topology(SMALL + ENVIRONMENTS, "small.yaml", "laptop")
    ports = {node.fqdn: (node.host, node.port) for node in topology.nodes()}
    assert ports["peer0.alpha.example"] == ("127.0.0.2", 9999)
    assert ports["peer0.beta.example"] == ("127.0.0.2", 7251)
    assert topology.channel("small").members == ("Alpha", "Beta")


def test_mistakes_in_an_environment_show_its_line() -> None:
    text = SMALL + ENVIRONMENTS
    (mistake,) = mistakes(text, "broken")
    line = line_of(text, "- {name: Beta, peers: [{name: peer0, port: 7151}]}")
    assert mistake.startswith(f"care.yaml:{line} organizations[2].peers[0].port: 7151 is already")
    assert "has no environment 'nowhere'; there are: broken, laptop" in mistakes(text, "nowhere")[0]


def test_anchors_and_merges_work() -> None:
    text = SMALL.replace(
        "channels:\n  - {name: small,",
        "channels:\n  - &base {name: small,",
    )
    text += "  - {<<: *base, name: second}\n"
    topology = parse_topology(text)
    assert [channel.name for channel in topology.channels] == ["small", "second"]


def test_frozen() -> None:
    topology = small()
    with pytest.raises(ValueError, match="frozen"):
        topology.name = "other"


@settings(max_examples=150)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda parts: (
            st.lists(parts, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["version", "name", "organizations", "peers", "port", "channels", "members",
                     "environments", "chaincodes", "collections", "batch", "ca", "users", "host"]
                ),
                parts,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_shape_is_answered_in_words(value: object) -> None:
    try:
        parse_topology(yaml.safe_dump(value))
    except TopologyError as error:
        found = error.mistakes
    else:
        return
    assert found
    assert all(mistake.text for mistake in found)


@settings(max_examples=60)
@given(st.data())
def test_dropping_any_part_of_the_example_is_answered_in_words(data: st.DataObject) -> None:
    content = yaml.safe_load(TEXT)
    place: Any = content
    for _ in range(data.draw(st.integers(1, 5))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        below = place[key]
        if isinstance(below, dict | list) and data.draw(st.booleans()):
            place = below
            continue
        place[key] = data.draw(st.sampled_from([None, [], {}, "x", -1, True]))
        break
    try:
        parse_topology(yaml.safe_dump(content))
    except TopologyError as error:
        shown = str(error)
    else:
        return
    assert shown.startswith("network.yaml:")


@pytest.mark.parametrize(
    ("written", "host"),
    [("::1", "[::1]"), ("[2001:DB8::1]", "[2001:db8::1]"), ("127.0.0.1", "127.0.0.1")],
)
def test_an_ipv6_address_stands_in_brackets_before_its_port(written: str, host: str) -> None:
    text = SMALL.replace("name: small\n", f'name: small\nhost: "{written}"\n', 1)
    orderer = next(parse_topology(text).nodes())
    assert orderer.address == f"{host}:{orderer.port}"
