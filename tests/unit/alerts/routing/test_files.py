"""`routes.yml`: what it means, and every way to be wrong with its line."""

from pathlib import Path

import pytest

from alerts.durations import parse_duration
from alerts.routing.files import Routes, load_routes
from schemas.errors import UsageError

GOOD = """\
route:
  receiver: chat
  group_by: [tenant, scope]
  group_wait: 10s
  routes:
    - matchers: [severity="critical"]
      receiver: on_call
      continue: true
      repeat_interval: 1h
      routes:
        - {matchers: ["owner=~\\"a|b\\""], group_by: ['...'], mute_time_intervals: [nights]}
    - {matchers: [mode=ticket], active_time_intervals: [nights]}
inhibit_rules:
  - {source_matchers: [kind=x], target_matchers: [kind=y], equal: [scope]}
time_intervals:
  - name: nights
    time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}]}]
maintenance:
  - name: move
    matchers: [cluster=eu-2]
    starts_at: 2026-03-02T10:00:00Z
    ends_at: 2026-03-02T11:00:00Z
    author: ops
    comment: the racks move
heartbeat: {receiver: chat, interval: 30s}
"""


def load(folder: Path, text: str) -> Routes:
    path = folder / "routes.yml"
    path.write_text(text)
    return load_routes(path, {"chat", "on_call"})


def test_a_route_has_from_its_parent_what_it_does_not_say(tmp_path: Path) -> None:
    root = load(tmp_path, GOOD).root
    first, second = root.routes
    assert (root.group_wait, root.group_interval, root.repeat_interval) == (10_000_000, 300_000_000, 14_400_000_000)
    assert (first.receiver, first.group_by, first.group_wait) == ("on_call", ("tenant", "scope"), 10_000_000)
    assert (first.routes[0].receiver, first.routes[0].repeat_interval) == ("on_call", 3_600_000_000)
    assert (second.receiver, second.repeat_interval) == ("chat", 14_400_000_000)
    assert [route.place for route in root.walk()] == ["0", "0/0", "0/0/0", "0/1"]


def test_an_alert_goes_to_the_deepest_route_and_further_only_where_it_says_continue(tmp_path: Path) -> None:
    root = load(tmp_path, GOOD).root

    def places(**labels: str) -> list[str]:
        return [route.place for route in root.matching(labels)]

    assert places() == ["0"]
    assert places(severity="critical") == ["0/0"]
    assert places(severity="critical", owner="a") == ["0/0/0"]
    assert places(severity="critical", owner="ab", mode="ticket") == ["0/0", "0/1"]
    assert places(mode="ticket") == ["0/1"]
    (route,) = root.matching({"severity": "critical", "owner": "a"})
    assert route.group_of({"b": "2", "a": "1"}) == (("a", "1"), ("b", "2"))
    assert root.group_of({"scope": "s", "x": "y"}) == (("scope", "s"),)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("receiver: chat", "receiver: nobody", "routes.yml:2: nobody is not configured; configured: chat, on_call"),
        (
            "{receiver: chat, ",
            "{receiver: nobody, ",
            "routes.yml:25: nobody is not configured; configured: chat, on_call",
        ),
        ("interval: 30s", "interval: 0s", "routes.yml:25: heartbeat.interval: Input should be greater than 0"),
        ("  receiver: chat\n", "", "routes.yml:1: the root needs a receiver"),
        ("  group_wait: 10s", "  matchers: [a=b]", "routes.yml:4: the root takes everything, always"),
        ("  group_wait: 10s", "  continue: true", "routes.yml:4: the root has no `continue`"),
        ("10s", "ten", "routes.yml:4: route.group_wait: 'ten' is no length of time"),
        ("  group_wait: 10s", "  group_wiat: 10s", "routes.yml:4: route.group_wiat: no such name here"),
        ('severity="critical"', "severity", "routes.yml:6: route.routes.0.matchers.0: 'severity' is no matcher"),
        ("continue: true", "continue: perhaps", "routes.yml:8: route.routes.0.continue"),
        ("[nights]}\n    -", "[days]}\n    -", "routes.yml:11: there is no time interval days"),
        ("  - name: nights", "  - name: nights\n    name: x", "routes.yml:17: name stands twice"),
        ("22:00", "25:00", "routes.yml:17: time_intervals.0.time_intervals.0.times.0.start_time: write a time"),
        ("T11:00", "T09:00", "routes.yml:19: maintenance.0: ends_at must be after starts_at"),
        ("author: ops", "auhtor: ops", "routes.yml:23: maintenance.0.auhtor: no such name here"),
        ("source_matchers: [kind=x]", "source_matchers: []", "routes.yml:14: inhibit_rules.0.source_matchers"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as raised:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "micros"), [("0s", 0), ("30s", 30_000_000), ("1h30m", 5_400_000_000), ("1d", 86_400_000_000)]
)
def test_lengths_of_time(text: str, micros: int) -> None:
    assert parse_duration(text) == micros


@pytest.mark.parametrize("text", ["", "s", "5", 5, None, "-5s", "1x"])
def test_what_is_no_length_of_time(text: object) -> None:
    with pytest.raises(ValueError, match="is no length of time"):
        parse_duration(text)
