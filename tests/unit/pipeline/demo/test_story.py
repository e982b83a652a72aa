"""The story tells what issue and README say, the same way every time."""

import json
from collections import Counter
from functools import cache

import pytest

from pipeline.demo import looping, partly_informed, readings, sick_node, timeline
from pipeline.demo.recorder import LEAST_DELAY, MOST_DELAY, Event
from pipeline.demo.story import story
from schemas.events import EVENTS
from schemas.resources import scope_of
from schemas.times import MICROS, MINUTE, parse_time


@cache
def told() -> tuple[Event, ...]:
    return tuple(story())


def of_session(session_id: str) -> list[Event]:
    return [event for event in told() if event.get("session_id") == session_id]


def series(resource: str, metric: str) -> dict[int, float]:
    return {
        event["event_time"]: event["value"]
        for event in told()
        if event.get("resource") == resource and event.get("metric") == metric
    }


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert json.dumps(story(7)) == json.dumps(story(7))


def test_another_seed_gives_another_story_with_the_same_facts() -> None:
    other = story(8)
    assert json.dumps(other) != json.dumps(story(7))
    assert len(looping.hook_writes(other)) == 118
    assert 9_800_000 <= looping.unplanned_tokens(other) <= 10_200_000


def test_every_event_is_valid() -> None:
    for event in told():
        fields = {name: value for name, value in event.items() if name not in ("type", "ingest_time")}
        EVENTS[event["type"]].model_validate(fields)


def test_no_event_says_more_than_a_service_could_know() -> None:
    allowed = {record: {*model.model_fields, "type", "ingest_time"} for record, model in EVENTS.items()}
    assert [event for event in told() if not set(event) <= allowed[event["type"]]] == []


def test_events_come_as_the_broker_got_them_a_little_after_they_happened() -> None:
    arrived = [event["ingest_time"] for event in told()]
    assert arrived == sorted(arrived)
    assert all(LEAST_DELAY <= event["ingest_time"] - event["event_time"] <= MOST_DELAY for event in told())


def test_everything_happens_within_the_half_hour() -> None:
    first = min(event["event_time"] for event in told())
    last = max(event["event_time"] for event in told())
    assert (parse_time("2026-03-02T14:00:00Z"), parse_time("2026-03-02T14:29:45Z")) == (first, last)


def test_ids_are_unique() -> None:
    spans = [(event["trace_id"], event["span_id"]) for event in told() if event["type"] == "agent_span"]
    events = [event["event_id"] for event in told() if event["type"] == "cluster_event"]
    assert len(spans) == len(set(spans)) > 380
    assert len(events) == len(set(events)) > 200


def test_every_span_has_its_parent_in_the_same_session() -> None:
    known = {(event["session_id"], event["span_id"]) for event in told() if event["type"] == "agent_span"}
    for event in told():
        if event["type"] == "agent_span" and event["operation"] != "invoke_agent":
            assert (event["session_id"], event["parent_span_id"]) in known


def test_a_tool_is_called_after_the_model_asked_for_it_has_answered() -> None:
    ends = {event["span_id"]: event["event_time"] for event in told() if event.get("operation") == "chat"}
    calls = [event for event in told() if event.get("tool_name")]
    assert len(calls) > 200
    assert all(ends[event["parent_span_id"]] <= event["start_time"] for event in calls)


# A partly informed change


def test_the_agent_reads_twelve_documents_and_the_metrics_of_its_scope() -> None:
    before = [event for event in of_session(partly_informed.SESSION_ID) if event["event_time"] < timeline.SCALE_AT]
    documents = {event["target"] for event in before if event["operation"] == "retrieval"}
    metrics = {event["target"] for event in before if event.get("tool_name") == "metrics.query"}
    assert len(documents) == 12
    assert all(target.startswith("prod-eu/checkout/document/") for target in documents)
    assert metrics == {"prod-eu/checkout/deployment/cart", "prod-eu/checkout/statefulset/cart-db"}


def test_the_agent_never_asks_the_calendar_nor_the_flag_service() -> None:
    tools = {event["tool_name"] for event in of_session(partly_informed.SESSION_ID) if event.get("tool_name")}
    assert tools == {"docs.read", "metrics.query", "kubernetes.scale"}


def test_the_agent_scales_from_6_to_24_without_approval() -> None:
    (action,) = [event for event in told() if partly_informed.is_the_action(event)]
    assert action["start_time"] == parse_time("2026-03-02T14:09:00Z")
    assert action["target"] == "prod-eu/checkout/deployment/cart"
    assert action["approval"] == "requested"
    assert "approved_by" not in action
    assert json.loads(action["expects"]) == {"replicas": 6}
    assert json.loads(action["tool_args"])["replicas"] == 24


