"""The document as one HTML page: no script, nothing loaded from elsewhere, data attributes carry the sources.

The page's policy allows its own style and nothing else, by its hash; whatever comes from data is escaped.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape

from reports.postmortem.model import COMMON, Chapter, Document, Statement

HEAD = re.compile(
    r'^<main data-incident="(?P<incident_id>[0-9a-f]{1,64})" data-revision="(?P<revision>\d{1,19})" data-catalogue="(?P<catalogue>\w+)">$',
    re.MULTILINE,
)
CLAIM = re.compile(r'^<(?:li|tr|figure) data-template="([\w.]+)"')
STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6470; --line: #d9dde3; --page: #fff; --band: #f6dcd5;
  --a: #2f6db3; --b: #b3402f; --c: #7a5ab5; --d: #2e7d5b; --e: #a06a12; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa3af; --line: #3a4049; --page: #16181b;
  --band: #4a2620; --a: #6ea8e8; --b: #f08a78; --c: #b79cf0; --d: #6cc79c; --e: #e0ad55; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 52rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
h3 { font: 600 .85rem ui-monospace, monospace; margin: 1.2rem 0 .2rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; } th:nth-child(2) { min-width: 6rem; }
figure { margin: 1rem 0 1.6rem; } svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; }
.bar { fill: var(--a); } .band { fill: var(--band); } .median { stroke: var(--ink); stroke-dasharray: 4 3; }
.lane, .tick { stroke: var(--line); } .detected { stroke: var(--ink); stroke-dasharray: 2 3; }
.fact { fill: var(--c); } .action { fill: var(--b); } .change { fill: var(--e); } .signal { fill: var(--d); } .symptom { fill: var(--a); }
details.source { color: var(--soft); font-size: .8rem; display: inline; } details.source summary { display: inline; cursor: pointer; }
details.source[open] { display: block; } details.source code { overflow-wrap: anywhere; }
pre { overflow-x: auto; font-size: .8rem; border-left: 3px solid var(--line); padding-left: .75rem; }
@media print { details.source { display: none; } }
"""
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)


def render(document: Document) -> str:
    """The whole page."""
    name = escape(document.incident_id)
    data = f'data-incident="{name}" data-revision="{document.revision}" data-catalogue="{document.catalogue}"'
    about = f"Incident {name}, revision {document.revision}."
    return page("Postmortem", document.incident_id, data, about, document.chapters, document.queries)


def page(
    title: str, of: str, data: str, about: str, chapters: Sequence[Chapter], queries: Sequence[tuple[str, str]]
) -> str:
    """Any document of statements. data and about: attributes and text, escaped."""
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title} {escape(of)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        f"<main {data}>",
        f"<h1>{title}</h1>",
        f'<p class="soft">{about} Each sentence comes from one '
        "query; “source” opens its template, parameters and references. “Not observed” means that nothing in the log shows "
        "it.</p>",
    ]
    for chapter in chapters:
        lines += [f"<h2>{escape(chapter.title)}</h2>", *_chapter(chapter)]
    lines.append("<h2>Queries</h2>")
    for name, sql in queries:
        lines += [f"<h3>{escape(name)}</h3>", f"<pre>{escape(sql)}</pre>"]
    return "\n".join([*lines, "</main>", "</body>", "</html>", ""])


def claims(lines: list[str]) -> Mapping[int, str]:
    """The lines that carry a template in their data attributes."""
    return {number: match[1] for number, line in enumerate(lines) if (match := CLAIM.match(line))}


def _chapter(chapter: Chapter) -> list[str]:
    if any(statement.picture for statement in chapter.statements):
        return [_figure(statement) for statement in chapter.statements]
    if not chapter.columns:
        return [
            "<ul>",
            *(f"<li{_data(each)}>{escape(each.cells[0])}{_source(each)}</li>" for each in chapter.statements),
            "</ul>",
        ]
    head = "".join(f"<th>{escape(name)}</th>" for name in chapter.columns)
    return [
        "<table>",
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *map(_row, chapter.statements),
        "</tbody>",
        "</table>",
    ]


def _row(statement: Statement) -> str:
    *cells, last = (escape(cell) for cell in statement.cells)
    return (
        f"<tr{_data(statement)}>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{last}{_source(statement)}</td></tr>"
    )


def _figure(statement: Statement) -> str:
    caption = f"<figcaption>{escape(statement.cells[0])}{_source(statement)}</figcaption>"
    return f"<figure{_data(statement)}>{statement.picture}{caption}</figure>"


def _data(statement: Statement) -> str:
    parameters = escape(json.dumps(dict(statement.parameters)))
    references = escape(json.dumps(statement.references))
    return f' data-template="{statement.template}" data-parameters="{parameters}" data-references="{references}"'


def _source(statement: Statement) -> str:
    given = json.dumps({name: value for name, value in statement.parameters.items() if name not in COMMON})
    rests = escape("; ".join(statement.references) or "nothing")
    return (
        f' <details class="source"><summary>source</summary> <code>{statement.template} {escape(given)}</code> — '
        f"{rests}</details>"
    )
