"""Rules that change while notify runs: right ones come into force, broken ones do not and are told of."""

from functools import partial
from pathlib import Path

import pytest

from alerts.outbox import Notification
from alerts.page import Pages, Told
from alerts.receivers import Delivery
from alerts.rules.files import load_rules, require_receivers
from alerts.rules.samples import sample_incident
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from pipeline.stages.rule_watch import RuleWatch
from schemas.codecs.single import encode_incident
from schemas.incidents import Incident
from schemas.topics import INCIDENTS
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
RULE = "id: loop\ntitle: x\nwhen: {kind: feedback_loop}\nmode: MODE\nrunbook: d.md\nowner: t\n"


class Console:
    name = "console"
    resend_seconds = None
    can_renew = False

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, str]] = []

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        self.told.append((notification.rule, notification.mode, notification.transition, incident.summary))
        return Delivery(True, "ok")


@pytest.mark.fault("F43")
async def test_right_rules_come_into_force_and_broken_ones_are_told_of_until_they_are_mended(
    kafka: Broker, settings: Settings, started: Start, tmp_path: Path
) -> None:
    path = tmp_path / "loop.yml"
    path.write_text(RULE.replace("MODE", "page"))
    errors: list[StageError] = []
    console = Console()

    def a_stage() -> Notify:
        check = partial(require_receivers, names={"console"})
        quick = settings.model_copy(update={"rules_seconds": 0.05})
        rules, watch = load_rules(tmp_path), RuleWatch(tmp_path, check)
        return Notify(
            quick, errors.append, rules=rules, receivers={"console": console}, watch=watch, pages=Pages(rules)
        )

    def write(name: str) -> None:
        incident = sample_incident({"incident_id": name, "kind": "feedback_loop", "summary": name, "tenant": "acme"})
        kafka.produce(INCIDENTS.name, [encode_incident(incident)])

    stage = a_stage()
    await started(stage)
    write("a")
    await until(lambda: console.told == [("loop", "page", "firing", "a")])

    path.write_text("id: loop\nmode: [\n")
    await until(lambda: len(console.told) == 2)
    rule, mode, transition, summary = console.told[1]
    assert (rule, mode, transition) == ("alert_rules_broken", "page", "firing")
    assert summary.startswith(f"{path}:3: not YAML")
    write("b")
    await until(lambda: console.told[2:] == [("loop", "page", "firing", "b")])  # those before are in force
    assert await stage.stop()

    path.write_text(RULE.replace("MODE", "ticket"))
    again = a_stage()
    await started(again)
    await until(lambda: [told[:3] for told in console.told[3:]] == [("alert_rules_broken", "page", "resolved")])
    write("c")
    await until(lambda: console.told[4:] == [("loop", "ticket", "firing", "c")])
    path.write_text(RULE.replace("MODE", "page") + "receivers: [nobody]\n")
    await until(lambda: len(console.told) == 6)
    assert "configure the receivers that rules name (loop: nobody)" in console.told[5][3]
    path.write_text(RULE.replace("MODE", "page"))
    await until(lambda: [told[:3] for told in console.told[6:]] == [("alert_rules_broken", "page", "resolved")])
    write("d")
    await until(lambda: console.told[7:] == [("loop", "page", "firing", "d")])
    assert await again.stop()
    assert not errors
