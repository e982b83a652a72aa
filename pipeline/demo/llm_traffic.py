"""Calls to production LLM services as spans: one `chat` each, known by its moment and its token counts only.

A series is the traffic of a whole service. It is given as one agent with one session, so nothing can be said
about loops; it is there for rates and token burn, where it must stay quiet.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline.demo.recorder import Event
from schemas.times import MICROS

TENANT = "llm-traffic"
PROVIDERS = {"code": "azure", "conv": "azure", "kimi": "moonshot"}
TICK = 3 * MICROS  # the times of `kimi` were rounded to this when they were recorded


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a series: its row in the publisher's file, when it began, and its sizes."""

    series: str
    row: int
    start_time: int
    input_tokens: int
    output_tokens: int
    args_digest: str | None = None


def spread(calls: Iterable[Call]) -> Iterator[Call]:
    """Calls that were recorded at one and the same tick, spread evenly over its three seconds, order kept."""
    ticks: dict[int, list[Call]] = {}
    for call in calls:
        ticks.setdefault(call.start_time, []).append(call)
    for moment, together in ticks.items():
        for place, call in enumerate(together):
            yield replace(call, start_time=moment + TICK * place // len(together))


def span(call: Call, *, shift: int = 0) -> Event:
    """A call as an event, its time moved by `shift`. Its end is not known: it ends when it begins."""
    moment = call.start_time + shift
    event: Event = {
        "type": "agent_span",
        "event_time": moment,
        "start_time": moment,
        "duration_ms": 0,
        "tenant": TENANT,
        "trace_id": f"{call.series}-{call.row}",
        "span_id": f"{call.series}-{call.row}",
        "session_id": call.series,
        "root_session_id": call.series,
        "agent_id": call.series,
        "operation": "chat",
        "provider": PROVIDERS[call.series],
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "attempt": 1,
        "status": "ok",
    }
    return event if call.args_digest is None else event | {"args_digest": call.args_digest}
