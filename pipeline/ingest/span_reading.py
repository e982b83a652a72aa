"""Spans of a message, or of many together -> AgentSpan rows as columns, and what could not be read.

Together is the fast way: spans of one shape are read at once (span_walk.py, span_columns.py). What is out of the
ordinary is read alone (agent_spans.py), and both meet in one table, where each message is completed (whole.py).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.core.limits import Limits
from pipeline.ingest import otlp_protobuf
from pipeline.ingest.agent_spans import agent_span
from pipeline.ingest.span_columns import Filler
from pipeline.ingest.span_table import Columns, SpanTable
from pipeline.ingest.span_walk import shapes
from pipeline.ingest.telemetry import Origin, Telemetry, UnmappableError
from pipeline.ingest.whole import completed

FEWEST_TOGETHER: Final = 24  # spans; fewer are sooner read one by one
FEWEST_ALIKE: Final = 6  # spans of one shape
Bare = Sequence[tuple[Origin, Sequence[bytes]]]  # the spans of one message, undecoded


@dataclass(slots=True)
class SpansRead:
    """One message. rows: how many it has; size: spans that could be decoded; faults: of what is left out."""

    rows: int
    size: int
    faults: list[UnmappableError]


def read_alone(telemetry: Telemetry, limits: Limits, tenant: str) -> Columns:
    """The rows of one message that is decoded already; what cannot be mapped is a fault of it."""
    size = len(telemetry.spans)
    table = SpanTable(size)
    _put(table, range(size), telemetry, limits, tenant)
    return table.rows(completed(table, 0, size))


def read_together(messages: Sequence[Bare], limits: Limits, tenant: str) -> tuple[list[SpansRead | None], Columns]:
    """The rows of these messages, one after the other; None for one in which there is something that is no span."""
    parts = [(origin, spans) for message in messages for origin, spans in message]
    bare = [span for _, spans in parts for span in spans]
    of = np.repeat(np.arange(len(parts)), [len(spans) for _, spans in parts])
    origins = [origin for origin, _ in parts]
    table = SpanTable(len(bare))
    filler = Filler(table, origins, of, limits, tenant)
    groups, left = shapes(bare) if len(bare) >= FEWEST_TOGETHER else ([], list(range(len(bare))))
    for alike in groups:
        left += filler.fill(alike) if alike.rows.size >= FEWEST_ALIKE else alike.rows.tolist()
    left.sort()
    found: list[SpansRead | None] = []
    places: list[int] = []  # of the rows that are left
    end = 0
    for message in messages:
        begin, end = end, end + sum(len(spans) for _, spans in message)
        alone = left[bisect_left(left, begin) : bisect_left(left, end)]
        telemetry = Telemetry()
        try:
            read = [otlp_protobuf.keep_span(telemetry, bare[place], origins[of[place]]) for place in alone]
        except UnmappableError:
            found.append(None)
            continue
        size = end - begin - len(telemetry.faults)
        _put(table, [place for place, is_read in zip(alone, read, strict=True) if is_read], telemetry, limits, tenant)
        rows = completed(table, begin, end)
        places += rows
        found.append(SpansRead(len(rows), size, telemetry.faults))
    return found, table.rows(places)


def _put(table: SpanTable, places: Sequence[int], telemetry: Telemetry, limits: Limits, tenant: str) -> None:
    """The rows of these spans to these places; what cannot be mapped is a fault."""
    for place, span in zip(places, telemetry.spans, strict=True):
        try:
            table.put_row(place, span, agent_span(span, limits, tenant))
        except UnmappableError as error:
            telemetry.faults.append(error)
