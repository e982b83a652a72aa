"""The document as Markdown: a footnote carries the source of each sentence, an appendix carries each query once.

Whatever comes from data is escaped, so that a name can be no heading, link, table or markup.
"""

import json
import re
from collections.abc import Mapping, Sequence

from reports.postmortem.model import COMMON, Chapter, Document, Statement

HEAD = re.compile(
    r"^Incident `(?P<incident_id>[0-9a-f]{1,64})`, revision (?P<revision>\d{1,19}), catalogue (?P<catalogue>\w+)\.$",
    re.MULTILINE,
)
SPECIAL = re.compile(r"[\\`*\[\]<>|#~&!]|(?<![^\W_])_|_(?![^\W_])")
LINKS = re.compile(r"(?i)(://|www\.)")
MARKS = re.compile(r"^([-+=]|\d+(?=[.)]))")
CLAIM = re.compile(r"\[\^(\d+)\](?: \|)?$")
SOURCE = re.compile(r"^\[\^(\d+)\]: `([\w.]+)`")


def render(document: Document) -> str:
    """The whole page."""
    head = f"Incident `{document.incident_id}`, revision {document.revision}, catalogue {document.catalogue}."
    given = "Every query has the parameters `incident_id` and `revision` of the head."
    return page("Postmortem", head, given, document.chapters, document.queries)


def page(title: str, head: str, given: str, chapters: Sequence[Chapter], queries: Sequence[tuple[str, str]]) -> str:
    """Any document of statements. given: what its head says of the parameters of all queries."""
    lines = [
        f"# {title}",
        "",
        head,
        "",
        "Each sentence comes from one query. Its note names the template, its parameters and what it rests on.",
        "“Not observed” means that nothing in the log shows it.",
    ]
    sources: list[Statement] = []
    for chapter in chapters:
        lines += ["", f"## {chapter.title}", "", *_chapter(chapter, len(sources))]
        sources += chapter.statements
    lines += ["", "## Sources", ""]
    lines += [_source(number, statement) for number, statement in enumerate(sources, 1)]
    lines += ["", "## Queries", "", given]
    for name, sql in queries:
        lines += ["", f"### {name}", "", "```sql", sql, "```"]
    return "\n".join([*lines, ""])


def claims(lines: list[str]) -> Mapping[int, str]:
    """The lines that end with a note, and the template the note names."""
    sources = {match[1]: match[2] for line in lines if (match := SOURCE.match(line))}
    return {
        number: sources[match[1]]
        for number, line in enumerate(lines)
        if (match := CLAIM.search(line)) and match[1] in sources
    }


def _chapter(chapter: Chapter, before: int) -> list[str]:
    numbered = list(enumerate(chapter.statements, before + 1))
    if not chapter.columns:
        return [f"- {escaped(statement.cells[0])}[^{number}]" for number, statement in numbered]
    head = [f"| {' | '.join(chapter.columns)} |", f"|{'---|' * len(chapter.columns)}"]
    rows = [f"| {' | '.join(map(escaped, statement.cells))} [^{number}] |" for number, statement in numbered]
    return head + rows


def _source(number: int, statement: Statement) -> str:
    more = {name: value for name, value in statement.parameters.items() if name not in COMMON}
    given = f" with `{json.dumps(more).replace('`', chr(92) + 'u0060')}`" if more else ""
    rests = "; ".join(map(escaped, statement.references))
    return f"[^{number}]: `{statement.template}`{given} — {rests or 'nothing'}"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    found = SPECIAL.sub(lambda match: f"\\{match[0]}", text)
    found = LINKS.sub(lambda match: match[0].replace("/", "\\/", 1).replace(".", "\\."), found)
    return MARKS.sub(lambda match: f"\\{match[0]}" if match[0] in "-+=" else f"{match[0]}\\", found)
