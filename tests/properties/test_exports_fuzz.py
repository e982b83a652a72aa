"""Whatever stands in a file of Langfuse, of Claude Code or of OTLP, reading it yields valid events and bad lines with
their reasons; nothing is raised. Documents are made of the words of each kind, so that they are taken for one.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.exports import exported
from pipeline.files import BadLine, read_events

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["2026-03-02T14:00:00Z", "1999-01-01T00:00:00Z", "Bash", "x" * 600, "{", '{"a": [1]}', "TOOL"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
TIME = st.just("2026-03-02T14:00:00Z") | VALUES


def some_of(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


USAGE = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]),
    st.integers(-5, 2**63) | VALUES,
)
USED = some_of({"type": st.just("tool_use"), "id": st.just("t1") | VALUES, "name": st.just("Bash") | VALUES}, {
    "input": st.dictionaries(st.sampled_from(["command", "x"]), VALUES, max_size=2) | VALUES,
})  # fmt: skip
RESULT = some_of(
    {"type": st.just("tool_result"), "tool_use_id": st.just("t1") | VALUES}, {"is_error": VALUES, "content": VALUES}
)
TRANSCRIPT = some_of(
    {
        "sessionId": st.just("session_1") | st.text(max_size=3),
        "timestamp": TIME,
        "message": some_of(
            {"id": st.just("m1") | VALUES, "content": st.lists(USED | RESULT | VALUES, max_size=3) | VALUES},
            {"usage": USAGE | VALUES, "model": VALUES},
        ),
        "type": st.sampled_from(["assistant", "user", "system"]) | VALUES,
    },
    {"agentId": VALUES, "uuid": VALUES},
)
OBSERVATION = some_of(
    {
        "traceId": st.just("0af7651916cd43dd8448eb211c80319c") | VALUES,
        "id": st.just("01") | VALUES,
        "type": st.sampled_from(["GENERATION", "TOOL", "AGENT", "SPAN"]) | VALUES,
        "startTime": TIME,
    },
    {
        "endTime": TIME, "name": VALUES, "model": VALUES, "usageDetails": USAGE | VALUES, "input": VALUES, "output": VALUES,
        "level": VALUES, "statusMessage": VALUES, "parentObservationId": VALUES,
        "metadata": VALUES | some_of({}, {"attributes": VALUES, "resourceAttributes": VALUES, "scope": VALUES}),
    },
)  # fmt: skip
TRACE = some_of(
    {"observations": st.lists(OBSERVATION | VALUES, max_size=3)},
    {"trace": some_of({}, {"sessionId": VALUES, "name": VALUES}) | VALUES, "id": VALUES},
)
ATTRIBUTES = st.lists(some_of({"key": st.just("gen_ai.operation.name") | VALUES, "value": VALUES}, {}), max_size=2)
OTLP = some_of(
    {
        "resourceSpans": st.lists(
            some_of(
                {"scopeSpans": st.lists(some_of({"spans": st.lists(some_of(
                    {"traceId": st.just("0af7651916cd43dd8448eb211c80319c") | VALUES, "spanId": st.just("00f067aa0ba902b7"),
                     "endTimeUnixNano": st.just("1772460000000000000") | VALUES, "attributes": ATTRIBUTES | VALUES},
                    {"name": VALUES, "status": VALUES, "events": VALUES, "startTimeUnixNano": VALUES},
                ), max_size=2)}, {"scope": VALUES}), max_size=2)},
                {"resource": VALUES},
            ),
            max_size=2,
        )
        | VALUES
    },
    {},
)  # fmt: skip


KINDS = {"sessionId": TRANSCRIPT, "traceId": OBSERVATION, "observations": TRACE, "resourceSpans": OTLP}


@pytest.mark.parametrize("known", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_any_file_of_somebody_elses(known: str, data: st.DataObject) -> None:
    documents = data.draw(st.lists(KINDS[known], min_size=1, max_size=4))
    assert known in documents[0]
    lines = [orjson.dumps(document) for document in documents]
    if data.draw(st.booleans()):
        at = data.draw(st.integers(1, len(lines)))
        lines.insert(at, data.draw(st.sampled_from([b"{", b"[1]", b"\xff", b'{"a": 1}', b""])))
    bad: list[BadLine] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        is_known = exported(path) is not None
        found = list(read_events([path], bad.append))
    for recorded in found:
        type(recorded.event).model_validate(recorded.event.model_dump())
    assert is_known or known == "traceId"  # with any other `type` that is no observation
    assert all(line.detail for line in bad)
