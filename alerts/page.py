"""What a page says, line by line, for a person who has just been woken.

What to do first, then what broke and where, what did it and how sure we are, what the agent did not know, what it
burned, where to go on. Every line comes from the numbers of the incident; a line without a number is left out.
Never money. Receivers put these lines into their own form: one test holds every form against a golden file.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, field_validator

from alerts.outbox import RESOLVED, Notification
from alerts.plain_text import clip, plain
from alerts.rules.fields import NO_GAP, number_text
from alerts.rules.model import Rule
from schemas.incidents import CLASS_TEXT, ContextGap, Incident
from schemas.times import format_span, format_time

FEW = 3  # entries of a list that are shown; the rest is counted
LONGEST_AGENT = 100  # of a name that is put into a command
INCIDENT = "{incident_id}"
Told = Sequence[tuple[Notification, Incident]]  # what one message tells besides its first


class Links(BaseModel):
    """Where the links of a page lead; what is not set is not linked. `{incident_id}` is filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: str | None = None  # the incident's live page: https://aftermath.example.com/incidents/{incident_id}
    sql: str | None = None  # a place to ask ClickHouse: https://clickhouse.example.com/play
    runbooks: str | None = None  # what goes before a runbook that is a file: https://git.example.com/blob/main

    @field_validator("page", "sql", "runbooks")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("write a whole address: https://host/path")
        return value


@dataclass(frozen=True, slots=True)
class Page:
    """All texts are harmless for a terminal (`plain_text`); markup is escaped by each receiver for its own format."""

    headline: str  # PAGE critical FIRING: how loud, and whether it begins or ends
    title: str  # what broke and where
    lines: tuple[tuple[str, str], ...]  # label and text, in the order they are read
    links: tuple[tuple[str, str], ...]  # text and address

    def shortened(self, length: int) -> "Page":
        """No line longer than this; says so where one was."""
        lines = tuple((label, clip(text, length)) for label, text in self.lines)
        note = () if lines == self.lines else (("shortened", f"lines are cut after {length} characters"),)
        return Page(self.headline, clip(self.title, length), (*lines, *note), self.links)


class Pages:
    """Writes pages; made once for all receivers."""

    def __init__(self, rules: Sequence[Rule] = (), links: Links | None = None) -> None:
        self._links = links or Links()
        self.use(rules)

    def use(self, rules: Sequence[Rule]) -> None:
        """Take runbook, owner and first step from these rules from now on."""
        self._rules: Mapping[str, Rule] = {rule.id: rule for rule in rules}

    def rule(self, notification: Notification) -> Rule | None:
        """The rule that fired; None where it is gone since."""
        return self._rules.get(notification.rule)

    def of(self, notification: Notification, incident: Incident, others: Told = ()) -> Page:
        """The page of one message: its first alert whole, the others by their titles."""
        rule = self.rule(notification)
        is_over = notification.transition == "resolved"
        links = tuple(self._addresses(incident, rule))
        found = [*_lines(incident), ("and with it", _with_it(others)), *_end(incident, rule)]
        if not is_over and incident.status == "open":
            found = [*_first(incident, rule), *found]
        if rule is not None and "runbook" not in dict(links):
            found.append(("runbook", rule.runbook))
        title = notification.title.removeprefix(RESOLVED) if is_over else notification.title  # the headline says it
        return Page(
            headline=f"{notification.mode.upper()} {notification.severity} {notification.transition.upper()}",
            title=plain(title),
            lines=tuple((label, plain(text)) for label, text in found if text),
            links=links,
        )

    def _addresses(self, incident: Incident, rule: Rule | None) -> Iterator[tuple[str, str]]:
        filled = quote(incident.incident_id, safe="")
        if self._links.page:
            yield "live page", self._links.page.replace(INCIDENT, filled)
        if self._links.sql:
            yield "SQL", self._links.sql.replace(INCIDENT, filled)
        if rule is not None and rule.runbook.startswith(("https://", "http://")):
            yield "runbook", rule.runbook
        elif rule is not None and self._links.runbooks:
            yield "runbook", f"{self._links.runbooks.rstrip('/')}/{rule.runbook}"


