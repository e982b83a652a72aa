"""Receivers fail: every page arrives, under the same dedup key each time, and nobody else waits for it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from alerts.rules.samples import sample_incident
from pipeline.settings import Settings
from schemas.codecs.single import encode_incident
from schemas.topics import INCIDENTS
from tests.faults.broker import FaultyBroker
from tests.faults.receiver import FaultyReceiver, notify_to
from tests.stages.conftest import Start, until

pytestmark = pytest.mark.embedded


@pytest.fixture
def broken() -> Iterator[FaultyReceiver]:
    with FaultyReceiver() as made:
        yield made


@pytest.fixture
def healthy() -> Iterator[FaultyReceiver]:
    with FaultyReceiver() as made:
        yield made


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
    stage, errors = notify_to(settings, broken=broken, healthy=healthy)
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
    stage, errors = notify_to(settings, broken=broken)
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
