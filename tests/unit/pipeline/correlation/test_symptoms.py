"""Symptoms that become a failure: how long weak ones wait for each other, and what is kept of very many."""

import json

import pytest

from pipeline.core.limits import Limits
from pipeline.correlation import case as cases
from pipeline.correlation.correlator import Correlator
from schemas.signals import Signal
from tests.builders import PANE, at


def jump(seconds: float, metric: str, *, spacing: float = 15.0, is_over: bool = False) -> Signal:
    """A weak symptom: a metric of one service has left what is usual for it."""
    name, moment = f"{metric}-{seconds}-{is_over}", at(seconds)
    resource = "prod/shop/deployment/cart"
    cited = {"type": "symptom", "topic": "system.metrics.v1", "partition": 0, "offset": 0, "event_id": name}
    cited |= {"event_time": moment, "resource": resource, "shows": name}
    details = {"metric": metric, "labels": None, "is_over": is_over, "spacing_seconds": spacing, "references": [cited]}
    return Signal(
        signal_id=name, type="symptom.spike", tenant="acme", scope="prod/shop", resource=resource,
        window_start=moment, window_end=moment, detected_at=moment + PANE, summary=name, evidence=json.dumps(details),
    )  # fmt: skip


@pytest.mark.parametrize(("spacing", "apart", "opens"), [
    (15.0, 295, True), (15.0, 305, False), (300.0, 600, True), (300.0, 900, False),
])  # fmt: skip
def test_weak_symptoms_wait_for_each_other_as_long_as_their_series_are_slow(
    spacing: float, apart: float, opens: bool
) -> None:
    tenant = Correlator("acme", PANE, Limits())
    assert tenant.apply(at(0), [jump(0, "latency", spacing=spacing), jump(0, "cpu", spacing=spacing)]) == []
    found = tenant.apply(at(apart), [jump(apart, "memory", spacing=spacing)])
    assert [incident.kind for incident in found] == (["infrastructure_failure"] if opens else [])


def test_what_began_is_kept_before_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MOST_EVIDENCE", 3)
    first = jump(0, "latency")
    case = cases.opened("place", first)
    for signal in (first, jump(5, "latency", is_over=True), jump(10, "latency"), jump(15, "cpu"), jump(20, "memory")):
        cases.add_symptom(case, signal)
    assert [item.shows for item in case.evidence.values()] == ["latency-0-False", "cpu-15-False", "memory-20-False"]
    cases.add_symptom(case, jump(25, "disk", is_over=True))
    assert len(case.evidence) == 3
