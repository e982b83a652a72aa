"""Half open: one session of all processes tries, whatever is late, dies or is given back."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aftermath_client import AgentPaused, Guard
from aftermath_client.copies import PROBES, probe_key
from aftermath_client.probes import LEASE, Answer, Probing, Rights
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codecs.single import encode
from tests.builders import at
from tests.client.building import Clock, a_guard, hold, spans

CONTROL = "control-1"
IDENTITY = {"tenant": "acme", "agent_id": "agent-1", "agent_version": None}


@dataclass
class Log:
    """What the broker has, and since when; processes read it as far as they have come."""

    seconds: float = 0.0
    records: list[tuple[dict[str, Any], int]] = field(default_factory=list)


class Process:
    """One process of the service: what it said and the broker does not have yet, and how far it has read."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.rights = Rights()
        self.said: list[dict[str, Any]] = []
        self.read = 0
        self.probing = Probing(self.rights, IDENTITY, self.said.append, lambda: log.seconds)

    def send(self, count: int = 100) -> None:
        for record in self.said[:count]:
            self.log.records.append((record, int(self.log.seconds * 1_000_000)))
        del self.said[:count]

    def hear(self, count: int = 100) -> None:
        for record, appended_at in self.log.records[self.read : self.read + count]:
            self.rights.put(record, appended_at, self.log.seconds)
        self.read = min(len(self.log.records), self.read + count)

    def may(self, session: str = "s") -> bool:
        return self.probing.ask(CONTROL, session) is Answer.MAY


def two() -> tuple[Log, Process, Process]:
    log = Log()
    return log, Process(log), Process(log)


def all_hear(*processes: Process) -> None:
    for process in processes:
        process.send()
    for process in processes:
        process.hear()


def test_the_first_on_the_log_tries_and_gives_it_back_when_its_session_ends() -> None:
    _, one, other = two()
    assert one.probing.ask(CONTROL, "a") is Answer.ASKING
    assert other.probing.ask(CONTROL, "b") is Answer.ASKING
    other.send()
    all_hear(one, other)
    assert (one.probing.ask(CONTROL, "a"), other.probing.ask(CONTROL, "b")) == (Answer.OTHER, Answer.MAY)
    assert other.probing.ask(CONTROL, "c") is Answer.OTHER
    other.probing.leave("b")
    all_hear(one, other)
    assert one.probing.ask(CONTROL, "a") is Answer.ASKING
    all_hear(one, other)
    assert (one.may("a"), other.may("b")) == (True, False)


def test_one_that_died_holds_it_for_the_lease_and_one_that_lives_for_as_long_as_it_renews() -> None:
    log, one, other = two()
    one.may()
    all_hear(one, other)
    assert one.may()
    for _ in range(8):
        log.seconds += 10
        one.probing.renew({CONTROL})
        all_hear(one, other)
        assert one.may()
        assert other.probing.ask(CONTROL, "s") is Answer.OTHER
    log.seconds += LEASE - 0.001
    assert one.may()
    log.seconds += 0.001
    assert not one.may()  # it could not renew: it stops by itself, and asks again
    one.said.clear()
    assert other.probing.ask(CONTROL, "s") is Answer.ASKING
    all_hear(other, one)
    assert (one.may(), other.may()) == (False, True)


def test_what_is_half_open_no_more_is_not_renewed() -> None:
    log, one, _ = two()
    one.may()
    all_hear(one)
    assert one.may()
    log.seconds += 20
    one.probing.renew(set())
    assert one.said == []


STEP = st.tuples(
    st.integers(0, 2), st.sampled_from(["ask", "ask", "send", "hear", "leave", "renew", "die"]), st.integers(1, 3)
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(STEP, st.sampled_from([0.0, 0.0, 1.0, 9.0, 16.0, 31.0])), max_size=60))
def test_never_do_two_try_at_once(steps: list[tuple[tuple[int, str, int], float]]) -> None:
    log = Log()
    processes = [Process(log) for _ in range(3)]
    for (number, what, count), passes in steps:
        process = processes[number]
        log.seconds += passes
        act: dict[str, Callable[[], object]] = {
            "ask": process.may, "send": lambda p=process, c=count: p.send(c), "hear": lambda p=process, c=count: p.hear(c),
            "leave": process.probing.leave, "renew": lambda p=process: p.probing.renew({CONTROL}),
            "die": lambda n=number: processes.__setitem__(n, Process(log)),
        }  # fmt: skip
        act[what]()
        trying = [one for one in processes if one.probing.tries(CONTROL, "s") and one.probing._holds(CONTROL)]
        assert len(trying) <= 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(STEP, st.sampled_from([0.0, 1.0, 31.0])), max_size=30))
