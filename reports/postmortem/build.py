"""A postmortem from what is stored: every section asks what its plan says. The same incident, the same bytes."""

import hashlib

from reports.postmortem.case import load
from reports.postmortem.model import Document, Reader, Template
from reports.postmortem.sections import SECTIONS

TEMPLATES: dict[str, Template] = {template.name: template for section in SECTIONS for template in section.templates}
CATALOGUE = hashlib.sha256(
    "\n".join(f"{template.name}\n{template.sql}" for template in TEMPLATES.values()).encode()
).hexdigest()[:12]


def build(reader: Reader, incident_id: str, revision: int) -> Document:
    """Ask everything. Raises UsageError where the revision is not stored, and what the reader raises."""
    case = load(reader, incident_id, revision)
    chapters = tuple(chapter for section in SECTIONS if (chapter := section.written(reader, case)).statements)
    asked = {statement.template for chapter in chapters for statement in chapter.statements}
    queries = tuple((name, template.sql) for name, template in TEMPLATES.items() if name in asked)
    return Document(incident_id, revision, CATALOGUE, chapters, queries)
