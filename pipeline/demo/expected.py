"""What the story must lead to: the outcome that `expected.json` holds, for any seed.

    python -m pipeline.demo.expected

writes the file anew. Ids, moments and token counts are computed from the events; what is to be concluded from them
is written down here by a person. A test holds the file equal to this module.
"""

import json
from pathlib import Path
from typing import Any

from pipeline.demo import looping, partly_informed, sick_node, timeline
from pipeline.demo.readings import SICK_NODE
from pipeline.demo.recorder import TENANT, Event
from pipeline.demo.story import SEED, story
from schemas.times import MICROS, format_time

FILE = Path(__file__).with_name("expected.json")
LOOP_FOUND_WITHIN = 60 * MICROS
Outcome = dict[str, Any]


def expected(seed: int = SEED) -> Outcome:
    """The outcome of `story(seed)`, beside which the healthy traffic gives nothing."""
    events = story(seed)
    return {
        "seed": seed,
        "starts_at": format_time(timeline.START),
        "ends_at": format_time(timeline.END),
        "incidents": [_partly_informed(events), _loop(events), _sick_node()],
        "notifications": [
            {"incident": "partly informed change", "route": "page"},
            {"incident": "loop", "route": "page"},
            {"incident": "sick node", "route": "ticket"},
        ],
        "variants": {
            "without_action": {"incident": "partly informed change", "verdict_is_not": "agent"},
            "equal_deploy": {"incident": "partly informed change", "verdict_is_one_of": ["shared", "undetermined"]},
        },
    }


def _partly_informed(events: list[Event]) -> Outcome:
    action = next(event for event in events if partly_informed.is_the_action(event))
    return {
        "name": "partly informed change",
        "kind": "agent_caused_failure",
        "tenant": TENANT,
        "scope": partly_informed.SCOPE,
        "agent_id": partly_informed.AGENT_ID,
        "agent_version": partly_informed.AGENT_VERSION,
        "session_ids": [partly_informed.SESSION_ID],
        "verdict": "agent",
        "probability_at_least": 0.8,
        "cause": {
            "span_id": action["span_id"],
            "resource": action["target"],
            "event_time": format_time(action["start_time"]),
        },
        "symptoms_from": format_time(timeline.FAILURE_AT),
        "recovered_at": format_time(timeline.RECOVERED_AT),
        "context_gaps": [
            _gap(events, partly_informed.MAINTENANCE_ID),
            _gap(events, partly_informed.FLAG_ID),
        ],
        "governance_gaps": ["approval"],
    }


def _gap(events: list[Event], event_id: str) -> Outcome:
    fact = next(event for event in events if event.get("event_id") == event_id)
    return {"event_id": event_id, "resource": fact["resource"], "source": fact["source"], "class": "never_queried"}


def _loop(events: list[Event]) -> Outcome:
    fifth = looping.fifth_repetition(events)
    needed = len(looping.USEFUL_CALLS) + looping.PERIOD
    calls = len(looping.USEFUL_CALLS) + len(looping.hook_writes(events))
    return {
        "name": "loop",
        "kind": "feedback_loop",
        "tenant": TENANT,
        "scope": looping.SCOPE,
        "agent_id": looping.AGENT_ID,
        "agent_version": looping.AGENT_VERSION,
        "session_ids": [looping.SESSION_ID],
        "verdict": "agent",
        "loop_from": format_time(timeline.LOOP_FROM),
        "loop_until": format_time(timeline.LOOP_UNTIL),
        "period": looping.PERIOD,
        "fifth_repetition_at": format_time(fifth),
        "detected_by": format_time(fifth + LOOP_FOUND_WITHIN),
        "unplanned_tokens": {"at_least": 9_800_000, "at_most": 10_200_000, "exact": looping.unplanned_tokens(events)},
        # tool calls; model calls stand in the same proportion
        "needed_tool_calls": needed,
        "tool_calls": calls,
        "calls_percent_of_expected": {"at_least": 1_000, "at_most": 1_500, "exact": 100 * calls / needed},
        "context_gaps": [],
        "governance_gaps": ["step limit"],
    }


def _sick_node() -> Outcome:
    return {
        "name": "sick node",
        "kind": "infrastructure_failure",
        "tenant": TENANT,
        "scope_is_one_of": ["prod-eu/cluster", sick_node.SCOPE],
        "agent_id": None,
        "agent_version": None,
        "session_ids": [],
        "verdict": "infrastructure",
        "cause": {"resource": SICK_NODE},
        "symptoms_from": format_time(timeline.MEMORY_FALLS_AT),
        "recovered_at": format_time(timeline.NODE_WELL_AT),
        "blast_radius_includes": [f"{sick_node.SCOPE}/pod/{pod}" for pod in (sick_node.KILLED, sick_node.EVICTED)],
        "bystanders": [sick_node.AGENT_ID],
        "context_gaps": [],
        "governance_gaps": [],
    }


def text(seed: int = SEED) -> str:
    """The outcome as it stands in the file."""
    return json.dumps(expected(seed), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
