"""OTLP spans -> rows: protobuf and JSON alike, faults alone, what is declared, guessed and taken from others."""

import json
from typing import Any

import orjson
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from pipeline.core.limits import Limits
from pipeline.ingest.access import access_of_name, guess
from pipeline.ingest.messages import Mapped, Reader, key_of
from schemas.errors import Reason
from schemas.events import AgentSpan
from schemas.topics import OTLP_SPANS
from tests.builders import at
from tests.otlp import TRACE, as_json, otel_span, traces

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "model_1"}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "ticket.read"}


def read(*spans: dict[str, Any], limits: Limits | None = None, **resource: Any) -> Mapped:
    return Reader(limits).read(OTLP_SPANS.name, traces(spans, {"service.name": "shop-agent"} | resource))


def rows(*spans: dict[str, Any], limits: Limits | None = None, **resource: Any) -> list[dict[str, Any]]:
    mapped = read(*spans, limits=limits, **resource)
    assert mapped.reason is None, mapped.detail
    for _, row in mapped.events:
        AgentSpan.model_validate(row)
    return [row for _, row in mapped.events]


def test_times_ids_service_and_key() -> None:
    (row,) = rows(otel_span(7, 1, parent=2, attributes=CHAT), **{"service.version": "3"})
    assert (row["start_time"], row["event_time"], row["duration_ms"]) == (at(6), at(7), 1000)
    assert (row["trace_id"], row["span_id"], row["parent_span_id"]) == (TRACE, "0" * 15 + "1", "0" * 15 + "2")
    assert (row["agent_id"], row["agent_version"], row["session_id"]) == ("shop-agent", "3", TRACE)
    assert key_of("agent_span", row) == f"default/{TRACE}"


def test_json_gives_the_same_rows_as_protobuf() -> None:
    value = traces(
        [
            otel_span(1, 1, parent=3, attributes=CHAT | {"gen_ai.usage.input_tokens": 79, "n": [1, {"a": 2.5}, None]}),
            otel_span(2, 2, parent=3, attributes=TOOL | {"gen_ai.tool.call.arguments": {"id": 7}}, error="no"),
            otel_span(3, 3, attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}),
        ]
    )
    document = as_json(TracesData.FromString(value))
    events = Reader().read(OTLP_SPANS.name, value).events
    assert len(events) == 3
    assert Reader().read(OTLP_SPANS.name, orjson.dumps(document)).events == events
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        span["traceId"], span["spanId"] = span["traceId"].upper(), span["spanId"].upper()
        span["startTimeUnixNano"] = int(span["startTimeUnixNano"])
    assert Reader().read(OTLP_SPANS.name, b"\n " + orjson.dumps(document)).events == events


def test_ids_in_base64_are_understood() -> None:
    value = traces([otel_span(1, 1, attributes=CHAT)])
    document = as_json(TracesData.FromString(value))
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["traceId"], span["spanId"] = "CvdlGRbNQ92ESOshHIAxnA==", "AAAAAAAAAAE="
    assert Reader().read(OTLP_SPANS.name, orjson.dumps(document)).events == Reader().read(OTLP_SPANS.name, value).events


def test_protobuf_that_begins_like_json_is_protobuf() -> None:
    for padding in range(1, 100):
        value = traces([otel_span(1, 1, attributes={"tool.name": "x" * padding})], {})
        if value[:2] == b"\n{":
            break
    else:
        pytest.fail("no message whose length is the code of a bracket")
    assert len(Reader().read(OTLP_SPANS.name, value).events) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b"x" * 1_000_001, Reason.TOO_LARGE),
        (b"\xff\xff\xff", Reason.MALFORMED),
        (b"\x12\x03abc", Reason.MALFORMED),  # a field that OTLP does not have: parses as an empty message
        (b'{"a": 1}', Reason.MALFORMED),
        (b"{", Reason.MALFORMED),
        (b'{"resourceSpans": "\xff"}', Reason.INVALID_UTF8),
        (b'{"resourceSpans": ' + b"[" * 40 + b"]" * 40 + b"}", Reason.NESTED_TOO_DEEP),
    ],
)
def test_what_is_no_otlp_is_rejected_with_a_reason(value: bytes | None, reason: Reason) -> None:
    mapped = Reader().read(OTLP_SPANS.name, value)
    assert (mapped.reason, mapped.is_rejected, mapped.events) == (reason, True, [])
    assert mapped.detail


def test_one_bad_span_loses_nothing_but_itself() -> None:
    message = TracesData.FromString(traces([otel_span(1, 1, attributes=CHAT), otel_span(2, 2, attributes=CHAT)]))
    message.resource_spans[0].scope_spans[0].spans[0].span_id = b"\x01"
    mapped = Reader().read(OTLP_SPANS.name, message.SerializeToString())
    assert [row["span_id"] for _, row in mapped.events] == ["0" * 15 + "2"]
    assert (mapped.reason, mapped.is_rejected) == (Reason.WRONG_TYPE, False)
    assert mapped.detail.startswith("1 of 2 left out: ids of 16 and 1 bytes")


