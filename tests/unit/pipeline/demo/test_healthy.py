"""The healthy traffic is real, runs beside the story, and keeps its own timing."""

import gzip
import json
from collections import Counter
from functools import cache
from itertools import pairwise

from pipeline.demo import healthy, timeline
from pipeline.demo.recorder import Event
from pipeline.demo.story import story
from schemas.events import EVENTS
from schemas.times import parse_time


@cache
def traffic() -> tuple[Event, ...]:
    return tuple(healthy.healthy())


def test_every_event_is_valid_and_has_no_field_of_its_own() -> None:
    for event in traffic():
        fields = {name: value for name, value in event.items() if name not in ("type", "ingest_time")}
        EVENTS[event["type"]].model_validate(fields)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert json.dumps(healthy.healthy(7)) == json.dumps(traffic())


def test_it_has_two_tenants_and_the_counts_of_the_recordings() -> None:
    counts = Counter((event["tenant"], event["operation"]) for event in traffic())
    assert counts == {
        ("llm-traffic", "chat"): 21_682,
        ("claude-code", "chat"): 385,
        ("claude-code", "execute_tool"): 515,
        ("claude-code", "handoff"): 5,
    }


def test_it_stays_within_the_half_hour() -> None:
    assert all(timeline.START <= event["event_time"] < timeline.END for event in traffic())


def test_a_session_keeps_its_own_timing() -> None:
    with gzip.open(healthy.SESSIONS_FILE, "rt") as file:
        lines = [json.loads(text) for text in file]
    for session_id, after in healthy.SESSION_STARTS.items():
        recorded = {
            part["id"]: parse_time(line["timestamp"]) for line in lines for part in line["content"] if "id" in part
        }
        first = min(parse_time(line["timestamp"]) for line in lines if line["sessionId"] == session_id)
        calls = [
            event for event in traffic() if event["session_id"] == session_id and event["operation"] == "execute_tool"
        ]
        assert len(calls) > 5
        shifts = {event["start_time"] - recorded[event["span_id"]] for event in calls}
        assert shifts == {timeline.START + after - first}


def test_two_services_are_busy_all_the_time_and_one_in_bursts() -> None:
    moments: dict[str, list[int]] = {"code": [], "conv": [], "kimi": []}
    for event in sorted(traffic(), key=lambda event: event["event_time"]):
        if event["session_id"] in moments:
            moments[event["session_id"]].append((event["event_time"] - timeline.START) // 1_000_000)
    silences = {name: max(b - a for a, b in pairwise([0, *seconds, 1_800])) for name, seconds in moments.items()}
    assert silences["conv"] < 30
    assert silences["kimi"] < 30
    assert 120 <= silences["code"] < 300


def test_the_ticks_of_mooncake_are_spread() -> None:
    moments = Counter(event["event_time"] for event in traffic() if event["session_id"] == "kimi")
    assert max(moments.values()) == 1


def test_all_events_are_the_story_and_the_traffic_in_ingest_order() -> None:
    events = healthy.all_events()
    arrived = [event["ingest_time"] for event in events]
    assert arrived == sorted(arrived)
    assert len(events) == len(story()) + len(traffic())
    assert [event for event in events if event["tenant"] == "acme"] == story()


def test_the_data_is_small_and_has_its_licences() -> None:
    files = list(healthy.DATA.iterdir())
    assert sum(file.stat().st_size for file in files) < 1_500_000
    assert sorted(file.name for file in files if file.name.startswith("LICENSE")) == [
        "LICENSE-claude_code-MIT.txt",
        "LICENSE-llm_traffic-azure-CC-BY-4.0.txt",
        "LICENSE-llm_traffic-mooncake-APACHE-2.0.txt",
    ]
