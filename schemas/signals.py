"""What detect tells correlate: Signal, Action, Fact, Usage, Heard, markers that close a pane, and that it forgot what
was; and the gap record.

One dataclass for each internal record of `signals.v1`; the fields are those of `schemas/avro`, held equal by a test.
Times are microseconds UTC.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One detector saw one thing, with evidence. Wakes nobody."""

    signal_id: str
    type: str
    tenant: str
    window_start: int
    window_end: int
    detected_at: int
    scope: str | None = None
    agent_id: str | None = None
    agent_version: str | None = None
    session_id: str | None = None
    root_session_id: str | None = None
    resource: str | None = None
    score: float = 0.0
    severity: str = "warning"
    summary: str = ""
    evidence: str = "{}"
    rule_version: str = "1"

    @property
    def family(self) -> str:
        """`feedback_loop` of `feedback_loop.exact`."""
        return self.type.split(".", 1)[0]

    @property
    def details(self) -> dict[str, Any]:
        """The evidence as an object."""
        found: dict[str, Any] = orjson.loads(self.evidence)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An agent's tool call with access other than read, and what its session had observed before it."""

    tenant: str
    trace_id: str
    span_id: str
    session_id: str
    agent_id: str
    operation: str
    access: str
    start_time: int
    end_time: int
    status: str
    root_session_id: str | None = None
    agent_version: str | None = None
    task_type: str | None = None
    requested_by: str | None = None
    tool_name: str | None = None
    tool_args: str | None = None
    target: str | None = None
    approval: str | None = None
    approved_by: str | None = None
    summary: str | None = None
    expects: str | None = None
    observed: str = "[]"
    has_lost_reads: bool = False
    context_facts: str = "[]"
    cut_at: int | None = None
    cut_span_id: str | None = None
    last_chat_span_id: str | None = None
    late: bool = False
    topic: str = ""
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something true of a scope for an interval, or a change that was made."""

    tenant: str
    fact_id: str
    kind: str
    resource: str
    event_time: int
    published_time: int
    valid_from: int
    valid_until: int | None = None
    value: str | None = None
    previous_value: str | None = None
    source: str | None = None
    reason: str | None = None
    severity: str = "normal"
    actor: str | None = None
    actor_kind: str | None = None
    session_id: str | None = None
    count: int = 1
    message: str | None = None
    labels: str | None = None
    late: bool = False
    topic: str = ""
    partition: int = -1
    offset: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the agents of a tenant used in one pane, summed over one source partition: one message, many rows.

    `table` is an Arrow IPC stream with the columns of schemas.usage.COLUMNS; reading and writing it: schemas/usage.py.
    """

    tenant: str
    pane: int
    source: str
    rows: int
    table: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Resources of a tenant that sent metrics: each is named once a minute, in the first pane that has a point of it.

    So correlate can tell a resource that is well from one of which nothing is known.
    """

    tenant: str
    pane: int
    resources: str  # JSON list, sorted

    @property
    def names(self) -> list[str]:
        """The resources."""
        found: list[str] = json.loads(self.resources)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A pane of a source is complete, and every pane before it."""

    source: str
    pane: int
    run: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A source is silent since `pane`, the last it had closed. In the log, so that every reader decides the same."""

    source: str
    pane: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """A source begins anew at `pane`, with nothing remembered of what was before: its log begins at `offset` now."""

    source: str
    pane: int
    offset: int


Row = Signal | Action | Fact | Usage | Heard


@dataclass(frozen=True, slots=True)
class Reduced:
    """A row on its way to correlate: from which source, in which pane, written by which run of the task."""

    source: str
    pane: int
    run: str
    row: Row


RECORDS: dict[str, type[Row] | type[Marker] | type[Gap] | type[Forgetting]] = {
    "signal": Signal,
    "action": Action,
    "fact": Fact,
    "usage": Usage,
    "heard": Heard,
    "marker": Marker,
    "gap": Gap,
    "forgetting": Forgetting,
}


Made = TypeVar("Made", bound=Row)


def from_columns(kind: type[Made], columns: Mapping[str, Iterable[Any]], number: int) -> list[Made]:
    """So many rows of one kind, from a column a field. Raises KeyError where one is not there, ValueError where short.

    What a frozen dataclass itself does to make one, a call of `object.__setattr__` a field, takes three times as long.
    """
    made = [object.__new__(kind) for _ in range(number)]
    for field in fields(kind):
        put = getattr(kind, field.name).__set__  # of the slot: there is no other that sets what is frozen
        for row, value in zip(made, columns[field.name], strict=True):
            put(row, value)
    return made


# made once: to make one takes longer than most of what is written with it
AS_GIVEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
IN_ORDER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, sort_keys=True)


def stable_hash(*parts: object) -> str:
    """Sixteen hex digits that depend on the parts alone: the same in every process, run and version of Python."""
    text = AS_GIVEN.encode(parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def compact_json(value: object) -> str:
    """JSON that is the same bytes for the same value: keys sorted, no spaces."""
    return IN_ORDER.encode(value)