@pytest.mark.parametrize("event_id", ["mw-311", "flag-cart-prefetch"])
def test_both_facts_could_be_read_and_held_before_the_agent_began(event_id: str) -> None:
    (fact,) = [event for event in told() if event.get("event_id") == event_id]
    assert fact["published_time"] < timeline.CAPACITY_FROM
    assert fact["valid_from"] < timeline.SCALE_AT < fact.get("valid_until", timeline.END)
    assert scope_of(fact["resource"]) == "prod-eu/checkout"
    assert fact["source"] in ("change-calendar", "flag-service")


def test_connections_reach_their_maximum_three_minutes_after_the_action_and_not_before() -> None:
    connections = series("prod-eu/checkout/statefulset/cart-db", "db.connections")
    full = [moment for moment, value in connections.items() if value == 500]
    assert min(full) == timeline.SCALE_AT + 3 * MINUTE
    assert max(full) == timeline.RECOVERED_AT - 15 * MICROS
    assert all(170 <= value <= 190 for moment, value in connections.items() if moment not in full)


def test_the_query_storm_is_eight_times_the_usual() -> None:
    queries = series("prod-eu/checkout/statefulset/cart-db", "db.queries_per_second")
    assert queries[timeline.FAILURE_AT] < 1_300
    assert 9_000 < queries[timeline.FAILURE_AT + MINUTE] < 10_200
    assert queries[timeline.RECOVERED_AT] < 1_300


def test_pods_of_both_crash_loop_with_rising_counts_and_start_again() -> None:
    warnings: dict[str, list[int]] = {}
    for event in told():
        if event.get("severity") == "warning" and scope_of(event["resource"]) == "prod-eu/checkout":
            assert timeline.FAILURE_AT < event["event_time"] < timeline.ROLLBACK_AT
            if event["reason"] != "Unhealthy":
                warnings.setdefault(event["resource"], []).append(event["count"])
    assert len([pod for pod in warnings if "/cart-db-" in pod]) == 2
    assert len(warnings) == 8
    # ingest order may swap two neighbours of event time, never the counts themselves
    assert all(sorted(counts) == list(range(1, len(counts) + 1)) and len(counts) > 10 for counts in warnings.values())
    started = {event["resource"] for event in told() if event.get("reason") == "Started"}
    assert {pod for pod in warnings if "/cart-db-" in pod} <= started


# A loop


def test_the_hook_is_written_in_two_turns_and_answered_the_same_each_time() -> None:
    writes = looping.hook_writes(list(told()))
    assert len(writes) == 118
    maps = [json.loads(event["tool_args"])["lang_map"]["pt"] for event in writes]
    answers = [event["result_digest"] for event in writes]
    assert maps == ["pt-PT", "pt-BR"] * 59
    assert answers == answers[:2] * 59
    assert answers[0] != answers[1]


def test_one_argument_changes_in_every_call_and_no_other_one_does() -> None:
    args = [json.loads(event["tool_args"]) for event in looping.hook_writes(list(told()))]
    assert len({each.pop("request_id") for each in args}) == 118
    assert len({json.dumps(each, sort_keys=True) for each in args}) == 2
    assert len({event["args_digest"] for event in looping.hook_writes(list(told()))}) == 118


def test_the_loop_burns_ten_million_uncached_tokens_in_twenty_minutes() -> None:
    burnt = looping.unplanned_tokens(list(told()))
    assert 9_800_000 <= burnt <= 10_200_000
    chats = [
        event
        for event in of_session(looping.SESSION_ID)
        if event["operation"] == "chat" and event["start_time"] >= timeline.LOOP_FROM
    ]
    assert len(chats) == 118
    assert {event["cached_input_tokens"] for event in chats} == {0}
    assert all(59_000 < event["context_tokens"] < 111_000 for event in chats)
    assert chats[-1]["event_time"] - chats[0]["start_time"] <= 20 * MINUTE


def test_nothing_stops_the_loop_but_a_kill() -> None:
    spans = of_session(looping.SESSION_ID)
    (run,) = [event for event in spans if event["operation"] == "invoke_agent"]
    assert (run["status"], run["error_type"]) == ("error", "killed")
    assert run["event_time"] == max(event["event_time"] for event in spans)
    assert [event for event in spans if "max_steps" in event] == []


def test_the_fifth_cycle_ends_with_the_tenth_write() -> None:
    writes = looping.hook_writes(list(told()))
    assert looping.fifth_repetition(list(told())) == writes[9]["event_time"]
    assert timeline.LOOP_FROM < writes[9]["event_time"] < timeline.LOOP_FROM + 2 * MINUTE


