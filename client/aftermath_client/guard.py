"""The guard of one agent in one process: the local copies, the spans on their way, and the current session.

Made once, after a fork and not before it: it has two threads. Without a broker (`kafka=None`) it asks and sends
nothing, and a test feeds `guard.copy` and reads `guard.spans` itself.
"""

import asyncio
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from typing import Any, Literal, Self

from aftermath_client.clock import monotonic, now_micros
from aftermath_client.codec import encode
from aftermath_client.controls import ALL, Control, holding
from aftermath_client.copies import PROBES, LocalCopy, Reader, probe_key
from aftermath_client.errors import AgentHalted, AgentPaused, GuardBlind, GuardError
from aftermath_client.facts import Fact
from aftermath_client.preflight import Preflight
from aftermath_client.probes import Answer, Probing
from aftermath_client.session import Session, Step
from aftermath_client.spans import Sender, Spans

LOOK_SECONDS = 0.1
SETTLE_SECONDS = 3.0  # so long a call waits, while the agent is half open, until the log says who may try


class Guard:
    """Asks before each call of an agent, and tells Aftermath what was done.

    strict          a change is refused where the preflight has something against it (NotCleared)
    on_pause        what a held call does: `raise` AgentPaused, or `wait` until it may go on
    longest_wait    seconds that `wait` waits before it raises all the same
    without_broker  once Kafka has not answered for `blind_after` seconds: `open` goes on with what is known, `closed`
                    raises GuardBlind
    kafka_config    more settings of librdkafka: TLS, SASL
    """

    def __init__(
        self,
        kafka: str | None,
        *,
        tenant: str,
        agent_id: str,
        agent_version: str | None = None,
        strict: bool = False,
        enforces_limits: bool = True,
        on_pause: Literal["raise", "wait"] = "raise",
        longest_wait: float = 3600.0,
        without_broker: Literal["open", "closed"] = "open",
        blind_after: float = 30.0,
        kafka_config: Mapping[str, Any] | None = None,
        now: Callable[[], int] = now_micros,
    ) -> None:
        if "*" in (tenant, agent_id) or not tenant or not agent_id:
            raise ValueError("a guard is of one agent of one tenant: name both")
        self.strict = strict
        self.enforces_limits = enforces_limits
        self.now = now
        self.identity = {"tenant": tenant, "agent_id": agent_id, "agent_version": agent_version}
        self.copy = LocalCopy(tenant, agent_id)
        self.spans = Spans()
        self._version = agent_version
        self._waits = on_pause == "wait"
        self._longest_wait = longest_wait
        self._fails_closed = without_broker == "closed"
        self._blind_after = blind_after
        self.probing = Probing(self.copy.probes, self.identity, self._claim)
        self._lock = threading.Lock()
        self._current: ContextVar[Session | None] = ContextVar(f"aftermath session of {agent_id}", default=None)
        self._default: Session | None = None
        self._reader = self._sender = None
        if kafka is not None:
            config = kafka_config or {}
            self._reader = Reader(self.copy, kafka, config)
            self._sender = Sender(self.spans, kafka, config, self._renew)

    # -- for the service

    def session(self, session_id: str | None = None, **fields: Any) -> Session:
        """A run of the agent: `with guard.session(...)` makes it the current one of this thread or task.

        fields: root_session_id, task_type, requested_by, prompt_digest, prompt_version, max_steps.
        """
        return Session(self, session_id or f"{self.identity['agent_id']}-{uuid.uuid4().hex[:12]}", fields)

    def step(self, tool: str, target: str | None = None, access: str = "read", **more: Any) -> Step:
        """A tool call of the current session; see `Session.step`."""
        return self.current.step(tool, target, access, **more)

    def chat(self, model: str, **more: Any) -> Step:
        """A model call of the current session; see `Session.chat`."""
        return self.current.chat(model, **more)

    def preflight(self, target: str, access: str = "write", **more: Any) -> Preflight:
        """What the current session should know before it changes a target; see `Session.preflight`."""
        return self.current.preflight(target, access, **more)

    def learned(self, facts: Iterable[Fact | str]) -> None:
        """The current session was shown these facts: see `Session.learned`."""
        self.current.learned(facts)

    @property
    def current(self) -> Session:
        """The session of this thread or task; where none was begun, one for the whole process."""
        found = self._current.get()
        if found is not None:
            return found
        with self._lock:
            if self._default is None:
                self._default = self.session()
            return self._default

    def ready(self, timeout: float = 10.0) -> bool:
        """Wait until the copies are whole; False where they are not in time. Nothing else ever waits for the broker."""
        end = monotonic() + timeout
        while self._reader is not None and not self.copy.is_whole:
            if monotonic() > end:
                return False
            threading.Event().wait(0.02)
        return True

    @property
    def health(self) -> dict[str, Any]:
        """Numbers for the service's own metrics."""
        return {
            "is_blind": self._is_blind(),
            "controls": len(self.copy.controls),
            "facts": len(self.copy.facts),
            "unreadable": self.copy.unreadable,
            "spans_waiting": len(self.spans),
            "spans_dropped": self.spans.dropped,
            "spans_failed": 0 if self._sender is None else self._sender.failed,
        }

    def close(self, timeout: float = 5.0) -> int:
        """End the session of the process, send what waits, end the threads; returns how many spans were left over."""
        if self._default is not None:
            self._default.close()
            self._default = None
        self.probing.leave()
        left = len(self.spans) if self._sender is None else self._sender.close(timeout)
        if self._reader is not None:
            self._reader.close()
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- for sessions

    def call_of(self, tool: str | None, target: str | None, model: str | None = None) -> dict[str, str | None]:
        """A call as limits.yml matches it."""
        return {**self.identity, "model": model, "tool_name": tool, "target": target}

    def ask_controls(self, session_id: str, tool: str | None, target: str | None, now: int) -> list[str]:
        """Raises AgentPaused where this call is held now; the half open controls that this session begins to try."""
        if self._fails_closed and self._is_blind():
            raise GuardBlind(
                "The controls of this agent are not known: Kafka does not answer. The call is not made.",
                reason="the broker does not answer",
            )
        by_tool = self.copy.by_tool
        about = by_tool.get(ALL, ()) + (by_tool.get(tool, ()) if tool is not None else ())
        if not about:
            return []
        control, half_open = holding(about, now, self._version, tool, target)
        if control is not None:
            cls, what = (AgentHalted, "halted") if control.until is None else (AgentPaused, "paused")
            raise cls(_says(what, control), reason=control.reason, author=control.author, until=control.until)
        begun = []
        for control in half_open:
            is_new = not self.probing.tries(control.control_id, session_id)
            answer = self.probing.ask(control.control_id, session_id)
            if answer is not Answer.MAY:
                what = "paused: another session is trying whether it goes well"
                if answer is Answer.ASKING:
                    what = "paused: one session may try, and it is not settled yet which"
                raise AgentPaused(
                    _says(what, control), reason=control.reason, author=control.author, until=control.until,
                    is_settling=answer is Answer.ASKING,
                )  # fmt: skip
            if is_new:
                begun.append(control.control_id)
        return begun

    def _claim(self, record: dict[str, Any]) -> None:
        if self._sender is None:
            self.copy.put(PROBES, probe_key(record), encode("probe", record), self.now())
        else:
            self._sender.claim(probe_key(record), record)

    def _renew(self) -> None:
        now = self.now()
        self.probing.renew({control.control_id for control in self.copy.controls if control.is_half_open(now)})

    def is_settling(self, error: GuardError, waited: float) -> bool:
        """Whether a held call waits, if only for a moment, to hear whether it may try."""
        return isinstance(error, AgentPaused) and error.is_settling and waited < SETTLE_SECONDS

    def wait(self, error: AgentPaused, waited: float) -> float:
        """Wait a moment before a held call asks again; returns how long. Raises the error where it must not wait."""
        self._must_wait(error, waited)
        began = monotonic()
        with self.copy.changed:
            self.copy.changed.wait(LOOK_SECONDS)
        return monotonic() - began

    async def wait_async(self, error: AgentPaused, waited: float) -> float:
        """The same for a task."""
        self._must_wait(error, waited)
        await asyncio.sleep(LOOK_SECONDS)
        return LOOK_SECONDS

    def _must_wait(self, error: AgentPaused, waited: float) -> None:
        if self.is_settling(error, waited):
            return
        if not self._waits or isinstance(error, AgentHalted) or waited >= self._longest_wait:
            raise error

    def _is_blind(self) -> bool:
        if self._reader is None:
            return False
        return not self.copy.is_whole or monotonic() - self.copy.heard_at > self._blind_after

    def enter(self, session: Session) -> Token[Session | None]:
        """Make it the current one of this thread or task; the token makes the one before it current again."""
        return self._current.set(session)

    def exit(self, token: Token[Session | None]) -> None:
        """The other way."""
        self._current.reset(token)


def _says(what: str, control: Control) -> str:
    return f"This agent is {what}. By {control.author}: {control.reason}"
