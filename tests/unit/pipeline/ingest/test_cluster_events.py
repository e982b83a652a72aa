"""Kubernetes, audit log, flags and deployments, as the Collector's receivers and others ship them."""

import json
from typing import Any

import pytest

from pipeline.ingest.messages import Mapped, Reader, key_of
from schemas.errors import Reason
from schemas.events import ClusterEvent
from schemas.times import parse_time
from schemas.topics import OTLP_LOGS
from tests.builders import at
from tests.otlp import logs

CORE: dict[str, Any] = {
    "kind": "Event",
    "involvedObject": {
        "kind": "Pod",
        "namespace": "shop",
        "name": "cart-1",
        "uid": "u1",
        "fieldPath": "spec.containers{app}",
    },
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "type": "Warning",
    "count": 94,
    "firstTimestamp": "2026-03-02T14:00:00Z",
    "lastTimestamp": "2026-03-02T14:20:00Z",
    "eventTime": None,
    "source": {"component": "kubelet", "host": "node-1"},
    "metadata": {"uid": "e1", "creationTimestamp": "2026-03-02T14:00:00Z"},
}
NEW: dict[str, Any] = {
    "regarding": {"kind": "Pod", "namespace": "shop", "name": "cart-1"},
    "reason": "Scheduled",
    "note": "Successfully assigned",
    "type": "Normal",
    "eventTime": "2026-03-02T14:00:01.500000Z",
    "deprecatedLastTimestamp": None,
    "series": {"count": 3, "lastObservedTime": "2026-03-02T14:00:09.000000Z"},
    "reportingController": "default-scheduler",
    "metadata": {"uid": "e2"},
}
AUDIT: dict[str, Any] = {
    "kind": "Event",
    "auditID": "a1",
    "stage": "ResponseComplete",
    "verb": "patch",
    "user": {
        "username": "system:serviceaccount:ops:capacity-agent",
        "extra": {"authentication.kubernetes.io/pod-name": ["p"]},
    },
    "objectRef": {"resource": "deployments", "namespace": "shop", "name": "cart", "subresource": "scale"},
    "requestObject": {"spec": {"replicas": 24}},
    "responseStatus": {"code": 200},
    "requestURI": "/apis/apps/v1/namespaces/shop/deployments/cart/scale?fieldManager=x",
    "stageTimestamp": "2026-03-02T14:00:03.000000Z",
}


def read(*records: tuple[Any, dict[str, Any]], agents: tuple[str, ...] = (), **fields: Any) -> Mapped:
    return Reader(agents=agents).read(OTLP_LOGS.name, logs(*records, **fields))


