"""`routes.yml`: read, checked, made into a route tree. Every fault is listed at once, with file and line.

    route:
      receiver: chat                          the root takes everything
      group_by: [tenant, scope]
      routes:
        - matchers: [severity="critical", mode="page"]
          receiver: on_call
          group_wait: 10s
    inhibit_rules:
      - source_matchers: [kind="agent_caused_failure"]
        target_matchers: [kind="feedback_loop"]
        equal: [scope]
    time_intervals:
      - name: nights
        time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}], location: Europe/Berlin}]
    maintenance:
      - {name: move, matchers: [cluster="eu-2"], starts_at: ..., ends_at: ..., author: ops, comment: the racks move}
    heartbeat: {receiver: dead_man}   # the one part that Alertmanager has not

The words are those of alertmanager.yml, so that a tree can be taken from there.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from alerts.durations import Duration
from alerts.routing.matchers import Matcher, parse_matcher
from alerts.routing.mutes import InhibitRule, Reason, Silence
from alerts.routing.times import TimeInterval
from alerts.routing.tree import Route
from alerts.rules import documents
from alerts.rules.documents import Document, Fault, Place
from schemas.errors import UsageError
from schemas.times import MINUTE, parse_time


def _matcher(value: Any) -> Matcher:
    if not isinstance(value, str):
        raise ValueError('write a matcher as text: severity="critical"')
    return parse_matcher(value)


def _moment(value: Any) -> int:
    return parse_time(value)


Matchers = tuple[Annotated[Matcher, BeforeValidator(_matcher)], ...]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Label = Annotated[str, StringConstraints(pattern=r"^([a-zA-Z_][a-zA-Z0-9_]*|\.\.\.)$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class RouteEntry(_Part):
    """A route as it is written: what is absent comes from the parent."""

    receiver: Name | None = None
    matchers: Matchers = ()
    continue_: bool = Field(default=False, alias="continue")
    group_by: tuple[Label, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Annotated[Duration, Field(gt=0)] | None = None
    repeat_interval: Annotated[Duration, Field(gt=0)] | None = None
    mute_time_intervals: tuple[Name, ...] = ()
    active_time_intervals: tuple[Name, ...] = ()
    routes: tuple["RouteEntry", ...] = ()

    def made(self, place: str, parent: Route) -> Route:
        """The route with all that it has from its parent."""

        def own(name: str) -> Any:
            value = getattr(self, name)
            return getattr(parent, name) if value is None else value

        given = ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval")
        route = Route(
            place=place,
            matchers=self.matchers,
            goes_on=self.continue_,
            mute_time_intervals=self.mute_time_intervals,
            active_time_intervals=self.active_time_intervals,
            **{name: own(name) for name in given},
        )
        children = tuple(child.made(f"{place}/{number}", route) for number, child in enumerate(self.routes))
        return Route(**{name: getattr(route, name) for name in Route.__slots__ if name != "routes"}, routes=children)


class InhibitEntry(_Part):
    """One inhibit rule."""

    source_matchers: Annotated[Matchers, Field(min_length=1)]
    target_matchers: Annotated[Matchers, Field(min_length=1)]
    equal: tuple[Label, ...] = ()


class IntervalEntry(_Part):
    """A named time interval."""

    name: Name
    time_intervals: Annotated[tuple[TimeInterval, ...], Field(min_length=1)]


class MaintenanceEntry(_Part):
    """Alerts that begin in it are held; those that still fire at its end are told then."""

    name: Name
    tenant: Name = "*"
    matchers: Annotated[Matchers, Field(min_length=1)]
    starts_at: Annotated[int, BeforeValidator(_moment)]
    ends_at: Annotated[int, BeforeValidator(_moment)]
    author: Name
    comment: Name

    @model_validator(mode="after")
    def _in_order(self) -> "MaintenanceEntry":
        if self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be after starts_at")
        return self


class HeartbeatEntry(_Part):
    """Who hears that we live, and how long a stage may stand still before we no longer say so."""

    receiver: Name
    interval: Annotated[Duration, Field(gt=0)] = MINUTE
    still_after: Annotated[Duration, Field(gt=0)] = 5 * MINUTE  # well above the time between two snapshots


class RoutesFile(_Part):
    """The whole file."""

    route: RouteEntry
    heartbeat: HeartbeatEntry | None = None
    inhibit_rules: tuple[InhibitEntry, ...] = ()
    time_intervals: tuple[IntervalEntry, ...] = ()
    maintenance: tuple[MaintenanceEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Routes:
    """What `routes.yml` says, ready for use."""

    root: Route
    inhibit_rules: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    maintenance: tuple[Silence, ...] = ()
    heartbeat: HeartbeatEntry | None = None


def load_routes(path: Path, receivers: Collection[str] | None = None) -> Routes:
    """The routes of a file. Raises UsageError with every fault.

    `receivers` are the names that are configured; None for a rehearsal, which tells nobody.
    """
    document, faults = documents.read(path)
    if document is not None and not faults:
        try:
            said = RoutesFile.model_validate(document.value if document.value is not None else {})
        except ValidationError as error:
            faults = [document.fault(_place(fault["loc"]), _words(fault)) for fault in error.errors()]
        else:
            faults = list(_faults(said, document, receivers))
            if not faults:
                return _made(said)
    raise UsageError("\n  ".join((f"correct the routes ({len(faults)} faults):", *map(str, faults))))


def _made(said: RoutesFile) -> Routes:
    return Routes(
        root=said.route.made("0", Route("", said.route.receiver or "")),
        heartbeat=said.heartbeat,
        inhibit_rules=tuple(
            InhibitRule(rule.source_matchers, rule.target_matchers, rule.equal) for rule in said.inhibit_rules
        ),
        intervals={entry.name: entry.time_intervals for entry in said.time_intervals},
        maintenance=tuple(
            Silence(
                silence_id=entry.name,
                tenant=entry.tenant,
                matchers=entry.matchers,
                starts_at=entry.starts_at,
                ends_at=entry.ends_at,
                created_by=entry.author,
                comment=entry.comment,
                reason=Reason.MAINTENANCE,
            )
            for entry in said.maintenance
        ),
    )


def _faults(said: RoutesFile, document: Document, receivers: Collection[str] | None) -> Iterator[Fault]:
    names = [entry.name for entry in said.time_intervals]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield document.fault(("time_intervals", number), f"time interval {name} is there twice")
    if said.route.receiver is None:
        yield document.fault(("route",), "the root needs a receiver: it takes what no other route takes")
    for name in ("matchers", "mute_time_intervals", "active_time_intervals"):
        if getattr(said.route, name):
            yield document.fault(("route", name), f"the root takes everything, always: it has no {name}")
    if said.route.continue_:
        yield document.fault(("route", "continue"), "the root has no `continue`: nothing comes after it")
    named = [((*place, "receiver"), entry.receiver) for place, entry in _walk(said.route, ("route",))]
    if said.heartbeat is not None:
        named.append((("heartbeat", "receiver"), said.heartbeat.receiver))
    for place, receiver in named:
        if receivers is not None and receiver is not None and receiver not in receivers:
            known = ", ".join(sorted(receivers)) or "none"
            yield document.fault(place, f"{receiver} is not configured; configured: {known}")
    for place, entry in _walk(said.route, ("route",)):
        for kind in ("mute_time_intervals", "active_time_intervals"):
            for name in getattr(entry, kind):
                if name not in names:
                    yield document.fault((*place, kind), f"there is no time interval {name}")


def _walk(entry: RouteEntry, place: Place) -> Iterator[tuple[Place, RouteEntry]]:
    yield place, entry
    for number, child in enumerate(entry.routes):
        yield from _walk(child, (*place, "routes", number))


def _place(location: tuple[int | str, ...]) -> Place:
    return tuple("continue" if part == "continue_" else part for part in location)


def _words(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{where} is missing; add it"
    if fault["type"] == "extra_forbidden":
        return f"{where}: no such name here"
    return f"{where}: {str(fault['msg']).removeprefix('Value error, ')}"
