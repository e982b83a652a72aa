"""What an agent says it did, held against what the cluster tells: through correlate, which has both."""

from typing import Any

import pytest

from tests.builders import at, event, span
from tests.scenario import incidents

EVERY = 400.0  # seconds between two changes: beyond the wait for an effect
AGENT = {"actor": "agent-1", "actor_kind": "agent", "session_id": "session-1"}
PHANTOM = "verification: effect not checked"
LATE = "verification: effect came late, not awaited"
OVERSIZED = "verification: effect larger than asked for"
DARK = "trace: none of a change by the agent's identity"


def target(number: int) -> str:
    return f"prod/shop/deployment/service-{number}"


def write(number: int, **fields: Any) -> dict[str, Any]:
    began = number * EVERY
    told = {"tool_name": "kubernetes.scale", "access": "write", "target": target(number), "start_time": at(began)}
    return span(began + 1, **told | {"tool_args": '{"replicas":6}'} | fields)


def effect(number: int, lag: float = 3, **fields: Any) -> dict[str, Any]:
    told = {"value": "6", "previous_value": "3", "actor": "deployment-controller", "actor_kind": "controller"}
    return event(number * EVERY + lag, f"effect-{number}", "scale", target(number), **told | fields)


def pairs(*numbers: int, **fields: Any) -> list[dict[str, Any]]:
    return [row for number in numbers for row in (write(number), effect(number, **fields))]


def gaps(rows: list[dict[str, Any]]) -> list[str]:
    return [gap.gap for incident in incidents(rows) for gap in incident.governance_gaps]


def test_an_action_without_the_effect_that_such_actions_have_is_a_phantom() -> None:
    assert gaps([*pairs(0, 1, 2, 3, 4), write(5), *pairs(6, 7)]) == [PHANTOM]
    assert gaps(pairs(0, 1, 2, 3, 4, 5, 6, 7)) == []
    assert gaps([*pairs(0, 1, 2, 3), write(5), *pairs(6, 7)]) == []  # seen too rarely to know


@pytest.mark.parametrize("fields", [{"status": "error"}, {"tool_name": "kubernetes.scale_dry_run"}])
def test_an_action_that_failed_or_of_which_effects_were_never_told_is_none(fields: dict[str, Any]) -> None:
    assert gaps([*pairs(0, 1, 2, 3, 4), write(5, **fields), *pairs(6, 7)]) == []


def test_a_source_that_tells_of_no_effects_or_only_of_some_makes_no_phantoms() -> None:
    assert gaps([write(number) for number in range(12)]) == []
    told = [row for n in range(12) for row in ([write(n), effect(n)] if n % 3 else [write(n)])]
    assert gaps(told) == []


def test_while_the_source_is_silent_it_cannot_be_decided() -> None:
    silent = [write(number) for number in range(5, 12)]
    assert gaps([*pairs(0, 1, 2, 3, 4), *silent]) == []
    # it speaks again, half an hour and more after the first of them: only what is not too old is judged
    assert gaps([*pairs(0, 1, 2, 3, 4), write(5), *pairs(14, 15)]) == []


def test_an_effect_is_late_where_such_effects_come_at_once() -> None:
    assert gaps([*pairs(0, 1, 2, 3, 4), write(5), effect(5, 120), *pairs(6, 7)]) == [LATE]
    assert gaps([*pairs(0, 1, 2, 3, 4), write(5), effect(5, 50), *pairs(6, 7)]) == []
    slow = pairs(0, 1, 2, 3, 4, lag=100)
    assert gaps([*slow, write(5), effect(5, 120), *pairs(6, 7)]) == []


def test_an_effect_beyond_what_was_asked_for_is_oversized() -> None:
    assert gaps([write(0), effect(0, value="60"), write(1)]) == [OVERSIZED]
    assert gaps([write(0), effect(0, value="6"), write(1)]) == []
    assert gaps([write(0, tool_args='{"count":57}'), effect(0, value="60"), write(1)]) == []  # 57 more
    assert gaps([write(0, tool_args='{"app":"x"}'), effect(0, value="60"), write(1)]) == []
    assert gaps([write(0), effect(0, value="60", actor="user:mo", actor_kind="human"), write(1)]) == []


def test_a_change_by_an_agents_identity_without_a_trace_is_dark() -> None:
    rest = [write(number) for number in (7, 8, 9)]
    assert gaps([*pairs(0, 1, 2, **AGENT), effect(6, **AGENT), *rest]) == [DARK]
    assert gaps([*pairs(0, 1, 2, **AGENT), effect(6, **AGENT), write(6), *rest]) == []
    assert gaps([*pairs(0, 1, 2, **AGENT), effect(6), *rest]) == []  # a controller


def test_an_identity_of_which_traces_never_told_and_traces_that_are_silent_make_nothing_dark() -> None:
    rest = [write(number) for number in (7, 8, 9)]
    assert gaps([effect(6, **AGENT), *rest]) == []
    assert gaps([*pairs(0, 1, 2, **AGENT), effect(6, **AGENT), *(effect(n) for n in (7, 8, 9))]) == []
