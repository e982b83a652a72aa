"""Held calls: by whom, for how long, which of them, and what a guard does that knows nothing."""

import asyncio
import threading
from contextlib import nullcontext

import pytest
from aftermath_client import AgentHalted, AgentPaused, Guard, GuardBlind
from aftermath_client.copies import CONTROLS

from schemas.codecs.single import encode
from tests.client.building import CART, Clock, a_guard, hold, spans


def test_a_held_call_raises_with_the_reason_until_the_pause_is_over() -> None:
    clock = Clock()
    guard = a_guard(clock)
    hold(guard, 600)
    with pytest.raises(AgentPaused, match=r"paused\. By user:mo: writes the same hook") as caught, guard.step("search"):
        raise AssertionError("must not run")
    assert (caught.value.reason, caught.value.author) == ("writes the same hook", "user:mo")
    clock.seconds = 600
    with guard.step("search"):
        pass


def test_a_resume_lets_it_go_on_at_once() -> None:
    guard = a_guard()
    hold(guard, None)
    with pytest.raises(AgentHalted), guard.chat("model-1"):
        pass
    hold(guard, None, action="resume")
    with guard.chat("model-1"):
        pass


@pytest.mark.parametrize(
    "fields",
    [{"agent_version": "2"}, {"tool_name": "cms.write"}, {"target": CART}, {"mode": "shadow"}, {"agent_id": "agent-2"}],
)
def test_what_is_about_other_calls_holds_nothing(fields: dict[str, str]) -> None:
    guard = a_guard(agent_version="1")
    hold(guard, 600, **fields)
    with guard.step("search", "prod/shop/deployment/web"):
        pass


@pytest.mark.parametrize("fields", [{"agent_version": "1"}, {"tool_name": "search"}, {"target": CART}])
def test_what_is_about_this_call_holds_it(fields: dict[str, str]) -> None:
    guard = a_guard(agent_version="1")
    hold(guard, 600, **fields)
    with pytest.raises(AgentPaused), guard.step("search", CART):
        pass


def test_a_control_of_another_tenant_is_nobodys_under_whatever_key_it_stands() -> None:
    guard = a_guard()
    control = hold(guard, 600, tenant="other")
    guard.copy.put(CONTROLS, "acme/agent-1/*/*/*", encode("control", control.as_record()))
    assert guard.copy.controls == ()
    assert guard.copy.unreadable == 1
    with guard.step("search"):
        pass


def test_a_tombstone_ends_a_control_and_damage_changes_nothing() -> None:
    guard = a_guard()
    control = hold(guard, None)
    guard.copy.put(CONTROLS, control.key, b"\xc3\x01damaged")
    with pytest.raises(AgentHalted), guard.step("search"):
        pass
    guard.copy.put(CONTROLS, control.key, None)
    with guard.step("search"):
        pass


def test_half_open_one_session_tries_and_a_new_pause_closes_it() -> None:
    clock = Clock(599)
    guard = a_guard(clock)
    hold(guard, 600, probes=True)
    first, second = guard.session("first"), guard.session("second")
    with pytest.raises(AgentPaused), first.step("search"):
        pass
    clock.seconds = 600
    with first.step("search"):
        pass
    with pytest.raises(AgentPaused, match="another session is trying"), second.step("search"):
        pass
    first.close()
    with second.step("search"):
        pass
    clock.seconds = 700
    hold(guard, 900)
    with pytest.raises(AgentPaused, match=r"paused\. By"), second.step("search"):
        pass
    hold(guard, 600, probes=True)
    clock.seconds = 1200
    with first.step("search"):
        pass


def test_one_that_waits_goes_on_when_it_is_resumed() -> None:
    guard = a_guard(on_pause="wait")
    hold(guard, 600)
    went = threading.Event()

    def work() -> None:
        with guard.step("search"):
            went.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not went.wait(0.05)
    hold(guard, 600, action="resume")
    assert went.wait(5)
    thread.join()


async def test_a_task_that_waits_lets_others_run() -> None:
    guard = a_guard(on_pause="wait")
    hold(guard, 600)
    done = []

    async def work() -> None:
        async with guard.step("search"):
            done.append("worked")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    done.append("another ran")
    hold(guard, 600, action="resume")
    await asyncio.wait_for(task, 5)
    assert done == ["another ran", "worked"]


def test_waiting_has_an_end_and_a_halt_is_not_waited_for() -> None:
    guard = a_guard(on_pause="wait", longest_wait=0.0)
    hold(guard, 600)
    with pytest.raises(AgentPaused), guard.step("search"):
        pass
    patient = a_guard(on_pause="wait")
    hold(patient, None)
    with pytest.raises(AgentHalted), patient.step("search"):
        pass


def test_that_a_call_was_not_made_is_published_once_for_each_reason() -> None:
    guard = a_guard()
    hold(guard, 600)
    for _ in range(3):
        with pytest.raises(AgentPaused), guard.step("search"):
            pass
    [said] = spans(guard)
    assert (said["operation"], said["status"], said["error_type"]) == ("decision", "error", "agent_paused")
    assert "writes the same hook" in said["attributes"]


@pytest.mark.parametrize(("way", "is_made"), [("open", True), ("closed", False)])
def test_without_a_broker_it_fails_open_or_closed_as_told(way: str, is_made: bool) -> None:
    guard = Guard("127.0.0.1:9", tenant="acme", agent_id="agent-1", without_broker=way)  # type: ignore[arg-type]
    try:
        expected = nullcontext() if is_made else pytest.raises(GuardBlind, match="Kafka does not answer")
        with expected, guard.step("search"):
            pass
    finally:
        left = guard.close(timeout=0.2)
    assert left == 2  # the call, or that it was not made, and the session: said, not lost in silence
    assert guard.health["is_blind"]