def test_a_time_that_cannot_be_is_refused_and_an_end_before_the_start_is_the_start() -> None:
    message = TracesData.FromString(traces([otel_span(1, 1, attributes=CHAT), otel_span(2, 2, attributes=CHAT)]))
    first, second = message.resource_spans[0].scope_spans[0].spans
    first.start_time_unix_nano = first.end_time_unix_nano = 5
    second.end_time_unix_nano = second.start_time_unix_nano - 1
    mapped = Reader().read(OTLP_SPANS.name, message.SerializeToString())
    assert mapped.reason is Reason.TIME_OUT_OF_RANGE
    assert [(row["event_time"], row["duration_ms"]) for _, row in mapped.events] == [(at(1), 0)]


def test_spans_that_are_no_agents_doing_are_left_out() -> None:
    mapped = read(otel_span(1, 1, attributes={"http.request.method": "GET"}), otel_span(2, 2, attributes=CHAT))
    assert (len(mapped.events), mapped.unwanted, mapped.reason) == (1, 1, None)


@pytest.mark.parametrize(
    ("span", "kind"),
    [
        ({"error": "it broke"}, "it broke"),
        ({"exception": "TimeoutError"}, "TimeoutError"),
        ({"attributes": TOOL | {"error.type": "429"}}, "429"),
    ],
)
def test_errors_come_from_status_events_and_attributes(span: dict[str, Any], kind: str) -> None:
    (row,) = rows(otel_span(1, 1, **({"attributes": TOOL} | span)))
    assert (row["status"], row["error_type"]) == ("error", kind)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}, (10, 5, 0, 0)),
        ({"gen_ai.usage.prompt_tokens": "10", "gen_ai.usage.completion_tokens": "5"}, (10, 5, 0, 0)),
        ({"gen_ai.usage.input_tokens": 10.0, "gen_ai.usage.output_tokens": -5}, (10, 0, 0, 0)),
        ({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 4}, (10, 0, 4, 0)),
        # the provider's own count, which leaves out what came from its cache
        ({"gen_ai.usage.input_tokens": 3, "gen_ai.usage.cache_read_input_tokens": 900}, (903, 0, 900, 0)),
        ({"gen_ai.usage.output_tokens": 9, "gen_ai.usage.reasoning.output_tokens": 7}, (0, 9, 0, 7)),
        ({"gen_ai.usage": {"input_tokens": 8, "output_tokens": 2}}, (8, 2, 0, 0)),
        ({"output.value": '{"usage":{"prompt_tokens":8,"completion_tokens":2}}'}, (8, 2, 0, 0)),
        (
            {"output.value": '{"r":{"usage_metadata":{"prompt_token_count":8,"thoughts_token_count":1,"total":9}}}'},
            (8, 1, 0, 1),
        ),
        ({"gen_ai.usage.input_tokens": True, "gen_ai.usage.output_tokens": 2**60}, (0, 0, 0, 0)),
    ],
)
def test_tokens_however_they_are_written(usage: dict[str, Any], tokens: tuple[int, ...]) -> None:
    (row,) = rows(otel_span(1, 1, attributes=CHAT | usage))
    found = (row["input_tokens"], row["output_tokens"], row["cached_input_tokens"], row["reasoning_tokens"])
    assert found == tokens


def test_tokens_of_a_run_and_of_a_wrapper_are_not_counted_again() -> None:
    tokens = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
    found = rows(
        otel_span(3, 3, attributes=CHAT | tokens, parent=2),
        otel_span(4, 2, attributes=CHAT | tokens, parent=1),
        otel_span(5, 1, attributes={"gen_ai.operation.name": "invoke_agent"} | tokens),
    )
    assert [(row["operation"], row.get("input_tokens", 0)) for row in found] == [
        ("chat", 10),
        ("invoke_agent", 0),
        ("invoke_agent", 0),
    ]


def test_one_tool_call_seen_from_both_ends_is_one() -> None:
    inner = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "ticket.read", "gen_ai.tool.call.result": "found"}
    other = {"mcp.method.name": "tools/call", "gen_ai.tool.name": "db.query"}
    found = rows(
        otel_span(1, 2, parent=1, attributes=inner),
        otel_span(2, 3, parent=1, attributes=other),
        otel_span(3, 1, attributes=TOOL),
    )
    assert [(row["tool_name"], row.get("result_digest") is not None) for row in found] == [
        ("db.query", False),
        ("ticket.read", True),
    ]


