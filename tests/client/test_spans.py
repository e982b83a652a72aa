"""What a service says of its agent: published in the background, within bounds, readable by Aftermath."""

import asyncio
import json
import threading

import pytest
from aftermath_client import Guard
from aftermath_client import spans as sending
from aftermath_client.spans import Spans

from schemas.codecs.single import decode
from schemas.events import AgentSpan
from schemas.topics import TRACES
from tests.client.building import CART, DB, Clock, a_guard, spans
from tests.stages.kafka import Broker


def test_a_call_is_a_span_with_everything_that_aftermath_asks_of_it() -> None:
    clock = Clock()
    guard = a_guard(clock, agent_version="2.4.1")
    with guard.session("run-1", requested_by="user:mo", task_type="capacity", root_session_id="run-0"):
        with guard.chat("model-1", provider="anthropic") as call:
            clock.seconds = 2
            call.used(input_tokens=900, output_tokens=20, context_tokens=900, context_limit=200_000)
        with guard.step("metrics.query", CART, args={"minutes": 60}) as call:
            clock.seconds = 3
            call.result({"p95": 121})
        with guard.step(
            "scale", CART, "write", args={"replicas": 24}, summary="short of replicas", approval="granted",
            approved_by="user:mo", expects={"replicas": 6}, context_facts=["mw-1"],
        ):  # fmt: skip
            pass
    chat, read, write, run = (AgentSpan.model_validate(span) for span in spans(guard))
    assert (chat.operation, chat.model, chat.input_tokens, chat.duration_ms) == ("chat", "model-1", 900, 2000)
    assert (read.access, read.target, read.tool_args, read.step) == ("read", CART, '{"minutes": 60}', 1)
    assert read.result_digest is not None
    assert (write.approval, write.approved_by, write.summary, write.step) == (
        "granted", "user:mo", "short of replicas", 2,
    )  # fmt: skip
    assert (json.loads(write.expects or ""), json.loads(write.context_facts or "")) == ({"replicas": 6}, ["mw-1"])
    assert (run.operation, run.session_id, run.duration_ms, run.step) == ("invoke_agent", "run-1", 3000, 2)
    assert {span.trace_id for span in (chat, read, write)} == {run.trace_id}
    assert {span.key for span in (chat, read, write, run)} == {"acme/run-0"}
    assert (run.agent_version, run.requested_by, run.task_type) == ("2.4.1", "user:mo", "capacity")


def test_a_call_that_fails_says_with_what_and_the_error_is_the_services_own() -> None:
    guard = a_guard()
    with pytest.raises(TimeoutError), guard.session("run-1"), guard.step("search", CART):
        raise TimeoutError
    assert [(span["status"], span.get("error_type")) for span in spans(guard)] == [
        ("error", "TimeoutError"),
        ("error", None),
    ]


def test_arguments_that_are_long_are_published_as_a_digest() -> None:
    guard = a_guard()
    with guard.step("write", args={"text": "x" * 20_000}):
        pass
    [span] = spans(guard)
    assert "tool_args" not in span
    assert len(span["args_digest"]) == 32


def test_threads_and_tasks_have_a_session_each() -> None:
    guard = a_guard()

    def work(name: str) -> None:
        with guard.session(name), guard.step("search"):
            pass

    threads = [threading.Thread(target=work, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def task(name: str) -> None:
        with guard.session(name):
            await asyncio.sleep(0)
            async with guard.step("search"):
                await asyncio.sleep(0)

    async def tasks() -> None:
        await asyncio.gather(*(task(f"task-{number}") for number in range(4)))

    asyncio.run(tasks())
    found = {span["session_id"] for span in spans(guard) if span["operation"] == "execute_tool"}
    assert found == {f"{kind}-{number}" for kind in ("thread", "task") for number in range(4)}


def test_sessions_may_stand_in_each_other_and_without_one_the_process_has_one() -> None:
    guard = a_guard()
    with guard.session("outer"):
        with guard.session("inner"):
            assert guard.current.session_id == "inner"
        assert guard.current.session_id == "outer"
    default = guard.current.session_id
    assert default.startswith("agent-1-")
    assert guard.current.session_id == default


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    queue = Spans(most=2)
    for number in range(5):
        queue.add({"number": number})
    assert (len(queue), queue.dropped) == (2, 3)
    assert queue.take() == {"number": 0}


@pytest.mark.embedded
def test_spans_arrive_on_the_topic_and_close_sends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LOOK_SECONDS", 0.01)
    broker = Broker()
    guard = Guard(broker.bootstrap, tenant="acme", agent_id="agent-1")
    assert guard.ready(20)
    assert not guard.health["is_blind"]
    with guard.session("run-1"):
        for number in range(50):
            with guard.step("get", DB, args={"number": number}):
                pass
    guard.spans.add({"operation": None})  # nothing that could be published
    assert guard.close(20) == 0
    found = [decode(value)[1] for value in broker.values(TRACES.name)]
    assert [span["operation"] for span in found] == ["execute_tool"] * 50 + ["invoke_agent"]
    assert guard.health["spans_failed"] == 1
    broker.close()
