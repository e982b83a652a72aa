"""Why an alert is not told now: silences, maintenance windows, inhibition, times. Pure: `now` comes in.

A mute holds back the beginning of an alert, and its repetition; the end of what was told is always told. What is still
firing when the mute is over is told then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from alerts.routing.matchers import Labels, Matcher, all_match, parse_matcher
from alerts.routing.times import TimeInterval
from alerts.routing.tree import Route
from schemas.incidents import Incident
from schemas.oncall import Silencing
from schemas.times import format_time

Place = tuple[str, str, str]  # tenant, incident, rule
_Key = tuple[str, ...]
INFRASTRUCTURE = ("infrastructure_failure", "telemetry_gap")


class Reason(StrEnum):
    """Every reason for which an alert is not sent: on the incident's timeline, and counted by notify."""

    GROUP_WAIT = "group_wait"  # its group is not due yet
    FOR = "for"  # the rule wants it to have held for a time
    NO_LONGER = "no_longer"  # while it was held its rule ceased to match
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
    """While a source fires, targets with the same values of `equal` are not told. The tenant is always among them.

    What matches both sides cannot inhibit what matches both sides.
    """

    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()

    def common(self, labels: Labels) -> tuple[str, ...]:
        """What a source and its target have in common."""
        return tuple(labels.get(name, "") for name in (*self.equal, "tenant"))


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires, told or not."""

    labels: Labels
    incident: Incident


class Firings:
    """Everything that fires, found by what it may mute: a look must not cost more in a storm, when thousands fire."""

    def __init__(self, inhibit_rules: Sequence[InhibitRule]) -> None:
        self._rules = tuple(inhibit_rules)
        self._keys: dict[Place, frozenset[_Key]] = {}
        self._found: dict[_Key, dict[Place, Firing]] = {}

    def put(self, place: Place, firing: Firing) -> None:
        """It fires, or its incident has a later revision."""
        keys = frozenset(self._keys_of(firing))
        self._leave(place, self._keys.get(place, frozenset()) - keys)
        self._keys[place] = keys
        for key in keys:
            self._found.setdefault(key, {})[place] = firing

    def drop(self, place: Place) -> None:
        """It fires no more."""
        self._leave(place, self._keys.pop(place, frozenset()))

    def renew(self, incident: Incident) -> None:
        """A later revision of what fires."""
        for place, firing in list(self._at("incident", incident.tenant, incident.incident_id).items()):
            self.put(place, Firing(firing.labels, incident))

    def causes(self, symptom: Incident) -> Iterator[Incident]:
        """Agents' failures that predict this incident."""
        if hit := _hit(symptom):
            for firing in self._at("reaches", symptom.tenant, min(hit)).values():
                if predicts(firing.incident, symptom):
                    yield firing.incident

    def inhibiting(self, target: Labels) -> Iterator[Labels]:
        """For each rule that applies to this alert, a source that inhibits it."""
        for number, rule in enumerate(self._rules):
            if all_match(rule.target_matchers, target):
                side = "source only" if all_match(rule.source_matchers, target) else "source"
                sources = self._at(side, str(number), *rule.common(target)).values()
                yield from islice((one.labels for one in sources if one.labels != target), 1)

    def _keys_of(self, firing: Firing) -> Iterator[_Key]:
        incident, labels = firing.incident, firing.labels
        yield ("incident", incident.tenant, incident.incident_id)
        if _is_cause(incident):
            for part in incident.blast_radius:
                yield ("reaches", incident.tenant, part.resource)
        for number, rule in enumerate(self._rules):
            if all_match(rule.source_matchers, labels):
                yield ("source", str(number), *rule.common(labels))
                if not all_match(rule.target_matchers, labels):
                    yield ("source only", str(number), *rule.common(labels))

    def _at(self, *key: str) -> Mapping[Place, Firing]:
        return self._found.get(key, {})

    def _leave(self, place: Place, keys: frozenset[_Key]) -> None:
        for key in keys:
            del self._found[key][place]
            if not self._found[key]:
                del self._found[key]


def _is_cause(incident: Incident) -> bool:
    return incident.kind == "agent_caused_failure" and incident.attribution.verdict == "agent"


def _hit(symptom: Incident) -> set[str]:
    """The resources that it hit."""
    hit = {part.resource for part in symptom.blast_radius}
    return hit | {item.resource for item in symptom.evidence if item.type == "symptom" and item.resource is not None}


def predicts(cause: Incident, symptom: Incident) -> bool:
    """Whether an agent's failure is known to have caused what another incident tells of.

    The cause is an agent's; the symptom has no agent of its own, began no earlier than the action, and everything that
    it hit is in the blast radius of the cause.
    """
    if not _is_cause(cause):
        return False
    if symptom.tenant != cause.tenant or symptom.kind not in INFRASTRUCTURE or symptom.agent_id is not None:
        return False
    began = min((candidate.event_time for candidate in cause.attribution.ranked[:1]), default=cause.started_at)
    hit = _hit(symptom)
    return symptom.started_at >= began and bool(hit) and hit <= {part.resource for part in cause.blast_radius}


def mutes_of(
    target: Firing,
    route: Route,
    now: int,
    *,
    silences: Iterable[Silence],
    firing: Firings,
    intervals: Mapping[str, Sequence[TimeInterval]],
) -> Iterator[Mute]:
    """Every reason not to tell this alert by this route now, in the order they are asked."""
    for cause in firing.causes(target.incident):
        yield Mute(Reason.PREDICTED_SYMPTOM, f"a symptom that incident {cause.incident_id} explains")
    for source in firing.inhibiting(target.labels):
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
