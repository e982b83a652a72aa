"""An alert rule: data that decides which incidents alert, who is told, and how loudly.

A rule never looks at time or at other incidents: it says yes or no to one revision of one incident. That each
thing is told once, and that its end is told too, is the work of `alerts.outbox`.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, field_validator

from alerts.controls import RuleAction
from alerts.rules.conditions import Condition
from alerts.rules.templates import Template, render
from schemas.incidents import Incident, Severity

Mode = Literal["page", "ticket", "shadow"]
SHADOW = "shadow"  # the receiver of every shadow rule: it takes the notification and tells nobody
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ReceiverName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,63}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
# a link to open at night: an address, or a file of this repository, never markup
Runbook = Annotated[str, StringConstraints(max_length=500, pattern=r"^(https?://[\w.~/#?=&%:+@-]+|[\w./#-]+)$")]


class RuleTest(BaseModel):
    """A case inside the rule's own file: an incident, given in part, and whether the rule fires for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    incident: dict[str, Any]
    fires: StrictBool
    annotations: dict[str, str] = {}  # the exact text that must come out


class Rule(BaseModel):
    """One file of `alerts/rules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: RuleId
    title: Line
    when: Annotated[dict[str, Condition], Field(min_length=1)]
    mode: Mode
    severity: Severity | None = None
    receivers: Annotated[tuple[ReceiverName, ...], Field(min_length=1, max_length=20)] = ("console",)
    runbook: Runbook
    first_step: Line | None = None  # the first thing to do, in one line of the page
    owner: Line
    labels: dict[LabelName, Line] = {}  # besides those that every alert has (alerts/labels.py)
    annotations: dict[str, Template] = {}
    stop: StrictBool = False
    action: RuleAction | None = None  # what it does besides telling people: alerts/controls.py
    tests: tuple[RuleTest, ...] = ()

    @field_validator("when", mode="before")
    @classmethod
    def _name_conditions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"name": name, "expected": expected} for name, expected in value.items()}

    @field_validator("receivers")
    @classmethod
    def _check_receivers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a receiver is named twice; name each once")
        if SHADOW in value:
            raise ValueError(f"{SHADOW} is not a receiver; write `mode: {SHADOW}`")
        return value

    def matches(self, incident: Incident) -> bool:
        """Whether all conditions hold for this revision."""
        return all(condition.holds(incident) for condition in self.when.values())

    def severity_of(self, incident: Incident) -> Severity:
        """How loud: the rule's own severity, else the incident's."""
        return self.severity or incident.severity

    def destinations(self) -> tuple[str, ...]:
        """Who is told; of a shadow rule nobody."""
        return (SHADOW,) if self.mode == SHADOW else self.receivers

    def annotate(self, incident: Incident) -> dict[str, str]:
        """Every annotation, filled in for this incident."""
        return {name: render(template, incident) for name, template in self.annotations.items()}


def matching(rules: Sequence[Rule], incident: Incident) -> tuple[Rule, ...]:
    """The rules that fire for this incident, in order; a match with `stop: true` is the last one."""
    found = []
    for rule in rules:
        if rule.matches(incident):
            found.append(rule)
            if rule.stop:
                break
    return tuple(found)
