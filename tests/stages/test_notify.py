"""notify on a broker: each page once, also after a restart; a receiver that is down holds nobody else up."""

import asyncio
from collections import defaultdict

import pytest

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers import Delivery
from alerts.retry import RetryPolicy
from alerts.rules.model import Rule
from alerts.rules.samples import sample_incident
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import EXPIRE_EVERY, REMEMBER, Notify
from schemas.codecs.single import decode, encode_incident
from schemas.incidents import Incident
from schemas.topics import CONTROLS, INCIDENTS, NOTIFICATIONS
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded


RULE = {
    "id": "feedback_loop",
    "title": "An agent is looping",
    "when": {"kind": "feedback_loop"},
    "mode": "page",
    "runbook": "alerts/rules/README.md#feedback_loop",
    "owner": "on-call",
}


class FakeReceiver:
    """Records what it is sent; refuses while `answers` has something."""

    def __init__(self, name: str, resend_seconds: float | None = None) -> None:
        self.name = name
        self.resend_seconds = resend_seconds
        self.can_renew = False
        self.titles: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.attempts: dict[str, int] = defaultdict(int)
        self.refuses: dict[str, Delivery] = {}

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        self.attempts[incident.incident_id] += 1
        if incident.incident_id in self.refuses:
            return self.refuses[incident.incident_id]
        self.told.append((notification.transition, incident.incident_id))
        self.titles.append(notification.title)
        return Delivery(True, "ok")


def an_incident(name: str, revision: int = 1, status: str = "open") -> Incident:
    return sample_incident(
        {"incident_id": name, "revision": revision, "status": status, "kind": "feedback_loop", "tenant": "acme"}
    )


def write(kafka: Broker, *incidents: Incident) -> None:
    kafka.produce(INCIDENTS.name, [encode_incident(incident) for incident in incidents])


def a_stage(settings: Settings, *receivers: FakeReceiver, deadline: float = 60.0) -> tuple[Notify, list[StageError]]:
    errors: list[StageError] = []
    rule = Rule.model_validate(RULE | {"receivers": [receiver.name for receiver in receivers]})
    retry = RetryPolicy(
        base_seconds=0.02, cap_seconds=0.05, deadline_seconds=dict.fromkeys(("critical", "warning", "info"), deadline)
    )
    named = {receiver.name: receiver for receiver in receivers}
    return Notify(settings, errors.append, rules=[rule], receivers=named, retry=retry), errors


def states(kafka: Broker) -> list[tuple[str, str, str]]:
    found = [decode(value)[1] for value in kafka.values(NOTIFICATIONS.name)]
    return sorted((item["incident_id"], item["transition"], item["state"]) for item in found)


async def test_a_page_is_sent_once_also_after_a_restart_and_its_end_is_told(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    receiver = FakeReceiver("console")
    write(kafka, an_incident("a"), an_incident("a", 2))
    stage, errors = a_stage(settings, receiver)
    await started(stage)
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 2)
    assert await stage.stop()

    write(kafka, an_incident("a", 3), an_incident("b"), an_incident("a", 4, "resolved"))
    again, more_errors = a_stage(settings, receiver)
    await started(again)
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 5)
    assert await again.stop()
    assert not errors + more_errors
    assert sorted(receiver.told) == [("firing", "a"), ("firing", "b"), ("resolved", "a")]
    assert states(kafka) == [
        ("a", "firing", "pending"),
        ("a", "firing", "sent"),
        ("a", "resolved", "pending"),
        ("a", "resolved", "sent"),
        ("b", "firing", "pending"),
        ("b", "firing", "sent"),
    ]


