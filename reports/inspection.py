"""One agent, for whoever is about to pause it or let it go on: what holds it, its last steps, what is open. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from reports.incident import plain
from schemas.controls import Control
from schemas.incidents import Incident
from schemas.times import format_span, format_time

LONGEST_BELIEF = 300


def state_of(control: Control, now: int) -> str:
    """What a control does now, in a sentence."""
    by = f"by {plain(control.author)}: {plain(control.reason)}"
    shadow = "in shadow, holding nobody: " if control.mode == "shadow" else ""
    if not control.is_in_force(now):
        return f"{shadow}{'resumed' if control.action == 'resume' else 'over'}, {by}"
    if control.until is None:
        return f"{shadow}halted until it is resumed, {by}"
    if now < control.until:
        return f"{shadow}paused for another {format_span(control.until - now)}, {by}"
    return f"{shadow}half open for another {format_span(control.ends_at - now)}, {by}"


def inspection(
    agent: str,
    tenant: str,
    controls: Sequence[Control],
    steps: Sequence[Mapping[str, Any]],
    incidents: Sequence[Incident],
    now: int,
) -> str:
    """The whole text. steps: rows of `agent_traces`, oldest first."""
    lines = [f"{plain(agent)} of {plain(tenant)}, {format_time(now)}", ""]
    lines += [f"  {plain(control.about)}: {state_of(control, now)}" for control in controls] or ["  nothing holds it"]
    lines += ["", "open incidents"]
    lines += [f"  {i.incident_id[:8]} {i.severity} {plain(i.title)}" for i in incidents] or ["  none"]
    lines += ["", f"its last {len(steps)} steps" if steps else "no steps are stored"]
    lines += [f"  {_step(step)}" for step in steps]
    if read := _read(steps):
        lines += ["", "what it read in them", *(f"  {plain(target)}" for target in read)]
    belief = next((step["summary"] for step in reversed(steps) if step["summary"]), "")
    if belief:
        lines += ["", "what it said last of what it is about", f"  {plain(belief)[:LONGEST_BELIEF]}"]
    return "\n".join(lines)


def _step(step: Mapping[str, Any]) -> str:
    what = plain(step["tool_name"] or step["operation"])
    where = f" on {plain(step['target'])}" if step["target"] else ""
    how = "" if step["status"] == "ok" else f"  {plain(step['error_type'] or step['status'])}"
    return f"{step['event_time']:%H:%M:%S} {step['access'] or '-':<11} {what}{where}{how}"


def _read(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    found = (step["target"] for step in steps if step["access"] in ("", "read") and step["target"])
    return list(dict.fromkeys(found))
