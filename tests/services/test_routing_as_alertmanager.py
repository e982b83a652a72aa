"""The same routes, alerts, silences and inhibit rules to Alertmanager and to us: the same answers."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.routing.files import load_routes
from alerts.routing.matchers import parse_matcher
from alerts.routing.mutes import Firing, Firings, Reason, Silence, mutes_of
from alerts.rules import sample_incident
from pipeline.clock import now_micros
from tests.services.alertmanager import Alertmanager, NoAlertmanagerError, alertmanager

pytestmark = pytest.mark.services

ROUTES = {
    "route": {
        "receiver": "root",
        "group_by": ["tenant"],
        "routes": [
            {"matchers": ['severity="critical"'], "receiver": "loud", "continue": True},
            {
                "matchers": ['team=~"a|b"', 'kind!="x"'],
                "receiver": "team",
                "routes": [
                    {"matchers": ['kind=""'], "receiver": "none"},
                    {"matchers": ['kind=~".*y"'], "receiver": "y"},
                ],
            },
            {"matchers": ['team!~"c.*"', "severity=critical"], "receiver": "late", "continue": True},
            {"matchers": ['kind=~"x|z"'], "receiver": "last"},
        ],
    },
    "inhibit_rules": [
        {"source_matchers": ['severity="critical"'], "target_matchers": ['severity="warning"'], "equal": ["kind"]},
        {"source_matchers": ['team="a"'], "target_matchers": ['team=~"a|b"'], "equal": ["team", "absent"]},
    ],
}
VALUES = {"severity": ("critical", "warning", ""), "team": ("a", "b", "ab", "cc", ""), "kind": ("x", "y", "zy", "")}
ALL = [
    {name: value for name, value in zip(VALUES, values, strict=True) if value} for values in product(*VALUES.values())
]
NAMES = ("root", "loud", "team", "none", "y", "late", "last")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Our file, and Alertmanager's, which names its receivers too."""
    folder = tmp_path_factory.mktemp("routes")
    ours, theirs = folder / "routes.yml", folder / "alertmanager.yml"
    ours.write_text(yaml.safe_dump(ROUTES))
    theirs.write_text(yaml.safe_dump(ROUTES | {"receivers": [{"name": name} for name in NAMES]}))
    return ours, theirs


def test_each_alert_goes_to_the_receivers_that_amtool_names(files: tuple[Path, Path]) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed")
    ours, theirs = files
    root = load_routes(ours, NAMES).root
    for labels in ALL:
        words = [f"{name}={value}" for name, value in labels.items()]
        command = [amtool, "config", "routes", "test", f"--config.file={theirs}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        assert [route.receiver for route in root.matching(labels)] == done.stdout.strip().split(","), labels


@pytest.fixture
def server(files: tuple[Path, Path]) -> Iterator[Alertmanager]:
    try:
        with alertmanager(files[1]) as running:
            yield running
    except NoAlertmanagerError as error:
        pytest.skip(str(error))


def test_each_alert_is_silenced_and_inhibited_as_there(files: tuple[Path, Path], server: Alertmanager) -> None:
    routes = load_routes(files[0], NAMES)
    now = datetime.now(UTC)
    alerts = [{**labels, "alertname": f"a{number}"} for number, labels in enumerate(ALL) if labels]
    assert (
        server.post([{"labels": labels, "endsAt": (now + timedelta(hours=1)).isoformat()} for labels in alerts]) == 200
    )
    matchers = [
        {"name": "kind", "value": "z?y", "isRegex": True, "isEqual": True},
        {"name": "team", "value": "b", "isRegex": False, "isEqual": False},
    ]
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    post(server, "/api/v2/silences", {"matchers": matchers, **times, "createdBy": "kim", "comment": "a move"})
    end = time.monotonic() + 20
    while not (held := states(server)) or not any(silenced for silenced, _ in held.values()):
        assert time.monotonic() < end, "the silence does not take effect"
        time.sleep(0.05)
    at = now_micros()
    silence = Silence(
        "s", "*", (parse_matcher('kind=~"z?y"'), parse_matcher('team!="b"')), 0, at + 9_999_999, "kim", "a move"
    )
    incident = sample_incident({})
    firing = Firings(routes.inhibit_rules)
    for labels in alerts:
        firing.put(("acme", "incident", labels["alertname"]), Firing(labels, incident))
    for labels in alerts:
        one = Firing(labels, incident)
        found = {
            mute.reason for mute in mutes_of(one, routes.root, at, silences=[silence], firing=firing, intervals={})
        }
        ours = (Reason.SILENCED in found, Reason.INHIBITED in found)
        assert ours == held[one.labels["alertname"]], one.labels
    assert set(held.values()) == {(False, False), (False, True), (True, False), (True, True)}


def post(server: Alertmanager, path: str, body: Any) -> None:
    request = urllib.request.Request(
        f"{server.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def states(server: Alertmanager) -> dict[str, tuple[bool, bool]]:
    """Whether each alert is silenced, and whether it is inhibited."""
    return {
        alert["labels"]["alertname"]: (bool(alert["status"]["silencedBy"]), bool(alert["status"]["inhibitedBy"]))
        for alert in server.alerts()
    }
