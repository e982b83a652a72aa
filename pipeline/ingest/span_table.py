"""AgentSpan rows of many messages as columns, with what the spans' families are told by (whole.py)."""

from collections.abc import Sequence
from typing import Any, Final

from pipeline.ingest.telemetry import Span
from schemas import registry

Columns = dict[str, list[Any]]  # field of AgentSpan -> its values, one a row

Row = dict[str, Any]

# every field of a row, so that its values can become columns as they stand
DEFAULTS: Final[Row] = {field.name: field.default for field in registry.newest("agent_span").fields}


class SpanTable:
    """One place a span, in the order in which they came.

    columns: of a span that is no agent's doing, or could not be read, `operation` is None, and no row comes of it.
    parents: the spans above them, by id. is_read: whether a place holds a span at all.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.columns: Columns = {field: [default] * size for field, default in DEFAULTS.items()}
        self.parents: list[str | None] = [None] * size
        self.is_read = [False] * size

    def put(self, field: str, places: Sequence[int], values: list[Any]) -> None:
        """Values of one field at these places."""
        scatter(self.columns[field], places, values)

    def put_row(self, place: int, span: Span, row: Row | None) -> None:
        """A span that was read alone; no row where it is no agent's doing."""
        self.parents[place] = span.parent_span_id
        self.is_read[place] = True
        for field, value in (row or {"trace_id": span.trace_id, "span_id": span.span_id}).items():
            self.columns[field][place] = value

    def put_family(
        self, places: Sequence[int], traces: list[str], spans: list[str], parents: Sequence[str | None]
    ) -> None:
        """Who they are and who is above them; from here on these spans are read."""
        self.put("trace_id", places, traces)
        self.put("span_id", places, spans)
        scatter(self.parents, places, parents)
        scatter(self.is_read, places, [True] * len(places))

    def rows(self, places: list[int]) -> Columns:
        """The rows at these places, in their order."""
        if len(places) == self.size:
            return self.columns
        return {field: [values[place] for place in places] for field, values in self.columns.items()}


def scatter(column: list[Any], places: Sequence[int], values: Sequence[Any]) -> None:
    """Each value to its place."""
    for place, value in zip(places, values, strict=True):
        column[place] = value


def rows_of(columns: Columns) -> list[Row]:
    """Columns as rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
