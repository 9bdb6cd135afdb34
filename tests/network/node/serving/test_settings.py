"""orderer.yaml and core.yaml as viper reads them."""

from pathlib import Path

import pytest

from network.node.serving.settings import Settings, SettingsError, parse_duration

YAML = """
General:
  ListenAddress: 127.0.0.1
  ListenPort: 7050
  TLS:
    Enabled: false
    PrivateKey: tls/server.key
    RootCAs: [tls/ca.crt, /abs/ca.crt]
    ClientRootCAs:
  Authentication: {TimeWindow: 15m}
ChannelParticipation: {MaxRequestBodySize: 1 MB}
chaincode:
  externalBuilders:
    - {name: ccaas, path: /builders, propagateEnvironment: [HOME]}
"""


def load(folder: Path, text: str = YAML, **environment: str) -> Settings:
    (folder / "orderer.yaml").write_text(text)
    return Settings.load("orderer", {"FABRIC_CFG_PATH": str(folder)} | environment)


def test_keys_know_no_case_and_unset_ones_have_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.get_int("general.LISTENPORT") == 7050
    assert settings.get_text("General.ListenAddress") == "127.0.0.1"
    assert settings.get_text("General.Nothing", "default") == "default"
    assert settings.get_list("General.TLS.ClientRootCAs") == []
    assert not settings.get_bool("General.TLS.Enabled", True)


def test_the_environment_wins_unless_it_is_empty(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        ORDERER_GENERAL_LISTENPORT="19050",
        ORDERER_GENERAL_LISTENADDRESS="",
        ORDERER_GENERAL_TLS_ENABLED="true",
        ORDERER_NEW_KEY="new",
    )
    assert settings.get_port("General.ListenPort") == 19050
    assert settings.get_text("General.ListenAddress") == "127.0.0.1"
    assert settings.get_bool("General.TLS.Enabled")
    assert settings.get_text("New.Key") == "new"


def test_relative_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, ORDERER_FILELEDGER_LOCATION="blocks")
    assert settings.get_path("General.TLS.PrivateKey") == tmp_path / "tls/server.key"
    assert settings.get_path("FileLedger.Location") == tmp_path / "blocks"
    assert settings.get_path("General.LocalMSPDir", "msp") == tmp_path / "msp"
    assert settings.get_path("General.Unset") is None
    assert settings.get_paths("General.TLS.RootCAs") == [
        tmp_path / "tls/ca.crt",
        Path("/abs/ca.crt"),
    ]


@pytest.mark.parametrize("text", ["[a.crt, b.crt]", "a.crt,b.crt", "a.crt b.crt"])
def test_lists_in_the_environment_take_fabrics_forms(tmp_path: Path, text: str) -> None:
    settings = load(tmp_path, ORDERER_GENERAL_TLS_ROOTCAS=text)
    assert settings.get_list("General.TLS.RootCAs") == ["a.crt", "b.crt"]


def test_lists_of_mappings_are_given_with_lower_keys(tmp_path: Path) -> None:
    (builder,) = load(tmp_path).get_value("chaincode.externalBuilders")
    assert builder == {"name": "ccaas", "path": "/builders", "propagateenvironment": ["HOME"]}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("500ms", 0.5), ("1h30m", 5400), ("1.5s", 1.5), ("0", 0), ("2000000000", 2)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "abc", "-5s", "5 s", "5sx", "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("1 MB", 1 << 20), ("10m", 10 << 20), ("512k", 512 << 10), ("7", 7)]
)
def test_sizes_have_units(tmp_path: Path, text: str, size: int) -> None:
    settings = load(tmp_path, ORDERER_CHANNELPARTICIPATION_MAXREQUESTBODYSIZE=text)
    assert settings.get_size("ChannelParticipation.MaxRequestBodySize") == size


class TestErrors:
    """Each names the key and where its value came from."""

    def test_a_value_in_the_file(self, tmp_path: Path) -> None:
        settings = load(tmp_path, "General: {ListenPort: seven}")
        with pytest.raises(SettingsError, match=r"General\.ListenPort.*orderer\.yaml"):
            settings.get_int("General.ListenPort")

    def test_a_value_in_the_environment(self, tmp_path: Path) -> None:
        settings = load(tmp_path, ORDERER_GENERAL_AUTHENTICATION_TIMEWINDOW="soon")
        with pytest.raises(SettingsError, match="ORDERER_GENERAL_AUTHENTICATION_TIMEWINDOW"):
            settings.get_duration("General.Authentication.TimeWindow")

    def test_a_port_out_of_range(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="between 0 and 65535"):
            load(tmp_path, "General: {ListenPort: 70000}").get_port("General.ListenPort")

    def test_a_mapping_where_a_text_is_asked(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"General\.TLS must be a text"):
            load(tmp_path).get_text("General.TLS")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"PrivateKey cannot read .*server\.key"):
            load(tmp_path).read_file("General.TLS.PrivateKey")

    def test_no_configuration_file(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="set FABRIC_CFG_PATH"):
            Settings.load("core", {"FABRIC_CFG_PATH": str(tmp_path)})

    def test_broken_yaml_names_the_line(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="line 3"):
            load(tmp_path, "General:\n  - [\n")

    def test_yaml_that_is_no_mapping(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="not a mapping"):
            load(tmp_path, "- 1\n")
