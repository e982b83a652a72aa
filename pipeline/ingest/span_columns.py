"""Spans of one shape -> columns of AgentSpan: what agent_spans.py makes of one span, for all of them at once.

What the names and kinds of their attributes say is worked out once a shape and kept. Shapes that are out of the
ordinary are not taken here: agent_spans.py reads those spans one by one, and is what these columns are held against
in the tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from operator import is_
from typing import Any, Final

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from pipeline.core.limits import Limits
from pipeline.ingest import usage
from pipeline.ingest.agent_spans import CALLS, NO_SESSION, TOOLS, first_of, operation_of
from pipeline.ingest.kept import ATTRIBUTES_LENGTH, text_of
from pipeline.ingest.otlp_attributes import KNOWN, remembered
from pipeline.ingest.said import Plan, Said, plan_of
from pipeline.ingest.services import Service, service_of
from pipeline.ingest.span_table import SpanTable
from pipeline.ingest.span_walk import COUNT, EMPTY, NOTHING, OTHER, REAL, TEXT, Alike
from pipeline.ingest.telemetry import ERROR_STATUS, Origin
from pipeline.ingest.tool_calls import (
    HINTS,
    PHASED_SCOPES,
    TOOL_NAMES,
    access_of,
    asked_of,
    hinted,
    stated_access,
    states_any,
)
from pipeline.ingest.values import digest, name_of
from schemas.codecs.packed import Numbers
from schemas.events import NAME_LENGTH
from schemas.times import EARLIEST, LATEST

# attributes that are added to what is kept of a span; one that has such a name is overwritten
ADDED: Final = frozenset(["span_name", "access_from", "context.compacted", "resource", "scope"])
REPEATED: Final = "gen_ai.conversation.compacted"  # kept under a name of ours, too

Column = list[Any]


class _OneByOneError(Exception):
    """These spans are out of the ordinary."""


@dataclass(frozen=True, slots=True)
class ShapePlan:
    """What the names and kinds of a shape say. holders: field -> the attribute that says it, by its place."""

    names: tuple[str, ...]
    plan: Plan
    holders: dict[str, int]
    places: dict[str, int]  # of each name
    kept: tuple[int, ...]  # attributes that are kept as they are
    quoted: tuple[str, ...]  # their names in JSON


@lru_cache(1024)
def shape_plan(names: tuple[bytes, ...], kinds: tuple[int, ...]) -> ShapePlan | None:
    """None where spans of this shape are read one by one."""
    try:
        texts = tuple([name.decode() for name in names])
    except UnicodeDecodeError:
        return None
    places = {name: place for place, name in enumerate(texts)}
    plan = plan_of(texts)
    if len(places) < len(texts) or plan.declares or REPEATED in places or not ADDED.isdisjoint(places):
        return None
    holders = {said: places[name] for name, said in plan.fields if kinds[places[name]] not in (NOTHING, EMPTY)}
    if "tool_name" in holders and kinds[holders["tool_name"]] != TEXT:
        return None
    kept = tuple(place for name, place in places.items() if name not in plan.content)
    return ShapePlan(texts, plan, holders, places, kept, tuple([orjson.dumps(texts[place]).decode() for place in kept]))


@dataclass(slots=True)
class _Part:
    """Spans of one shape that are the same kind of call, and what was read of them."""

    alike: Alike
    plan: ShapePlan
    _read: dict[int, Column] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return int(self.alike.rows.size)

    def at(self, places: list[int]) -> "_Part":
        """Those at these places among them."""
        read = {number: [column[place] for place in places] for number, column in self._read.items()}
        return _Part(self.alike.at(places), self.plan, read)

    def column(self, number: int) -> Column:
        """The values of one attribute. Raises UnicodeDecodeError, DecodeError."""
        found = self._read.get(number)
        if found is None:
            found = self.alike.values(number)
            if self.alike.kinds[number] == OTHER:
                found = [(KNOWN.get(pair) or remembered(pair))[1] for pair in found]
            self._read[number] = found
        return found

    def check(self, name: str) -> None:
        """Raises _OneByOneError where some of them do not say a field that others do: it depends on the value."""
        number = self.plan.holders[name]
        if self.alike.kinds[number] == OTHER and any(value is None or value == "" for value in self.column(number)):
            raise _OneByOneError

    def said(self, name: str) -> Column | None:
        """The values of a field; None where none of them says it."""
        number = self.plan.holders.get(name)
        return None if number is None else self.column(number)

    def named(self, name: str) -> Column | None:
        """The same as names."""
        found = self.said(name)
        if found is None:
            return None
        number = self.plan.holders[name]
        if self.alike.kinds[number] == TEXT and self.alike.longest(number) <= NAME_LENGTH:
            return found
        return [name_of(value) for value in found]

    def each(self, what: Callable[[Any], Any], name: str) -> Column | None:
        """Something of each value of a field."""
        found = self.said(name)
        return None if found is None else [what(value) for value in found]


class Filler:
    """Puts spans into a table. origins, and which of them each place of the table has."""

    def __init__(
        self, table: SpanTable, origins: Sequence[Origin], of: Numbers, limits: Limits, default_tenant: str
    ) -> None:
        self._table = table
        self._services = [service_of(origin, default_tenant) for origin in origins]
        self._origins = origins
        self._of = of
        self._senders = [service.name for service in self._services]
        self._scopes = [name_of(origin.scope) or "unknown" for origin in origins]
        self._limits = limits
        plain = [not service.declares and origin.scope not in PHASED_SCOPES
                 for service, origin in zip(self._services, origins, strict=True)]  # fmt: skip
        self._is_plain = np.array(plain, dtype=bool)

    def fill(self, alike: Alike) -> list[int]:
        """The rows of these spans; returns the places of those that have to be read one by one."""
        left: list[int] = []
        plan = shape_plan(alike.names, alike.kinds)
        if plan is None:
            return alike.rows.tolist()  # type: ignore[no-any-return]
        start, end = alike.times()
        good = self._is_plain[self._of[alike.rows]] & (start >= EARLIEST) & (end < LATEST)
        if not good.all():
            left = alike.rows[~good].tolist()
            if not good.any():
                return left
            alike = alike.at(np.flatnonzero(good))
        try:
            self._fill(_Part(alike, plan))
        except (UnicodeDecodeError, DecodeError, _OneByOneError):
            return left + alike.rows.tolist()  # type: ignore[no-any-return]
        return left

    def _fill(self, part: _Part) -> None:
        filled = [self._columns(one, operation) for operation, one in _by_operation(part)]
        for places, columns, parents in filled:  # only now: none of them raised
            self._table.put_family(places, columns.pop("trace_id"), columns.pop("span_id"), parents)
            for name, column in columns.items():
                self._table.put(name, places, column)

    def _columns(self, part: _Part, operation: str | None) -> tuple[list[int], dict[str, Column], Column]:
        alike = part.alike
        places: list[int] = alike.rows.tolist()
        parents: Column = list(alike.parents())
        traces = alike.trace_ids()
        columns: dict[str, Column] = {"trace_id": traces, "span_id": alike.span_ids()}
        if operation is None:
            return places, columns, parents
        origins = self._of[alike.rows].tolist()
        services = [self._services[origin] for origin in origins]
        start, end = alike.times()
        agents = part.named("agent")
        columns |= {
            "event_time": end.tolist(),
            "start_time": start.tolist(),
            "duration_ms": ((end - start) // 1000).tolist(),
            "tenant": [service.tenant for service in services],
            "parent_span_id": parents,
            "session_id": _sessions(part, traces),
            "agent_id": self._agent_ids(part, agents, origins),
            "agent_version": [service.version for service in services],
            "operation": [operation] * part.size,
        }
        if agents is not None:
            columns["agent_name"] = agents
        if (versions := part.named("agent_version")) is not None:
            columns["agent_version"] = _first(versions, columns["agent_version"])
        for name in ("task_type", "requested_by", "prompt_version"):
            if (column := part.named(name)) is not None:
                columns[name] = column
        _errors(part, columns)
        if (results := part.each(digest, "result")) is not None:
            columns["result_digest"] = results
        if operation in CALLS:
            _model_calls(part, columns)
        access_from = self._tool_calls(part, columns, origins) if operation in TOOLS else None
        columns["attributes"] = _attributes(part, services, access_from)
        return places, columns, parents

    def _agent_ids(self, part: _Part, agents: Column | None, origins: list[int]) -> Column:
        none: Column = [None] * part.size
        named = zip(agents or none, part.named("agent_id") or none, origins, strict=True)
        return [agent or self._senders[origin] or id_ or self._scopes[origin] for agent, id_, origin in named]

    def _tool_calls(self, part: _Part, columns: dict[str, Column], origins: list[int]) -> Column:
        tools = columns["tool_name"] = _tools(part)
        arguments = part.said("tool_args")
        resources = [self._origins[origin].resource for origin in origins]
        asked = [
            asked_of(tool, value, resource)
            for tool, value, resource in zip(tools, arguments or [None] * part.size, resources, strict=True)
        ]
        digests, texts, targets, commands = zip(*asked, strict=True)
        columns |= {"args_digest": list(digests), "tool_args": list(texts), "target": list(targets)}
        stated: Column = [None] * part.size
        if states_any(self._limits):
            call = ("start_time", "tenant", "agent_id", "tool_name", "target", "agent_version")
            stated = [
                stated_access(self._limits, *said) for said in zip(*(columns[name] for name in call), strict=True)
            ]
        given = zip(stated, _hints(part), columns["operation"], tools, commands, strict=True)
        found = [access_of(*one) for one in given]
        columns["access"] = [access for access, _ in found]
        return [where for _, where in found]


def _by_operation(part: _Part) -> list[tuple[str | None, _Part]]:
    """The spans by what kind of call they are: it may hang on the values of some attributes."""
    plan, kinds = part.plan, part.plan.plan.kinds
    for name in plan.holders:
        part.check(name)
    # what an agent's name says, and what the kind of a call hangs on; of others it is asked only whether they are there
    deciding = {name: part.column(plan.places[name]) for name, _ in kinds}
    said = Said(dict.fromkeys(plan.holders), plan.plan)
    others = dict.fromkeys(plan.names)
    first = {name: column[0] for name, column in deciding.items()}
    if all(part.alike.is_same[plan.places[name]] for name in deciding):
        return [(operation_of(others | first, said), part)]
    combinations = list(zip(*map(_texts, deciding.values()), strict=True))
    operations = {
        values: operation_of(others | dict(zip(deciding, values, strict=True)), said) for values in set(combinations)
    }
    groups: dict[str | None, list[int]] = {}
    for place, values in enumerate(combinations):
        groups.setdefault(operations[values], []).append(place)
    if len(groups) == 1:
        return [(operations[combinations[0]], part)]
    return [(operation, part.at(places)) for operation, places in groups.items()]


def _texts(column: Column) -> Column:
    """Only text says what kind of call a span is."""
    return [value if type(value) is str else None for value in column]


def _first(columns: Column, others: Column) -> Column:
    return [value or other for value, other in zip(columns, others, strict=True)]


def _sessions(part: _Part, traces: Column) -> Column:
    found = part.named("session")
    if found is None:
        return traces
    return [
        session if session and not session.startswith(NO_SESSION) else trace
        for session, trace in zip(found, traces, strict=True)
    ]


def _errors(part: _Part, columns: dict[str, Column]) -> None:
    codes = part.alike.statuses()
    kinds = part.said("error_type")
    if kinds is None and not (codes == ERROR_STATUS).any():
        return
    messages = part.alike.messages()
    is_error = [kinds is not None or code == ERROR_STATUS for code in codes.tolist()]
    columns["status"] = ["error" if wrong else "ok" for wrong in is_error]
    columns["error_type"] = [
        (name_of(kind or None) or name_of(message) or "error") if wrong else None
        for wrong, kind, message in zip(is_error, kinds or [None] * part.size, messages, strict=True)
    ]


def _model_calls(part: _Part, columns: dict[str, Column]) -> None:
    for name in ("provider", "model"):
        if (column := part.named(name)) is not None:
            columns[name] = column
    columns |= _counts(part)
    columns["context_tokens"] = [count or None for count in columns["input_tokens"]]
    if (reasons := part.said("finish_reason")) is not None:
        columns["finish_reason"] = _each_once(lambda value: name_of(first_of(value)), reasons)
    if (prompts := part.each(digest, "system_prompt")) is not None:
        columns["prompt_digest"] = prompts


def _counts(part: _Part) -> dict[str, Column]:
    holders = part.plan.holders
    if "input_tokens" in holders or "output_tokens" in holders:
        read = {name: part.each(usage.count, name) or [0] * part.size for name in usage.COUNTED}
        if holders.keys().isdisjoint(usage.PARTS):  # then nothing has to be added to the wholes
            return {name: read[name] for name in usage.FIELDS}
        found = zip(*[usage.settled(*counts) for counts in zip(*read.values(), strict=True)], strict=True)
        return {name: list(column) for name, column in zip(usage.FIELDS, found, strict=True)}
    names = [name for name in (*usage.COUNTED, "usage", "result") if name in holders]
    if not names:
        return {name: [0] * part.size for name in usage.FIELDS}
    each = [
        usage.counts(dict(zip(names, values, strict=True)))
        for values in zip(*(part.said(name) or () for name in names), strict=True)
    ]
    return {name: [counts[name] for counts in each] for name in usage.FIELDS}


def _each_once(what: Callable[[Any], Any], column: Column) -> Column:
    """Something of each value, worked out once for equal ones where they can be told apart."""
    if not all(type(value) is str for value in column):
        return [what(value) for value in column]
    found = {value: what(value) for value in set(column)}
    return [found[value] for value in column]


def _tools(part: _Part) -> Column:
    names = part.named("tool_name")
    if names is not None:
        return names
    first, second = (
        part.column(part.plan.places[name]) if name in part.plan.places else [None] * part.size for name in TOOL_NAMES
    )
    spans = part.alike.span_names()
    return [
        name_of(value or other) or name_of(span) or "?" for value, other, span in zip(first, second, spans, strict=True)
    ]


def _hints(part: _Part) -> Column:
    none: Column = [None] * part.size
    columns = [part.column(part.plan.places[name]) if name in part.plan.places else none for name in HINTS]
    types = part.said("tool_type")
    if types is None and columns == [none, none]:
        return none
    return [hinted(*values) for values in zip(*columns, types or none, strict=True)]


def _attributes(part: _Part, services: list[Service], access_from: Column | None) -> Column:
    """The JSON that is kept: what is the same in all is written once, and the values that differ put into it."""
    plan, kinds = part.plan, part.alike.kinds
    names = part.alike.span_names()
    written = _Template()
    for number, name in zip(plan.kept, plan.quoted, strict=True):
        written.add(name, part.column(number), kinds[number], part.alike.is_same[number])
    written.add('"span_name"', names, TEXT, all(map(is_, names, repeat(names[0]))))
    if access_from is not None:
        written.add('"access_from"', access_from, TEXT, False)
    found = written.filled([service.end for service in services])
    if len(max(found, key=len)) > ATTRIBUTES_LENGTH:
        for place, text in enumerate(found):
            if len(text) > ATTRIBUTES_LENGTH:
                kept = {plan.names[number]: part.column(number)[place] for number in plan.kept}
                kept["span_name"] = names[place]
                if access_from is not None:
                    kept["access_from"] = access_from[place]
                kept["resource"], kept["scope"] = services[place].json, services[place].scope
                found[place] = text_of(kept)
    return found


class _Template:
    """JSON objects that have the same names."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._columns: list[Column] = []

    def add(self, name: str, column: Column, kind: int, is_same: bool) -> None:
        """One more attribute of each."""
        value = _as_json(column[:1] if is_same else column, kind)
        quote = '"' if kind == TEXT else ""
        if is_same:
            self._parts.append(f"{name}:{quote}{value[0]}{quote}".replace("%", "%%"))
        else:
            self._parts.append(f"{name.replace('%', '%%')}:{quote}%s{quote}")
            self._columns.append(value)

    def filled(self, ends: list[str]) -> list[str]:
        """Each of them, with its end."""
        template = "{" + ",".join(self._parts) + "%s"
        return [template % values for values in zip(*self._columns, ends, strict=True)]


def _as_json(column: Column, kind: int) -> Column:
    """Each value as JSON; text without its quotes."""
    if kind == TEXT:
        whole = "".join(column)
        if len(orjson.dumps(whole)) == len(whole.encode()) + 2:  # nothing in it has to be escaped
            return column
        return [orjson.dumps(value).decode()[1:-1] for value in column]
    if kind == COUNT:
        return column
    if kind == REAL:
        return orjson.dumps(column)[1:-1].decode().split(",")
    return [orjson.dumps(value).decode() for value in column]
