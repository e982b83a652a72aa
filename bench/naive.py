"""The naive rules that a detector has to beat, as they are stated with the labels of the recorded sets. Not tuned.

Loops: the same tool and arguments three times in a row, or a cycle of two to four calls three times in a row, of one
run and agent. Rates: a bucket above mean plus three standard deviations of the fifteen before it, and at least three.
Series: a point further from the mean of the 288 before it than four standard deviations.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from schemas.times import MICROS

Event = Mapping[str, Any]
Call = tuple[str | None, str | None]  # tool name, arguments
IN_A_ROW = 3
LONGEST_CYCLE = 4
BUCKETS_BEFORE = 15
LEAST = 3
POINTS_BEFORE = 288
TOOL_OPERATIONS = ("execute_tool", "handoff", "retrieval")
COUNTED = ("chat", *TOOL_OPERATIONS)


def runs(events: Iterable[Event]) -> dict[tuple[str, str], list[Event]]:
    """The tool and hand-off spans of each run and agent, in the order of time."""
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event["type"] == "agent_span" and event["operation"] in TOOL_OPERATIONS:
            found[event["session_id"], event["agent_id"]].append(event)
    for spans in found.values():
        spans.sort(key=lambda span: int(span["event_time"]))
    return dict(found)


def call_of(event: Event) -> Call:
    """What two equal calls have in common."""
    return event.get("tool_name"), event.get("args_digest") or event.get("tool_args")


def loops(calls: Sequence[Call]) -> Iterator[int]:
    """Places at which the naive loop rule holds."""
    for place in range(len(calls)):
        for period in range(1, LONGEST_CYCLE + 1):
            length = period * IN_A_ROW
            part = calls[place + 1 - length : place + 1] if place + 1 >= length else ()
            if part and all(part[at] == part[at - period] for at in range(period, length)):
                yield place
                break


def twice_in_a_row(calls: Sequence[Call]) -> Iterator[int]:
    """Places where a call equals the one before it."""
    return (place for place in range(1, len(calls)) if calls[place] == calls[place - 1])


def times_anywhere(calls: Sequence[Call], times: int) -> Iterator[int]:
    """Places where a call is seen for at least the so many-th time."""
    seen: dict[Call, int] = defaultdict(int)
    for place, call in enumerate(calls):
        seen[call] += 1
        if seen[call] >= times:
            yield place


def same_tool_in_a_row(calls: Sequence[Call]) -> Iterator[int]:
    """Places where a tool was used for the third time in a row."""
    tools = [tool for tool, _ in calls]
    return (place for place in range(2, len(tools)) if tools[place] == tools[place - 1] == tools[place - 2])


def rates(values: Mapping[int, float], first: int, last: int) -> list[int]:
    """Buckets above mean plus 3 sd of the 15 before, at least 3. A bucket without a value holds none."""
    found = []
    for bucket in sorted(values):
        if bucket - first < BUCKETS_BEFORE or bucket > last:
            continue
        before = [values.get(at, 0.0) for at in range(bucket - BUCKETS_BEFORE, bucket)]
        if values[bucket] >= LEAST and values[bucket] > fmean(before) + 3 * pstdev(before):
            found.append(bucket)
    return found


def rate_alarms(events: Iterable[Event], seconds: int) -> dict[str, dict[str, list[int]]]:
    """Agent -> calls and tokens -> the ends, in microseconds, of buckets in which the rate rule holds."""
    size = seconds * MICROS
    calls: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    tokens: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for event in events:
        if event["type"] != "agent_span" or event["operation"] not in COUNTED:
            continue
        bucket = event.get("start_time", event["event_time"]) // size
        calls[event["agent_id"]][bucket] += 1
        tokens[event["agent_id"]][bucket] += event.get("input_tokens", 0) + event.get("output_tokens", 0)
    found: dict[str, dict[str, list[int]]] = {}
    for agent, counted in calls.items():
        first, last = min(counted), max(counted)
        found[agent] = {
            name: [(bucket + 1) * size for bucket in rates(values, first, last)]
            for name, values in (("calls", counted), ("tokens", tokens[agent]))
        }
    return found


def points(values: Sequence[float]) -> list[int]:
    """Places of a series that the naive rule for points calls wrong; after 288 equal points nothing is."""
    series = np.asarray(values, dtype=float)
    if series.size <= POINTS_BEFORE:
        return []
    before = np.lib.stride_tricks.sliding_window_view(series, POINTS_BEFORE)[:-1]
    spread = before.std(axis=1)
    is_off = (np.abs(series[POINTS_BEFORE:] - before.mean(axis=1)) > 4 * spread) & (spread > 0)
    return [int(place) + POINTS_BEFORE for place in np.flatnonzero(is_off)]
