"""The Alertmanager that other tests trust: it runs our configuration, takes alerts, and refuses what is none."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from alerts.outbox import Outbox
from alerts.receivers import ReceiverConfig, build
from alerts.rules import SHIPPED, load_rules, sample_incident
from pipeline.clock import now_micros
from tests.compose.compose_file import services
from tests.services import alertmanager as module
from tests.services.alertmanager import CONFIG, IMAGE, Alertmanager, NoAlertmanagerError

pytestmark = pytest.mark.services


def test_it_is_ready_with_the_configuration_of_the_compose_file(alertmanager: Alertmanager) -> None:
    assert alertmanager.is_ready()
    mounted = services()["alertmanager"]["volumes"]
    assert any(volume.split(":")[0] == f"./{CONFIG.parent.name}/{CONFIG.name}" for volume in mounted)
    assert yaml.safe_load(CONFIG.read_text())["route"]["group_by"] == ["tenant", "incident_id"]


def test_an_alert_is_held_once_however_often_it_is_posted(alertmanager: Alertmanager) -> None:
    labels = {"alertname": "feedback_loop", "tenant": "acme", "incident_id": "i1"}
    alert = {"labels": labels, "annotations": {"summary": "seo-agent loops"}}
    assert [alertmanager.post([alert]) for _ in range(2)] == [200, 200]
    held = [item for item in alertmanager.alerts() if item["labels"] == labels]
    assert [item["annotations"]["summary"] for item in held] == ["seo-agent loops"]
    assert held[0]["receivers"] == [{"name": "nobody"}]


def test_an_alert_without_labels_is_refused(alertmanager: Alertmanager) -> None:
    assert alertmanager.post([{"labels": {}}]) == 400


async def test_our_receiver_opens_updates_and_ends_an_alert(alertmanager: Alertmanager) -> None:
    config = ReceiverConfig.model_validate({"kind": "alertmanager", "url": alertmanager.url, "allow_private": True})
    there = build({"there": config}, now=now_micros)["there"]
    incident = sample_incident({"incident_id": "i2", "kind": "agent_caused_failure", "title": "cart is down"})
    outbox = Outbox(load_rules(SHIPPED))
    (beginning,) = outbox.decide(incident)

    def held() -> list[dict[str, Any]]:
        return [alert for alert in alertmanager.alerts() if alert["labels"].get("incident_id") == "i2"]

    for summary in ("it scaled cart", "it scaled cart, and cart-db failed"):
        delivery = await there.send(beginning, incident.model_copy(update={"summary": summary}))
        assert delivery.ok, delivery
    (alert,) = held()
    assert alert["labels"] == beginning.label_map
    assert alert["annotations"]["in_short"] == "it scaled cart, and cart-db failed"
    assert alert["status"]["state"] in ("active", "unprocessed")
    outbox.record(replace(beginning, state="sent"))
    over = incident.model_copy(
        update={"revision": incident.revision + 1, "status": "resolved", "scope": "prod-eu/cart"}
    )
    (end,) = outbox.decide(over)
    assert (await there.send(end, over)).ok
    assert held() == []


def test_the_image_in_docker_is_the_one_of_the_compose_file() -> None:
    assert services()["alertmanager"]["image"] == IMAGE


def test_where_there_is_none_the_reason_names_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(
        NoAlertmanagerError,
        match="prometheus-alertmanager is not installed; no Docker engine answers at unix:///nonexistent",
    ):
        module.alertmanager().__enter__()
