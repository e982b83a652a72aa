"""Writes the story down: every event as a JSON-able object, with the moment the broker would have had it.

Each part of the story owns a recorder and with it its own stream of pseudo-random numbers, so that a part can
be left out or added without moving a single digit of the others. That is what makes the story's variants
comparable.
"""

import random
from typing import Any

from schemas.signals import compact_json, stable_hash
from schemas.times import MICROS

TENANT = "acme"
LEAST_DELAY = 50_000  # microseconds from event to broker: 0.05 s
MOST_DELAY = 3 * MICROS

Event = dict[str, Any]


def randomness(seed: int, part: str) -> random.Random:
    """The pseudo-random numbers of one part of the story: the same in every process."""
    return random.Random(f"{seed}/{part}")  # noqa: S311  a story, not a secret


def delay(rng: random.Random) -> int:
    """How long an event takes to the broker, in microseconds."""
    return rng.randint(LEAST_DELAY, MOST_DELAY)


def in_ingest_order(events: list[Event]) -> list[Event]:
    """Sorted as the broker got them; equal moments keep the order they were told in."""
    return sorted(events, key=lambda event: (event["ingest_time"], event["event_time"]))


class Recorder:
    """The events of one part of the story, in the order they were told."""

    def __init__(self, seed: int, part: str) -> None:
        self.rng = randomness(seed, part)
        self.events: list[Event] = []

    def span(self, event_time: int, **fields: Any) -> Event:
        """Something an agent did; ended at `event_time`."""
        return self._add("agent_span", event_time, fields)

    def metric(self, event_time: int, **fields: Any) -> Event:
        """A value of a metric."""
        return self._add("metric_point", event_time, fields)

    def cluster(self, event_time: int, **fields: Any) -> Event:
        """Something that happened to a resource. Without an `event_id` it gets one from what it says."""
        if "event_id" not in fields:
            named = (
                event_time,
                fields["resource"],
                fields.get("reason"),
                fields.get("value"),
                fields.get("count"),
            )
            fields["event_id"] = f"ev-{stable_hash(*named)}"
        return self._add("cluster_event", event_time, fields)

    def _add(self, record: str, event_time: int, fields: dict[str, Any]) -> Event:
        event = {"type": record, "event_time": event_time, "tenant": TENANT}
        event |= {name: value for name, value in fields.items() if value is not None}
        event["ingest_time"] = event_time + delay(self.rng)
        self.events.append(event)
        return event


class Session:
    """One run of one agent: numbers its steps, keeps its context growing, and names who asked for what.

    Every span belongs to the run's own `invoke_agent` span, which `close` writes when the run is over. A tool
    call is the child of the model call that asked for it. `step` counts model calls.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        agent_id: str,
        agent_version: str,
        session_id: str,
        started_at: int,
        task_type: str,
        model: str,
        provider: str,
        context_tokens: int,
        context_limit: int = 200_000,
        max_steps: int | None = None,
        requested_by: str | None = None,
    ) -> None:
        self.recorder = recorder
        self.session_id = session_id
        self.started_at = started_at
        self.model, self.provider = model, provider
        self.context_tokens, self.context_limit = context_tokens, context_limit
        self.step = 0
        self.trace_id = stable_hash("trace", session_id) * 2
        self.root_span_id = stable_hash("root", session_id)
        self.asking_span_id = self.root_span_id
        self._spans = 0
        self._common: dict[str, Any] = {
            "trace_id": self.trace_id,
            "session_id": session_id,
            "root_session_id": session_id,
            "agent_id": agent_id,
            "agent_name": agent_id.replace("-", " "),
            "agent_version": agent_version,
            "task_type": task_type,
            "requested_by": requested_by,
            "prompt_version": "7",
            "prompt_digest": stable_hash("prompt", agent_id, "7"),
            "max_steps": max_steps,
        }

    def chat(
        self,
        start: int,
        seconds: float,
        *,
        output_tokens: int,
        says: str,
        grows_by: int = 0,
        input_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        finish_reason: str = "tool_calls",
    ) -> Event:
        """A model call. What the context grows by is new; the rest came from the cache, unless told otherwise."""
        self.context_tokens = self.context_tokens + grows_by if input_tokens is None else input_tokens
        cached = self.context_tokens - grows_by if cached_input_tokens is None else cached_input_tokens
        self.step += 1
        span = self._span(
            start,
            seconds,
            parent_span_id=self.root_span_id,
            operation="chat",
            provider=self.provider,
            model=self.model,
            input_tokens=self.context_tokens,
            cached_input_tokens=cached if self.step > 1 else 0,
            output_tokens=output_tokens,
            context_tokens=self.context_tokens,
            context_limit=self.context_limit,
            finish_reason=finish_reason,
            result_digest=stable_hash("says", says, self.step),
            summary=says,
        )
        self.asking_span_id = span["span_id"]
        return span

    def tool(
        self,
        start: int,
        seconds: float,
        name: str,
        args: dict[str, Any],
        *,
        target: str,
        result: object,
        access: str = "read",
        operation: str = "execute_tool",
        approval: str | None = None,
        summary: str | None = None,
        expects: dict[str, Any] | None = None,
    ) -> Event:
        """A tool call, or a retrieval. Equal results have equal digests, equal arguments too."""
        return self._span(
            start,
            seconds,
            parent_span_id=self.asking_span_id,
            operation=operation,
            tool_name=name,
            tool_args=compact_json(args),
            args_digest=stable_hash(name, compact_json(args)),
            result_digest=stable_hash("result", compact_json(result)),
            access=access,
            target=target,
            approval=approval,
            summary=summary,
            expects=None if expects is None else compact_json(expects),
        )

    def close(
        self, end: int, *, status: str = "ok", error_type: str | None = None, summary: str | None = None
    ) -> Event:
        """The run is over: its `invoke_agent` span, which began when the run did."""
        return self.recorder.span(
            end,
            **self._common,
            start_time=self.started_at,
            duration_ms=(end - self.started_at) // 1000,
            span_id=self.root_span_id,
            operation="invoke_agent",
            status=status,
            error_type=error_type,
            summary=summary,
        )

    def _span(self, start: int, seconds: float, **fields: Any) -> Event:
        self._spans += 1
        duration_ms = round(seconds * 1000)
        return self.recorder.span(
            start + duration_ms * 1000,
            **self._common,
            start_time=start,
            duration_ms=duration_ms,
            span_id=stable_hash(self.session_id, self._spans),
            step=self.step,
            status="ok",
            **fields,
        )


def seconds_later(moment: int, seconds: float) -> int:
    """`moment` plus so many seconds, to the millisecond."""
    return moment + round(seconds * 1000) * 1000
