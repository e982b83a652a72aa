"""What a span does not say itself and those that came with it in one message do. Pure: the same message, the same rows.

- An agent's name stands on the span of its run, not on the calls below: they take it from the nearest run above them.
- A session is often named by some spans of a trace only: where they agree the others follow.
- A model call that holds a model call is a wrapper (a framework's span round the client library's): tokens are those
  of the innermost, and the wrapper becomes a run. Runs and tools have no tokens in the first place (agent_spans.py).
- A tool call that holds a call of the same tool is one call seen twice, from both ends of MCP say: the outer one stays.

Parents end after their children, so of a long run they come in a later message. Then a call keeps the service as its
agent and the trace as its session; name both on every span (a span processor does it) where that matters.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.ingest.telemetry import Span

Row = dict[str, Any]
Place = tuple[str, str]  # trace, span

TOKENS: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
FROM_INNER: Final = ("tool_args", "args_digest", "result_digest", "target")


def completed(spans: Sequence[Span], rows: Sequence[Row | None]) -> list[Row]:
    """The rows that are left, completed, in the order of the spans; `rows` has one entry for each span."""
    family = _Family(spans, rows)
    if any(row is not None and row["parent_span_id"] for row in rows):
        _name_agents(family)
        _unwrap_model_calls(family)
        _join_tool_calls(family)
    _agree_on_sessions(family)
    return [row for row in family.rows.values() if row is not None]


class _Family:
    """All spans of a message by their place, and who is above whom."""

    def __init__(self, spans: Sequence[Span], rows: Sequence[Row | None]) -> None:
        self.rows: dict[Place, Row | None] = {}
        self.parents: dict[Place, Place] = {}
        for span, row in zip(spans, rows, strict=True):
            place = (span.trace_id, span.span_id)
            self.rows[place] = row
            if span.parent_span_id:
                self.parents[place] = (span.trace_id, span.parent_span_id)

    def above(self, place: Place, seen: set[Place]) -> Iterator[tuple[Place, Row | None]]:
        """Those above a span, the nearest first; stops at one that was seen already, and sees them all."""
        at = self.parents.get(place)
        while at is not None and at in self.rows and at not in seen:
            seen.add(at)
            yield at, self.rows[at]
            at = self.parents.get(at)

    def present(self) -> list[tuple[Place, Row]]:
        """Those that are left, with their places."""
        return [(place, row) for place, row in self.rows.items() if row is not None]


def _name_agents(family: _Family) -> None:
    known: dict[Place, Row | None] = {}  # place -> the run it belongs to: what was walked once is not walked again
    for place, row in family.present():
        if row["agent_name"] is not None:
            continue
        way: list[Place] = [place]
        run: Row | None = None
        for at, upper in family.above(place, set()):
            if at in known:
                run = known[at]
                break
            if upper is not None and upper["agent_name"] is not None:
                run = upper
                break
            way.append(at)
        known.update(dict.fromkeys(way, run))
        if run is not None:
            row["agent_id"], row["agent_name"] = run["agent_id"], run["agent_name"]


def _unwrap_model_calls(family: _Family) -> None:
    seen: set[Place] = set()
    for place, row in family.present():
        if row["operation"] == "chat" and (row["input_tokens"] or row["output_tokens"]):
            for _, upper in family.above(place, seen):
                if upper is not None and upper["operation"] == "chat":
                    upper.update(dict.fromkeys(TOKENS, 0), operation="invoke_agent", context_tokens=None)


def _join_tool_calls(family: _Family) -> None:
    before = dict(family.rows)
    for place, row in family.present():
        parent = before.get(family.parents.get(place, place)) if row["operation"] == "execute_tool" else None
        if parent is None or parent is row or parent["operation"] != "execute_tool":
            continue
        if parent["tool_name"] == row["tool_name"]:
            parent.update({field: row.get(field) for field in FROM_INNER if parent.get(field) is None})
            family.rows[place] = None


def _agree_on_sessions(family: _Family) -> None:
    named: dict[str, set[str]] = {}
    for (trace_id, _), row in family.present():
        if row["session_id"] != trace_id:
            named.setdefault(trace_id, set()).add(row["session_id"])
    agreed: Mapping[str, str] = {trace_id: ids.copy().pop() for trace_id, ids in named.items() if len(ids) == 1}
    if agreed:
        for (trace_id, _), row in family.present():
            row["session_id"] = agreed.get(trace_id, row["session_id"])
