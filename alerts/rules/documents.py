"""A YAML file a person wrote: its value, and the line of everything in it.

Not a general reader. What a rule never needs and an attacker likes is refused before anything is built from
it: files above 100 kB, anchors and aliases (a kilobyte of them unfolds to gigabytes), deep nesting, tags that
build objects, and keys that stand twice (the second would win in silence).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 100_000
MAX_DEPTH = 20
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a file, and where."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `lines` has the line, from 1, of every key and list entry."""

    path: Path
    value: Any
    lines: Mapping[Place, int]

    def fault(self, place: Place, text: str) -> Fault:
        """A fault at this place, or at the nearest place around it that the file has."""
        while place not in self.lines:
            place = place[:-1]
        return Fault(self.path, self.lines[place], text)


def read(path: Path) -> tuple[Document | None, list[Fault]]:
    """The document, or why there is none; both where a key stands twice."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            return None, [Fault(path, 1, f"larger than {MAX_BYTES:,} bytes; a rule is a small file")]
        text = raw.decode("utf-8")
    except OSError as error:
        return None, [Fault(path, 1, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return None, [Fault(path, raw[: error.start].count(b"\n") + 1, "not UTF-8; save it as UTF-8")]
    try:
        if faults := list(_unsafe(path, text)):
            return None, faults
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return None, [Fault(path, mark.line + 1 if mark else 1, f"not YAML: {error.problem}")]
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        return None, [Fault(path, line, f"not YAML: the character {error.character!r} is not allowed")]
    except ValueError as error:  # a date like 2026-99-99, an integer of 5,000 digits
        return None, [Fault(path, 1, f"not YAML: {str(error)[:100]}")]
    lines: dict[Place, int] = {(): 1}
    faults = list(_walk(path, node, (), lines))
    return Document(path, value, lines), faults


def _unsafe(path: Path, text: str) -> Iterator[Fault]:
    """Anchors, aliases and depth, from the event stream: nothing is built yet and nothing recurses."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            yield Fault(path, line, f"anchors and aliases are not allowed ({event.anchor[:40]}); write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            yield Fault(path, line, f"nested deeper than {MAX_DEPTH} levels")
            return


def _walk(path: Path, node: Any, place: Place, lines: dict[Place, int]) -> Iterator[Fault]:
    """Note the line of every key and entry; tell of keys that stand twice."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else str(key.start_mark.line)
            here = (*place, name)
            if here in lines:
                yield Fault(path, key.start_mark.line + 1, f"{name[:60]} stands twice, first in line {lines[here]}")
            lines.setdefault(here, key.start_mark.line + 1)
            yield from _walk(path, value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[*place, index] = value.start_mark.line + 1
            yield from _walk(path, value, (*place, index), lines)
