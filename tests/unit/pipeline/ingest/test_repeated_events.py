"""An event of Kubernetes that repeats is one object whose count rises. However its updates are shipped, and though some
come twice or late, it is folded by its uid: counted once each, since when it was first seen, until when it was last.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.detectors import kubernetes
from pipeline.ingest.messages import Reader
from schemas.events import ClusterEvent
from schemas.signals import Signal
from schemas.times import format_time
from schemas.topics import OTLP_LOGS
from tests.builders import at, closed_rows, frame, run_detector
from tests.otlp import logs

FIRST = 0.5  # seconds after T0
UPDATES = ((1, FIRST), (5, 80.0), (5, 80.0), (9, 150.0), (5, 80.0))  # count, when last seen: one twice, one late
UID = "5f0c3b7e-0000-4000-8000-00000000e001"
CLUSTER = {"k8s.cluster.name": "prod-eu"}
POD = {"kind": "Pod", "namespace": "shop", "name": "cart-1", "uid": "u1"}


def time(seconds: float) -> str:
    return format_time(at(seconds))


def core(count: int, last: float) -> dict[str, Any]:
    return {
        "involvedObject": POD,
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "type": "Warning",
        "count": count,
        "firstTimestamp": time(FIRST),
        "lastTimestamp": time(last),
        "eventTime": None,
        "source": {"component": "kubelet", "host": "node-1"},
        "metadata": {"uid": UID, "creationTimestamp": time(FIRST)},
    }


def newer(count: int, last: float) -> dict[str, Any]:
    """events.k8s.io: when it was first seen never moves, a series says how often and when last."""
    series = {"series": {"count": count, "lastObservedTime": time(last)}} if count > 1 else {}
    return {
        "apiVersion": "events.k8s.io/v1",
        "regarding": POD,
        "reason": "BackOff",
        "note": "Back-off restarting failed container",
        "type": "Warning",
        "eventTime": time(FIRST),
        "deprecatedFirstTimestamp": None,
        "deprecatedLastTimestamp": None,
        "reportingController": "kubelet",
        "metadata": {"uid": UID, "creationTimestamp": time(FIRST)},
        **series,
    }


def newer_of_older(count: int, last: float) -> dict[str, Any]:
    """events.k8s.io of an object that an older client wrote."""
    said = core(count, last)
    return {
        "regarding": POD,
        "reason": said["reason"],
        "note": said["message"],
        "type": "Warning",
        "eventTime": None,
        "deprecatedCount": count,
        "deprecatedFirstTimestamp": time(FIRST),
        "deprecatedLastTimestamp": time(last),
        "deprecatedSource": said["source"],
        "metadata": said["metadata"],
    }


def watched(said: Callable[[int, float], dict[str, Any]]) -> Callable[[int, float], bytes]:
    """k8sobjects, watch."""

    def ship(count: int, last: float) -> bytes:
        what = "ADDED" if count == 1 else "MODIFIED"
        return logs(({"type": what, "object": said(count, last)}, {"event.domain": "k8s"}), resource=CLUSTER)

    return ship


def pulled(count: int, last: float) -> bytes:
    """k8sobjects, pull: all there is, again and again."""
    return logs((core(count, last), {}), ({"kind": "EventList", "items": [core(count, last)]}, {}), resource=CLUSTER)


def exported(count: int, last: float) -> bytes:
    """kubernetes-event-exporter, whose JSON comes as a text."""
    about = POD | {"labels": {"app": "cart"}, "deleted": False}
    text = json.dumps(core(count, last) | {"clusterName": "prod-eu", "involvedObject": about})
    return logs((text, {}), resource={"service.name": "event-exporter"})


def of_attributes(count: int, last: float) -> bytes:
    """k8s_events: the receiver puts it into attributes, and Go's own spelling of a time into one of them."""
    resource = CLUSTER | {
        "k8s.node.name": "node-1",
        "k8s.object.kind": "Pod",
        "k8s.object.name": "cart-1",
        "k8s.object.uid": "u1",
    }
    attributes = {
        "k8s.event.reason": "BackOff",
        "k8s.event.uid": UID,
        "k8s.event.count": count,
        "k8s.event.start_time": time(FIRST).replace("T", " ").replace("Z", " +0000 UTC"),
        "k8s.namespace.name": "shop",
    }
    text = "Back-off restarting failed container"
    return logs((text, attributes), resource=resource, severity=13, seconds=last)


