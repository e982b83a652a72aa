"""The router: alerts wait here for their group and for what mutes them, and leave as messages.

One group for each receiver, route and set of group labels. A group is looked at `group_wait` after its first alert
came (at once where that is past already: after a restart, or in a backlog), then every `group_interval`; `flush` says
what is to be told now, what is held and why, and what was over before it was told. Pure: `now` comes in; who calls
waits until `next_due`, sends, and says with `told` how it went. While a message of a group is under way the group says
nothing, so that an end cannot overtake its beginning.

Without routes each alert is a group of its own that waits for nothing but what its rule wants (`for`,
`keep_firing_for`). A receiver that several matching routes name is told once, by the first of them. After a restart
`restore` takes back what was told and what is held: see `restoring.py`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alerts.outbox import Notification
from alerts.routing.files import Routes
from alerts.routing.mutes import Firing, Firings, Mute, Place, Reason, Silence, mutes_of
from alerts.routing.tree import NO_GROUPING, Route
from alerts.rules.model import Rule
from schemas.incidents import SEVERITIES, Incident
from schemas.signals import stable_hash
from schemas.times import format_span, format_time

SECOND = 1_000_000
ALONE = Route("rules", "", group_by=(NO_GROUPING,), group_wait=0, group_interval=SECOND, repeat_interval=sys.maxsize)
One = tuple[Notification, Incident]


@dataclass(frozen=True, slots=True)
class Message:
    """What one receiver is told at once. `alerts` is never empty, the most urgent first; `changes` are new to it."""

    message_id: str
    group: str
    transition: str
    alerts: tuple[One, ...]
    changes: tuple[One, ...]

    @property
    def lead(self) -> One:
        """The first alert, as the receiver sees the message: the group's thread and the message's own key."""
        notification, incident = self.alerts[0]
        reference = notification.reference if self.transition == "resolved" else ""
        transition = "resolved" if self.transition == "resolved" else "firing"
        key = {"dedup_key": self.message_id, "group": self.group, "reference": reference}
        return replace(notification, transition=transition, **key), incident  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Flush:
    """What came of one look at all groups that were due."""

    messages: tuple[Message, ...]
    records: tuple[One, ...]  # held for another reason than before, or dropped


@dataclass(slots=True)
class _Group:
    route: Route
    due: int
    waiting: dict[str, One] = field(default_factory=dict)  # by dedup key, in the order they came
    told: dict[Place, One] = field(default_factory=dict)  # fires, and the receiver knows
    tried: set[str] = field(default_factory=set)  # dedup keys that may have left before a restart
    under_way: Message | None = None
    last_told: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self.told and self.under_way is None

    @property
    def next_look(self) -> int | None:
        if self.waiting:
            return self.due
        return max(self.due, self.last_told + self.route.repeat_interval) if self.told else None

    def is_sending(self, dedup_key: str) -> bool:
        return self.under_way is not None and any(one.dedup_key == dedup_key for one, _ in self.under_way.changes)


class Router:
    """All groups of one worker. Not safe for several threads."""

    def __init__(self, routes: Routes | None, rules: Sequence[Rule] = ()) -> None:
        self._routes = routes or Routes(ALONE)
        self._is_routed = routes is not None
        self.use(rules)
        self._groups: dict[str, _Group] = {}
        self._firing = Firings(self._routes.inhibit_rules)
        self._silences: dict[tuple[str, str], Silence] = {}
        self._acknowledged: set[tuple[str, str]] = set()

    # -- what it is told

    def use(self, rules: Sequence[Rule]) -> None:
        """Go by the clocks of these rules from now on."""
        self._rules = {rule.id: rule for rule in rules}

    def _rule(self, notification: Notification) -> Rule | None:
        rule = self._rules.get(notification.rule)
        return None if rule is None else rule.in_force(notification.at)

    def destinations(self, rule: Rule, labels: Mapping[str, str]) -> Sequence[str]:
        """The receivers of an alert, each once, in the order of its routes; of a shadow rule nobody."""
        if rule.mode == "shadow" or not self._is_routed:
            return rule.destinations()
        return tuple(dict.fromkeys(route.receiver for route in self._routes.root.matching(labels)))

    def silence(self, silence: Silence) -> None:
        """A silence, or a later version of one: `aftermath silence expire` moves its end."""
        self._silences[silence.tenant, silence.silence_id] = silence

    def acknowledge(self, tenant: str, incident_id: str) -> None:
        """Somebody has it: it is not repeated."""
        self._acknowledged.add((tenant, incident_id))

    def take(
        self, notification: Notification, incident: Incident, now: int, *, may_have_left: bool = False
    ) -> Notification | None:
        """A decision of the outbox. Returns its record, to be kept before the revision is acknowledged.

        None where it is under way already. `may_have_left`: it was, before a restart.
        """
        place = _place(notification)
        if notification.transition == "resolved" or incident.status != "open":
            self._firing.drop(place)
        else:
            self._firing.put(place, Firing(notification.label_map, incident))
        name, group = self._group(notification, now)
        if group.is_sending(notification.dedup_key):
            return None
        held = replace(notification, group=name, state="held")
        if notification.transition == "firing" and not group.waiting and not group.told and group.under_way is None:
            wait = 0 if notification.at + group.route.group_wait <= now else group.route.group_wait
            group.due = now + wait
        elif not self._is_routed:
            group.due = now
        elif group.due < now:  # nothing waited for some looks: the next one in their rhythm
            group.due += -(-(now - group.due) // group.route.group_interval) * group.route.group_interval
        known = group.waiting.get(notification.dedup_key)
        if may_have_left:
            group.tried.add(notification.dedup_key)
            group.due = now
        if known is not None:
            held = replace(held, reason=known[0].reason, detail=known[0].detail, at=known[0].at)
        else:
            shows = f"its group is told at {format_time(group.due)}"
            held = replace(held, reason=Reason.GROUP_WAIT, detail=shows)
        group.waiting[notification.dedup_key] = (held, incident)
        return held

    def lapse(self, notification: Notification) -> Notification | None:
        """Its rule matches no more: it waits no more. Returns its record; None where it is under way or gone."""
        _, group = self._group(notification, 0)
        waiting = group.waiting.pop(notification.dedup_key, None)
        if waiting is None:
            return None
        self._firing.drop(_place(notification))
        shows = f"its rule matches no more ({waiting[0].detail})"
        return replace(waiting[0], state="dropped", reason=Reason.NO_LONGER, detail=shows)

    def restore(self, notification: Notification, incident: Incident, now: int) -> None:
        """What the receiver knows to be firing, from before a restart."""
        self._firing.put(_place(notification), Firing(notification.label_map, incident))
        _, group = self._group(notification, now)
        group.told[_place(notification)] = (notification, incident)
        group.last_told = max(group.last_told, notification.told_at)

    def renew(self, incident: Incident) -> None:
        """A later revision of what is told or held: what mutes others goes by the newest."""
        if incident.status == "open":
            self._firing.renew(incident)

    # -- what it says

    def next_due(self) -> int | None:
        """The moment of the next look; None where nothing waits."""
        moments = [group.next_look for group in self._groups.values() if group.under_way is None]
        return min((moment for moment in moments if moment is not None), default=None)

    def flush(self, now: int) -> Flush:
        """Look at every group that is due."""
        messages: list[Message] = []
        records: list[One] = []
        for name, group in list(self._groups.items()):
            if group.under_way is not None or group.due > now:
                continue
            group.due = now + group.route.group_interval
            message = self._look(name, group, now, records)
            if message is not None:
                group.under_way = message
                messages.append(message)
            elif group.is_empty:
                del self._groups[name]
        return Flush(tuple(messages), tuple(records))

    def told(self, message: Message, now: int, records: Sequence[Notification]) -> None:
        """How a message went: a record for each of its changes, sent or failed.

        What failed for good is not tried again by itself: the next revision decides it anew.
        """
        group = self._groups[message.group]
        group.under_way = None
        is_told = all(record.state == "sent" for record in records)
        group.last_told = now if is_told else group.last_told
        for record, (_, incident) in zip(records, message.changes, strict=True):
            group.tried.discard(record.dedup_key)
            if record.transition == "resolved":
                group.told.pop(_place(record), None)
            elif is_told:
                group.told[_place(record)] = (record, incident)
        if group.is_empty:
            del self._groups[message.group]

    def _look(self, name: str, group: _Group, now: int, records: list[One]) -> Message | None:
        ready, dropped = self._ready(group, now, records)
        for notification, incident in dropped:
            over = {"state": "dropped", "reason": Reason.OVER}
            shows = f"over before it was told ({notification.detail})"
            for one in (notification, *_ends_of(group, _place(notification))):
                records.append((replace(one, detail=shows, **over), incident))  # type: ignore[arg-type]
                del group.waiting[one.dedup_key]
        if unfinished := [one for one in ready if one[0].dedup_key in group.tried]:
            ready = unfinished  # what may have left before a restart leaves again as the same message
        for notification, _ in ready:
            del group.waiting[notification.dedup_key]
        if ready:
            return self._message(name, group, ready)
        if group.told and group.last_told + group.route.repeat_interval <= now:
            again = [one for one in group.told.values() if self._may_repeat(group, one, now)]
            if again:
                key = stable_hash("repeat", name, now)
                return Message(key, name, "firing", tuple(sorted(again, key=_urgency)), ())
        return None

    def _ready(self, group: _Group, now: int, records: list[One]) -> tuple[list[One], list[One]]:
        """What may be told now, beginnings first, and the beginnings that are over."""
        ended = {_place(one[0]) for one in group.waiting.values() if one[0].transition == "resolved"}
        ready: list[One] = []
        dropped: list[One] = []
        for key, (notification, incident) in list(group.waiting.items()):
            place = _place(notification)
            if notification.transition == "resolved":
                rule = self._rule(notification)
                if place in group.told and notification.at + (rule.keep_firing_for if rule else 0) <= now:
                    ready.append((notification, incident))
            elif key in group.tried:
                ready.append((notification, incident))
            elif place in ended or incident.status != "open":
                dropped.append((notification, incident))
            elif (mute := next(self._mutes(group, notification, incident, now), None)) is None:
                ready.append((notification, incident))
            elif (notification.reason, notification.detail) != (mute.reason, mute.shows):
                held = replace(notification, reason=mute.reason, detail=mute.shows)
                group.waiting[key] = (held, incident)
                records.append((held, incident))
        begun = {_place(one[0]) for one in ready if one[0].transition == "firing"}
        for notification, incident in group.waiting.values():
            if notification.transition == "resolved" and _place(notification) in begun:
                ready.append((notification, incident))
        return ready, dropped

    def _mutes(self, group: _Group, notification: Notification, incident: Incident, now: int) -> Iterator[Mute]:
        rule = self._rule(notification)
        if rule is not None and notification.at + rule.for_ > now:
            yield Mute(Reason.FOR, f"has to hold for {format_span(rule.for_)}")
        yield from mutes_of(
            Firing(notification.label_map, incident),
            group.route,
            now,
            silences=(*self._routes.maintenance, *self._silences.values()),
            firing=self._firing,
            intervals=self._routes.intervals,
        )

    def _may_repeat(self, group: _Group, one: One, now: int) -> bool:
        notification, incident = one
        if (notification.tenant, notification.incident_id) in self._acknowledged:
            return False
        return next(self._mutes(group, notification, incident, now), None) is None

    def _message(self, name: str, group: _Group, ready: list[One]) -> Message:
        ended = {_place(one[0]) for one in ready if one[0].transition == "resolved"}
        begun = [one for one in ready if one[0].transition == "firing" and _place(one[0]) not in ended]
        still = [one for place, one in group.told.items() if place not in ended]
        over = [one for one in ready if one[0].transition == "resolved"]
        alerts = (*sorted([*begun, *still], key=_urgency), *sorted(over, key=_urgency))
        transition = "firing" if begun or still else "resolved"
        key = stable_hash("message", name, sorted(one[0].dedup_key for one in ready))
        return Message(key, name, transition, alerts, tuple(ready))

    def _group(self, notification: Notification, now: int) -> tuple[str, _Group]:
        labels = notification.label_map
        routes = self._routes.root.matching(labels)
        route = next((one for one in routes if one.receiver == notification.receiver), self._routes.root)
        name = stable_hash("group", notification.receiver, route.place, route.group_of(labels))
        return name, self._groups.setdefault(name, _Group(route, now))


def _place(notification: Notification) -> Place:
    return (notification.tenant, notification.incident_id, notification.rule)


def _ends_of(group: _Group, place: Place) -> list[Notification]:
    """The end of this alert, where it waits."""
    return [one for one, _ in group.waiting.values() if one.transition == "resolved" and _place(one) == place]


def _urgency(one: One) -> tuple[int, int, str]:
    notification, incident = one
    return (-SEVERITIES.index(notification.severity), incident.started_at, notification.dedup_key)
