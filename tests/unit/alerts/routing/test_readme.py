"""The page about routing says what there is."""

import re
from pathlib import Path

from alerts.durations import parse_duration
from alerts.routing.files import HeartbeatEntry, load_routes
from alerts.routing.mutes import Reason

README = (Path(__file__).parents[4] / "alerts" / "routing" / "README.md").read_text()


def test_its_example_is_right(tmp_path: Path) -> None:
    example, *_ = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "routes.yml").write_text(example)
    routes = load_routes(tmp_path / "routes.yml", {"chat", "on_call", "checkout", "tickets", "dead_man"})
    assert len(list(routes.root.walk())) == 4
    assert routes.heartbeat is not None


def test_every_reason_is_explained() -> None:
    table = README.split("## What keeps an alert quiet")[1].split("\n## ")[0]
    assert set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "| `" in line))
    ) == set(Reason)


def test_the_defaults_of_the_heartbeat_are_those_it_shows() -> None:
    said = dict(re.findall(r"^  (interval|still_after): (\w+) ", README, re.MULTILINE))
    entry = HeartbeatEntry(receiver="dead_man")
    assert {name: parse_duration(value) for name, value in said.items()} == {
        "interval": entry.interval,
        "still_after": entry.still_after,
    }
