"""The router against a small model of Alertmanager's own decision, and against crashes at any step."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.routing.files import Routes
from alerts.routing.matchers import parse_matcher
from alerts.routing.mutes import Silence
from alerts.routing.tree import Route
from alerts.rules import sample_incident
from schemas.incidents import Incident
from schemas.times import parse_time
from tests.unit.alerts.routing.driving import SECOND, Driver, a_rule

NOON = parse_time("2026-03-02T12:00:00Z")
LAST = 60  # seconds of a story; waits are short so that much happens in it
SCOPES = ("eu/a", "eu/b")


@dataclass(frozen=True)
class Life:
    """An incident: from when to when, and where."""

    name: str
    begins: int
    ends: int
    scope: str

    def revision(self, second: int) -> Incident:
        is_over = second >= self.ends
        return sample_incident(
            {
                "incident_id": self.name,
                "tenant": "acme",
                "kind": "feedback_loop",
                "scope": self.scope,
                "revision": 2 if is_over else 1,
                "status": "resolved" if is_over else "open",
                "started_at": NOON + self.begins * SECOND,
                "updated_at": NOON + second * SECOND,
            }
        )


@dataclass(frozen=True)
class Quiet:
    """A silence of one scope, in seconds."""

    scope: str
    starts: int
    ends: int


@dataclass
class Group:
    """What Alertmanager keeps of a group: its timer, and its entry of the notification log."""

    due: int
    firing: frozenset[str] = frozenset()
    resolved: frozenset[str] = frozenset()
    told: int | None = None
    ever: set[str] = field(default_factory=set)


LIVES = st.builds(
    lambda begins, length, scope: (begins, begins + length, scope),
    st.integers(0, 40),
    st.integers(1, 40),
    st.sampled_from(SCOPES),
)
QUIETS = st.builds(
    lambda scope, starts, length: Quiet(scope, starts, starts + length),
    st.sampled_from(SCOPES),
    st.integers(0, 30),
    st.integers(1, 30),
)
STORIES = st.tuples(
    st.lists(LIVES, min_size=1, max_size=5).map(lambda found: [Life(f"i{n}", *one) for n, one in enumerate(found)]),
    st.lists(QUIETS, max_size=2),
    st.integers(0, 6),  # group_wait
    st.integers(1, 8),  # group_interval
    st.integers(5, 30),  # repeat_interval
)
Story = tuple[list[Life], list[Quiet], int, int, int]


def a_driver(story: Story) -> Driver:
    _, quiets, wait, interval, repeat = story
    route = Route(
        "0",
        "chat",
        group_by=("scope",),
        group_wait=wait * SECOND,
        group_interval=interval * SECOND,
        repeat_interval=repeat * SECOND,
    )
    silences = [
        Silence(
            f"s{n}",
            "acme",
            (parse_matcher(f'scope="{quiet.scope}"'),),
            NOON + quiet.starts * SECOND,
            NOON + quiet.ends * SECOND,
            "kim",
            "x",
        )
        for n, quiet in enumerate(quiets)
    ]
    return Driver(Routes(route), silences=silences, now=NOON)


def modelled(story: Story) -> list[tuple[int, frozenset[str], frozenset[str]]]:
    """Seconds, firing and resolved of every message: `needsUpdate` of Alertmanager's notification log, second by second.

    Ours differs in one thing: what was told stays in the firing set of a silence, and its end is told in one.
    """
    lives, quiets, wait, interval, repeat = story
    groups: dict[str, Group] = {}
    messages = []
    for second in range(LAST + 1):
        for life in lives:
            if life.begins == second and life.scope not in groups:
                groups[life.scope] = Group(due=second + wait)
        for scope, group in list(groups.items()):
            if group.due > second:
                continue
            group.due = second + interval
            is_quiet = any(quiet.scope == scope and quiet.starts <= second < quiet.ends for quiet in quiets)
            here = [life for life in lives if life.scope == scope and life.begins <= second]
            active = {life.name for life in here if life.ends > second}
            firing = frozenset(active if not is_quiet else active & group.firing)
            resolved = frozenset(life.name for life in here if life.ends <= second and life.name in group.ever)
            is_repeat = False
            if firing <= group.firing and not (resolved - group.resolved):
                due = group.told is not None and group.told + repeat <= second
                is_repeat = bool(firing) and due and not is_quiet
                if not is_repeat:
                    if not active:
                        del groups[scope]
                    continue
            new_ends = frozenset() if is_repeat else resolved - group.resolved
            messages.append((second, firing, new_ends))
            group.firing, group.resolved, group.told = firing, resolved, second
            group.ever |= firing
            if not active:
                del groups[scope]
    return sorted(messages, key=lambda one: (one[0], sorted(one[1] | one[2])))


@settings(max_examples=120, deadline=None)
@given(STORIES)
def test_it_tells_when_and_what_alertmanager_would(story: Story) -> None:
    found = a_driver(story)
    for second in range(LAST + 1):
        found.now = NOON + second * SECOND
        for life in story[0]:
            if second in (life.begins, life.ends):
                found.take(life.revision(second))
        found.turn(found.now)
    told = [((one.at - NOON) // SECOND, one.firing, one.resolved) for one in found.sent]
    assert sorted(told, key=lambda one: (one[0], sorted(one[1] | one[2]))) == modelled(story)


@pytest.mark.fault("F48")
@settings(max_examples=120, deadline=None)
@given(
    STORIES,
    st.dictionaries(st.integers(0, LAST), st.integers(0, 4), max_size=6),
    st.sampled_from(("0s", "5s")),
    st.sampled_from(("0s", "9s")),
    st.booleans(),
)
def test_whatever_is_killed_each_is_told_once_nothing_is_lost_and_every_no_has_a_reason(
    story: Story, crashes: dict[int, int], held_for: str, kept_for: str, is_routed: bool
) -> None:
    found = a_driver(story)
    found.rules = [a_rule(**{"for": held_for, "keep_firing_for": kept_for, "receivers": ["chat"]})]
    found.routes = found.routes if is_routed else None
    found.restart()
    lives, _, wait, interval, _ = story
    end = LAST + 80 + wait + 2 * interval
    for second in range(end):
        found.now = NOON + second * SECOND
        for life in lives:
            if second in (life.begins, life.ends):
                found.take(life.revision(second))
                if second % 3 == 0:
                    found.take(life.revision(second))  # it is read again
        found.turn(found.now, crashes.get(second))
    begun: dict[str, int] = {}
    known: dict[str, frozenset[str]] = {}
    ended: dict[str, int] = {}
    for message in found.sent:
        for name in message.firing - known.get(message.thread, frozenset()):
            begun[name] = begun.get(name, 0) + 1
        for name in message.resolved:
            ended[name] = ended.get(name, 0) + 1
        known[message.thread] = message.firing
    dropped = {record.incident_id for record in found.kept.values() if record.state == "dropped"}
    for life in lives:
        assert begun.get(life.name, 0) + (life.name in dropped) == 1, life
        assert ended.get(life.name, 0) == begun.get(life.name, 0), life
        if life.name not in dropped:
            assert life.ends - life.begins >= int(held_for[:-1]), life
    assert found.router.next_due() is None
    assert all(record.reason for record in found.kept.values() if record.state == "dropped")
    assert {record.state for record in found.kept.values()} <= {"sent", "dropped"}