async def test_a_page_that_is_long_done_is_let_go_of_and_one_that_is_open_is_not(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    receiver = FakeReceiver("console")
    stage, errors = a_stage(settings, receiver)
    await started(stage)
    write(kafka, an_incident("done"), an_incident("done", 2, "resolved"), an_incident("open"))
    await until(lambda: len(receiver.told) == 3)
    late = an_incident("late")
    write(kafka, late.model_copy(update={"updated_at": late.updated_at + REMEMBER + 2 * EXPIRE_EVERY}))

    def newest() -> dict[bytes | None, bytes | None]:
        return {
            message.key(): message.value()
            for number in range(NOTIFICATIONS.partitions)
            for message in kafka.messages(NOTIFICATIONS.name, number)
        }

    await until(lambda: None in newest().values() and ("firing", "late") in receiver.told)
    left = {decode(value)[1]["incident_id"] for value in newest().values() if value is not None}
    assert left == {"open", "late"}
    assert list(newest().values()).count(None) == 2
    assert await stage.stop()
    assert not errors


async def test_a_page_that_is_refused_is_tried_again_holds_its_offset_and_nobody_else(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    console, webhook = FakeReceiver("console"), FakeReceiver("hook")
    webhook.refuses["a"] = Delivery(False, "503", is_transient=True)
    stage, errors = a_stage(settings, console, webhook)
    await started(stage)
    write(kafka, an_incident("a"))
    await until(lambda: webhook.attempts["a"] >= 2)
    write(kafka, an_incident("b"), an_incident("a", 2, "resolved"))
    await until(lambda: ("firing", "b") in webhook.told)
    await until(lambda: ("resolved", "a") in console.told)
    assert console.told.index(("firing", "a")) < console.told.index(("resolved", "a"))
    assert stage.waiting_on in ("hook", "")  # empty while an attempt is under way
    assert kafka.committed(settings.group("notify"), INCIDENTS.name)[0] in (0, -1001)
    del webhook.refuses["a"]
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 3)
    assert [told for told in webhook.told if told[1] == "a"] == [("firing", "a"), ("resolved", "a")]
    assert await stage.stop()
    assert not errors


async def test_a_page_that_can_never_be_sent_is_recorded_as_failed_and_counted(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    receiver = FakeReceiver("console")
    receiver.refuses["a"] = Delivery(False, "410 gone", is_transient=False)
    receiver.refuses["b"] = Delivery(False, "503", is_transient=True)
    stage, errors = a_stage(settings, receiver, deadline=0.1)
    write(kafka, an_incident("a"), an_incident("b"))
    await started(stage)
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 2)
    assert await stage.stop()
    assert not errors
    assert (receiver.attempts["a"], receiver.attempts["b"] >= 2, stage.given_up) == (1, True, 2)
    assert ("a", "firing", "failed") in states(kafka)
    assert ("b", "firing", "failed") in states(kafka)


async def test_stopping_while_a_receiver_is_down_ends_in_time_and_the_page_comes_after_the_restart(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    receiver = FakeReceiver("console")
    receiver.refuses["a"] = Delivery(False, "503", is_transient=True)
    write(kafka, an_incident("a"))
    stage, _ = a_stage(settings, receiver)
    await started(stage)
    await until(lambda: receiver.attempts["a"])
    assert not await asyncio.wait_for(stage.stop(grace=0.2), 12)
    receiver.refuses.clear()
    again, errors = a_stage(settings, receiver)
    await started(again)
    await until(lambda: receiver.told == [("firing", "a")])
    await again.stop()
    assert not errors


async def test_what_is_open_is_said_again_in_its_newest_revision_also_after_a_restart_until_it_is_over(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    receiver = FakeReceiver("console", resend_seconds=0.05)
    write(kafka, an_incident("a"))
    stage, errors = a_stage(settings, receiver)
    await started(stage)
    await until(lambda: receiver.told.count(("firing", "a")) >= 3)
    assert await stage.stop()
    receiver.told.clear()

    again, more_errors = a_stage(settings, receiver)
    await started(again)
    write(kafka, an_incident("b", 1, "resolved"))  # partitions are read: what an earlier worker told is known
    await until(lambda: receiver.told.count(("firing", "a")) >= 2)
    write(kafka, an_incident("a", 2, "resolved"))
    await until(lambda: receiver.told.count(("resolved", "a")) >= 3)
    last = len(receiver.told) - 1 - receiver.told[::-1].index(("firing", "a"))
    assert last < receiver.told.index(("resolved", "a"))
    assert await again.stop()
    assert not errors + more_errors
    assert ("a", "firing", "sent") in states(kafka)


async def test_a_rule_with_an_action_pauses_the_agent_once(kafka: Broker, settings: Settings, started: Start) -> None:
    rule = Rule.model_validate(RULE | {"action": {"pause": "10m", "mode": "enforce"}})
    console = FakeReceiver("console")
    first = an_incident("one").model_copy(update={"agent_id": "seo-agent"})
    stage = Notify(settings, lambda _: None, rules=(rule,), receivers={"console": console})
    await started(stage)
    write(kafka, first, first.model_copy(update={"revision": 2, "updated_at": first.updated_at + 1}))
    await until(lambda: kafka.values(CONTROLS.name))
    write(kafka, an_incident("two"))  # of no agent
    await until(lambda: ("firing", "two") in console.told)
    await stage.stop()
    [control] = [decode(value)[1] for value in kafka.values(CONTROLS.name)]
    assert (control["agent_id"], control["author"], control["incident_id"]) == (
        "seo-agent",
        "rule:feedback_loop",
        "one",
    )
    assert control["until"] - control["at"] == 600_000_000


async def test_a_receiver_that_can_shows_what_is_known_now_and_others_are_told_once(
    kafka: Broker, settings: Settings, started: Start
) -> None:
    pager, console = FakeReceiver("pager"), FakeReceiver("console")
    pager.can_renew = True
    stage, errors = a_stage(settings, pager, console)
    await started(stage)
    write(kafka, an_incident("a"))
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 1)
    write(kafka, an_incident("a", 2), an_incident("a", 3).model_copy(update={"title": "the agent did it"}))
    await until(lambda: pager.titles == ["title", "the agent did it"])
    await until(lambda: kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == 3)
    assert await stage.stop()
    again, more_errors = a_stage(settings, pager, console)
    await started(again)
    write(kafka, an_incident("a", 4).model_copy(update={"title": "the agent did it"}), an_incident("a", 5, "resolved"))
    await until(lambda: ("resolved", "a") in pager.told and ("resolved", "a") in console.told)
    assert await again.stop()
    assert console.told == [("firing", "a"), ("resolved", "a")]
    assert pager.told == [("firing", "a"), ("firing", "a"), ("resolved", "a")]
    assert not errors + more_errors