WAYS = {
    "k8sobjects, watch, core": watched(core),
    "k8sobjects, watch, events.k8s.io": watched(newer),
    "k8sobjects, watch, events.k8s.io of an older client": watched(newer_of_older),
    "k8sobjects, pull": pulled,
    "kubernetes-event-exporter": exported,
    "k8s_events": of_attributes,
}


def rows(ship: Callable[[int, float], bytes]) -> list[dict[str, Any]]:
    reader = Reader()
    found = []
    for count, last in UPDATES:
        mapped = reader.read(OTLP_LOGS.name, ship(count, last))
        assert mapped.reason is None, mapped.detail
        found += [row for _, row in mapped.events]
    for row in found:
        ClusterEvent.model_validate(row)
    return found


def signals(found: list[dict[str, Any]]) -> list[Signal]:
    """What detect makes of the rows: in order of event time and each id once, as panes hand them over."""
    once = {row["event_id"]: row for row in found}
    return run_detector(
        kubernetes,
        [
            closed_rows(frame("cluster_event", [row]))
            for row in sorted(once.values(), key=lambda row: row["event_time"])
        ],
    )


@pytest.mark.parametrize("way", WAYS)
def test_each_update_is_told_with_its_count_and_its_times(way: str) -> None:
    found = rows(WAYS[way])
    assert {(row["event_id"], row["count"], row["event_time"], row["valid_from"]) for row in found} == {
        (f"{UID}-{count}", count, at(last), at(FIRST)) for count, last in UPDATES
    }
    assert {row["resource"] for row in found} == {"prod-eu/shop/pod/cart-1"}


@pytest.mark.parametrize("way", WAYS)
def test_updates_are_folded_to_the_newest_count_and_not_added_up(way: str) -> None:
    found = signals(rows(WAYS[way]))
    assert [(signal.details["count"], signal.window_start) for signal in found] == [
        (1, at(FIRST)), (5, at(80)), (9, at(150)),
    ]  # fmt: skip
    assert {(signal.type, signal.resource) for signal in found} == {("symptom.crash_loop", "prod-eu/shop/pod/cart-1")}


@pytest.mark.parametrize("way", ["k8sobjects, watch, core", "k8sobjects, watch, events.k8s.io", "k8s_events"])
def test_who_comes_to_it_late_knows_since_when_it_goes_on(way: str) -> None:
    """Ten failed probes in nine minutes are often; the same count, first heard of now, is not ten of this moment."""
    often, seldom = (
        signals([row | {"reason": "Unhealthy", "count": 10, "event_id": f"{UID}-10", "event_time": at(FIRST + 60 * minutes)}])
        for minutes in (9, 11)
        for row in [rows(WAYS[way])[0]]
    )  # fmt: skip
    assert (often[0].details["is_strong"], seldom[0].details["is_strong"]) == (True, False)


def test_another_object_of_the_same_reason_is_counted_beside_it() -> None:
    def other(count: int, last: float) -> bytes:
        said = core(count, last + 70)
        said["metadata"]["uid"] = "another"
        return watched(lambda *_: said)(count, last)

    both = rows(watched(core)) + rows(other)
    assert signals(both)[-1].details["count"] == 18


def test_a_start_that_go_calls_the_year_one_is_none() -> None:
    value = logs(
        ("x", {"k8s.event.reason": "BackOff", "k8s.event.start_time": "0001-01-01 00:00:00 +0000 UTC"}),
        ("x", {"k8s.event.reason": "BackOff", "k8s.event.start_time": "2026-03-02 16:00:01.25 +0200 CEST"}),
        resource=CLUSTER,
    )
    none, summer = (row for _, row in Reader().read(OTLP_LOGS.name, value).events)
    assert (none["valid_from"], summer["valid_from"]) == (None, at(1.25))
