"""The same trajectory under other names, for the test that no name, id or order is a hint."""

import random
from collections.abc import Mapping
from typing import Any

from tests.corpus.truth import Event, Trajectory

NAMES = (
    "tenant", "trace_id", "span_id", "parent_span_id", "session_id", "root_session_id", "agent_id", "event_id", "actor",
)  # fmt: skip
ASK = "ask:"


def renamed(trajectory: Trajectory, seed: int) -> Trajectory:
    """Every tenant, id and agent has another name, the same one wherever it stood; lines of a file in any order."""
    rng = random.Random(f"{seed}/{trajectory.tenant}")
    known: dict[str, str] = {}

    def new(name: str) -> str:
        if name not in known:
            known[name] = f"n{rng.getrandbits(64):016x}"
        return known[name]

    def rename(event: Event) -> Event:
        changed = {field: new(event[field]) for field in NAMES if field in event}
        tool = event.get("tool_name", "")
        if tool.startswith(ASK):
            changed["tool_name"] = ASK + new(tool.removeprefix(ASK))
        return event | changed

    def limit(entry: Mapping[str, Any]) -> dict[str, Any]:
        match = {name: new(value) if name in NAMES else value for name, value in entry["match"].items()}
        return dict(entry) | {"match": match}

    events = [rename(event) for event in trajectory.events]
    rng.shuffle(events)
    limits = tuple(limit(entry) for entry in trajectory.limits)
    return Trajectory(new(trajectory.tenant), tuple(events), limits, trajectory.truth)
