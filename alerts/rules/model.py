"""An alert rule: data that decides which incidents alert, who is told, and how loudly.

`when` says yes or no to one revision of one incident. Time comes in by three fields: `times` (so many incidents like it
within a time; history.py), `for` (it must have held so long) and `keep_firing_for` (its end is told so much later), of
which the router takes care. That each thing is told once, and its end too, is the work of `alerts.outbox`.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, field_validator, model_validator

from alerts.controls import RuleAction
from alerts.durations import Duration
from alerts.rules.conditions import Condition
from alerts.rules.fields import field
from alerts.rules.queries import MARK, Query
from alerts.rules.templates import Template, render
from schemas.incidents import Incident, Severity
from schemas.times import parse_time

Mode = Literal["page", "ticket", "shadow"]
LONGEST_LOOK_BACK = 7 * 86_400_000_000  # as long as incidents.v1 is kept
SHADOW = "shadow"  # the receiver of every shadow rule: it takes the notification and tells nobody
RuleId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ReceiverName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]{0,63}$")]
Line = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
# a link to open at night: an address, or a file of this repository, never markup
Runbook = Annotated[str, StringConstraints(max_length=500, pattern=r"^(https?://[\w.~/#?=&%:+@-]+|[\w./#-]+)$")]


class Revision(BaseModel):
    """An incident of a story, given in part, and when it is so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Duration
    incident: dict[str, Any]


class Told(BaseModel):
    """What a story must lead to, in order: nothing else may be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Duration
    transition: Literal["firing", "resolved"] = "firing"
    incident_id: str | None = None


class RuleTest(BaseModel):
    """A case inside the rule's own file: an incident, given in part, and whether the rule fires for it; or a story."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    incident: dict[str, Any] | None = None
    fires: StrictBool | None = None
    annotations: dict[str, str] = {}  # the exact text that must come out
    story: Annotated[tuple[Revision, ...], Field(max_length=100)] = ()
    alerts: tuple[Told, ...] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> "RuleTest":
        if (self.incident is None) == (not self.story):
            raise ValueError("a test has an incident and `fires`, or a story and `alerts`")
        if (self.incident is None) != (self.fires is None) or (not self.story) != (self.alerts is None):
            raise ValueError("`fires` goes with an incident, `alerts` with a story")
        return self

    @property
    def is_loud(self) -> bool:
        """Whether somebody is told."""
        return bool(self.fires or self.alerts)


class Times(BaseModel):
    """So many incidents like this one, this one included, that began within a time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(ge=2, le=1_000)]
    within: Annotated[Duration, Field(gt=0, le=LONGEST_LOOK_BACK)]
    by: Annotated[tuple[str, ...], Field(min_length=1, max_length=5)] = ("fingerprint",)  # what makes them alike

    @field_validator("by")
    @classmethod
    def _are_fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            field(name)
        return value


class Rule(BaseModel):
    """One file of `alerts/rules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: RuleId
    title: Line
    when: dict[str, Condition] = {}
    query: Query | None = None  # instead of `when`: rows of ClickHouse are alerts (queries.py)
    times: Times | None = None
    for_: Duration = Field(default=0, alias="for")
    keep_firing_for: Duration = 0
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
    effective_from: int | None = None  # event time, microseconds UTC: it holds for revisions from then on
    before: "Rule | None" = None  # what holds until then
    tests: tuple[RuleTest, ...] = ()

    @field_validator("effective_from", mode="before")
    @classmethod
    def _time(cls, value: Any) -> int | None:
        return None if value is None else parse_time(value)

    @model_validator(mode="after")
    def _in_order(self) -> "Rule":
        if self.before is None:
            return self
        if self.before.id != self.id:
            raise ValueError(f"before: the rule that held before has the same id, {self.id}")
        if self.effective_from is None or self.effective_from <= (self.before.effective_from or 0):
            raise ValueError("a rule that replaces the one `before` needs an effective_from, later than that one's")
        return self

    def in_force(self, moment: int) -> "Rule | None":
        """The version that holds at this moment of event time; None before the first."""
        if self.effective_from is None or self.effective_from <= moment:
            return self
        return None if self.before is None else self.before.in_force(moment)

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

    @model_validator(mode="after")
    def _asks_something(self) -> "Rule":
        if (not self.when) == (self.query is None):
            raise ValueError("a rule has either `when`, with one condition at least, or `query`")
        return self

    def matches(self, incident: Incident) -> bool:
        """Whether all conditions hold for this revision; of a query rule, whether it is one of its rows."""
        if self.query is not None:
            return incident.fingerprint.startswith(f"{MARK}{self.id}.")
        if incident.fingerprint.startswith(MARK):
            return False
        return all(condition.holds(incident) for condition in self.when.values())

    @property
    def is_timed(self) -> bool:
        """Whether its alerts wait for a clock."""
        return bool(self.for_ or self.keep_firing_for)

    def severity_of(self, incident: Incident) -> Severity:
        """How loud: the rule's own severity, else the incident's."""
        return self.severity or incident.severity

    def destinations(self) -> tuple[str, ...]:
        """Who is told; of a shadow rule nobody."""
        return (SHADOW,) if self.mode == SHADOW else self.receivers

    def annotate(self, incident: Incident) -> dict[str, str]:
        """Every annotation, filled in for this incident."""
        return {name: render(template, incident) for name, template in self.annotations.items()}


def in_force(rules: Sequence[Rule], moment: int) -> list[Rule]:
    """Of each rule the version that holds at this moment of event time."""
    return [found for rule in rules if (found := rule.in_force(moment)) is not None]


def matching(
    rules: Sequence[Rule], incident: Incident, holds: Callable[[Rule, Incident], bool] = lambda *_: True
) -> tuple[Rule, ...]:
    """The rules that fire for this incident, in order; a match with `stop: true` is the last one.

    `holds` is asked for what a rule says of other incidents.
    """
    found = []
    for rule in rules:
        if rule.matches(incident) and holds(rule, incident):
            found.append(rule)
            if rule.stop:
                break
    return tuple(found)