def test_whatever_happened_somebody_tries_in_the_end(steps: list[tuple[tuple[int, str, int], float]]) -> None:
    log = Log()
    processes = [Process(log) for _ in range(3)]
    for (number, what, count), passes in steps:
        log.seconds += passes
        process = processes[number]
        if what == "ask":
            process.may()
        elif what == "send":
            process.send(count)
        elif what == "die":
            processes[number] = Process(log)
    log.seconds += 2 * LEASE
    for _ in range(2):
        for process in processes:
            process.may()
        all_hear(*processes)
        log.seconds += 3
    assert sum(process.may() for process in processes) == 1


def test_a_call_waits_a_moment_until_the_log_has_settled_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(600)
    guard = a_guard(clock)
    hold(guard, 600, probes=True, at=at(0))
    said: list[dict[str, Any]] = []
    guard.probing._say = said.append
    monkeypatch.setattr("aftermath_client.guard.SETTLE_SECONDS", 0.2)
    with guard.session("s-1") as session:
        with pytest.raises(AgentPaused, match="not settled yet which") as caught, session.step("search"):
            pass
        assert caught.value.is_settling
        [claim] = said
        assert (claim["action"], claim["session_id"]) == ("claim", "s-1")
        guard.copy.put(PROBES, probe_key(claim), encode("probe", claim), at(600))
        with session.step("search"):
            pass
    assert [record["action"] for record in said] == ["claim", "release"]
    published = [(span["operation"], span.get("error_type")) for span in spans(guard)]
    assert published == [
        ("decision", "agent_paused"), ("decision", None), ("execute_tool", None), ("invoke_agent", None),
    ]  # fmt: skip


async def test_a_task_waits_for_it_without_holding_others_up() -> None:
    guard = a_guard(Clock(600))
    control = hold(guard, 600, probes=True, at=at(0))
    said: list[dict[str, Any]] = []
    guard.probing._say = said.append
    order = []

    async def work() -> None:
        async with guard.step("search"):
            order.append("worked")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    order.append("another ran")
    guard.copy.put(PROBES, probe_key(said[0]), encode("probe", said[0]), at(600))
    await asyncio.wait_for(task, 5)
    assert (order, said[0]["control_id"]) == (["another ran", "worked"], control.control_id)


def test_a_claim_of_another_tenant_is_not_heard() -> None:
    guard = a_guard(Clock(600))
    control = hold(guard, 600, probes=True, at=at(0))
    claim = {
        "claim_id": "c", "control_id": control.control_id, "tenant": "other", "agent_id": "agent-1", "guard_id": "g",
        "session_id": "s", "action": "claim",
    }  # fmt: skip
    guard.copy.put(PROBES, f"acme/agent-1/{control.control_id}", encode("probe", claim), at(600))
    assert guard.copy.unreadable == 1
    with guard.step("search"):
        pass


def test_of_two_pauses_that_are_half_open_the_same_session_must_have_both() -> None:
    guard = a_guard(Clock(600))
    hold(guard, 600, probes=True, at=at(0))
    narrow = hold(guard, 600, probes=True, at=at(0), tool_name="search")
    other = Guard(None, tenant="acme", agent_id="agent-1")
    claim = {
        "claim_id": "c", "control_id": narrow.control_id, "tenant": "acme", "agent_id": "agent-1",
        "guard_id": other.probing.guard_id, "session_id": "s", "action": "claim",
    }  # fmt: skip
    guard.copy.put(PROBES, probe_key(claim), encode("probe", claim), at(600))
    with pytest.raises(AgentPaused, match="another session is trying"), guard.step("search"):
        pass
    with guard.step("read"):
        pass
