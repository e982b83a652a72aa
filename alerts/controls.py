"""Rules that act: which control an incident leads to. Pure.

A rule with an `action` pauses the agent of an incident it matches; in mode `shadow`, the first it should have, it only
says so. The pause begins with the revision, in event time: what is found in a backlog pauses nobody today. It is half
open after its end; it is given again when the incident, or a new one, shows something of the agent that happened since.

A rule never takes over from a person: what a person holds is left as it is, and what a person has resumed is not paused
again for the same incident. What is only provisional, and incidents without an agent, lead to nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict

from schemas.controls import ALL, LONGEST_REASON, Control, with_id
from schemas.incidents import Incident
from schemas.times import MICROS, MINUTE

BY_RULE = "rule:"
SPAN = re.compile(r"([1-9]\d{0,4})(s|m|h)")
UNITS = {"s": MICROS, "m": MINUTE, "h": 60 * MINUTE}


def _span(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = SPAN.fullmatch(str(value))
    if found is None:
        raise ValueError(f"write how long as in 30s, 10m or 2h, not {str(value)[:20]!r}")
    return int(found[1]) * UNITS[found[2]]


class RuleAction(BaseModel):
    """What a rule does besides telling people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pause: Annotated[int, BeforeValidator(_span)]  # microseconds
    mode: Literal["shadow", "enforce"] = "shadow"
    per: Literal["agent", "agent_version", "tool", "target", "tool_and_target"] = "agent"


class ActingRule(Protocol):
    """What is asked of a rule of `alerts.rules`."""

    @property
    def id(self) -> str: ...
    @property
    def action(self) -> RuleAction | None: ...
    def matches(self, incident: Incident) -> bool:
        """Whether it fires for this revision."""


def decide(rules: Iterable[ActingRule], incident: Incident, known: Mapping[str, Control]) -> list[Control]:
    """The controls to give now. known: the newest control of each key."""
    out = []
    for rule in rules:
        if rule.action is None or incident.status != "open" or incident.provisional or not rule.matches(incident):
            continue
        control = _control(rule.id, rule.action, incident)
        if control is not None and _is_due(control, incident, known.get(control.key)):
            known = {**known, control.key: control}
            out.append(control)
    return out


def _control(rule_id: str, action: RuleAction, incident: Incident) -> Control | None:
    if incident.agent_id is None:
        return None
    control = Control(
        tenant=incident.tenant,
        agent_id=incident.agent_id,
        action="pause",
        mode=action.mode,
        author=f"{BY_RULE}{rule_id}",
        reason=incident.title[:LONGEST_REASON],
        at=incident.updated_at,
        until=incident.updated_at + action.pause,
        probes=True,
        incident_id=incident.incident_id,
    )
    if action.per == "agent_version":
        if incident.agent_version is None:
            return None
        control = replace(control, agent_version=incident.agent_version)
    elif action.per != "agent":
        narrowed = _narrowed(incident, action.per)
        if narrowed is None:
            return None
        control = replace(control, tool_name=narrowed[0], target=narrowed[1])
    return with_id(control)


def _is_due(control: Control, incident: Incident, last: Control | None) -> bool:
    if last is None:
        return True
    if not last.author.startswith(BY_RULE):
        is_about_it = last.action == "resume" and last.incident_id == incident.incident_id
        return not is_about_it and not last.is_in_force(control.at)
    if last.mode == "enforce" and control.mode == "shadow" and last.is_in_force(control.at):
        return False  # it would take down what another rule holds
    if last.mode == control.mode and last.until is not None and control.at < last.until:
        return False
    since = last.at if last.until is None else last.until
    return last.mode != control.mode or _newest(incident) >= since


def _newest(incident: Incident) -> int:
    """When the newest thing happened that the incident shows of its agent."""
    return max((item.event_time for item in incident.evidence if item.type in ("signal", "action")), default=0)


def _narrowed(incident: Incident, per: str) -> tuple[str, str] | None:
    """The tool and the target, or `*`, that most of what it shows of the agent is about; of equals the first by name.

    None where it names none.
    """
    names = [
        (item.tool_name if "tool" in per else ALL, item.resource if "target" in per else ALL)
        for item in incident.evidence
        if item.type in ("signal", "action")
    ]
    counted = Counter((tool, target) for tool, target in names if tool and target)
    return min(counted, key=lambda name: (-counted[name], name), default=None)
