"""What the attributes of one span say, whatever dialect they are in: field -> value, by the names of names.py.

An instrumentation writes few combinations of attributes. How to read one is worked out once, as a plan, and looked up
by the names in their order: most of the work on a span would else be asking the same names the same questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pipeline.ingest import names
from pipeline.ingest.telemetry import Attributes

MOST_PLANNED: Final = 64  # attributes; spans with more are rare, and their names often made up

# attribute -> (field, rank of the name)
FIELD_OF: Final[Mapping[str, tuple[str, int]]] = {
    name: (field, rank) for field, found in names.FIELDS.items() for rank, name in enumerate(found)
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read spans that have these attributes, in this order."""

    fields: tuple[tuple[str, str], ...]  # attribute, the field it holds; of one field, the name that goes first is last
    content: tuple[str, ...]  # texts of prompts and answers
    kinds: tuple[tuple[str, Mapping[str, str | None]], ...]  # what says the kind of a span, and how
    declares: bool  # some are in our own words


@dataclass(slots=True)
class Said:
    """What one span says."""

    fields: Attributes  # field -> value, by the name that goes first
    plan: Plan


def said(attributes: Attributes) -> Said:
    """The fields that these attributes hold. An attribute without a value says nothing."""
    present = tuple(attributes)
    plan = plan_of(present) if len(present) <= MOST_PLANNED else plan_of.__wrapped__(present)
    fields: Attributes = {}
    for name, field in plan.fields:
        value = attributes[name]
        if value is not None and value != "":
            fields[field] = value
    return Said(fields, plan)


@lru_cache(4096)
def plan_of(attributes: tuple[str, ...]) -> Plan:
    """The plan of these names, in this order."""
    fields = sorted(((FIELD_OF[name][1], name) for name in attributes if name in FIELD_OF), reverse=True)
    return Plan(
        fields=tuple((name, FIELD_OF[name][0]) for _, name in fields),
        content=tuple(name for name in attributes if _is_content(name)),
        kinds=tuple((name, kinds) for name, kinds in names.KINDS.items() if name in attributes),
        declares=any(name.startswith(names.PREFIX) for name in attributes),
    )


def _is_content(name: str) -> bool:
    return name in names.CONTENT or name.startswith(names.CONTENT_PREFIXES)
