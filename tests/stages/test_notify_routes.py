"""notify with routes on a broker: groups, silences by `oncall.v1`, and nothing lost by a restart."""

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers import Delivery
from alerts.retry import RetryPolicy
from alerts.routing.files import load_routes
from alerts.rules.model import Rule
from alerts.rules.samples import sample_incident
from pipeline.clock import now_micros
from pipeline.health import StageCollector
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from schemas.codecs.single import decode, encode_incident
from schemas.incidents import Incident
from schemas.oncall import Silencing, encode_word
from schemas.topics import INCIDENTS, NOTIFICATIONS, ONCALL
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded

RULE = Rule.model_validate(
    {
        "id": "feedback_loop",
        "title": "An agent is looping",
        "when": {"kind": "feedback_loop"},
        "mode": "page",
        "receivers": ["nobody"],
        "runbook": "alerts/rules/README.md#feedback_loop",
        "owner": "on-call",
    }
)
ROUTES = """
route:
  receiver: chat
  group_by: [scope]
  group_wait: 1s
  group_interval: 200ms
"""


class Chat:
    """Keeps each message: its transition, and the incidents it tells of."""

    name = "chat"
    resend_seconds = None
    can_renew = False

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []
        self.ids: list[str] = []
        self.refuses = False
        self.breaks = False

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        if self.breaks:
            raise RuntimeError("not what a receiver may do")
        if self.refuses:
            return Delivery(False, "503", is_transient=True)
        self.ids.append(notification.dedup_key)
        names = sorted([incident.incident_id, *(one.incident_id for _, one in others)])
        self.told.append((notification.transition, names))
        return Delivery(True, "ok")


def an_incident(name: str, revision: int = 1, status: str = "open", scope: str = "eu/a") -> Incident:
    now = now_micros()
    times = {"started_at": now, "updated_at": now}
    named = {"incident_id": name, "revision": revision, "status": status, "scope": scope, "tenant": "acme"}
    return sample_incident({"kind": "feedback_loop", **named, **times})


def write(kafka: Broker, *incidents: Incident) -> None:
    kafka.produce(INCIDENTS.name, [encode_incident(incident) for incident in incidents])


def say(kafka: Broker, word: Silencing) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    producer.produce(ONCALL.name, encode_word(word), word.key)
    assert producer.flush(10) == 0


def a_silence(ends_at: int) -> Silencing:
    return Silencing("s1", "acme", json.dumps(['scope="eu/a"']), 0, ends_at, "kim", "a move")


def a_stage(settings: Settings, chat: Chat, folder: Path) -> tuple[Notify, list[StageError]]:
    errors: list[StageError] = []
    path = folder / "routes.yml"
    path.write_text(ROUTES)
    retry = RetryPolicy(base_seconds=0.02, cap_seconds=0.05)
    routes = load_routes(path, {"chat"})
    return Notify(settings, errors.append, rules=[RULE], receivers={"chat": chat}, retry=retry, routes=routes), errors


def records(kafka: Broker) -> list[dict[str, Any]]:
    return [decode(value)[1] for value in kafka.values(NOTIFICATIONS.name)]


async def test_a_group_is_told_at_once_a_silence_holds_and_a_restart_loses_nothing(
    kafka: Broker, settings: Settings, started: Start, tmp_path: Path
) -> None:
    chat = Chat()
    stage, errors = a_stage(settings, chat, tmp_path)
    await started(stage)
    await until(lambda: stage._dispatch is not None)  # until then what is written gets older than the wait of its group
    write(kafka, an_incident("a"), an_incident("b"))
    await until(lambda: chat.told)
    assert chat.told == [("firing", ["a", "b"])]

    say(kafka, a_silence(now_micros() + 3_600_000_000))
    write(kafka, an_incident("elsewhere", scope="eu/b"))
    await until(lambda: len(chat.told) == 2)  # by now the silence, which was said before, is known
    write(kafka, an_incident("c"))
    await until(lambda: any(record["reason"] == "silenced" for record in records(kafka)))
    # what is held keeps nobody's offsets back
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 4)
    scraped = StageCollector({"notify": stage}).collect()
    (counted,) = [one for one in scraped if one.name == "aftermath_pages_not_sent"]
    assert [(sample.labels, sample.value) for sample in counted.samples] == [({"reason": "silenced"}, 1)]
    assert await stage.stop()
    assert len(chat.told) == 2

    chat.refuses = True
    again, more_errors = a_stage(settings, chat, tmp_path)
    await started(again)
    say(kafka, a_silence(0))
    await until(lambda: again.waiting_on == "chat")
    await again.stop(grace=0.2)  # in the middle of a message
    chat.refuses = False
    third, last_errors = a_stage(settings, chat, tmp_path)
    await started(third)
    await until(lambda: len(chat.told) == 3)
    assert chat.told[2] == ("firing", ["a", "b", "c"])
    write(kafka, *(an_incident(name, 2, "resolved") for name in ("a", "b", "c")))
    await until(lambda: chat.told[-1][0] == "resolved")
    assert await third.stop()
    assert [word for word, _ in chat.told].count("firing") == 3
    assert len(set(chat.ids)) == len(chat.ids)
    assert not errors + more_errors + last_errors
    newest = {record["dedup_key"]: record["state"] for record in records(kafka)}
    assert set(newest.values()) == {"sent"}


async def test_a_receiver_that_raises_ends_the_stage_and_is_not_forgotten(
    kafka: Broker, settings: Settings, started: Start, tmp_path: Path
) -> None:
    chat = Chat()
    chat.breaks = True
    stage, errors = a_stage(settings, chat, tmp_path)
    await started(stage)
    write(kafka, an_incident("a"))
    await until(lambda: errors)
    assert "not what a receiver may do" in str(errors[0])
    await stage.stop(grace=0)
    chat.breaks = False
    again, more_errors = a_stage(settings, chat, tmp_path)
    await started(again)
    await until(lambda: chat.told == [("firing", ["a"])])
    assert await again.stop()
    assert not more_errors
