"""One run of an agent: its calls, counted and remembered within bounds, each asked for before and published after.

What a call goes through, in order: controls (is the agent held?), limits (is anything used up?), and of a call that
changes something the preflight (what should it know?). None of it leaves this process, and none of it blocks: only a
call that is held waits, where the guard is told to wait.
"""

import hashlib
import json
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextvars import Token
from fnmatch import fnmatchcase
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aftermath_client.errors import AgentPaused, GuardError, LimitReached, NotCleared
from aftermath_client.facts import Fact
from aftermath_client.preflight import ACTING, Asked, Preflight, Read, entries_of, preflight

if TYPE_CHECKING:
    from aftermath_client.guard import Guard

MOST_READS = 64
MOST_KNOWN = 256
MOST_CALLS = 256  # different ones of which it is counted how often they were made
LONGEST_NAME, LONGEST_TEXT = 512, 16_000
as_json = json.JSONEncoder(sort_keys=True, default=str).encode  # made once: `dumps` makes one each time
NOT_MADE = {AgentPaused: "agent_paused", LimitReached: "limit_reached", NotCleared: "not_cleared"}


class Session:
    """Made by `Guard.session`. Threads and tasks may share one."""

    def __init__(self, guard: "Guard", session_id: str, fields: Mapping[str, Any]) -> None:
        self.guard = guard
        self.session_id = session_id
        self.steps = 0
        self.calls = 0
        self.tokens = 0  # input without cache reads, plus output
        self.known: OrderedDict[str, int] = OrderedDict()  # ids of facts it was shown, and when
        self.reads: deque[Read] = deque(maxlen=MOST_READS)
        self._fields = {"session_id": session_id, "trace_id": uuid.uuid4().hex, **guard.identity, **fields}
        self._repeats: OrderedDict[str, int] = OrderedDict()
        self._said: set[str] = set()  # what it was refused for: published once each
        self._lock = threading.Lock()
        self._began = guard.now()
        self._token: Token[Session | None] | None = None

    def step(self, tool: str, target: str | None = None, access: str = "read", **more: Any) -> "Step":
        """A tool call: `with session.step(...)`, or `async with`. Raises GuardError where it must not be made.

        more: args (a mapping), summary, approval, approved_by, expects, context_facts (ids of facts it was given).
        """
        return Step(self, "execute_tool", tool, target, access, **more)

    def chat(self, model: str, *, provider: str | None = None, **more: Any) -> "Step":
        """A model call; say what it used with `used`."""
        return Step(self, "chat", None, None, None, model=model, provider=provider, **more)

    def preflight(self, target: str, access: str = "write", **more: Any) -> Preflight:
        """What holds for a target now, and what of it this session has not read. Publishes what it said."""
        asked = Asked(more.get("tool"), target, access, more.get("summary"), more.get("approval"), more.get("expects"))
        report = self.look(asked, self.guard.now())
        self.publish("decision", attributes={"guard": "preflight", "target": target, **report.as_attributes()})
        return report

    def learned(self, facts: Iterable[Fact | str]) -> None:
        """The agent was shown these facts: they count as read from now on. Publishes it."""
        now = self.guard.now()
        names = [fact if isinstance(fact, str) else fact.fact_id for fact in facts]
        with self._lock:
            for name in names:
                self.known[name] = now
                self.known.move_to_end(name)
            while len(self.known) > MOST_KNOWN:
                self.known.popitem(last=False)
        self.publish("decision", context_facts=json.dumps(names), attributes={"guard": "learned"})

    def look(self, asked: Asked, now: int) -> Preflight:
        """The preflight of one call; publishes nothing."""
        version = self.guard.copy.limits.in_force(now)
        call = self.guard.call_of(asked.tool, asked.target)
        reads = tuple(self.reads)
        entries = entries_of(reads, version.reads, call)
        return preflight(asked, self.guard.copy.facts, self.known, reads, version.of(call), entries, now)

    def admit(self, step: "Step", now: int) -> None:
        """Whether a call may be made now; counts it where it may. Raises GuardError."""
        for control_id in self.guard.ask_controls(self.session_id, step.tool, step.target, now):
            self.publish("decision", attributes={"guard": "trying", "control_id": control_id})
        limits = self.guard.copy.limits.in_force(now).of(self.guard.call_of(step.tool, step.target, step.model))
        if step.target is not None and step.access in ACTING:
            step.report = self.look(
                Asked(step.tool, step.target, step.access, step.summary, step.approval, step.expects), now
            )
            if self.guard.strict and not step.report.is_clear:
                raise NotCleared(step.report.text, report=step.report)
        with self._lock:
            if limits and self.guard.enforces_limits:
                self._check_limits(step, limits)
            self.calls += 1
            if step.operation == "execute_tool":
                self.steps += 1
                self._repeats[step.digest] = self._repeats.get(step.digest, 0) + 1
                self._repeats.move_to_end(step.digest)
                if len(self._repeats) > MOST_CALLS:
                    self._repeats.popitem(last=False)
            step.number = self.steps

    def _check_limits(self, step: "Step", limits: Mapping[str, Any]) -> None:
        is_tool = step.operation == "execute_tool"
        made = self._repeats.get(step.digest, 0)
        for name, used in (
            ("max_steps", self.steps if is_tool else -1),
            ("calls_per_session", self.calls),
            ("tokens_per_session", self.tokens),
            ("max_repeats", made if is_tool and not limits.get("may_poll") else -1),
        ):
            allowed = limits.get(name)
            if allowed is not None and used >= allowed:
                text = f"{name}: {allowed} are allowed in limits.yml and used. End this session, or ask a person."
                raise LimitReached(text, limit=name, allowed=allowed)
        tools = limits.get("allowed_tools")
        if is_tool and tools is not None and not any(fnmatchcase(step.tool or "", pattern) for pattern in tools):
            text = f"allowed_tools: limits.yml does not let this agent use {step.tool}."
            raise LimitReached(text, limit="allowed_tools", allowed=tools)

    def refused(self, step: "Step", error: GuardError) -> None:
        """Publish that a call was not made, once for each reason."""
        kind = next(name for cls, name in NOT_MADE.items() if isinstance(error, cls))
        about = digest_of(f"{step.tool}\n{step.target}\n{error}")
        with self._lock:
            if about in self._said or len(self._said) >= MOST_CALLS:
                return
            self._said.add(about)
        attributes = {"guard": "not_made", "tool": step.tool, "target": step.target, "why": str(error)[:1000]}
        if step.report is not None:
            attributes |= step.report.as_attributes()
        self.publish("decision", status="error", error_type=kind, attributes=attributes)

    def done(self, step: "Step", error: BaseException | None) -> None:
        """Remember and publish a call that was made."""
        now = self.guard.now()
        status = "ok" if error is None else "error"
        if status == "ok" and step.operation == "execute_tool" and step.access not in ACTING:
            self.reads.append(Read(step.tool, step.target, now))
        with self._lock:
            self.tokens += step.needed_tokens
        error_type = None if error is None else type(error).__name__
        self.publish(step.operation, status=status, error_type=error_type, **step.fields(now))

    def publish(self, operation: str, *, attributes: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Queue a span; never waits."""
        now = self.guard.now()
        span = {"event_time": now, "span_id": uuid.uuid4().hex[:16], "operation": operation, **self._fields, **fields}
        span.setdefault("start_time", span["event_time"])
        if attributes:
            text = as_json(attributes)
            span["attributes"] = text if len(text) <= LONGEST_TEXT else json.dumps({"guard": attributes["guard"]})
        self.guard.spans.add(span)

    def close(self, *, status: str = "ok", summary: str | None = None) -> None:
        """The run is over: publish its root span, and let another session try where one may."""
        self.guard.probing.leave(self.session_id)
        now = self.guard.now()
        self.publish(
            "invoke_agent", status=status, summary=summary, start_time=self._began, step=self.steps,
            duration_ms=max(0, now - self._began) // 1000,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._token = self.guard.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._token is not None:
            self.guard.exit(self._token)
        self.close(status="ok" if kind is None else "error")


class Step:
    """One call, as a context manager for threads (`with`) and tasks (`async with`)."""

    __slots__ = (
        "_began", "_used", "access", "approval", "approved_by", "args", "context_facts", "digest", "expects", "model",
        "number", "operation", "provider", "report", "result_digest", "session", "summary", "target", "tool",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        operation: str,
        tool: str | None,
        target: str | None,
        access: str | None,
        *,
        args: Mapping[str, Any] | None = None,
        summary: str | None = None,
        approval: str | None = None,
        approved_by: str | None = None,
        expects: Mapping[str, Any] | None = None,
        context_facts: Iterable[str] = (),
        model: str | None = None,
        provider: str | None = None,
    ) -> None:
        self.session = session
        self.operation = operation
        self.tool, self.target, self.access = tool, target, access
        self.summary, self.approval, self.approved_by = summary, approval, approved_by
        self.expects = expects
        self.context_facts = list(context_facts)
        self.model, self.provider = model, provider
        self.args = None if args is None else as_json(args)
        self.digest = f"{tool}\n{target}\n{self.args}"
        if len(self.digest) > LONGEST_NAME:
            self.digest = digest_of(self.digest)
        self.number = 0
        self.report: Preflight | None = None  # of a call that changes something
        self.result_digest: str | None = None
        self._used: dict[str, Any] = {}
        self._began = 0

    def used(self, *, input_tokens: int = 0, output_tokens: int = 0, cached_input_tokens: int = 0, **more: Any) -> None:
        """What a model call used; more: reasoning_tokens, context_tokens, context_limit, finish_reason."""
        self._used = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            **more,
        }

    def result(self, value: Any) -> None:
        """What came back: only its digest is published."""
        text = value if isinstance(value, str) else as_json(value)
        self.result_digest = digest_of(text)

    @property
    def needed_tokens(self) -> int:
        """Input without cache reads, plus output."""
        used = self._used
        return int(used.get("input_tokens", 0) - used.get("cached_input_tokens", 0) + used.get("output_tokens", 0))

    def fields(self, now: int) -> dict[str, Any]:
        """What is published of it."""
        found: dict[str, Any] = {
            "event_time": now,
            "start_time": self._began,
            "duration_ms": max(0, now - self._began) // 1000,
            "tool_name": self.tool,
            "access": self.access,
            "target": self.target and self.target[:LONGEST_NAME],
            "summary": self.summary and self.summary[:LONGEST_TEXT],
            "approval": self.approval,
            "approved_by": self.approved_by,
            "model": self.model,
            "provider": self.provider,
            "step": self.number,
            "result_digest": self.result_digest,
            **self._used,
        }
        if self.args is not None and len(self.args) <= LONGEST_TEXT:
            found["tool_args"] = self.args
        elif self.args is not None:
            found["args_digest"] = digest_of(self.args)
        if self.expects is not None:
            found["expects"] = json.dumps(self.expects, default=str)
        if self.context_facts:
            found["context_facts"] = json.dumps(self.context_facts)
        if self.report is not None and (self.report.facts or self.report.refusals):
            found["attributes"] = {"guard": "made", **self.report.as_attributes()}
        return found

    def __enter__(self) -> Self:
        waited = 0.0
        while True:
            try:
                return self._enter(waited)
            except AgentPaused as error:
                waited += self.session.guard.wait(error, waited)

    async def __aenter__(self) -> Self:
        waited = 0.0
        while True:
            try:
                return self._enter(waited)
            except AgentPaused as error:
                waited += await self.session.guard.wait_async(error, waited)

    def _enter(self, waited: float) -> Self:
        now = self.session.guard.now()
        try:
            self.session.admit(self, now)
        except GuardError as error:
            if not self.session.guard.is_settling(error, waited):
                self.session.refused(self, error)
            raise
        self._began = now
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.done(self, error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.done(self, error)


def digest_of(text: str) -> str:
    """A short digest, the same for the same text in every process."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
