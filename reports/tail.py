"""The live timeline as lines of a terminal: what agents do, what systems do, and the incidents made of both.

One row is what correlate reads (an action, a fact, a signal) or says (a revision of an incident). Pure: rows in, lines
out; a row that comes again after a restart is shown once.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from reports.incident import clock, day, plain, verdict_of
from schemas.arguments import in_words
from schemas.incidents import Incident
from schemas.resources import kind_of, name_of, scope_of
from schemas.signals import Action, Fact, Gap, Signal
from schemas.times import MINUTE

MOST_KNOWN = 20_000  # ids that are remembered, to show each row once
AGAIN_AFTER = 5 * MINUTE  # of event time: an incident that only grows is shown so often
KIND = 11  # width of the column that says what a row is
Shown = Action | Fact | Signal | Gap | Incident


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is followed. scope: the beginning of resource names; None: everything."""

    scope: str | None = None
    agent: str | None = None

    def covers(self, row: Shown) -> bool:
        """Whether the row is about the scope and the agent. A silent source is about all of them."""
        if isinstance(row, Gap):
            return True
        return self._is_agent(row) and self._is_scope(row)

    def _is_agent(self, row: Action | Fact | Signal | Incident) -> bool:
        if self.agent is None:
            return True
        return self.agent == (row.actor if isinstance(row, Fact) else row.agent_id)

    def _is_scope(self, row: Action | Fact | Signal | Incident) -> bool:
        if self.scope is None:
            return True
        if isinstance(row, Incident):
            places = {row.scope, *(item.resource for item in row.blast_radius)}
        elif isinstance(row, Action):
            places = {row.target}
        elif isinstance(row, Fact):
            places = {row.resource}
        else:
            places = {row.resource, row.scope}
        return any(place == self.scope or (place or "").startswith(f"{self.scope}/") for place in places)


@dataclass(slots=True)
class Tail:
    """Follows one timeline."""

    wanted: Wanted = field(default_factory=Wanted)
    _known: "OrderedDict[tuple[str, ...], None]" = field(default_factory=OrderedDict)
    _incidents: dict[str, tuple[object, int]] = field(default_factory=dict)  # id -> what was said last, and when
    _day: str = ""

    def lines(self, rows: list[Shown]) -> list[str]:
        """The rows that are wanted and were not shown, in order of event time."""
        fresh = [row for row in rows if self.wanted.covers(row) and self._is_new(row)]
        out = []
        for row in sorted(fresh, key=_at):
            if isinstance(row, Incident) and not self._tells(row):
                continue
            if (today := day(_at(row))) != self._day:
                self._day = today
                out.append(f"-- {today}, UTC")
            out.append(plain(line(row)))
        return out

    def _tells(self, incident: Incident) -> bool:
        """Whether a revision says more than that the incident grew, or it is time to say that."""
        verdict = incident.attribution.verdict
        says = (incident.kind, incident.status, incident.severity, incident.provisional, verdict, incident.agent_id)
        before, at = self._incidents.get(incident.incident_id, (None, 0))
        if says == before and incident.updated_at - at < AGAIN_AFTER:
            return False
        self._incidents[incident.incident_id] = (says, incident.updated_at)
        if incident.status != "open":
            del self._incidents[incident.incident_id]
        return True

    def _is_new(self, row: Shown) -> bool:
        key = _key(row)
        if key in self._known:
            return False
        self._known[key] = None
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return True


def line(row: Shown) -> str:
    """One row."""
    if isinstance(row, Incident):
        mark, kind = "»", "incident"
        told = f"{row.severity} {row.status}{' (provisional)' if row.provisional else ''}"
        says = f"{row.incident_id[:8]} {told}, {verdict_of(row.attribution)}: {row.title}"
    else:
        mark = " "
        kind, says = _told(row)
    return f"{clock(_at(row))} {mark}{kind:<{KIND}} {says}"


def _told(row: Action | Fact | Signal | Gap) -> tuple[str, str]:
    if isinstance(row, Action):
        where = f" on {name_of(row.target)}" if row.target else ""
        words = in_words(row.tool_args, {row.target or "", *(row.target or "").split("/")})
        args = f" ({words})" if words else ""
        asked = f", approval {row.approval}" if row.approval and row.approval != "not_required" else ""
        return "action", f"{row.agent_id}: {row.tool_name or row.operation}{where}{args} -> {row.status}{asked}"
    if isinstance(row, Signal):
        who = f"{row.agent_id}: " if row.agent_id else ""
        scope = row.scope or scope_of(row.resource)
        kind = "symptom" if row.family == "symptom" else "signal"
        # a warning of Kubernetes says what, not of whom
        of = f"{name_of(row.resource)}: " if kind == "symptom" and name_of(row.resource) not in row.summary else ""
        return kind, f"{who}{of}{row.summary}" + (f" [{scope}]" if scope else "")
    if isinstance(row, Gap):
        return "silent", f"nothing comes from {row.source} any more: what follows is provisional"
    what = "/".join(part for part in (kind_of(row.resource), name_of(row.resource)) if part)
    if row.kind == "dependency":
        return row.kind, f"{what} depends on {row.value}"
    values = f" {row.previous_value} -> {row.value}" if row.previous_value and row.value else ""
    values = values or (f" {row.value}" if row.value else "")
    by = f" by {row.actor}" if row.actor else ""
    return row.kind, what + values + by + (f": {row.message}" if row.message else "")


def _at(row: Shown) -> int:
    if isinstance(row, Action):
        return row.start_time
    if isinstance(row, Signal):
        return row.detected_at
    if isinstance(row, Gap):
        return row.pane
    return row.updated_at if isinstance(row, Incident) else row.event_time


def _key(row: Shown) -> tuple[str, ...]:
    if isinstance(row, Action):
        return ("action", row.tenant, row.trace_id, row.span_id)
    if isinstance(row, Signal):
        return ("signal", row.tenant, row.signal_id)
    if isinstance(row, Gap):
        return ("gap", row.source, str(row.pane))
    if isinstance(row, Incident):
        return ("incident", row.incident_id, str(row.revision))
    return ("fact", row.tenant, row.fact_id, str(row.event_time))
