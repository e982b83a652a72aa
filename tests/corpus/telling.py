"""Tells a trajectory: a scene (one tenant) and the runs of agents in it, each call an event with realistic surroundings.

A model call comes before the tool calls it asked for and is their parent; the context grows with what comes back, most
of it is read from the cache; a step is a model call. What is true (which calls are redundant, when it began) is noted
here beside the events. All randomness comes from the scene's own generator, so a trajectory is a function of its seed.
"""

import random
from collections.abc import Iterable
from typing import Any

from schemas.signals import compact_json, stable_hash
from schemas.times import MICROS, parse_time
from tests.corpus.names import AGENTS, MODELS, TASKS, TOOLBOXES, Tool, Toolbox, arguments, hexadecimal
from tests.corpus.truth import Event, Trajectory, Truth, is_call, tokens_of

FIRST_DAY = parse_time("2026-03-02T00:00:00Z")
SPREAD = 4 * 60 * 60  # seconds over which trajectories begin
NEW = "new"  # a result that was never seen before


class Scene:
    """One trajectory while it is told."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tenant = hexadecimal(rng, 12)
        self.start = FIRST_DAY + rng.randrange(SPREAD * MICROS)
        self.box: Toolbox = rng.choice(TOOLBOXES)
        self.task_type = rng.choice(TASKS)
        self.gives_digests = rng.random() < 0.5
        self.variant = ""
        self.limits: list[dict[str, Any]] = []
        self.begins_at: int | None = None
        self.oracle_seconds: float | None = None
        self.counts_waste = False
        self._events: list[Event] = []
        self._redundant: list[Event] = []
        self._repetitions: list[int] = []
        self._agents = rng.sample(AGENTS, len(AGENTS))

    def agent(self) -> str:
        """The name of an agent that nobody else has here."""
        return self._agents.pop()

    def subject(self) -> str:
        """Something to work on."""
        return self.box.name_subject(self.rng)

    def begins(self, moment: int) -> None:
        """From here on it is wrong."""
        if self.begins_at is None:
            self.begins_at = moment

    def repeated(self, moment: int) -> None:
        """An equal call, or a whole cycle, has ended; the first one counts."""
        self._repetitions.append(moment)

    def told(self) -> Iterable[Event]:
        """The events so far, in the order they were told."""
        return self._events

    def limit(self, match: dict[str, str] | None = None, **stated: Any) -> None:
        """An entry of limits.yml for this tenant."""
        self.limits.append({"match": {"tenant": self.tenant} | (match or {})} | stated)

    def add(self, event: Event, *, is_redundant: bool = False) -> None:
        """An event; the broker gets it a little later."""
        full = {"tenant": self.tenant} | {name: value for name, value in event.items() if value is not None}
        full["ingest_time"] = full["event_time"] + self.rng.randint(50_000, 3 * MICROS)
        self._events.append(full)
        if is_redundant:
            self._redundant.append(full)

    def cluster(self, moment: int, kind: str, resource: str, **fields: Any) -> None:
        """Something that happened to a resource, or a fact that holds for it."""
        named = {"type": "cluster_event", "event_time": moment, "event_id": hexadecimal(self.rng)}
        self.add(named | {"kind": kind, "resource": resource} | fields)

    def finished(self, family: str, kinds: Iterable[str]) -> Trajectory:
        """The events in the order the broker got them, and the truth."""
        calls = [event for event in self._redundant if is_call(event)]
        truth = Truth(
            family=family,
            variant=self.variant,
            is_positive=self.begins_at is not None,
            kinds=tuple(kinds),
            begins_at=self.begins_at,
            fifth_repetition_at=self._repetitions[4] if len(self._repetitions) > 4 else None,
            redundant_calls=len(calls) if self.counts_waste else None,
            unplanned_tokens=sum(map(tokens_of, calls)) if self.counts_waste else None,
            oracle_seconds=self.oracle_seconds,
        )
        events = sorted(self._events, key=lambda event: (event["ingest_time"], event["event_time"]))
        return Trajectory(self.tenant, tuple(events), tuple(self.limits), truth)


class Run:
    """One session of one agent. `now` moves on with each call; `pace` stretches the time between calls."""

    def __init__(
        self, scene: Scene, agent: str | None = None, *, at: int | None = None, root: str | None = None,
        session: str | None = None, parent: str | None = None, version: str | None = None, pace: float = 1.0,
        max_steps: int | None = None, context: int | None = None, context_limit: int | None = None,
        cache_share: float = 0.9,
    ) -> None:  # fmt: skip
        rng = scene.rng
        self.scene, self.rng = scene, rng
        self.agent = agent or scene.agent()
        self.now = self.began = scene.start if at is None else at
        self.session = session or hexadecimal(rng, 20)
        self.root = root or self.session
        self.trace = hexadecimal(rng, 32)
        self.span = hexadecimal(rng)  # of the run itself, written when it ends
        self.parent = parent
        self.version = version
        self.pace = pace
        self.max_steps = max_steps
        self.context = context if context is not None else rng.randint(4_000, 18_000)
        self.context_limit = context_limit
        self.cache_share = cache_share
        self.provider, self.model = rng.choice(MODELS)
        self.step = 0
        self.asked_by: str | None = None
        self.is_redundant = False
        self._spent = {"input_tokens": 0, "output_tokens": 0, "cached_input_tokens": 0}

    def rest(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += round(seconds * MICROS)

    def think(
        self, *, seconds: float | None = None, result: str = NEW, output: int | None = None, grows: int | None = None,
        **fields: Any,
    ) -> str:  # fmt: skip
        """A model call; returns its span id, which becomes the parent of the tool calls that follow."""
        rng = self.rng
        before = self.context
        is_refused = fields.get("status") == "error"  # then it cost nothing, and nothing was said
        grows = rng.randint(150, 1_600) if grows is None else grows
        self.context = before + (0 if is_refused else grows)
        output = rng.randint(60, 700) if output is None else output
        seconds = rng.uniform(2.0, 5.0) * self.pace if seconds is None else seconds
        self.step += 1
        self.asked_by = hexadecimal(rng)
        tokens = {
            "input_tokens": self.context,
            "output_tokens": output,
            "cached_input_tokens": int(min(before, self.context) * self.cache_share) if self.step > 1 else 0,
        }
        if is_refused:
            tokens = dict.fromkeys(tokens, 0)
        tokens |= {name: fields.pop(name) for name in tokens if name in fields}
        for name, number in tokens.items():
            self._spent[name] += number
        chat = {
            "operation": "chat",
            "provider": self.provider,
            "model": self.model,
            "context_tokens": tokens["input_tokens"] or self.context,
            "context_limit": self.context_limit,
            "result_digest": hexadecimal(rng) if result == NEW else result,
        }
        self._add(self.asked_by, self.span, seconds, chat | tokens | fields)
        return self.asked_by

    def call(
        self, tool: Tool, args: dict[str, Any] | str | None, *, result: str | None = NEW, seconds: float | None = None,
        target: str | None = None, starts: int | None = None, **fields: Any,
    ) -> str:  # fmt: skip
        """A tool call, asked for by the last model call; `starts` lets it run beside others of the same turn."""
        rng = self.rng
        given = compact_json(args) if isinstance(args, dict) else args
        if target is None and self.scene.box.has_targets and isinstance(args, dict) and "/" in str(args.get("name")):
            target = args["name"]
        digest = stable_hash(tool.name, given) if self.scene.gives_digests and given is not None else None
        seconds = rng.uniform(0.3, 2.5) * self.pace if seconds is None else seconds
        tool_call = {
            "operation": "execute_tool",
            "tool_name": tool.name,
            "tool_args": given,
            "args_digest": digest,
            "access": tool.access,
            "target": target,
            "result_digest": hexadecimal(rng) if result == NEW else result,
        }
        span = hexadecimal(rng)
        self._add(span, self.asked_by or self.span, seconds, tool_call | fields, starts)
        return span

    def hand_off(self, to: str, content: str, *, result: str | None = NEW, **fields: Any) -> str:
        """An instruction to another agent; returns the span id, the parent of what the other does."""
        given = compact_json({"content": content})
        digest = stable_hash(to, given) if self.scene.gives_digests else None
        span = hexadecimal(self.rng)
        named = {"operation": "handoff", "tool_name": f"ask:{to}", "tool_args": given, "args_digest": digest}
        named["result_digest"] = hexadecimal(self.rng) if result == NEW else result
        self._add(span, self.asked_by or self.span, self.rng.uniform(0.1, 0.6), named | fields)
        return span

    def read(self, subject: str | None = None, **fields: Any) -> None:
        """Think, then look at something."""
        self.think()
        tool = self.rng.choice(self.scene.box.reads)
        self.call(tool, arguments(self.rng, tool, subject or self.scene.subject()), **fields)

    def change(self, subject: str | None = None, **fields: Any) -> None:
        """Look at something, then change it and say why."""
        subject = subject or self.scene.subject()
        self.read(subject)
        self.think()
        tool = self.rng.choice(self.scene.box.writes)
        fields = {"summary": f"{subject} is as read a moment ago; the change was asked for"} | fields
        self.call(tool, arguments(self.rng, tool, subject), **fields)

    def work(self, steps: int) -> None:
        """Productive work: every step is about something new."""
        for _ in range(steps):
            if self.rng.random() < 0.7:
                self.read()
            else:
                self.change()

    def end(self, **fields: Any) -> None:
        """The run's own span. Half of the senders sum up in it what its model calls have used: not to be added again."""
        spent = self._spent if self.rng.random() < 0.5 else {}
        length = (self.now - self.began) / MICROS
        self.now = self.began
        self._add(self.span, self.parent, length, {"operation": "invoke_agent"} | spent | fields)

    def _add(
        self, span: str, parent: str | None, seconds: float, fields: dict[str, Any], starts: int | None = None
    ) -> None:
        start = self.now if starts is None else starts
        end = start + round(seconds * MICROS)
        self.now = max(self.now, end)
        common = {
            "type": "agent_span",
            "event_time": end,
            "start_time": start,
            "duration_ms": (end - start) // 1000,
            "trace_id": self.trace,
            "span_id": span,
            "parent_span_id": parent,
            "session_id": self.session,
            "root_session_id": self.root,
            "agent_id": self.agent,
            "agent_version": self.version,
            "task_type": self.scene.task_type,
            "step": self.step,
            "max_steps": self.max_steps,
        }
        self.scene.add(common | fields, is_redundant=self.is_redundant)


def one_of(rng: random.Random, low: int, high: int, long: tuple[int, int], share: float = 0.15) -> int:
    """Mostly between low and high, now and then as long as the longest that were observed."""
    return rng.randint(*long) if rng.random() < share else rng.randint(low, high)
