"""A case while it is told: one tenant, its cluster, its events. All randomness comes from the case's own generator."""

import random
from dataclasses import dataclass, field
from typing import Any

from schemas.times import MICROS, parse_time
from tests.corpus.names import AGENTS, hexadecimal, word

FIRST_DAY = parse_time("2026-04-06T00:00:00Z")
SPREAD = 2 * 60 * 60
LONGEST_DELAY = 8.0  # seconds from an event to the broker: below the allowed lateness
Event = dict[str, Any]


@dataclass
class Case:
    """Times are seconds after `start`."""

    rng: random.Random
    tenant: str = ""
    start: int = 0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tenant = hexadecimal(self.rng, 12)
        self.start = FIRST_DAY + self.rng.randrange(SPREAD * MICROS)
        self.place = f"{self.rng.choice(('prod-eu', 'prod-us', 'stage', 'site-4'))}/{word(self.rng)}"

    def at(self, seconds: float) -> int:
        """Microseconds of this many seconds after the start."""
        return self.start + round(seconds * MICROS)

    def add(self, seconds: float, **fields: Any) -> Event:
        """An event of this tenant; the broker gets it a little later."""
        delay = self.rng.uniform(0.05, LONGEST_DELAY)
        told = {"tenant": self.tenant, "event_time": self.at(seconds), "ingest_time": self.at(seconds + delay)}
        event = told | {name: value for name, value in fields.items() if value is not None}
        self.events.append(event)
        return event

    def cluster(self, seconds: float, kind: str, resource: str, **fields: Any) -> str:
        """Something that happened to a resource, or a fact about it; returns its id."""
        event_id = hexadecimal(self.rng)
        named = {"type": "cluster_event", "event_id": event_id, "kind": kind, "resource": resource}
        self.add(seconds, **named | fields)
        return event_id

    def metric(self, seconds: float, resource: str, metric: str, value: float) -> None:
        """A point of a series."""
        self.add(seconds, type="metric_point", resource=resource, metric=metric, value=round(value, 4))

    def pod_of(self, owner: str) -> str:
        """A pod's name as Kubernetes gives it."""
        scope, kind, name = owner.rsplit("/", 2)
        if kind == "statefulset":
            return f"{scope}/pod/{name}-{self.rng.randrange(5)}"
        return f"{scope}/pod/{name}-{hexadecimal(self.rng, 9)}-{hexadecimal(self.rng, 5)}"

    def told(self) -> list[Event]:
        """The events in the order the broker got them."""
        return sorted(self.events, key=lambda event: (event["ingest_time"], event["event_time"]))


class Session:
    """One session of one agent."""

    def __init__(self, case: Case, agent: str | None = None) -> None:
        self.case = case
        self.agent = agent or case.rng.choice(AGENTS)
        self.session, self.trace = hexadecimal(case.rng, 20), hexadecimal(case.rng, 32)
        self.context = case.rng.randint(4_000, 20_000)

    def span(self, seconds: float, operation: str, **fields: Any) -> str:
        """A span that ended at `seconds`; returns its id."""
        span = hexadecimal(self.case.rng)
        lasted = fields.pop("lasted", self.case.rng.uniform(0.2, 2.0))
        common = {
            "type": "agent_span",
            "start_time": self.case.at(seconds - lasted),
            "duration_ms": round(lasted * 1000),
            "trace_id": self.trace,
            "span_id": span,
            "session_id": self.session,
            "agent_id": self.agent,
            "operation": operation,
        }
        self.case.add(seconds, **common | fields)
        return span

    def chat(self, seconds: float, **fields: Any) -> str:
        """A model call; the context grows."""
        self.context += self.case.rng.randint(200, 1_500)
        return self.span(seconds, "chat", **{"context_tokens": self.context, "input_tokens": self.context} | fields)

    def read(self, seconds: float, tool: str | None, target: str | None = None, **fields: Any) -> str:
        """A read."""
        named = {"tool_name": tool, "target": target, "access": "read"}
        return self.span(seconds, "execute_tool", **named | fields)
