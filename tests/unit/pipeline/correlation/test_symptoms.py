"""Symptoms that become a failure: how long weak ones wait for each other, and what is kept of very many."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.correlation import case as cases
from pipeline.correlation.correlator import Correlator
from schemas.incidents import Incident
from schemas.signals import Fact, Signal
from tests.builders import PANE, at, event
from tests.scenario import incidents

CART = "prod/shop/deployment/cart"


def jump(seconds: float, metric: str, *, spacing: float = 15.0, is_over: bool = False, resource: str = CART) -> Signal:
    """A weak symptom: a metric of one service is four times as far from what is usual for it as it may be."""
    name, moment = f"{metric}-{seconds}-{is_over}", at(seconds)
    cited = {"type": "symptom", "topic": "system.metrics.v1", "partition": 0, "offset": 0, "event_id": name}
    cited |= {"event_time": moment, "resource": resource, "shows": name}
    details = {"metric": metric, "labels": None, "is_over": is_over, "spacing_seconds": spacing}
    details |= {"limit": 5.0, "references": [cited]}
    return Signal(
        signal_id=name, type="symptom.spike", tenant="acme", scope="prod/shop", resource=resource,
        window_start=moment, window_end=moment, detected_at=moment + PANE, summary=name, evidence=json.dumps(details),
        score=20.0,
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


def change(seconds: float, resource: str) -> Fact:
    """A deploy by a person."""
    moment = at(seconds)
    return Fact(
        tenant="acme", fact_id=f"{resource}-{seconds}", kind="deploy", resource=resource, event_time=moment,
        published_time=moment, valid_from=moment, actor="user:mo", actor_kind="human",
    )  # fmt: skip


def three(seconds: float, resource: str, **fields: Any) -> list[Signal]:
    return [jump(seconds, metric, resource=resource, **fields) for metric in ("latency", "errors", "memory")]


def newest(told: list[Incident]) -> dict[str, Incident]:
    return {incident.incident_id: incident for incident in told}


PAY, DB = "prod/shop/deployment/pay", "prod/shop/statefulset/cart-db"


@pytest.mark.parametrize(("changed", "minutes", "count"), [
    (PAY, 20, 2), (CART, 20, 1), (None, 20, 1), (PAY, 4, 1),
])  # fmt: skip
def test_a_later_flare_up_with_a_cause_of_its_own_is_another_incident(
    changed: str | None, minutes: int, count: int
) -> None:
    tenant, again = Correlator("acme", PANE, Limits()), minutes * 60
    told = tenant.apply(at(0), [change(-30, CART), *three(0, CART, spacing=60.0)])
    facts = [change(again - 30, changed)] if changed else []
    where = changed or CART
    told += tenant.apply(at(again), [*facts, *three(again, where, spacing=60.0)])
    found = sorted(newest(told).values(), key=lambda incident: incident.detected_at)
    assert len(found) == count
    causes = [incident.attribution.ranked[0].resource for incident in found]
    assert causes == [CART, PAY][:count]
    if count == 2:
        assert (found[0].status, found[0].followed_by) == ("resolved", found[1].incident_id)
        assert (found[1].status, found[1].follows) == ("open", found[0].incident_id)


@pytest.mark.parametrize(("changed", "count"), [(PAY, 2), (None, 1)])
def test_what_fails_again_after_the_end_for_a_cause_of_its_own_is_another_incident(
    changed: str | None, count: int
) -> None:
    tenant = Correlator("acme", PANE, Limits())
    told = tenant.apply(at(0), [change(-30, CART), *three(0, PAY)])
    told += tenant.apply(
        at(60), [jump(60, metric, resource=PAY, is_over=True) for metric in ("latency", "errors", "memory")]
    )
    again = 12 * 60
    told += tenant.apply(at(again), [*([change(again - 30, PAY)] if changed else []), *three(again, PAY)])
    found = newest(told)
    assert len(found) == count
    assert [step.type for step in found[told[0].incident_id].transitions][1:] == (
        ["resolved"] if changed else ["resolved", "reopened"]
    )


def test_an_incident_is_open_as_long_as_a_metric_is_off_and_no_longer_than_it_would_be_told() -> None:
    tenant = Correlator("acme", PANE, Limits())
    tenant.apply(at(0), three(0, CART, spacing=60.0))
    assert tenant.advance(at(40 * 60)) == []
    (said, *_) = tenant.apply(at(40 * 60), [jump(40 * 60, m, is_over=True) for m in ("latency", "errors")])
    assert said.status == "open"
    (said, *_) = tenant.apply(at(50 * 60), [jump(50 * 60, "memory", is_over=True)])
    (over,) = tenant.advance(at(56 * 60))
    assert over.resolved_at == at(55 * 60) + PANE

    silent = Correlator("acme", PANE, Limits())
    silent.apply(at(0), three(0, CART, spacing=60.0))
    (over,) = silent.advance(at(3 * 3600))
    assert over.resolved_at == at(cases.LASTS * 60) + PANE


def silent(seconds: float, since: float, metric: str, resource: str = CART) -> Signal:
    """A metric that was off sends nothing any more."""
    one = jump(seconds, metric, is_over=True, resource=resource)
    details = one.details | {"is_silent": True}
    return replace(one, type="symptom.silent", window_start=at(since), evidence=json.dumps(details))


def test_an_incident_whose_metrics_fell_silent_ends_soon_after_and_without_an_all_clear() -> None:
    tenant = Correlator("acme", PANE, Limits())
    tenant.apply(at(0), three(0, CART, spacing=15.0))
    (said,) = tenant.apply(at(400), [silent(400, 60, "latency"), jump(400, "errors", is_over=True)])
    assert "Whether it is over is not known: latency of cart sent nothing any more" in said.summary
    tenant.apply(at(420), [jump(420, "memory", is_over=True)])
    (over,) = tenant.advance(at(3600))
    assert over.resolved_at == at(420 + 300) + PANE
    assert "no all-clear: latency of cart sent nothing any more" in over.transitions[-1].shows

    heard = Correlator("acme", PANE, Limits())
    heard.apply(at(0), three(0, CART, spacing=15.0))
    heard.apply(at(400), [silent(400, 60, metric) for metric in ("latency", "errors", "memory")])
    heard.apply(at(500), [jump(500, metric, is_over=True) for metric in ("latency", "errors", "memory")])
    (over,) = heard.advance(at(3600))
    assert "all-clear" not in over.transitions[-1].shows
    assert "not known" not in over.summary


def test_what_an_incident_is_put_down_to_is_known_as_long_as_it_lasts() -> None:
    tenant = Correlator("acme", PANE, Limits())
    (first,) = tenant.apply(at(0), [change(-30, CART), *three(0, CART, spacing=300.0)])
    (later,) = tenant.apply(at(3 * 3600), [jump(3 * 3600, "disk", spacing=300.0)])
    assert later.incident_id == first.incident_id
    assert (later.attribution.verdict, first.attribution.verdict) == ("change", "change")


@pytest.mark.parametrize(("spacing", "is_cause"), [(300.0, True), (15.0, False)])
def test_what_is_measured_every_five_minutes_may_have_begun_within_them(spacing: float, is_cause: bool) -> None:
    tenant = Correlator("acme", PANE, Limits())
    (said,) = tenant.apply(at(200), [change(100, CART), *three(0, CART, spacing=spacing)])
    assert bool(said.attribution.ranked) is is_cause


def test_each_resource_says_whether_it_is_still_off() -> None:
    tenant = Correlator("acme", PANE, Limits())
    (said,) = tenant.apply(at(0), [*three(0, CART), jump(2, "latency", resource=PAY), jump(3, "latency", resource=DB)])
    assert states(said) == {CART: ("off", at(0)), PAY: ("off", at(2)), DB: ("off", at(3))}
    ended = [jump(60, metric, is_over=True) for metric in ("latency", "errors")]
    gone = [silent(70, 65, "latency", PAY), jump(60, "latency", is_over=True, resource=DB)]
    (said,) = tenant.apply(at(70), [*ended, *gone])
    assert states(said) == {CART: ("off", at(0)), PAY: ("silent", at(2)), DB: ("back", at(3))}
    (said,) = tenant.apply(at(80), [jump(80, "memory", is_over=True), jump(80, "errors", resource=DB)])
    assert states(said) == {CART: ("back", at(0)), PAY: ("silent", at(2)), DB: ("off", at(80))}


def states(incident: Incident) -> dict[str, tuple[str, int | None]]:
    return {item.resource: (item.state, item.last_at) for item in incident.blast_radius}


def test_of_what_only_warnings_told_it_is_not_known_when_it_is_over() -> None:
    pod = "prod/shop/pod/cart-6996dd565b-mddj2"
    rows = [event(s, f"e{s}", "kubernetes", pod, reason="BackOff", severity="warning") for s in (0, 90)]
    (found,) = incidents(rows)
    assert states(found) == {pod: ("warned", at(90))}


def test_a_change_that_is_told_of_late_makes_a_revision_of_the_same_incident() -> None:
    tenant = Correlator("acme", PANE, Limits())
    (first,) = tenant.apply(at(0), three(0, CART))
    (second,) = tenant.apply(at(120), [replace(change(-30, CART), late=True)])
    assert second.incident_id == first.incident_id
    assert (first.attribution.ranked, second.attribution.verdict) == ((), "change")
    assert second.updated_at > first.updated_at


@pytest.mark.parametrize("depends", [True, False])
def test_what_broke_is_told_in_the_order_of_its_distance_from_the_cause(depends: bool) -> None:
    tenant = Correlator("acme", PANE, Limits())
    edges = [(DB, CART), (PAY, DB)] if depends else []
    facts = [
        Fact(
            tenant="acme", fact_id=f"{one}", kind="dependency", resource=one, value=on, event_time=at(-60),
            published_time=at(-60), valid_from=at(-60),
        )
        for one, on in edges
    ]  # fmt: skip
    hit = [*three(0, PAY), *three(0, DB), *three(0, CART)]
    (said,) = tenant.apply(at(0), [*facts, change(-30, CART), *hit])
    found = [(item.resource, item.distance) for item in said.blast_radius]
    assert found == ([(CART, 0), (DB, 1), (PAY, 2)] if depends else [(CART, 0), (PAY, 1), (DB, 1)])
