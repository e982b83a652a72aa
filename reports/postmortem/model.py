"""What a postmortem is made of: statements. A statement is a template, its parameters, what it rests on, and its text.

A template is one query that gives no row or one, and a function from that row to words. No row gives the sentence that
says what was not observed. Nothing else may put words into a postmortem, so that every sentence can be asked again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from reports.incident import plain
from reports.lint import leave_out

Row = Mapping[str, Any]
Parameters = Mapping[str, str | int]
COMMON = ("incident_id", "revision", "start", "end", "before")  # the whole document's: said in its head, not each time


class Reader(Protocol):
    """Where postmortems read. May block; raises what its database raises."""

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of one SELECT; values go in as `{name:Type}`."""


@dataclass(frozen=True, slots=True)
class Template:
    """How one kind of sentence is made.

    rests_on: references with the names of parameters in braces; a row may give more precise ones in its column `refs`.
    say: the cells of the sentence (one, or one a column of the section's table).
    missing: the cells where the query gives no row, from the parameters.
    draw: a picture of the row, as SVG on one line.
    """

    name: str
    sql: str
    rests_on: tuple[str, ...]
    say: Callable[[Row], tuple[str, ...]]
    missing: Callable[[Parameters], tuple[str, ...]]
    draw: Callable[[Row], str] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """A template and what to ask it with."""

    template: Template
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence, or one row of a table."""

    template: str
    parameters: Parameters
    references: tuple[str, ...]
    cells: tuple[str, ...]
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section as it was written. columns: the head of its table, none where it is sentences."""

    title: str
    columns: tuple[str, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole postmortem. catalogue: digest of all templates, so that another version's file is known as such."""

    incident_id: str
    revision: int
    catalogue: str
    chapters: tuple[Chapter, ...]
    queries: tuple[tuple[str, str], ...]  # template, SQL; only those that were asked


def state(reader: Reader, ask: Ask) -> Statement:
    """Ask one query and put its answer into words."""
    template = ask.template
    rows = reader.query(template.sql, ask.parameters)
    if len(rows) > 1:
        raise ValueError(f"The query of {template.name} gave {len(rows)} rows; a sentence rests on one.")
    named = tuple(form.format_map(ask.parameters) for form in template.rests_on)
    if not rows:
        return Statement(template.name, ask.parameters, named, _clean(template.missing(ask.parameters)))
    row = rows[0]
    references = tuple(plain(text) for text in (*named, *row.get("refs", ())))
    picture = template.draw(row) if template.draw else ""
    return Statement(template.name, ask.parameters, references, _clean(template.say(row)), picture)


def _clean(cells: Iterable[str]) -> tuple[str, ...]:
    """One line each, without control characters and without what a postmortem may not say, whoever wrote it."""
    return tuple(leave_out(" ".join(plain(cell).split())) for cell in cells)
