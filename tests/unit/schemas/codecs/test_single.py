"""One message: what goes in comes out, and what is broken is refused by name."""

import struct
from dataclasses import replace
from typing import Any

import pytest

from schemas import registry
from schemas.codecs import single
from schemas.codecs.single import UnreadableError
from schemas.errors import Reason
from schemas.events import AgentSpan, ClusterEvent, MetricPoint
from schemas.incidents import Attribution, BlastResource, Candidate, ContextGap, Evidence, GovernanceGap, Incident
from schemas.signals import Action, Fact, Marker, Reduced, Row, Signal, Usage
from tests.builders import at, event, metric, span


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "type"}


def metric_bytes(**fields: Any) -> bytes:
    return single.encode("metric_point", fields_of(metric(0, 0.5, **fields)))


HEADER = registry.newest("metric_point").header
GOOD = metric_bytes()
RESOURCE = b"\x32prod/shop/deployment/cart"  # 25 characters


def reason_of(data: bytes) -> Reason:
    with pytest.raises(UnreadableError) as caught:
        single.decode(data)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    "found",
    [
        AgentSpan(**fields_of(span(1, step=3, tool_args='{"a": 1}', start_time=at(0)))),
        MetricPoint(**fields_of(metric(1, 0.5, labels='{"zone":"a"}'))),
        ClusterEvent(**fields_of(event(1, "event-1", "flag", "prod/shop/flag/prefetch", value="on"))),
    ],
    ids=lambda found: found.record,
)
def test_an_event_comes_back_as_it_was(found: AgentSpan | MetricPoint | ClusterEvent) -> None:
    name, value = single.decode(single.encode_event(found))
    assert name == found.record
    assert type(found)(**value) == found


def test_absent_fields_get_their_defaults() -> None:
    assert single.decode(metric_bytes())[1]["kind"] == "gauge"


def test_a_misspelt_field_is_refused_on_the_way_out() -> None:
    with pytest.raises(ValueError, match="ressource"):
        metric_bytes(ressource="prod/shop/deployment/cart")


def test_a_missing_field_is_refused_on_the_way_out() -> None:
    with pytest.raises(ValueError, match="pane"):
        single.encode("marker", {"source": "a/0", "run": "r", "rows": 1})


def test_an_unknown_fingerprint_is_named() -> None:
    assert reason_of(b"\xc3\x01" + b"\x07" * 8 + GOOD[10:]) == Reason.UNKNOWN_FINGERPRINT


def test_bytes_that_are_no_single_object_are_of_an_unknown_encoding() -> None:
    assert reason_of(b"\x00\x00\x00\x00\x07" + GOOD[10:]) == Reason.UNKNOWN_ENCODING


@pytest.mark.parametrize("length", range(2, len(GOOD)))
def test_a_message_cut_anywhere_is_truncated(length: int) -> None:
    assert reason_of(GOOD[:length]) == Reason.TRUNCATED


@pytest.mark.parametrize("more", [b"\x00", GOOD, b"\xff" * 100])
def test_bytes_behind_the_last_field_are_named(more: bytes) -> None:
    assert reason_of(GOOD + more) == Reason.TRAILING_BYTES


def test_a_length_beyond_the_message_is_refused_before_anything_is_allocated() -> None:
    # 2^40 bytes: would end the process if it were believed
    assert reason_of(GOOD.replace(RESOURCE, b"\x80\x80\x80\x80\x80\x80\x01")) == Reason.TRUNCATED


def test_a_negative_length_is_malformed() -> None:
    assert reason_of(GOOD.replace(RESOURCE, b"\x31prod/shop/deployment/cart")) == Reason.MALFORMED


