"""What a span does not say itself and those that came with it in one message do. Pure: the same message, the same rows.

- An agent's name stands on the span of its run, not on the calls below: they take it from the nearest run above them.
- A session is often named by some spans of a trace only: where they agree the others follow.
- A model call that holds a model call is a wrapper (a framework's span round the client library's): tokens are those
  of the innermost, and the wrapper becomes a run. Runs and tools have no tokens in the first place (agent_spans.py).
- A tool call that holds a call of the same tool is one call seen twice, from both ends of MCP say: the outer one stays.

Parents end after their children, so of a long run they come in a later message. Then a call keeps the service as its
agent and the trace as its session; name both on every span (a span processor does it) where that matters.
"""

from collections.abc import Iterator
from typing import Final

from pipeline.ingest.span_table import SpanTable

TOKENS: Final = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
FROM_INNER: Final = ("tool_args", "args_digest", "result_digest", "target")


def completed(table: SpanTable, begin: int, end: int) -> list[int]:
    """Completes the rows of one message, which are those from `begin` to before `end`; returns the places of those that
    are left, in the order of the spans.
    """
    family = _Family(table, begin, end)
    if any(table.columns["parent_span_id"][begin:end]):
        _name_agents(family)
        _unwrap_model_calls(family)
        _join_tool_calls(family)
    _agree_on_sessions(family)
    return family.present


class _Family:
    """All spans of a message, and who is above whom. Of spans that have one id, the last counts, where the first was.

    up: the place of the span above. present: the places of rows.
    """

    def __init__(self, table: SpanTable, begin: int, end: int) -> None:
        self.columns = table.columns
        self.traces = self.columns["trace_id"]
        parents = table.parents
        spans = [place for place in range(begin, end) if table.is_read[place]]
        ids = [(self.traces[place], self.columns["span_id"][place]) for place in spans]
        known = dict(zip(ids, spans, strict=True))
        self.up: dict[int, int | None] = {}
        for (trace, span), place in zip(ids, spans, strict=True):
            if parent := parents[place]:
                self.up[known[trace, span]] = known.get((trace, parent))
        operations = self.columns["operation"]
        self.present = [place for place in known.values() if operations[place] is not None]

    def above(self, place: int, seen: set[int]) -> Iterator[int]:
        """Those above a span, the nearest first; stops at one that was seen already, and sees them all."""
        at = self.up.get(place)
        while at is not None and at not in seen:
            seen.add(at)
            yield at
            at = self.up.get(at)


def _name_agents(family: _Family) -> None:
    ids, names = family.columns["agent_id"], family.columns["agent_name"]
    known: dict[int, int | None] = {}  # place -> the run it belongs to: what was walked once is not walked again
    for place in family.present:
        if names[place] is not None:
            continue
        run = family.up.get(place)
        if run is None:
            continue
        if names[run] is None:  # most stand right below a run
            run = _run_above(family, place, known)
        if run is not None:
            ids[place], names[place] = ids[run], names[run]


def _run_above(family: _Family, place: int, known: dict[int, int | None]) -> int | None:
    """The nearest above that has an agent's name."""
    names = family.columns["agent_name"]
    way = [place]
    run: int | None = None
    for upper in family.above(place, set()):
        if upper in known:
            run = known[upper]
            break
        if names[upper] is not None:
            run = upper
            break
        way.append(upper)
    known.update(dict.fromkeys(way, run))
    return run


def _unwrap_model_calls(family: _Family) -> None:
    columns = family.columns
    operations, read, written = columns["operation"], columns["input_tokens"], columns["output_tokens"]
    seen: set[int] = set()
    for place in family.present:
        if operations[place] == "chat" and (read[place] or written[place]):
            for upper in family.above(place, seen):
                if operations[upper] == "chat":
                    operations[upper] = "invoke_agent"
                    columns["context_tokens"][upper] = None
                    for field in TOKENS:
                        columns[field][upper] = 0


def _join_tool_calls(family: _Family) -> None:
    operations, tools = family.columns["operation"], family.columns["tool_name"]
    inner = set()
    for place in family.present:
        upper = family.up.get(place) if operations[place] == "execute_tool" else None
        if upper is None or upper == place or operations[upper] != "execute_tool" or tools[upper] != tools[place]:
            continue
        for field in FROM_INNER:
            column = family.columns[field]
            if column[upper] is None:
                column[upper] = column[place]
        inner.add(place)
    if inner:
        family.present = [place for place in family.present if place not in inner]


def _agree_on_sessions(family: _Family) -> None:
    sessions, traces = family.columns["session_id"], family.traces
    found = {(traces[place], sessions[place]) for place in family.present}
    named: dict[str, set[str]] = {}
    for trace_id, session in found:
        if session != trace_id:
            named.setdefault(trace_id, set()).add(session)
    agreed = {trace_id: ids.pop() for trace_id, ids in named.items() if len(ids) == 1 and (trace_id, trace_id) in found}
    if agreed:
        for place in family.present:
            sessions[place] = agreed.get(traces[place], sessions[place])
