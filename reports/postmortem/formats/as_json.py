"""The document as JSON, one statement a line. Pictures are left out: they are drawn from the same rows."""

import json
import re
from collections.abc import Mapping, Sequence

from reports.postmortem.model import Chapter, Document, Statement

HEAD = re.compile(
    r'^"incident_id": "(?P<incident_id>[0-9a-f]{1,64})", "revision": (?P<revision>\d{1,19}), "catalogue": "(?P<catalogue>\w+)",$',
    re.MULTILINE,
)


def render(document: Document) -> str:
    """A JSON object whose lines are the statements."""
    head = (
        f'"incident_id": {_json(document.incident_id)}, "revision": {document.revision}, '
        f'"catalogue": {_json(document.catalogue)},'
    )
    return page(head, document.chapters, document.queries)


def page(head: str, chapters: Sequence[Chapter], queries: Sequence[tuple[str, str]]) -> str:
    """Any document of statements. head: its first members, on one line."""
    lines = ["{", head, '"sections": [']
    for number, chapter in enumerate(chapters, 1):
        lines.append(f'{{"title": {_json(chapter.title)}, "columns": {_json(chapter.columns)}, "statements": [')
        last = len(chapter.statements)
        lines += [_line(each) + ("," if place < last else "") for place, each in enumerate(chapter.statements, 1)]
        lines.append("]}" + ("," if number < len(chapters) else ""))
    lines += ["],", '"queries": {']
    lines += [
        f"{_json(name)}: {_json(sql)}" + ("," if number < len(queries) else "")
        for number, (name, sql) in enumerate(queries, 1)
    ]
    return "\n".join([*lines, "}", "}", ""])


def claims(lines: list[str]) -> Mapping[int, str]:
    """The lines that are statements."""
    found = {}
    for number, line in enumerate(lines):
        try:
            value = json.loads(line.rstrip().rstrip(","))
        except ValueError:
            continue
        if isinstance(value, dict) and "template" in value:
            found[number] = str(value["template"])
    return found


def _line(statement: Statement) -> str:
    return _json(
        {
            "template": statement.template,
            "parameters": dict(statement.parameters),
            "references": statement.references,
            "cells": statement.cells,
        }
    )


def _json(value: object) -> str:
    return json.dumps(value)
