"""The expected outcome belongs to the story, and names the three incidents of the issue."""

import json

import yaml

from pipeline.demo import expected, looping
from pipeline.demo.story import SEED, story
from pipeline.limits import load_limits
from schemas.times import parse_time

LIMITS = expected.FILE.with_name("limits.yml")


def test_the_file_is_what_the_story_gives() -> None:
    assert expected.FILE.read_text() == expected.text(SEED), "run: python -m pipeline.demo.expected"


def test_three_incidents_two_pages_one_ticket() -> None:
    outcome = json.loads(expected.FILE.read_text())
    kinds = [incident["kind"] for incident in outcome["incidents"]]
    assert kinds == ["agent_caused_failure", "feedback_loop", "infrastructure_failure"]
    assert [notice["route"] for notice in outcome["notifications"]] == ["page", "page", "ticket"]


def test_what_is_expected_of_the_causes_stands_in_the_events() -> None:
    spans = {event["span_id"]: event for event in story() if event["type"] == "agent_span"}
    facts = {event["event_id"]: event for event in story() if event["type"] == "cluster_event"}
    change, loop, _ = json.loads(expected.FILE.read_text())["incidents"]
    assert spans[change["cause"]["span_id"]]["tool_name"] == "kubernetes.scale"
    assert [facts[gap["event_id"]]["kind"] for gap in change["context_gaps"]] == ["maintenance", "flag"]
    assert parse_time(loop["fifth_repetition_at"]) == looping.fifth_repetition(story())
    assert parse_time(loop["detected_by"]) - parse_time(loop["fifth_repetition_at"]) == 60_000_000


def test_the_limits_of_the_demo_can_be_read() -> None:
    load_limits(LIMITS)
    assert yaml.safe_load(LIMITS.read_text())["limits"] == [
        {"match": {"agent_id": "seo-agent"}, "tokens_per_session": 2_000_000}
    ]
