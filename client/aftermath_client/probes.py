"""Who may try while an agent is half open: one session of all processes of its service.

Whoever wants to try says so on `agent.probes.v1`, and the log decides: the first to claim holds the right, every other
claim is nothing. It is given back when the session ends, and free `LEASE` after the holder claimed last, by the time of
the broker: a process that died holds it no longer than that. All read the same log, so all see the same holder.

A holder goes by the right for `LEASE` after it *sent* its claim. The broker stamps a claim after it was sent, so a
holder stops before another one may begin, whatever the clocks say. Not guarded against: a process that is stopped
in the middle of a call for longer than that.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aftermath_client.clock import MICROS, monotonic

LEASE = 30.0  # seconds
RENEW_EVERY = 10.0
ASK_AGAIN = 2.0  # seconds until a claim that was not seen on the log is said once more
MOST_HELD = 1_000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a right; appended_at: of its newest claim, by the broker; heard_at: when we read it, monotonic."""

    guard_id: str
    claim_id: str
    appended_at: int
    heard_at: float


class Rights:
    """What the log says: the same in every process that has read as far. Written by one thread."""

    def __init__(self) -> None:
        self._held: dict[str, Holder] = {}

    def put(self, record: Mapping[str, Any], appended_at: int, heard_at: float = 0.0) -> None:
        """Take the next record; appended_at in microseconds."""
        name, guard_id = record["control_id"], record["guard_id"]
        held = self._held.get(name)
        is_his = held is not None and held.guard_id == guard_id
        if record["action"] == "release":
            if is_his:
                del self._held[name]
        elif held is None or is_his or appended_at - held.appended_at >= LEASE * MICROS:
            self._held[name] = Holder(guard_id, record["claim_id"], appended_at, heard_at)
            if len(self._held) > MOST_HELD:
                del self._held[min(self._held, key=lambda other: self._held[other].appended_at)]

    def holder(self, control_id: str) -> Holder | None:
        """Who claimed first and has neither given it back nor lost it to another; it may have lapsed."""
        return self._held.get(control_id)


class Answer(Enum):
    """What a session that wants to try is told."""

    MAY = "may"
    ASKING = "asking"  # the claim is under way: ask again in a moment
    OTHER = "other"  # another session tries


class Probing:
    """This process's side. `say` queues a record and never waits; `now` gives seconds that only grow."""

    def __init__(
        self, rights: Rights, identity: Mapping[str, Any], say: Callable[[dict[str, Any]], None],
        now: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        self.guard_id = uuid.uuid4().hex[:16]
        self._rights, self._say, self._now = rights, say, now
        self._identity = {name: identity[name] for name in ("tenant", "agent_id")}
        self._trying: dict[str, str] = {}  # control -> the session of this process that tries
        self._asked: dict[str, str] = {}  # control -> the session that the right was claimed for
        self._asked_at: dict[str, float] = {}  # when it was claimed last
        self._claims: dict[str, dict[str, float]] = {}  # control -> ids of our claims, and when they were sent
        self._lock = threading.Lock()

    def ask(self, control_id: str, session_id: str) -> Answer:
        """Whether this session may try now; claims the right where nobody is known to hold it."""
        with self._lock:
            if self._trying.get(control_id, session_id) != session_id:
                return Answer.OTHER
            if self._holds(control_id):
                return self._begin(control_id, session_id)
            held, now = self._rights.holder(control_id), self._now()
            if held is not None and held.guard_id != self.guard_id and now - held.heard_at < LEASE:
                self._trying.pop(control_id, None)  # ours lapsed, and another one has it
                self._asked_at.pop(control_id, None)  # what was asked is settled
                return Answer.OTHER
            if now - self._asked_at.get(control_id, float("-inf")) >= ASK_AGAIN:
                self._claim(control_id, session_id)
                if self._holds(control_id):  # without a broker a claim is its own echo
                    return self._begin(control_id, session_id)
            return Answer.ASKING

    def _begin(self, control_id: str, session_id: str) -> Answer:
        self._trying[control_id] = self._asked[control_id] = session_id
        self._asked_at.setdefault(control_id, self._now())
        return Answer.MAY

    def tries(self, control_id: str, session_id: str) -> bool:
        """Whether it is this session that tries."""
        return self._trying.get(control_id) == session_id

    def renew(self, half_open: set[str]) -> None:
        """Claim again what a session goes on with; forget controls that are half open no more."""
        with self._lock:
            for control_id in self._asked.keys() - half_open:
                self._forget(control_id)
            for control_id, session_id in self._trying.items():
                if self._now() - self._asked_at[control_id] >= RENEW_EVERY:
                    self._claim(control_id, session_id)

    def leave(self, session_id: str | None = None) -> None:
        """This session is over, or all of them: another one may try where it did."""
        with self._lock:
            for control_id, name in list(self._asked.items()):
                if session_id in (None, name):
                    self._forget(control_id)
                    self._tell("release", uuid.uuid4().hex[:16], control_id, name)

    def _forget(self, control_id: str) -> None:
        del self._asked[control_id], self._claims[control_id]
        for known in (self._trying, self._asked_at):
            known.pop(control_id, None)

    def _holds(self, control_id: str) -> bool:
        held = self._rights.holder(control_id)
        if held is None or held.guard_id != self.guard_id:
            return False
        sent = self._claims.get(control_id, {}).get(held.claim_id)
        return sent is not None and self._now() - sent < LEASE

    def _claim(self, control_id: str, session_id: str) -> None:
        now = self._now()
        kept = {name: sent for name, sent in self._claims.get(control_id, {}).items() if now - sent < LEASE}
        claim_id = uuid.uuid4().hex[:16]
        self._asked[control_id], self._asked_at[control_id] = session_id, now
        self._claims[control_id] = {**kept, claim_id: now}  # before it is said: its echo may come at once
        self._tell("claim", claim_id, control_id, session_id)

    def _tell(self, action: str, claim_id: str, control_id: str, session_id: str) -> None:
        record = {"claim_id": claim_id, "control_id": control_id, "guard_id": self.guard_id, "session_id": session_id}
        self._say({**record, **self._identity, "action": action})
