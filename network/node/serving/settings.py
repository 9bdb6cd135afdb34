"""`orderer.yaml` and `core.yaml` as Fabric reads them, with `ORDERER_*` and `CORE_*` on top.

The file is looked for in FABRIC_CFG_PATH, or, where that is not set, in the working folder and
then in /etc/hyperledger/fabric. Keys are dotted paths and know no case. An environment variable
(`General.TLS.Enabled` → `ORDERER_GENERAL_TLS_ENABLED`) wins over the file unless it is empty.
Relative paths count from the file's folder. Fabric's sources: common/viperutil/config_util.go,
core/config/config.go; the forms of durations and sizes are Go's and viperutil's.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

ConfigName = Literal["core", "orderer", "fabric_ca_server"]
OFFICIAL_FOLDER = Path("/etc/hyperledger/fabric")

_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_SIZE = re.compile(r"([0-9]+)\s*([kmg]?)b?", re.IGNORECASE)
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
# strconv.ParseBool
_BOOLEANS = {
    "1": True, "t": True, "true": True, "0": False, "f": False, "false": False,
}  # fmt: skip


class SettingsError(ValueError):
    """A setting that cannot be used; the text names the key and where its value came from."""


class Settings:
    """One node's settings: every `get_*` takes a dotted key and what to return when it is unset.

    A key that is present but empty counts as unset, as in viper. Raises SettingsError when the
    value is there and is not of the asked kind.
    """

    def __init__(
        self,
        name: ConfigName,
        values: Mapping[str, Any],
        environment: Mapping[str, str] = MappingProxyType({}),
        file: Path | None = None,
    ) -> None:
        self.name = name
        self.file = file
        self._values = _lower_keys(values)
        self._environment = environment

    @classmethod
    def load(cls, name: ConfigName, environment: Mapping[str, str] | None = None) -> "Settings":
        """The settings in `<name>.yaml` with the environment on top (default: the process's).

        Raises:
            SettingsError: the file is missing, unreadable or not a YAML mapping.
        """
        environment = os.environ if environment is None else environment
        file = _find_file(name, environment)
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"Error reading configuration: {file}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"Error reading configuration: {file}: {_describe_yaml_error(error)}"
            ) from error
        if not isinstance(values, dict):
            raise SettingsError(f"Error reading configuration: {file}: not a mapping of settings")
        return cls(name, values, environment, file)

    @property
    def folder(self) -> Path:
        """The folder that relative paths count from."""
        return self.file.parent.resolve() if self.file else Path.cwd()

    def get_value(self, key: str) -> Any:
        """The raw value: text from the environment, or what the YAML holds; None when unset.

        Text from the environment that looks like a YAML list or mapping is read as such.
        """
        text = self._environment.get(self.get_variable(key), "")
        if text:
            return self._read_flow(key, text) if text[0] in "[{" else text
        value: Any = self._values
        for part in key.lower().split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    def get_text(self, key: str, default: str = "") -> str:
        """A text; numbers and booleans in the YAML are given as written there."""
        value = self.get_value(key)
        if value is None or value == "":
            return default
        if isinstance(value, (dict, list)):
            raise self._error(key, "must be a text")
        return str(value).lower() if isinstance(value, bool) else str(value)

    def get_bool(self, key: str, default: bool = False) -> bool:
        """A boolean: true/false, t/f, 1/0."""
        text = self.get_text(key)
        if not text:
            return default
        if text.lower() not in _BOOLEANS:
            raise self._error(key, f"must be true or false, not '{text}'")
        return _BOOLEANS[text.lower()]

    def get_int(self, key: str, default: int = 0) -> int:
        """A whole number."""
        text = self.get_text(key)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise self._error(key, f"must be a whole number, not '{text}'") from None

    def get_port(self, key: str, default: int = 0) -> int:
        """A TCP port; 0 asks the system for a free one."""
        port = self.get_int(key, default)
        if not 0 <= port <= 65535:
            raise self._error(key, f"must be a port between 0 and 65535, not {port}")
        return port

    def get_duration(self, key: str, default: float = 0.0) -> float:
        """Seconds, from Go's form ("15m", "500ms", "1h30m"); a bare number is nanoseconds (viper).

        The result is never negative.
        """
        text = self.get_text(key)
        if not text:
            return default
        try:
            return parse_duration(text)
        except ValueError:
            raise self._error(
                key, f"must be a duration such as 500ms, 2s or 15m, not '{text}'"
            ) from None

    def get_size(self, key: str, default: int = 0) -> int:
        """Bytes, from a number with an optional unit ("10 MB", "512k"); 1 k is 1024."""
        text = self.get_text(key)
        if not text:
            return default
        match = _SIZE.fullmatch(text.strip())
        if not match:
            raise self._error(key, f"must be a size such as 1048576 or 10 MB, not '{text}'")
        return int(match[1]) * _SIZES[match[2].lower()]

    def get_path(self, key: str, default: str = "") -> Path | None:
        """An absolute path; None when unset without a default."""
        text = self.get_text(key, default)
        return self.folder / text if text else None

    def get_list(self, key: str) -> list[str]:
        """Texts: a YAML list, or one text split at commas and white space (brackets allowed)."""
        value = self.get_value(key)
        if value is None or value == "":
            return []
        if isinstance(value, dict):
            raise self._error(key, "must be a list")
        if isinstance(value, list):
            return [str(item) for item in value if item is not None]
        return [item for item in re.split(r"[,\s]+", str(value).strip("[] ")) if item]

    def get_paths(self, key: str) -> list[Path]:
        """Absolute paths."""
        return [self.folder / item for item in self.get_list(key)]

    def get_variable(self, key: str) -> str:
        """The environment variable that overrides `key`."""
        return f"{self.name}_{key}".upper().replace(".", "_")

    def read_file(self, key: str) -> bytes:
        """The bytes of the file that `key` names.

        Raises:
            SettingsError: the key is unset or the file cannot be read.
        """
        path = self.get_path(key)
        if path is None:
            raise self._error(key, "is not set")
        return self._read(key, path)

    def read_files(self, key: str) -> list[bytes]:
        """The bytes of every file that `key` lists."""
        return [self._read(key, path) for path in self.get_paths(key)]

    def _read(self, key: str, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._error(key, f"cannot read {path}: {error.strerror}") from error

    def _read_flow(self, key: str, text: str) -> Any:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise self._error(key, "is not a YAML list or mapping") from None
        return _lower_keys(value) if isinstance(value, dict) else value

    def _error(self, key: str, text: str) -> SettingsError:
        variable = self.get_variable(key)
        if self._environment.get(variable):
            return SettingsError(f"{key} {text} (environment variable {variable})")
        return SettingsError(f"{key} {text} ({self.file or self.name + '.yaml'})")


def parse_duration(text: str) -> float:
    """Seconds from Go's duration form; a bare number is nanoseconds, as in viper.

    Raises:
        ValueError: `text` is neither, or is negative.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]+", text):
        return int(text) * 1e-9
    seconds, end = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            break
        seconds += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if not text or end != len(text):
        raise ValueError(f"not a duration: '{text}'")
    return seconds


def _find_file(name: str, environment: Mapping[str, str]) -> Path:
    configured = environment.get("FABRIC_CFG_PATH", "")
    folders = [Path(configured)] if configured else [Path.cwd(), OFFICIAL_FOLDER]
    for folder in folders:
        file = folder / f"{name}.yaml"
        if file.is_file():
            return file
    raise SettingsError(
        f"Error reading configuration: {name}.yaml not found in "
        f"{' or '.join(str(folder) for folder in folders)}; set FABRIC_CFG_PATH to its folder"
    )


def _describe_yaml_error(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark else ""
    return f"{place}{getattr(error, 'problem', None) or 'not readable as YAML'}"


def _lower_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key).lower(): _lower_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower_keys(item) for item in value]
    return value
