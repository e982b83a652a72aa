"""When a group is told, what mutes it, and that every "no" has its reason."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from alerts.routing.files import Routes
from alerts.routing.matchers import parse_matcher
from alerts.routing.mutes import InhibitRule, Reason, Silence
from alerts.routing.times import TimeInterval
from alerts.routing.tree import Route
from alerts.rules import sample_incident
from schemas.incidents import Incident
from schemas.times import parse_time
from tests.unit.alerts.routing.driving import MINUTE, SECOND, Driver, a_rule

NOON = parse_time("2026-03-02T12:00:00Z")
ROOT = Route("0", "chat", group_by=("scope",))


def incident(name: str, at: int = NOON, status: str = "open", **changes: Any) -> Incident:
    revision = 1 if status == "open" else 9
    fixed = {"incident_id": name, "tenant": "acme", "kind": "feedback_loop", "scope": "eu/a", "revision": revision}
    return sample_incident(fixed | {"status": status, "started_at": at, "updated_at": at} | changes)


def driver(root: Route = ROOT, **routes: Any) -> Driver:
    return Driver(Routes(root, **routes), now=NOON)


def told(found: Driver) -> list[tuple[int, str, list[str], list[str]]]:
    """Seconds since noon, transition, firing, resolved."""
    return [((s.at - NOON) // SECOND, s.transition, sorted(s.firing), sorted(s.resolved)) for s in found.sent]


def run(found: Driver, seconds: int, *events: tuple[int, Incident]) -> None:
    """Turn the clock second by second; at each second first its events arrive."""
    for second in range(seconds + 1):
        found.now = NOON + second * SECOND
        for at, one in events:
            if at == second:
                found.take(one)
        found.turn(found.now)


def silence(starts: int, ends: int, *matchers: str, tenant: str = "acme", reason: Reason = Reason.SILENCED) -> Silence:
    times = (NOON + starts * SECOND, NOON + ends * SECOND)
    return Silence("s1", tenant, tuple(map(parse_matcher, matchers)), *times, "kim", "a move", reason)


def test_a_group_waits_then_tells_changes_in_intervals_then_repeats() -> None:
    found = driver(replace(ROOT, repeat_interval=20 * MINUTE))
    later = incident("b", NOON + 40 * SECOND)
    end = incident("a", NOON + 50 * SECOND, "resolved")
    run(found, 2000, (0, incident("a")), (10, incident("c", NOON + 10 * SECOND)), (40, later), (50, end))
    assert told(found) == [
        (30, "firing", ["a", "c"], []),
        (330, "firing", ["b", "c"], ["a"]),
        (330 + 1200, "firing", ["b", "c"], []),
    ]


def test_groups_of_other_labels_are_told_apart_under_threads_of_their_own() -> None:
    found = driver()
    run(found, 31, (0, incident("a")), (0, incident("b", scope="eu/b")))
    assert told(found) == [(30, "firing", ["a"], []), (30, "firing", ["b"], [])]
    assert len({one.thread for one in found.sent}) == 2


def test_what_ends_before_its_group_is_told_is_dropped_with_a_reason() -> None:
    found = driver()
    run(found, 400, (0, incident("a")), (20, incident("a", NOON + 20 * SECOND, "resolved")))
    assert told(found) == []
    assert found.reasons == [("a", "over"), ("a", "over")]  # its beginning and its end
    assert {record.state for record in found.kept.values()} == {"dropped"}


def test_what_is_old_when_it_comes_does_not_wait() -> None:
    found = driver()
    run(found, 1, (0, incident("a", NOON - MINUTE)))
    assert told(found) == [(0, "firing", ["a"], [])]


def test_the_end_closes_the_thread_that_the_beginning_opened() -> None:
    found = driver()
    run(found, 400, (0, incident("a")), (100, incident("a", NOON + 100 * SECOND, "resolved")))
    assert told(found) == [(30, "firing", ["a"], []), (330, "resolved", [], ["a"])]
    assert len({one.thread for one in found.sent}) == 1
    assert found.router.next_due() is None


def test_a_silence_holds_and_what_still_fires_at_its_end_is_told() -> None:
    found = driver()
    found.router.silence(silence(0, 200, 'scope="eu/a"'))
    run(found, 700, (0, incident("a")), (0, incident("b")), (100, incident("b", NOON + 100 * SECOND, "resolved")))
    assert told(found) == [(330, "firing", ["a"], [])]
    held = [reason for reason in found.reasons if reason[0] == "a"]
    assert held == [("a", "silenced")]
    assert ("b", "over") in found.reasons
    detail = next(record.detail for record in found.kept.values() if record.state == "dropped")
    assert detail == ("over before it was told (silenced by kim (s1) until 2026-03-02T12:03:20Z: a move)")


def test_the_end_of_what_was_told_is_told_in_a_silence_too() -> None:
    found = driver()
    found.router.silence(silence(40, 9_999, 'scope="eu/a"'))
    run(found, 400, (0, incident("a")), (100, incident("a", NOON + 100 * SECOND, "resolved")))
    assert told(found)[-1] == (330, "resolved", [], ["a"])


def test_a_silence_of_one_tenant_is_none_of_another() -> None:
    found = driver()
    found.router.silence(silence(0, 9_999, 'scope=~".*"', tenant="other"))
    run(found, 31, (0, incident("a")))
    assert len(found.sent) == 1


def test_a_silence_that_is_expired_ends_at_once() -> None:
    found = driver()
    found.router.silence(silence(0, 9_999, 'scope="eu/a"'))
    run(found, 100, (0, incident("a")))
    found.router.silence(silence(0, 100, 'scope="eu/a"'))
    for second in range(100, 400):
        found.turn(NOON + second * SECOND)
    assert told(found) == [(330, "firing", ["a"], [])]


def test_a_maintenance_window_holds_and_says_so() -> None:
    found = driver(maintenance=(silence(0, 60, "scope=eu/a", tenant="*", reason=Reason.MAINTENANCE),))
    run(found, 400, (0, incident("a")))
    assert found.reasons == [("a", "maintenance")]
    assert told(found) == [(330, "firing", ["a"], [])]


def test_mute_and_active_times_hold_too() -> None:
    minute = TimeInterval.model_validate({"times": [{"start_time": "12:00", "end_time": "12:01"}]})
    for kind, reason in (("mute_time_intervals", "mute_time"), ("active_time_intervals", "inactive_time")):
        times = minute if kind == "mute_time_intervals" else minute.model_copy(update={"weekdays": ((0, 0),)})
        found = driver(replace(ROOT, **{kind: ("m",)}), intervals={"m": (times,)})
        run(found, 400, (0, incident("a")))
        assert found.reasons == [("a", reason)]
        assert len(found.sent) == (1 if reason == "mute_time" else 0)


def test_a_source_inhibits_its_targets_and_never_itself() -> None:
    rule = InhibitRule((parse_matcher("severity=critical"),), (parse_matcher("kind=feedback_loop"),), ("scope",))
    found = driver(inhibit_rules=(rule,))
    loud = incident("loud", severity="critical")
    run(found, 31, (0, loud), (0, incident("quiet")), (0, incident("elsewhere", scope="eu/b")))
    assert sorted(one.firing for one in found.sent) == [frozenset({"loud"}), frozenset({"elsewhere"})]
    assert found.reasons == [("quiet", "inhibited")]
    other = incident("other", tenant="else")
    found.take(other)
    for second in range(31, 400):
        found.turn(NOON + second * SECOND)
    assert any("other" in one.firing for one in found.sent)  # another tenant's source inhibits nobody here


CAUSE = {
    "kind": "agent_caused_failure",
    "agent_id": "capacity-agent",
    "attribution": {"verdict": "agent", "probability": 0.9, "ranked": [{"event_time": NOON - MINUTE}]},
    "blast_radius": [{"resource": "eu/a/deployment/cart"}, {"resource": "eu/a/pod/cart-1"}],
}
SYMPTOM = {"kind": "infrastructure_failure", "agent_id": None, "blast_radius": [{"resource": "eu/a/pod/cart-1"}]}


@pytest.mark.parametrize(
    ("cause", "symptom", "is_quiet"),
    [
        pytest.param({}, {}, True, id="a pod of the blast radius"),
        pytest.param({}, {"started_at": NOON - 2 * MINUTE}, False, id="it began before the action"),
        pytest.param({}, {"blast_radius": [{"resource": "eu/a/pod/other"}]}, False, id="another pod"),
        pytest.param({}, {"blast_radius": []}, False, id="it hit nothing that is named"),
        pytest.param({}, {"agent_id": "other-agent"}, False, id="another agent is held responsible"),
        pytest.param({}, {"tenant": "else"}, False, id="another tenant"),
        pytest.param({"attribution": {"verdict": "shared"}}, {}, False, id="the agent did it with others"),
        pytest.param({"status": "resolved"}, {}, False, id="the cause is over"),
    ],
)
def test_an_agents_failure_quiets_the_symptoms_that_it_explains(
    cause: dict[str, Any], symptom: dict[str, Any], is_quiet: bool
) -> None:
    found = driver(replace(ROOT, group_by=("incident_id",)))
    first = incident("cause", **CAUSE)
    second = incident("pods", **(SYMPTOM | symptom))
    events = [(0, first), (0, second)]
    if cause:
        events.insert(1, (0, incident("cause", **(CAUSE | {"revision": 9} | cause))))
    run(found, 61, *events)
    assert any("pods" in one.firing for one in found.sent) is not is_quiet
    if is_quiet:
        assert found.reasons == [("pods", "predicted_symptom")]
        assert any(record.detail == "a symptom that incident cause explains" for record in found.kept.values())


def test_what_is_acknowledged_is_not_repeated() -> None:
    found = driver(replace(ROOT, repeat_interval=10 * MINUTE))
    found.acknowledged.append(("acme", "a"))
    found.restart()
    run(found, 1500, (0, incident("a")))
    assert told(found) == [(30, "firing", ["a"], [])]


def test_a_receiver_of_two_routes_is_told_once_and_each_receiver_of_two_is_told() -> None:
    both = tuple(Route(f"0/{n}", name, goes_on=True) for n, name in enumerate(("chat", "chat", "pager")))
    found = driver(replace(ROOT, routes=both))
    run(found, 31, (0, incident("a")))
    assert [one.receiver for one in found.sent] == ["chat", "pager"]


def test_a_shadow_rule_goes_to_the_shadow() -> None:
    rule = a_rule(mode="shadow")
    assert driver().router.destinations(rule, {}) == ("shadow",)


def test_while_a_message_is_under_way_its_group_says_nothing_more() -> None:
    found = driver()
    found.take(incident("a", NOON - MINUTE))
    (message,) = found.router.flush(NOON).messages
    found.take(incident("a", NOON, "resolved"))
    assert found.router.flush(NOON + 9 * MINUTE).messages == ()
    found.router.told(message, NOON + 9 * MINUTE, [replace(one, state="sent") for one, _ in message.changes])
    (end,) = found.router.flush(NOON + 15 * MINUTE).messages
    assert end.transition == "resolved"


@pytest.mark.fault("F41")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("count", [3_000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_storm_of_incidents_is_told_in_a_message_of_each_group_at_a_time(count: int) -> None:
    """Also in time: what a look costs must not grow with what fires, and here all may inhibit all."""
    loops = parse_matcher('kind="feedback_loop"')
    rule = InhibitRule((loops, parse_matcher('severity="critical"')), (loops,), ("scope",))
    found = driver(inhibit_rules=(rule,))
    for number in range(count):
        found.now = NOON + number * MINUTE // count
        if (due := found.router.next_due()) is not None and due <= found.now:
            found.turn(found.now)
        found.take(incident(f"i{number}", found.now, scope=f"eu/{number % 20}", severity="critical"))
    for second in range(60, 660, 30):
        found.turn(NOON + second * SECOND)
    assert frozenset().union(*(one.firing for one in found.sent)) == {f"i{number}" for number in range(count)}
    assert len(found.kept) == count
    at: dict[str, list[int]] = {}
    for one in found.sent:
        at.setdefault(one.thread, []).append(one.at)
    assert len(at) == 20
    assert all(later - sooner >= 5 * MINUTE for times in at.values() for sooner, later in pairwise(times))


@pytest.mark.parametrize(
    ("routes", "second"), [(None, 10), (Routes(replace(ROOT, group_by=("tenant",))), 10 + 30)], ids=["rules", "routes"]
)
def test_a_storm_of_one_tenant_delays_no_page_of_another(routes: Routes | None, second: int) -> None:
    def told_of_bolt(storm: int) -> list[tuple[int, list[str]]]:
        found = Driver(routes, now=NOON)
        run(
            found,
            60,
            *((number % 9, incident(f"i{number}")) for number in range(storm)),
            (10, incident("b", tenant="bolt")),
        )
        return [((one.at - NOON) // SECOND, sorted(one.firing)) for one in found.sent if "b" in one.firing]

    assert told_of_bolt(0) == told_of_bolt(500) == [(second, ["b"])]
