"""A postmortem from what is stored: every section asks what its plan says. The same incident, the same bytes."""

import hashlib

from reports.postmortem.case import Case, load
from reports.postmortem.model import Chapter, Document, Reader, Template, state
from reports.postmortem.section import Section
from reports.postmortem.sections import SECTIONS

TEMPLATES: dict[str, Template] = {template.name: template for section in SECTIONS for template in section.templates}
CATALOGUE = hashlib.sha256(
    "\n".join(f"{template.name}\n{template.sql}" for template in TEMPLATES.values()).encode()
).hexdigest()[:12]


def build(reader: Reader, incident_id: str, revision: int) -> Document:
    """Ask everything. Raises UsageError where the revision is not stored, and what the reader raises."""
    case = load(reader, incident_id, revision)
    chapters = tuple(chapter for section in SECTIONS if (chapter := _chapter(section, case)).statements)
    asked = {statement.template for chapter in chapters for statement in chapter.statements}
    queries = tuple((name, template.sql) for name, template in TEMPLATES.items() if name in asked)
    return Document(incident_id, revision, CATALOGUE, chapters, queries)


def _chapter(section: Section, case: Case) -> Chapter:
    statements = tuple(state(case.reader, ask) for ask in section.plan(case))
    return Chapter(section.title, section.columns, statements)
