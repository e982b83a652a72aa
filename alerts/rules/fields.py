"""The fields of an incident that a rule may name: in a condition (`when`) or in a template (`annotations`).

Taken from the model itself, so that a new field of `schemas.incidents.Incident` can be named at once and a
misspelt one is a fault when the rules are loaded. Parts that stand once (attribution, exhaustion) are named
with a dot; a list stands for how many entries it has. Only these names are ever looked up: no attribute,
index or call can be written.
"""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel

from schemas.incidents import TIME_FIELDS, Incident
from schemas.times import format_time

MILLION = 1_000_000
NO_GAP = frozenset({"unknowable", "cannot_tell"})  # listed with the context gaps, but none


class Type(StrEnum):
    """What a field holds, as far as a rule is concerned."""

    TEXT = "text"
    CHOICE = "choice"
    NUMBER = "number"
    FLAG = "flag"
    TIME = "time"
    COUNT = "count"  # a list, by its length


@dataclass(frozen=True, slots=True)
class FieldType:
    """One field: where it stands, what it holds, and whether it may be null."""

    name: str
    type: Type
    is_nullable: bool
    choices: tuple[str, ...] = ()

    def of(self, incident: Incident) -> Any:
        """The value in this incident; None where it, or the part it stands in, is absent."""
        value: Any = incident
        for part in self.name.split("."):
            if value is None:
                return None
            value = getattr(value, part)
        if self.name == "context_gaps":
            return sum(gap.class_ not in NO_GAP for gap in value)
        return len(value) if self.type is Type.COUNT else value

    def text_of(self, incident: Incident) -> str:
        """The value as a person reads it."""
        value = self.of(incident)
        if value is None:
            return "unknown"
        if self.type is Type.TIME:
            return format_time(value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if self.name.endswith("probability"):
            return f"{value:.0%}"
        return number_text(value) if isinstance(value, int | float) else str(value)


def number_text(value: float) -> str:
    """10.2 M, 12,400, 517, 0.25: as many digits as a person needs at night."""
    if abs(value) >= MILLION:
        return f"{value / MILLION:,.1f} M"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10 else f"{value:.2f}"


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [item for item in typing.get_args(annotation) if item is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


def _fields(model: type[BaseModel], prefix: str, is_part_nullable: bool) -> Iterator[FieldType]:
    plain = {str: Type.TEXT, int: Type.NUMBER, float: Type.NUMBER, bool: Type.FLAG}
    for name, info in model.model_fields.items():
        annotation, is_nullable = _without_none(info.annotation)
        is_nullable = is_nullable or is_part_nullable
        path = prefix + name
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _fields(annotation, f"{path}.", is_nullable)
        elif path in TIME_FIELDS:
            yield FieldType(path, Type.TIME, is_nullable)
        elif typing.get_origin(annotation) is Literal:
            yield FieldType(path, Type.CHOICE, is_nullable, typing.get_args(annotation))
        elif typing.get_origin(annotation) is tuple:
            yield FieldType(path, Type.COUNT, is_nullable)
        elif annotation in plain:
            yield FieldType(path, plain[annotation], is_nullable)


FIELDS: Mapping[str, FieldType] = {field.name: field for field in _fields(Incident, "", False)}


def field(name: str) -> FieldType:
    """The field of this name. Raises ValueError, with the nearest names, where there is none."""
    import difflib

    if name in FIELDS:
        return FIELDS[name]
    near = difflib.get_close_matches(name, FIELDS, n=3)
    raise ValueError(
        f"an incident has no field {name[:60]!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    )