# Not the agent


def test_the_node_runs_out_of_memory_before_it_takes_two_pods() -> None:
    memory = series("prod-eu/cluster/node/node-7", "memory.available_bytes")
    assert memory[timeline.MEMORY_FALLS_AT - 15 * MICROS] > 5.8 * readings.GIB
    assert memory[timeline.MEMORY_FALLS_AT + 75 * MICROS] < 0.2 * readings.GIB
    node_warning = min(event["event_time"] for event in told() if event.get("reason") == "SystemOOM")
    fallen = [event for event in told() if event.get("reason") in ("OOMKilling", "Evicted")]
    assert len({event["resource"] for event in fallen}) == 2
    assert all(event["event_time"] > node_warning for event in fallen)
    assert {json.loads(event["labels"])["node"] for event in fallen} == {"node-7"}


def test_the_fallen_pods_are_known_to_live_on_the_node() -> None:
    lives_on = {event["resource"]: event["value"] for event in told() if event.get("reason") == "RunsOn"}
    fallen = {event["resource"] for event in told() if event.get("reason") in ("OOMKilling", "Evicted")}
    assert len(lives_on) == 5
    assert {pod for pod, node in lives_on.items() if node == "prod-eu/cluster/node/node-7"} == fallen


def test_the_agent_beside_the_sick_node_only_reads_in_its_scope() -> None:
    spans = of_session(sick_node.SESSION_ID)
    assert {event["access"] for event in spans if event.get("tool_name")} == {"read"}
    assert {scope_of(event["target"]) for event in spans if event.get("tool_name")} == {"prod-eu/docs"}
    assert min(event["start_time"] for event in spans) < timeline.MEMORY_FALLS_AT
    assert max(event["event_time"] for event in spans) > timeline.NODE_OOM_AT


# Background and baselines


def test_every_series_has_a_point_every_fifteen_seconds() -> None:
    counts = Counter((event["resource"], event["metric"]) for event in told() if event["type"] == "metric_point")
    assert set(counts.values()) == {120}
    assert len(counts) == len(readings.SERIES)


def test_a_series_without_a_part_in_the_story_stays_within_its_noise() -> None:
    for each in readings.SERIES:
        if each.effect is readings.as_usual:
            values = series(each.resource, each.metric).values()
            assert all(abs(value - each.usual) <= each.noise + 0.01 for value in values)
            assert len(set(values)) > 20


def test_the_waiting_agent_gets_another_answer_each_time_until_the_job_is_done() -> None:
    asked = [event for event in told() if event.get("tool_name") == "job.status"]
    assert len(asked) >= 10
    assert len({event["args_digest"] for event in asked}) == 1
    assert len({event["result_digest"] for event in asked}) == len(asked)


def test_the_agent_that_turns_pages_gets_thirty_different_pages() -> None:
    pages = [event for event in told() if event.get("tool_name") == "crm.list"]
    assert [json.loads(event["tool_args"])["page"] for event in sorted(pages, key=lambda e: e["event_time"])] == list(
        range(1, 31)
    )
    assert len({event["result_digest"] for event in pages}) == 30


def test_the_payments_deploy_is_a_persons_and_followed_by_one_failed_probe_at_most() -> None:
    scope = [event for event in told() if scope_of(event.get("resource")) == "prod-eu/payments"]
    (deploy,) = [event for event in scope if event.get("kind") == "deploy"]
    assert deploy["actor_kind"] == "human"
    assert [event["reason"] for event in scope if event.get("severity") == "warning"] == ["Unhealthy"]


# Variants


def test_without_the_action_one_span_is_missing_and_nothing_else_changes() -> None:
    whole, rest = [json.dumps(event) for event in told()], [json.dumps(event) for event in story(without_action=True)]
    missing = [json.loads(text) for text in whole if text not in set(rest)]
    assert [event["tool_name"] for event in missing] == ["kubernetes.scale"]
    assert [text for text in whole if text in set(rest)] == rest


def test_an_equal_deploy_adds_one_event_of_a_person_at_the_same_moment() -> None:
    whole, more = [json.dumps(event) for event in told()], [json.dumps(event) for event in story(equal_deploy=True)]
    (added,) = [json.loads(text) for text in more if text not in set(whole)]
    assert (added["kind"], added["actor_kind"]) == ("deploy", "human")
    assert (added["resource"], added["event_time"]) == ("prod-eu/checkout/deployment/cart", timeline.SCALE_AT)
    assert [text for text in more if text in set(whole)] == whole


def test_every_value_of_a_metric_is_a_float() -> None:
    assert {type(event["value"]) for event in told() if event["type"] == "metric_point"} == {float}