def rows(*bodies: Any, agents: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    mapped = read(*[(body, {}) for body in bodies], agents=agents)
    assert mapped.reason is None, mapped.detail
    for _, row in mapped.events:
        ClusterEvent.model_validate(row)
    return [row for _, row in mapped.events]


@pytest.mark.parametrize(
    "body",
    [
        CORE,  # k8sobjects, pull
        {"type": "MODIFIED", "object": CORE},  # k8sobjects, watch
        json.dumps(CORE),  # a line of text
        {"kind": "EventList", "items": [CORE]},
        CORE | {"clusterName": "prod-eu"},  # kubernetes-event-exporter
    ],
)
def test_an_event_of_the_core_api_however_it_is_shipped(body: Any) -> None:
    (row,) = rows(body)
    assert row["resource"] == "prod-eu/shop/pod/cart-1"
    assert (row["reason"], row["severity"], row["count"], row["kind"]) == ("BackOff", "warning", 94, "kubernetes")
    assert (row["event_time"], row["valid_from"]) == (at(20 * 60), at(0))
    assert (row["event_id"], row["actor"], row["actor_kind"]) == ("e1-94", "kubelet", "controller")
    assert json.loads(row["labels"])["node"] == "node-1"
    assert key_of("cluster_event", row) == "default/prod-eu/shop"


def test_the_newer_spelling_and_its_series() -> None:
    (row,) = rows(NEW)
    assert (row["event_time"], row["count"], row["event_id"]) == (at(9), 3, "e2-3")
    assert (row["message"], row["actor"]) == ("Successfully assigned", "default-scheduler")
    (row,) = rows({name: value for name, value in NEW.items() if name != "series"})
    assert (row["event_time"], row["count"]) == (at(1.5), 1)


def test_the_receiver_of_events_puts_them_into_attributes() -> None:
    resource = {
        "k8s.cluster.name": "prod-eu",
        "k8s.object.kind": "Pod",
        "k8s.object.name": "cart-1",
        "k8s.node.name": "node-1",
    }
    attributes = {
        "k8s.event.reason": "Unhealthy",
        "k8s.event.uid": "e3",
        "k8s.event.count": 4,
        "k8s.namespace.name": "shop",
    }
    mapped = read(("Readiness probe failed", attributes), resource=resource, severity=13)
    ((_, row),) = mapped.events
    ClusterEvent.model_validate(row)
    assert (row["resource"], row["event_id"], row["severity"]) == ("prod-eu/shop/pod/cart-1", "e3-4", "warning")
    assert (row["event_time"], row["message"]) == (at(5), "Readiness probe failed")


@pytest.mark.parametrize(
    ("reason", "message", "value", "before"),
    [
        ("ScalingReplicaSet", "Scaled up replica set cart-6f to 5 from 2", "5", "2"),
        ("ScalingReplicaSet", "Scaled down replica set cart-6f to 0", "0", None),
        ("SuccessfulRescale", "New size: 7; reason: cpu above target", "7", None),
    ],
)
def test_a_scale_says_how_many(reason: str, message: str, value: str, before: str | None) -> None:
    (row,) = rows(CORE | {"reason": reason, "message": message, "type": "Normal"})
    assert (row["kind"], row["value"], row["previous_value"]) == ("scale", value, before)


@pytest.mark.parametrize("kind", ["Application", "Rollout", "HelmRelease"])
def test_what_controllers_of_roll_outs_announce_is_a_deploy(kind: str) -> None:
    about = {"kind": kind, "namespace": "shop", "name": "cart"}
    (row,) = rows(CORE | {"involvedObject": about, "reason": "OperationCompleted", "type": "Normal"})
    assert (row["kind"], row["resource"]) == ("deploy", f"prod-eu/shop/{kind.lower()}/cart")


def test_a_node_belongs_to_the_cluster() -> None:
    (row,) = rows(CORE | {"involvedObject": {"kind": "Node", "namespace": "default", "name": "node-1"}})
    assert row["resource"] == "prod-eu/-/node/node-1"


@pytest.mark.parametrize(
    ("user", "agents", "kind"),
    [
        (AUDIT["user"]["username"], ("system:serviceaccount:ops:*-agent",), "agent"),
        (AUDIT["user"]["username"], (), "controller"),
        ("jane@example.org", (), "human"),
    ],
)
def test_an_audit_entry_says_who_changed_what(user: str, agents: tuple[str, ...], kind: str) -> None:
    (row,) = rows(AUDIT | {"user": {"username": user}}, agents=agents)
    assert (row["kind"], row["resource"], row["value"]) == ("scale", "prod-eu/shop/deployment/cart", "24")
    assert (row["actor"], row["actor_kind"], row["event_time"]) == (user, kind, at(3))


def test_entries_that_change_nothing_are_left_out_and_refused_ones_are_warnings() -> None:
    assert (
        rows(AUDIT | {"verb": "list"}, AUDIT | {"stage": "RequestReceived"}, AUDIT | {"requestURI": "/x?dryRun=All"})
        == []
    )
    (row,) = rows(AUDIT | {"responseStatus": {"code": 403}})
    assert (row["kind"], row["severity"]) == ("audit", "warning")
    about = {"resource": "configmaps", "namespace": "shop", "name": "limits"}
    (row,) = rows(AUDIT | {"objectRef": about, "requestObject": None})
    assert (row["kind"], row["resource"]) == ("config", "prod-eu/shop/configmap/limits")


def test_flags_that_changed() -> None:
    first, second = rows({"flagsChanged": ["prefetch", "new/cart"], "providerName": "flagd"})
    assert (first["kind"], first["resource"], first["source"]) == ("flag", "prod-eu/default/flag/prefetch", "flagd")
    assert (first["event_time"], second["resource"]) == (at(5), "prod-eu/default/flag/new.cart")
    (row,) = rows(
        {
            "_id": "l1",
            "kind": "flag",
            "name": "prefetch",
            "titleVerb": "turned on the flag",
            "date": at(7) // 1000,
            "member": {"email": "jane@example.org"},
        }
    )
    assert (row["actor"], row["actor_kind"], row["event_time"]) == ("jane@example.org", "human", at(7))


def test_flags_that_changed_as_flagd_tells_it() -> None:
    changes = {"prefetch": {"type": "update", "source": "flags.json"}, "new-cart": {"type": "delete"}}
    first, second = rows({"type": "configuration_change", "data": {"flags": changes}})
    assert (first["kind"], first["resource"], first["reason"]) == ("flag", "prod-eu/default/flag/prefetch", "update")
    assert (second["resource"], second["reason"]) == ("prod-eu/default/flag/new-cart", "delete")
    assert (first["source"], first["event_time"]) == ("flagd", at(5))
    assert rows({"type": "provider_ready", "data": {"flags": changes}}, {"type": "configuration_change"}) == []


def test_a_release_of_helm_is_a_deploy_though_helm_sends_no_events() -> None:
    about = {"resource": "secrets", "namespace": "shop", "name": "sh.helm.release.v1.cart.v7"}
    entry = AUDIT | {"objectRef": about, "requestObject": None, "verb": "create"}
    (row,) = rows(entry)
    assert (row["kind"], row["resource"], row["value"]) == ("deploy", "prod-eu/shop/helmrelease/cart", "7")
    assert row["actor"] == AUDIT["user"]["username"]
    assert rows(entry | {"verb": "patch"}, entry | {"verb": "delete"}) == []  # its state, and what is too old
    (refused,) = rows(entry | {"responseStatus": {"code": 403}})
    assert (refused["kind"], refused["severity"]) == ("audit", "warning")


def test_a_deployment_as_a_cdevent() -> None:
    (row,) = rows(
        {
            "context": {
                "id": "c1",
                "source": "/ci",
                "type": "dev.cdevents.service.deployed.0.3.0",
                "timestamp": "2026-03-02T14:00:00Z",
            },
            "subject": {"id": "cart", "content": {"environment": {"id": "shop"}, "artifactId": "pkg:oci/cart@2"}},
        }
    )
    assert (row["kind"], row["resource"], row["value"]) == ("deploy", "prod-eu/shop/service/cart", "pkg:oci/cart@2")


def test_a_maintenance_window_in_our_own_words() -> None:
    said = {
        "type": "cluster_event", "event_time": "2026-03-02T14:00:00Z", "event_id": "m1", "kind": "maintenance",
        "resource": "prod-eu/shop/statefulset/cart-db", "valid_until": "2026-03-02T16:00:00Z", "source": "calendar",
    }  # fmt: skip
    (row,) = rows(json.dumps(said))
    assert (row["tenant"], row["valid_until"]) == ("default", parse_time("2026-03-02T16:00:00Z"))
    assert read((json.dumps(said | {"kind": "nap"}), {})).reason is Reason.UNKNOWN_VALUE


def test_logs_of_programs_are_none_of_ours() -> None:
    mapped = read(
        ("GET / 200", {}),
        ('{"level": "info"}', {}),
        (None, {}),
        ([1], {}),
        ("{", {}),
        ({"type": "DELETED", "object": CORE}, {}),
    )
    assert (mapped.events, mapped.reason, mapped.unwanted) == ([], None, 6)


@pytest.mark.parametrize("moment", [None, "yesterday", 5, "1999-01-01T00:00:00Z", ["x"]])
def test_an_event_without_a_time_is_refused(moment: Any) -> None:
    times = dict.fromkeys(("lastTimestamp", "firstTimestamp", "eventTime"))
    mapped = read((CORE | times | {"metadata": {"creationTimestamp": moment}}, {}), (CORE, {}))
    assert mapped.reason in (Reason.WRONG_TYPE, Reason.TIME_OUT_OF_RANGE)
    assert (len(mapped.events), mapped.is_rejected) == (1, False)