def test_agents_and_sessions_come_from_those_that_say_them() -> None:
    run = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "conversation_1"}
    found = rows(
        otel_span(1, 3, parent=2, attributes=TOOL),
        otel_span(2, 2, parent=1, attributes=run | {"gen_ai.agent.name": "helper"}),
        otel_span(3, 4, parent=1, attributes=CHAT),
        otel_span(4, 1, attributes=run | {"gen_ai.agent.name": "planner"}),
        otel_span(5, 5, attributes=CHAT, trace="f" * 32),
    )
    assert [row["agent_id"] for row in found] == ["helper", "helper", "planner", "planner", "shop-agent"]
    assert [row["session_id"] for row in found] == ["conversation_1"] * 4 + ["f" * 32]


def test_a_thousand_spans_in_one_chain_are_no_burden() -> None:
    chain = [
        otel_span(1, number, parent=number + 1, attributes=TOOL | {"gen_ai.tool.name": str(number % 2)})
        for number in range(1, 5001)
    ]
    assert len(rows(*chain)) == 5000


@pytest.mark.parametrize(
    ("attributes", "limits", "access", "where"),
    [
        ({}, [], "read", "guess"),
        ({"gen_ai.tool.name": "frobnicate"}, [], "write", "guess"),
        (
            {"aftermath.access": "destructive"},
            [{"match": {"tool_name": "ticket.*"}, "access": "write"}],
            "destructive",
            "declared",
        ),
        ({}, [{"match": {"tool_name": "ticket.*"}, "access": "write"}], "write", "limits"),
        (
            {"gen_ai.agent.version": "2.1"},
            [{"match": {"agent_version": "2.*"}, "access": "write"}],
            "write",
            "limits",
        ),
        ({"gen_ai.agent.version": "1.0"}, [{"match": {"agent_version": "2.*"}, "access": "write"}], "read", "guess"),
        ({"mcp.tool.annotations.read_only_hint": True, "gen_ai.tool.name": "frobnicate"}, [], "read", "declared"),
        ({"aftermath.access": "whatever"}, [], "read", "guess"),
    ],
)
def test_access_is_declared_else_in_the_limits_else_guessed(
    attributes: dict[str, Any], limits: list[dict[str, Any]], access: str, where: str
) -> None:
    (row,) = rows(otel_span(1, 1, attributes=TOOL | attributes), limits=Limits.model_validate({"limits": limits}))
    assert row["access"] == access
    assert json.loads(row["attributes"])["access_from"] == where


@pytest.mark.parametrize(
    ("tool", "command", "access"),
    [
        ("getWeather", None, "read"),
        ("list_and_delete_files", None, "destructive"),
        ("kubernetes.scale", None, "provision"),
        ("update_ticket", None, "write"),
        ("HTTPGet", None, "read"),
        ("browser_navigate", None, "read"),
        ("scroll_down", None, "read"),
        ("click", None, "write"),  # it may buy something
        ("wait_and_delete", None, "destructive"),
        ("x", None, "write"),
        ("bash", "ls -la | wc -l", "read"),
        ("bash", "kubectl get pods", "read"),
        ("bash", "kubectl -n shop scale deployment cart --replicas=24", "provision"),
        ("bash", "kubectl delete pod cart-1", "destructive"),
        ("bash", "python train.py", "write"),
        ("get_page", "rm -rf /", "read"),  # no shell
    ],
)
def test_a_guess_errs_on_the_side_of_more(tool: str, command: str | None, access: str) -> None:
    assert guess(tool, command) == access
    assert access_of_name(tool) == access or command


def test_our_own_words_say_any_field() -> None:
    said = {
        "aftermath.target": "prod/shop/deployment/cart",
        "aftermath.approval": "denied",
        "aftermath.max_steps": 5,
        "aftermath.expects": {"replicas": 3},
        "aftermath.no_such_field": "x",
        "aftermath.event_time": 5,
    }
    (row,) = rows(otel_span(1, 1, attributes=TOOL | said), **{"aftermath.tenant": "acme", "aftermath.task_type": "ops"})
    assert (row["tenant"], row["task_type"], row["target"]) == ("acme", "ops", "prod/shop/deployment/cart")
    assert (row["approval"], row["max_steps"], row["expects"]) == ("denied", 5, '{"replicas":3}')
    assert row["event_time"] == at(1)


def test_arguments_of_a_kubernetes_tool_name_its_target() -> None:
    named = {"namespace": "shop", "deployment": "cart", "replicas": 3}
    (row,) = rows(
        otel_span(1, 1, attributes=TOOL | {"gen_ai.tool.call.arguments": named}), **{"k8s.cluster.name": "eu"}
    )
    assert row["target"] == "eu/shop/deployment/cart"


def test_attributes_are_cut_before_they_are_too_many() -> None:
    many = {f"key_{number}": "x" * 2000 for number in range(100)}
    (row,) = rows(otel_span(1, 1, attributes=TOOL | many))
    assert len(row["attributes"]) <= 16_384
    assert json.loads(row["attributes"])["access_from"] == "guess"
