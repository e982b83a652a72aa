"""Receivers fail: every page arrives, under the same dedup key each time, and nobody else waits for it."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from alerts.page import Pages
from alerts.receivers import ReceiverConfig, build
from alerts.retry import RetryPolicy
from alerts.rules.model import Rule
from alerts.rules.samples import sample_incident
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from schemas.codecs.single import encode_incident
from schemas.topics import INCIDENTS
from tests.builders import T0
from tests.faults.broker import FaultyBroker
from tests.faults.receiver import FaultyReceiver
from tests.stages.conftest import Start, until

pytestmark = pytest.mark.embedded
TIMEOUT_SECONDS = 0.5


@pytest.fixture
def broken() -> Iterator[FaultyReceiver]:
    with FaultyReceiver() as made:
        yield made


@pytest.fixture
def healthy() -> Iterator[FaultyReceiver]:
    with FaultyReceiver() as made:
        yield made


def a_stage(settings: Settings, **receivers: FaultyReceiver) -> tuple[Notify, list[StageError]]:
    """notify with the webhook of the product for each receiver, and retries ten times as quick."""
    errors: list[StageError] = []
    rule = Rule.model_validate(
        {
            "id": "feedback_loop",
            "title": "An agent is looping",
            "when": {"kind": "feedback_loop"},
            "mode": "page",
            "receivers": sorted(receivers),
            "runbook": "alerts/rules/README.md#feedback_loop",
            "owner": "on-call",
        }
    )
    configs = {
        name: ReceiverConfig.model_validate(
            {"kind": "webhook", "url": receiver.url, "allow_private": True, "timeout_seconds": TIMEOUT_SECONDS}
        )
        for name, receiver in receivers.items()
    }
    made = build(configs, now=lambda: T0, pages=Pages([rule]))
    retry = RetryPolicy(base_seconds=0.1, cap_seconds=0.5)
    return Notify(settings, errors.append, rules=[rule], receivers=made, retry=retry), errors


def tell(kafka: FaultyBroker, *names: str, status: str = "open", revision: int = 1) -> None:
    fields = {"kind": "feedback_loop", "tenant": "acme", "severity": "critical", "status": status, "revision": revision}
    kafka.produce(INCIDENTS.name, [encode_incident(sample_incident({"incident_id": name, **fields})) for name in names])


def is_told(kafka: FaultyBroker, settings: Settings, count: int) -> bool:
    return kafka.committed(settings.group("notify"), INCIDENTS.name)[0] == count


@pytest.mark.fault("F38")
@pytest.mark.parametrize("fault", ["500", "429", "hang", "drop", "drip"])
async def test_a_page_arrives_in_the_end_and_other_receivers_do_not_wait(
    kafka: FaultyBroker,
    settings: Settings,
    started: Start,
    broken: FaultyReceiver,
    healthy: FaultyReceiver,
    fault: str,
) -> None:
    broken.plan = lambda number: fault if number < 2 else "200"
    stage, errors = a_stage(settings, broken=broken, healthy=healthy)
    await started(stage)
    tell(kafka, "a")
    await until(lambda: len(broken.requests) == 3)
    assert [request.became for request in broken.requests] == [fault, fault, "200"]
    assert {request.dedup_key for request in broken.requests} == {broken.pages[-1].dedup_key}
    assert len(healthy.pages) == 1
    assert healthy.pages[0].at < broken.requests[1].at
    if fault == "429":
        assert all(later.at - sooner.at >= 1.0 for sooner, later in pairwise(broken.requests))
    await until(lambda: is_told(kafka, settings, 1))
    assert await stage.stop()
    assert not errors


@pytest.mark.fault("F39")
async def test_after_an_outage_every_open_incident_is_told_and_what_is_over_is_closed(
    kafka: FaultyBroker, settings: Settings, started: Start, broken: FaultyReceiver
) -> None:
    is_away = True
    broken.plan = lambda _: "500" if is_away else "200"
    stage, errors = a_stage(settings, broken=broken)
    await started(stage)
    names = [f"incident-{number}" for number in range(6)]
    tell(kafka, *names)
    tell(kafka, *names[:2], status="resolved", revision=2)
    await until(lambda: {request.incident for request in broken.requests} == set(names))
    assert broken.pages == []
    is_away = False
    await until(lambda: is_told(kafka, settings, 8))
    told = [(page.incident, page.transition) for page in broken.pages]
    assert sorted(told) == sorted([(name, "firing") for name in names] + [(name, "resolved") for name in names[:2]])
    for name in names[:2]:
        assert told.index((name, "firing")) < told.index((name, "resolved"))
    assert await stage.stop()
    assert not errors


# The mock cluster refuses a join now and then, which ends a worker; here two must join each other in one process.
@pytest.mark.soak
@pytest.mark.fault("F40")
async def test_two_workers_that_see_an_incident_while_partitions_move_send_one_dedup_key_for_it(
    kafka: FaultyBroker, settings: Settings, started: Start, healthy: FaultyReceiver
) -> None:
    first, errors = a_stage(settings, healthy=healthy)
    second, more_errors = a_stage(settings, healthy=healthy)
    await started(first)
    await until(lambda: first.consumer.frontiers())
    tell(kafka, *(f"before-{number}" for number in range(10)))
    await started(second)
    for number in range(10):
        tell(kafka, f"between-{number}")
        await asyncio.sleep(0.05)
    await until(lambda: len(first.consumer.frontiers()) == len(second.consumer.frontiers()) == 2)
    tell(kafka, *(f"after-{number}" for number in range(10)))
    await until(lambda: is_told(kafka, settings, 30))
    keys: dict[str, set[str]] = {}
    for page in healthy.pages:
        keys.setdefault(page.incident, set()).add(page.dedup_key)
    assert len(keys) == 30
    assert all(len(found) == 1 for found in keys.values())
    assert errors + more_errors == []
