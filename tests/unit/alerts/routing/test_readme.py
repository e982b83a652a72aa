"""The page about routing says what there is."""

import re
from pathlib import Path

from alerts.routing.files import load_routes
from alerts.routing.mutes import Reason

README = (Path(__file__).parents[4] / "alerts" / "routing" / "README.md").read_text()


def test_its_example_is_right(tmp_path: Path) -> None:
    example, _owners = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "routes.yml").write_text(example)
    routes = load_routes(tmp_path / "routes.yml", {"chat", "on_call", "checkout", "tickets"})
    assert len(list(routes.root.walk())) == 4


def test_every_reason_is_explained() -> None:
    table = README.split("## What keeps an alert quiet")[1].split("\n## ")[0]
    assert set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "| `" in line))
    ) == set(Reason)