@pytest.mark.parametrize("index", [b"\x04", b"\x01", b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"])
def test_a_union_branch_that_does_not_exist_is_malformed(index: bytes) -> None:
    assert GOOD.endswith(b"\x00\x0agauge\x00")  # unit null, kind, labels null
    assert reason_of(GOOD[:-1] + index) == Reason.MALFORMED


@pytest.mark.parametrize("number", [b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\xff" * 40])
def test_a_number_of_more_than_64_bits_is_malformed(number: bytes) -> None:
    rest = GOOD[18:]  # event_time has eight bytes
    assert reason_of(HEADER + number + rest) == Reason.MALFORMED


def test_the_greatest_and_the_least_number_are_read() -> None:
    for number in (2**63 - 1, -(2**63), 2**62, -1):
        data = single.encode("marker", {"source": "a/0", "pane": number, "run": "r", "rows": 1})
        assert single.decode(data)[1]["pane"] == number


def test_text_that_is_not_utf8_is_named() -> None:
    assert reason_of(GOOD.replace(b"prod/shop", b"prod\xffshop")) == Reason.INVALID_UTF8


def test_a_boolean_is_zero_or_one() -> None:
    data = single.encode_record(ROWS[1])
    assert single.decode(data)[1]["late"] is True
    position = data.rindex(b"\x01" + b"\x00\x01\x01")  # late, then an empty topic, partition -1 and offset -1
    assert reason_of(data[:position] + b"\x02" + data[position + 1 :]) == Reason.MALFORMED


def test_a_number_beyond_32_bits_is_no_int() -> None:
    action = single.encode_record(ROWS[1])
    assert action.endswith(b"\x00\x01\x01")
    assert reason_of(action[:-2] + b"\x80\x80\x80\x80\x20" + b"\x01") == Reason.MALFORMED


ROWS: tuple[Row, ...] = (
    Signal(
        signal_id="s1",
        type="feedback_loop.exact",
        tenant="acme",
        window_start=at(0),
        window_end=at(60),
        detected_at=at(60),
        score=0.75,
        evidence='{"calls":5}',
    ),
    Action(
        tenant="acme",
        trace_id="trace-1",
        span_id="span-1",
        session_id="session-1",
        agent_id="agent-1",
        operation="execute_tool",
        access="write",
        start_time=at(0),
        end_time=at(1),
        status="ok",
        late=True,
    ),
    Fact(
        tenant="acme",
        fact_id="f1",
        kind="flag",
        resource="prod/shop/flag/prefetch",
        event_time=at(0),
        published_time=at(0),
        valid_from=at(0),
        topic="cluster.events.v1",
        partition=3,
        offset=79,
    ),
    Usage(tenant="acme", pane=at(0), source="agent.traces.v1/0", rows=2, table=b"arrow"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_row_for_correlate_comes_back_with_its_source_pane_and_run(row: Row) -> None:
    reduced = Reduced("agent.traces.v1/3", at(5), "run-1", row)
    assert single.decode_record(single.encode_record(reduced)) == reduced


def test_of_several_messages_only_the_wanted_kinds_of_rows_are_read() -> None:
    marker = Marker(source="agent.traces.v1/3", pane=at(5), run="run-1", rows=17)
    messages = [*(Reduced("agent.traces.v1/3", at(5), "run-1", row) for row in ROWS), marker]
    values = [single.encode_record(message) for message in messages]
    assert single.decode_rows(values, Signal, Usage) == [row for row in ROWS if isinstance(row, (Signal, Usage))]
    assert single.decode_rows(values) == []


def test_a_marker_comes_back() -> None:
    marker = Marker(source="agent.traces.v1/3", pane=at(5), run="run-1", rows=17)
    assert single.decode_record(single.encode_record(marker)) == marker


@pytest.mark.parametrize(
    "inner",
    [
        GOOD,
        single.encode_record(ROWS[0]),
        single.encode(
            "reduced_row",
            {
                "source": "a/0",
                "pane": 0,
                "run": "r",
                "row": single.encode_record(Marker(source="a/0", pane=0, run="r", rows=0)),
            },
        ),
    ],
)
def test_only_rows_and_markers_stand_on_the_topic_of_signals(inner: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        single.decode_record(inner)
    assert caught.value.reason == Reason.WRONG_TYPE


def test_an_incident_comes_back_with_its_nested_parts() -> None:
    incident = Incident(
        incident_id="i1",
        fingerprint="f1",
        revision=3,
        tenant="acme",
        kind="agent_caused_failure",
        status="open",
        severity="critical",
        scope="prod/shop",
        agent_id="agent-1",
        agent_version=None,
        session_ids=("session-1", "session-2"),
        title="agent-1 scaled cart",
        started_at=at(0),
        detected_at=at(60) + 1,
        updated_at=at(61),
        summary="It scaled.",
        attribution=Attribution(
            verdict="agent",
            probability=0.9,
            ranked=(
                Candidate(
                    kind="agent_action",
                    resource="prod/shop/deployment/cart",
                    event_time=at(0) + 79,
                    probability=0.9,
                    factors={"lag": 0.5},
                ),
            ),
        ),
        context_gaps=(
            ContextGap.model_validate(
                {
                    "event_id": "e1",
                    "resource": "prod/shop/statefulset/db",
                    "source": "calendar",
                    "class": "never_queried",
                    "span_id": "span-1",
                }
            ),
        ),
        governance_gaps=(GovernanceGap(component="change", failure_point="before", gap="approval"),),
        blast_radius=(BlastResource(resource="prod/shop/statefulset/db", distance=1),),
        evidence=(
            Evidence(
                type="action",
                topic="agent.traces.v1",
                partition=0,
                offset=7,
                event_id="span-1",
                event_time=at(0),
                shows="scaled from 6 to 24",
            ),
        ),
    )
    data = single.encode_incident(incident)
    assert single.decode_incident(data) == incident
    assert single.decode(data)[1]["started_at"] == at(0)
    with pytest.raises(UnreadableError):
        single.decode_incident(GOOD)


def test_a_dead_letter_keeps_any_bytes() -> None:
    value = {
        "topic": "agent.traces.v1",
        "partition": 3,
        "offset": 812,
        "ingest_time": at(0),
        "stage": "detect",
        "reason": "truncated",
        "detail": "",
        "code_version": "0.1.0",
        "key": b"\xff\x00",
        "value": bytes(range(256)),
    }
    assert single.decode(single.encode("dead_letter", value)) == ("dead_letter", value)


def test_a_double_is_exact() -> None:
    for number in (0.1, -0.0, 1e308, 5e-324):
        data = single.encode("metric_point", fields_of(metric(0, number)))
        assert struct.pack("<d", single.decode(data)[1]["value"]) == struct.pack("<d", number)


@pytest.mark.parametrize("order", [1, -1])
def test_many_records_together_are_the_same_bytes_as_each_alone(order: int) -> None:
    marker = Marker(source="agent.traces.v1/3", pane=at(5), run="run-1", rows=17)
    signals = [replace(ROWS[0], summary=f"Grüße {number}", scope=None if number % 2 else "x") for number in range(3)]
    actions = [replace(ROWS[1], tool_args="x" * 5_000, cut_at=number or None, late=number > 1) for number in range(3)]
    rows = [*ROWS, *signals, *actions]
    messages = [marker, *(Reduced("agent.traces.v1/3", at(5), "run-1", row) for row in rows), marker][::order]
    assert single.encode_records(messages) == [single.encode_record(message) for message in messages]
    assert single.encode_records([]) == []