def hold_command(incident: Incident) -> str | None:
    """What to type to hold the agent that is held responsible; None where none is, or its name fits into no command."""
    agent = plain(incident.agent_id or "")
    if not agent or len(agent) > LONGEST_AGENT or incident.attribution.verdict in ("infrastructure", "change"):
        return None
    words = ["aftermath", "control", "pause", agent, "--tenant", plain(incident.tenant), "--for", "30m"]
    return shlex.join([*words, "--incident", incident.incident_id, "--why", "paged"])


def _first(incident: Incident, rule: Rule | None) -> Iterator[tuple[str, str]]:
    """What to do, before anything that is good to know."""
    if rule is not None and rule.first_step:
        yield "do first", rule.first_step
    if (command := hold_command(incident)) is not None:
        yield "hold agent", command
    yield "take it", f"aftermath incidents ack {incident.incident_id}"


def _lines(incident: Incident) -> Iterator[tuple[str, str]]:
    yield "where", incident.scope or ""
    yield "hit", _few([hit.resource for hit in incident.blast_radius])
    yield "since", _since(incident)
    yield "severity", _severity(incident)
    yield "cause", _cause(incident)
    yield "not final", "provisional: not all of the data is there" if incident.provisional else ""
    yield "agent", " ".join(filter(None, (incident.agent_id, incident.agent_version)))
    yield "did not know", _few([_gap(gap) for gap in incident.context_gaps if gap.class_ not in NO_GAP], "; ")
    yield "limits", _few([gap.gap for gap in incident.governance_gaps], "; ")
    if incident.exhaustion is not None:
        burned = incident.exhaustion
        calls = f"{number_text(burned.calls_percent_of_expected)}% of the calls needed"
        yield "burned", f"{calls}, {number_text(burned.unplanned_tokens)} unplanned tokens"
    yield "in short", incident.summary


def _severity(incident: Incident) -> str:
    """Why it is another one than was told first; nothing where it never changed."""
    step = incident.newest_step("severity")
    return f"{step.shows} (at {format_time(step.at)})" if step else ""


def _cause(incident: Incident) -> str:
    """Who or what, how sure we are, and what it began with."""
    cause = incident.attribution
    if cause.verdict == "undetermined":
        return "not determined: no change stands out"
    said = f"{cause.verdict}, {cause.probability:.0%} sure"
    if cause.verdict == "infrastructure" or not cause.ranked:  # then nobody's change began it
        return said
    first = cause.ranked[0]
    lag = incident.started_at - first.event_time
    before = f", {format_span(lag)} before" if lag > 0 else ""
    return f"{said}: {first.shows or first.resource or first.kind} (at {format_time(first.event_time)}{before})"


def _gap(gap: ContextGap) -> str:
    return f"{gap.shows or gap.resource}: {CLASS_TEXT[gap.class_]}"


def _end(incident: Incident, rule: Rule | None) -> Iterator[tuple[str, str]]:
    yield "look", f"aftermath incidents show {incident.incident_id}"
    name = incident.incident_id.replace("\\", "\\\\").replace("'", "\\'")
    yield "ask", f"SELECT * FROM aftermath.timeline_of(incident_id = '{name}')"  # noqa: S608 - text to paste
    if rule is not None:
        yield "why you", f"rule {rule.id}, owner {incident.owner or rule.owner}, revision {incident.revision}"


def _since(incident: Incident) -> str:
    began = format_time(incident.started_at)
    if incident.resolved_at is not None:
        return f"{began}, for {format_span(incident.resolved_at - incident.started_at)}"
    seen = incident.detected_at - incident.started_at
    return f"{began}, noticed {format_span(seen)} later" if seen > 0 else began


def _with_it(others: Told) -> str:
    titles = [notification.title for notification, _ in others[:FEW]]
    more = f"; and {len(others) - FEW} more" if len(others) > FEW else ""
    return "; ".join(titles) + more


def _few(entries: list[str], between: str = ", ") -> str:
    more = f" and {len(entries) - FEW} more" if len(entries) > FEW else ""
    return between.join(entries[:FEW]) + more


LENGTHS = (500, 200, 80)  # of a line, tried in this order until the message fits


def fitted(page: Page, make: Callable[[Page], bytes], max_bytes: int) -> bytes:
    """What `make` makes of the page, with lines cut shorter until it has at most `max_bytes` (16,000 or more)."""
    for length in LENGTHS:
        made = make(page.shortened(length))
        if len(made) <= max_bytes:
            break
    return made
