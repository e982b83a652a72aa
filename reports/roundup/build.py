"""A roundup from what is stored. The same rows, the same bytes: no clock, a fixed seed, every order stated."""

import hashlib
from dataclasses import dataclass

from reports.postmortem.model import Chapter, Reader, Template
from reports.roundup.sections import SECTIONS
from reports.roundup.week import week_of

TEMPLATES: dict[str, Template] = {template.name: template for section in SECTIONS for template in section.templates}
CATALOGUE = hashlib.sha256(
    "\n".join(f"{template.name}\n{template.sql}" for template in TEMPLATES.values()).encode()
).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Roundup:
    """A whole roundup. catalogue: digest of all templates."""

    week: str
    start: str
    catalogue: str
    chapters: tuple[Chapter, ...]
    queries: tuple[tuple[str, str], ...]


def build(reader: Reader, name: str) -> Roundup:
    """Ask everything about the ISO week `name`. Raises UsageError where it is none, and what the reader raises."""
    week = week_of(reader, name)
    chapters = tuple(chapter for section in SECTIONS if (chapter := section.written(reader, week)).statements)
    asked = {statement.template for chapter in chapters for statement in chapter.statements}
    queries = tuple((key, template.sql) for key, template in TEMPLATES.items() if key in asked)
    return Roundup(name, str(week.parameters["start"]), CATALOGUE, chapters, queries)
