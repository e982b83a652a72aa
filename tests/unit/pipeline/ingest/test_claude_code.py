"""How a line of a recorded session becomes a span."""

from typing import Any

import pytest

from pipeline.ingest.access import access_of_command
from pipeline.ingest.claude_code import spans

Line = dict[str, Any]


def line(second: int, kind: str = "assistant", *content: dict[str, Any], **fields: Any) -> Line:
    return {
        "type": kind,
        "timestamp": f"2026-02-11T20:00:{second:02}.000Z",
        "sessionId": "session_1",
        "agentId": None,
        "content": list(content),
    } | fields


def call(second: int, output: int, *content: dict[str, Any], name: str = "call_1") -> Line:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 400,
        "output_tokens": output,
    }
    return line(second, "assistant", *content, id=name, model="model_1", usage=usage)


def use(name: str = "Read", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "use_1", "name": name, "input": given, "input_sha256": "digest_1"}


def result(is_error: bool = False) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "use_1", "is_error": is_error}


def test_the_lines_of_one_call_are_joined_and_the_largest_counter_counts() -> None:
    (span,) = spans([call(1, 2), call(4, 79), call(3, 2)])
    assert (span["operation"], span["duration_ms"]) == ("chat", 3_000)
    assert (span["input_tokens"], span["cached_input_tokens"], span["output_tokens"]) == (423, 400, 79)
    assert span["context_tokens"] == 423


def test_a_call_is_the_child_of_the_call_before_it() -> None:
    first, second = spans([call(1, 2, name="call_1"), call(5, 2, name="call_2")])
    assert "parent_span_id" not in first
    assert second["parent_span_id"] == "call_1"


def test_a_side_agent_is_an_agent_of_its_own_in_the_same_session() -> None:
    main, side = spans([call(1, 2), call(2, 2, name="call_2") | {"agentId": "agent_1"}])
    assert (main["agent_id"], side["agent_id"]) == ("main", "agent_1")
    assert main["session_id"] == side["session_id"]
    assert "parent_span_id" not in side


def test_a_tool_call_ends_with_its_result() -> None:
    _, span = spans([call(1, 2, use(file_path="a.txt")), line(3, "user", result())])
    assert (span["operation"], span["tool_name"], span["access"]) == ("execute_tool", "Read", "read")
    assert (span["duration_ms"], span["status"], span["args_digest"]) == (2_000, "ok", "digest_1")
    assert span["parent_span_id"] == "call_1"


def test_a_tool_call_without_a_result_has_not_ended() -> None:
    assert [span["operation"] for span in spans([call(1, 2, use())])] == ["chat"]


def test_a_failed_tool_call_is_an_error() -> None:
    _, span = spans([call(1, 2, use()), line(3, "user", result(is_error=True))])
    assert (span["status"], span["error_type"]) == ("error", "tool_error")


def test_a_task_is_a_handoff() -> None:
    _, span = spans([call(1, 2, use("Task", prompt="look")), line(3, "user", result())])
    assert span["operation"] == "handoff"
    assert "access" not in span


def test_a_full_context_is_not_told() -> None:
    boundary = line(2, "system", subtype="compact_boundary")
    assert spans([call(1, 2), boundary]) == spans([call(1, 2)])


@pytest.mark.parametrize(
    ("command", "access"),
    [
        ("git log --oneline -20", "read"),
        ("git status && git diff --stat", "read"),
        ("grep -rn 'x' src | head -5 2>/dev/null", "read"),
        ("ls -la /tmp 2>&1", "read"),
        ("mix test 2>&1 | tail -5", "write"),
        ("git commit -m 'x'", "write"),
        ("echo x > file.txt", "write"),
        ("sed -i 's/a/b/' file.txt", "write"),
        ("find . -name '*.pyc' -exec touch {} +", "write"),
        ("rm -rf build", "destructive"),
        ("git reset --hard HEAD~1", "destructive"),
    ],
)
def test_a_command_only_reads_where_all_of_it_is_known_to(command: str, access: str) -> None:
    assert access_of_command(command) == access
