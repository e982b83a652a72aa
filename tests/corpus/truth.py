"""What is true of a trajectory: stands beside its events, never in them.

Counts follow DESIGN section 8. Calls are model calls, tool calls, retrievals and hand-offs; an `invoke_agent` span sums
its children and is none. Needed calls are those up to and including the first occurrence of what is then repeated,
redundant calls the rest of the loop, unplanned tokens the tokens of redundant calls: input without cache reads, plus
output. The fifth repetition is the end of the fifth equal call, or of the fifth whole cycle.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Event = dict[str, Any]
COUNTED = ("chat", "execute_tool", "retrieval", "handoff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """kinds: the incident kinds that are right for it, none where it is healthy. Times are microseconds UTC."""

    family: str
    variant: str
    is_positive: bool
    kinds: tuple[str, ...] = ()
    begins_at: int | None = None
    fifth_repetition_at: int | None = None
    redundant_calls: int | None = None
    unplanned_tokens: int | None = None
    oracle_seconds: float | None = None  # from begins_at to the alarm that the arithmetic of burn rates allows


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The events of one tenant in the order the broker got them, its entries of limits.yml, and what is true of it."""

    tenant: str
    events: tuple[Event, ...]
    limits: tuple[dict[str, Any], ...]
    truth: Truth


def tokens_of(event: Event) -> int:
    """Input without cache reads, plus output."""
    tokens: int = event.get("input_tokens", 0) - event.get("cached_input_tokens", 0) + event.get("output_tokens", 0)
    return tokens


def is_call(event: Event) -> bool:
    """Whether the event counts as a call."""
    return event["type"] == "agent_span" and event["operation"] in COUNTED


def write(trajectories: Iterable[Trajectory], folder: Path) -> None:
    """`events.jsonl`, the recording, and beside it `truth.jsonl`: tenant, limits and truth of each trajectory."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("w") as events, (folder / "truth.jsonl").open("w") as truths:
        for trajectory in trajectories:
            events.writelines(json.dumps(event) + "\n" for event in trajectory.events)
            beside = {"tenant": trajectory.tenant, "limits": trajectory.limits, "truth": asdict(trajectory.truth)}
            truths.write(json.dumps(beside) + "\n")
