"""YAML with line numbers: a document as plain values that remember where they stand.

Duplicate keys, which YAML parsers pass over in silence, are mistakes here.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from network.topology.errors import Mistake, Path, TopologyError


@dataclass(slots=True)
class Document:
    """The plain value of a file, the line of every path in it and the mistakes of its form."""

    file: str
    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest thing around it that the file does have."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def add(self, path: Path, text: str) -> None:
        """Note one mistake at a path."""
        self.mistakes.append(Mistake(self.file, self.line(path), path, text))


def read_document(text: str, file: str) -> Document:
    """Return the document; raises `TopologyError` when the text is no YAML at all."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        document = Document(file, None)
        if root is not None:
            document.value = _Reader(loader, document).read(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = error.problem or error.context or "unreadable"
        raise TopologyError(
            [Mistake(file, line, (), f"this is no valid YAML: {problem}")]
        ) from None
    except yaml.YAMLError:
        raise TopologyError([Mistake(file, 1, (), "this is no valid YAML")]) from None
    finally:
        loader.dispose()
    return document


def overlay(document: Document, at: Path, path: Path = ()) -> None:
    """Lay the part of the document at ``at`` over the part at ``path``.

    Mappings merge field by field, lists of named things merge by name, anything else is replaced.
    Lines follow the values, so that a mistake is shown where it was written.
    """
    change, base = _get(document.value, at), _get(document.value, path)
    if isinstance(change, dict) and isinstance(base, dict):
        for key in change:
            if key in base:
                overlay(document, (*at, key), (*path, key))
            else:
                _move(document, (*at, key), (*path, key))
    elif _is_named_list(change) and _is_named_list(base):
        places = {item["name"]: index for index, item in enumerate(base)}
        for index, item in enumerate(change):
            if item["name"] in places:
                overlay(document, (*at, index), (*path, places[item["name"]]))
            else:
                base.append(None)
                _move(document, (*at, index), (*path, len(base) - 1))
    else:
        _move(document, at, path)


def _get(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _move(document: Document, source: Path, target: Path) -> None:
    _get(document.value, target[:-1])[target[-1]] = _get(document.value, source)
    for path in [path for path in document.lines if path[: len(target)] == target]:
        del document.lines[path]
    for path, line in list(document.lines.items()):
        if path[: len(source)] == source:
            document.lines[target + path[len(source) :]] = line


def _is_named_list(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in value
    )


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node)

    def _read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self._key(key_node), key_node.start_mark.line + 1
            if key in seen and key != "<<":
                self._document.lines[(*path, key)] = line
                self._document.add(
                    (*path, key),
                    f"is written twice, first on line {seen[key]}; keep one of them",
                )
            seen.setdefault(key, line)
        self._loader.flatten_mapping(node)
        mapping = {}
        for key_node, child in node.value:
            key = self._key(key_node)
            self._document.lines[(*path, key)] = key_node.start_mark.line + 1
            mapping[key] = self.read(child, (*path, key))
        return mapping

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return node.value  # for example a date that does not exist: judged as text

    def _key(self, node: yaml.Node) -> str:
        return node.value if isinstance(node, yaml.ScalarNode) else "?"
