"""Why an alert is not told now: silences, maintenance windows, inhibition, times. Pure: `now` comes in.

A mute holds back the beginning of an alert, and its repetition; the end of what was told is always told. What is still
firing when the mute is over is told then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alerts.routing.matchers import Labels, Matcher, all_match, parse_matcher
from alerts.routing.times import TimeInterval
from alerts.routing.tree import Route
from schemas.incidents import Incident
from schemas.oncall import Silencing
from schemas.times import format_time

INFRASTRUCTURE = ("infrastructure_failure", "telemetry_gap")


class Reason(StrEnum):
    """Every reason for which an alert is not sent: on the incident's timeline, and counted by notify."""

    GROUP_WAIT = "group_wait"  # its group is not due yet
    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    INHIBITED = "inhibited"
    PREDICTED_SYMPTOM = "predicted_symptom"
    MUTE_TIME = "mute_time"
    INACTIVE_TIME = "inactive_time"
    OVER = "over"  # it ended before it was told


@dataclass(frozen=True, slots=True)
class Mute:
    """One reason, in words that say who or what."""

    reason: Reason
    shows: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Made by people (`aftermath silence add`), or a maintenance window of `routes.yml`. Start included, end not."""

    silence_id: str
    tenant: str  # "*" of a maintenance window that names none
    matchers: tuple[Matcher, ...]
    starts_at: int
    ends_at: int
    created_by: str
    comment: str
    reason: Reason = Reason.SILENCED

    def mutes(self, labels: Labels, now: int) -> bool:
        """Whether it holds now for this alert."""
        is_ours = self.tenant in ("*", labels.get("tenant"))
        return is_ours and self.starts_at <= now < self.ends_at and all_match(self.matchers, labels)


def silence_of(said: Silencing) -> Silence:
    """As it is asked. Raises ValueError where a matcher is none."""
    matchers = tuple(parse_matcher(text) for text in said.matcher_texts)
    times = (said.starts_at, said.ends_at)
    return Silence(said.silence_id, said.tenant, matchers, *times, said.created_by, said.comment)


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While a source fires, targets with the same values of `equal` are not told. The tenant is always among them."""

    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def source_of(self, target: Labels, firing: Iterable[Labels]) -> Labels | None:
        """An alert that inhibits this one. What matches both sides cannot inhibit what matches both sides."""
        if not all_match(self.target_matchers, target):
            return None
        is_two_sided = all_match(self.source_matchers, target)
        for source in firing:
            if not all_match(self.source_matchers, source):
                continue
            if is_two_sided and all_match(self.target_matchers, source):
                continue
            if all(source.get(name, "") == target.get(name, "") for name in (*self.equal, "tenant")):
                return source
        return None


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires, told or not."""

    labels: Labels
    incident: Incident


def predicts(cause: Incident, symptom: Incident) -> bool:
    """Whether an agent's failure is known to have caused what another incident tells of.

    The cause is an agent's; the symptom has no agent of its own, began no earlier than the action, and everything that
    it hit is in the blast radius of the cause.
    """
    if cause.kind != "agent_caused_failure" or cause.attribution.verdict != "agent":
        return False
    if symptom.tenant != cause.tenant or symptom.kind not in INFRASTRUCTURE or symptom.agent_id is not None:
        return False
    began = min((candidate.event_time for candidate in cause.attribution.ranked[:1]), default=cause.started_at)
    hit = {part.resource for part in symptom.blast_radius}
    hit |= {item.resource for item in symptom.evidence if item.type == "symptom" and item.resource is not None}
    return symptom.started_at >= began and bool(hit) and hit <= {part.resource for part in cause.blast_radius}


def mutes_of(
    target: Firing,
    route: Route,
    now: int,
    *,
    silences: Iterable[Silence],
    inhibit_rules: Sequence[InhibitRule],
    firing: Sequence[Firing],
    intervals: Mapping[str, Sequence[TimeInterval]],
) -> Iterator[Mute]:
    """Every reason not to tell this alert by this route now, in the order they are asked."""
    for cause in firing:
        if predicts(cause.incident, target.incident):
            yield Mute(Reason.PREDICTED_SYMPTOM, f"a symptom that incident {cause.incident.incident_id} explains")
    others = [one.labels for one in firing if one.labels != target.labels]
    for rule in inhibit_rules:
        source = rule.source_of(target.labels, others)
        if source is not None:
            name, incident = source.get("alertname", ""), source.get("incident_id", "")
            yield Mute(Reason.INHIBITED, f"inhibited by {name} (incident {incident})")
    for silence in silences:
        if silence.mutes(target.labels, now):
            until = f"until {format_time(silence.ends_at)}: {silence.comment}"
            yield Mute(silence.reason, f"{silence.reason} by {silence.created_by} ({silence.silence_id}) {until}")
    active = route.active_time_intervals
    if active and not any(_is_inside(intervals[name], now) for name in active):
        yield Mute(Reason.INACTIVE_TIME, f"outside of {', '.join(active)}")
    for name in route.mute_time_intervals:
        if _is_inside(intervals[name], now):
            yield Mute(Reason.MUTE_TIME, f"inside of {name}")


def _is_inside(parts: Sequence[TimeInterval], now: int) -> bool:
    return any(part.contains(now) for part in parts)
