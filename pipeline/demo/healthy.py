"""Real healthy traffic that runs beside the story: nothing in it is an incident.

Recorded sessions of a coding agent and the traffic of three LLM services, moved in time and cut to the half
hour; what happens inside a session or a series keeps its own timing, nothing is compressed. Where they come
from, and under which licences: `README.md`. The files in `data/` are made by `bench/converters/demo_data.py`.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.demo import llm_traffic
from pipeline.demo.recorder import Event, delay, in_ingest_order, randomness
from pipeline.demo.story import SEED, story
from pipeline.demo.timeline import END, START
from pipeline.ingest import claude_code
from schemas.times import MICROS, MINUTE, parse_time

DATA = Path(__file__).parent / "data"
SESSIONS_FILE = DATA / "claude_code.jsonl.gz"
TRAFFIC_FILE = DATA / "llm_traffic.csv.gz"
TRAFFIC_COLUMNS = ("series", "row", "offset_us", "input_tokens", "output_tokens", "args_digest")

# recorded session -> when its first line falls, after the start of the story
SESSION_STARTS = {
    "fa812bfe-b295-4cca-9c2f-fdf01028cb46": 40 * MICROS,
    "ae4a77f8-aedd-4bc1-888f-c94edc91af04": 2 * MINUTE + 30 * MICROS,
    "258c7280-ae70-4798-800f-63464d01a85d": 6 * MINUTE,
    "8463c716-a2ea-4c14-9efa-87158ebd9f20": 9 * MINUTE,
    "4d5611e5-241a-462a-8d15-5122611a9569": 12 * MINUTE,
    "491e126e-1e71-469c-ade2-fcc8af567c74": 20 * MINUTE,
}


def recorded_sessions() -> list[Event]:
    """The sessions of the coding agent, each begun at its own minute of the story; without `ingest_time`."""
    lines: dict[str, list[claude_code.Line]] = {}
    with gzip.open(SESSIONS_FILE, "rt", encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            lines.setdefault(line["sessionId"], []).append(line)
    events = []
    for session_id, after in SESSION_STARTS.items():
        first = min(parse_time(line["timestamp"]) for line in lines[session_id])
        events += claude_code.spans(lines[session_id], shift=START + after - first)
    return [event for event in events if event["event_time"] < END]


def recorded_traffic() -> Iterator[Event]:
    """The first full half hour of each LLM service; without `ingest_time`."""
    with gzip.open(TRAFFIC_FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            call = llm_traffic.Call(
                row["series"],
                int(row["row"]),
                int(row["offset_us"]),
                int(row["input_tokens"]),
                int(row["output_tokens"]),
                row["args_digest"] or None,
            )
            yield llm_traffic.span(call, shift=START)


def healthy(seed: int = SEED) -> list[Event]:
    """All of the real traffic, in ingest order. The seed decides only how long each event took to the broker."""
    events = recorded_sessions() + list(recorded_traffic())
    rng = randomness(seed, "healthy")
    for event in events:
        event["ingest_time"] = event["event_time"] + delay(rng)
    return in_ingest_order(events)


def all_events(seed: int = SEED) -> list[Event]:
    """What the demo plays: the story and the healthy traffic beside it, in ingest order."""
    return in_ingest_order(story(seed) + healthy(seed))
