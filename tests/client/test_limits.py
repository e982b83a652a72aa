"""Hard limits in the service: the same ones, by the same rules, as in the workers."""

from typing import Any

import pytest
from aftermath_client import LimitReached
from aftermath_client.limits import Versions
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.limit_versions import document_of
from pipeline.core.limits import Limits
from tests.builders import at
from tests.client.building import Clock, a_guard, limit, spans


def test_the_step_after_the_last_is_not_made() -> None:
    guard = a_guard()
    limit(guard, {"max_steps": 2})
    with guard.session("run-1") as session:
        for _ in range(2):
            with guard.step("search"), guard.chat("model-1"):
                pass
        with pytest.raises(LimitReached, match="max_steps: 2 are allowed") as caught, guard.step("search"):
            raise AssertionError("must not run")
        assert (caught.value.limit, caught.value.allowed, session.steps) == ("max_steps", 2, 2)
    with guard.session("run-2"), guard.step("search"):
        pass


def test_a_call_is_repeated_as_often_as_it_may_be_and_polls_are_not_counted() -> None:
    guard = a_guard()
    limit(guard, {"max_repeats": 2}, {"match": {"tool_name": "job.status"}, "may_poll": True})
    for _ in range(2):
        with guard.step("write", args={"a": 1, "b": 2}):
            pass
    with pytest.raises(LimitReached, match="max_repeats"), guard.step("write", args={"b": 2, "a": 1}):
        pass
    with guard.step("write", args={"a": 1, "b": 3}):
        pass
    for _ in range(5):
        with guard.step("job.status"):
            pass


def test_the_token_budget_counts_input_without_cache_reads_and_output() -> None:
    guard = a_guard()
    limit(guard, {"tokens_per_session": 1000})
    with guard.chat("model-1") as call:
        call.used(input_tokens=5000, cached_input_tokens=4200, output_tokens=199)
    with guard.chat("model-1") as call:
        call.used(output_tokens=1)
    with pytest.raises(LimitReached, match="tokens_per_session"), guard.step("search"):
        pass


def test_a_tool_that_is_not_allowed_is_not_used() -> None:
    guard = a_guard()
    limit(guard, {"allowed_tools": ["cms.*", "search"]})
    with guard.step("cms.write"), guard.chat("model-1"):
        pass
    with pytest.raises(LimitReached, match="does not let this agent use bash"), guard.step("bash"):
        pass


def test_a_guard_told_not_to_enforce_lets_it_pass() -> None:
    guard = a_guard(enforces_limits=False)
    limit(guard, {"max_steps": 1})
    for _ in range(2):
        with guard.step("search"):
            pass
    assert [span["step"] for span in spans(guard)] == [1, 2]


def test_a_version_is_in_force_from_its_moment_on() -> None:
    clock = Clock()
    guard = a_guard(clock)
    limit(guard, {"max_steps": 100})
    limit(guard, {"max_steps": 1}, version=2, effective_from=at(60), before={"version": 1})
    for seconds in (0, 59):
        clock.seconds = seconds
        with guard.step("search"):
            pass
    clock.seconds = 60
    with pytest.raises(LimitReached), guard.step("search"):
        pass


def test_what_cannot_follow_leaves_the_older_in_force() -> None:
    versions = Versions()
    assert versions.add({"version": 2, "effective_from": None, "document": '{"limits":[{"max_steps":5}]}'}, 0) is None
    for number, moment, document in ((1, 90, "{}"), (3, None, "{}"), (3, 10, "{}"), (3, 90, "["), (3, 90, "[]")):
        record = {"version": number, "effective_from": moment, "document": document}
        assert versions.add(record, 20) is not None
    assert versions.in_force(100).number == 2


NAMES = st.sampled_from(["agent-1", "agent-2", "cms.write", "search", "prod/a/b/c", "*", "agent-*", "prod/*", "cms.*"])
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "match": st.dictionaries(
                st.sampled_from(["tenant", "agent_id", "agent_version", "tool_name", "target", "model"]),
                NAMES,
                max_size=3,
            ),
            "max_steps": st.integers(1, 9),
            "needs_approval": st.booleans(),
            "allowed_tools": st.lists(NAMES, max_size=2),
        },
    ),
    max_size=5,
)


@given(
    ENTRIES, st.sampled_from(["agent-1", "agent-2"]), st.sampled_from([None, "cms.write", "search"]),
    st.sampled_from([None, "prod/a/b/c"]), st.sampled_from([None, "1"]),
)  # fmt: skip
def test_it_says_of_every_call_what_the_workers_say(
    entries: list[dict[str, Any]], agent: str, tool: str | None, target: str | None, version: str | None
) -> None:
    theirs = Limits.model_validate({"version": 1, "limits": entries})
    ours = Versions()
    assert ours.add({"version": 1, "effective_from": None, "document": document_of(theirs)}, 0) is None
    call = {
        "tenant": "acme", "agent_id": agent, "agent_version": version, "model": None, "tool_name": tool, "target": target,
    }  # fmt: skip
    found = ours.in_force(0).of(call)
    for name in ("max_steps", "needs_approval", "allowed_tools"):
        wanted = theirs.value(name, "acme", agent, tool, target, version)
        assert found.get(name) == (list(wanted) if isinstance(wanted, tuple) else wanted)
