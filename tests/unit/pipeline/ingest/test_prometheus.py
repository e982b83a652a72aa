"""Metrics of a Prometheus, as the Collector's receiver of remote write makes OTLP of them, and the file that runs it.

The receiver's translation, by its source (0.165): job and instance name the resource, with the labels of `target_info`;
all other labels stand on the point, times are milliseconds, a stale series is a point without a value, a counter is a
cumulative sum, a histogram a cumulative one with custom or exponential buckets; the scope is the Collector.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData

from pipeline.ingest.messages import Reader
from schemas.events import MetricPoint
from schemas.topics import OTLP_METRICS
from tests.builders import at
from tests.otlp import pairs

DEPLOY = Path(__file__).parents[4] / "deploy"
JOB = {"service.name": "kube-state-metrics", "service.instance.id": "10.0.0.7:8080"}
EXTERNAL = {"cluster": "prod-eu"}
NO_VALUE = 1
CUMULATIVE = 2


def written(*metrics: Metric, resource: dict[str, Any] = JOB) -> bytes:
    made = MetricsData()
    found = made.resource_metrics.add()
    found.resource.attributes.extend(pairs(resource))
    scope = found.scope_metrics.add()
    scope.scope.name, scope.scope.version = "OpenTelemetry Collector Contrib", "0.165.0"
    scope.metrics.extend(metrics)
    return made.SerializeToString()


def gauge(seconds: float, value: float, labels: dict[str, str], flags: int = 0) -> Metric:
    metric = Metric(name="kube_deployment_status_replicas_available")
    metric.gauge.data_points.add(
        time_unix_nano=at(seconds) * 1000, as_double=value, attributes=pairs(EXTERNAL | labels), flags=flags
    )
    return metric


def counter(seconds: float, value: float, started: float = 0) -> Metric:
    metric = Metric(name="http_requests_total")
    metric.sum.aggregation_temporality = CUMULATIVE  # type: ignore[assignment]
    metric.sum.is_monotonic = True
    metric.sum.data_points.add(
        start_time_unix_nano=at(started) * 1000, time_unix_nano=at(seconds) * 1000, as_double=value,
        attributes=pairs(EXTERNAL | {"code": "500"}),
    )  # fmt: skip
    return metric


def histogram(seconds: float, counts: list[int]) -> Metric:
    """A classic one that Prometheus has made into one of custom buckets."""
    metric = Metric(name="http_request_duration_seconds")
    metric.histogram.aggregation_temporality = CUMULATIVE  # type: ignore[assignment]
    metric.histogram.data_points.add(
        start_time_unix_nano=at(0) * 1000, time_unix_nano=at(seconds) * 1000, count=sum(counts), sum=1.0,
        explicit_bounds=[0.1, 0.2, 0.4], bucket_counts=counts, attributes=pairs(EXTERNAL),
    )  # fmt: skip
    return metric


def rows(*metrics: Metric, resource: dict[str, Any] = JOB, reader: Reader | None = None) -> list[dict[str, Any]]:
    mapped = (reader or Reader()).read(OTLP_METRICS.name, written(*metrics, resource=resource))
    assert mapped.reason is None, mapped.detail
    for _, row in mapped.events:
        MetricPoint.model_validate(row)
    return [row for _, row in mapped.events]


@pytest.mark.parametrize(
    ("labels", "resource"),
    [
        ({"namespace": "shop", "deployment": "cart"}, "prod-eu/shop/deployment/cart"),
        ({"namespace": "shop", "pod": "cart-1", "container": "app", "node": "n1"}, "prod-eu/shop/pod/cart-1"),
        ({"namespace": "shop", "job_name": "nightly"}, "prod-eu/shop/job/nightly"),
        ({"node": "n1", "condition": "Ready"}, "prod-eu/-/node/n1"),
        # scraped without honor_labels: namespace and pod are the exporter's own, of what it measures they are renamed
        (
            {"namespace": "monitoring", "pod": "ksm-0", "exported_namespace": "shop", "exported_pod": "cart-1"},
            "prod-eu/shop/pod/cart-1",
        ),
        ({"namespace": "shop"}, "cluster/default/service/kube-state-metrics"),  # no workload: the job
    ],
)
def test_what_a_metric_is_about_stands_in_its_labels(labels: dict[str, str], resource: str) -> None:
    (row,) = rows(gauge(1, 3.0, labels))
    assert (row["resource"], row["value"], row["kind"], row["event_time"]) == (resource, 3.0, "gauge", at(1))


def test_names_of_opentelemetry_on_the_resource_go_before_labels() -> None:
    about = {"k8s.namespace.name": "shop", "k8s.deployment.name": "cart", "k8s.cluster.name": "prod-us"}
    (row,) = rows(gauge(1, 3.0, {"namespace": "monitoring", "pod": "agent-0"}), resource=JOB | about)
    assert row["resource"] == "prod-us/shop/deployment/cart"


def test_a_job_in_two_parts_is_a_service_in_its_namespace() -> None:
    (row,) = rows(counter(1, 12.5), resource={"service.namespace": "shop", "service.name": "cart"})
    assert (row["resource"], row["metric"], row["kind"]) == (
        "cluster/shop/service/cart",
        "http_requests_total",
        "cumulative",
    )


def test_counters_of_two_instances_of_a_job_are_two_series() -> None:
    first, second = (
        rows(counter(1, value), resource={"service.name": "cart", "service.instance.id": instance})[0]
        for value, instance in ((900.0, "10.0.0.7:80"), (3.0, "10.0.0.8:80"))
    )
    assert first["resource"] == second["resource"]
    assert first["labels"] != second["labels"]  # else one would look like a reset of the other
    on_a_pod = {"service.name": "cart", "service.instance.id": "5f0c", "k8s.pod.name": "cart-1"}
    assert "5f0c" not in rows(counter(1, 3.0), resource=on_a_pod)[0]["labels"]


def test_a_stale_series_is_no_value() -> None:
    assert rows(gauge(1, float("nan"), {}, flags=NO_VALUE), counter(1, 1.0))[0]["metric"] == "http_requests_total"


def test_a_histogram_becomes_quantiles_of_what_came_since_the_point_before() -> None:
    reader = Reader()
    rows(histogram(15, [10, 0, 0, 0]), reader=reader)
    found = {row["metric"].rsplit(".")[-1]: row["value"] for row in rows(histogram(30, [10, 20, 0, 0]), reader=reader)}
    assert found["count"] == 30.0
    assert 0.1 < found["p50"] < found["p99"] <= 0.2  # the twenty that came since, not the ten before them


def test_the_file_names_only_what_the_configuration_beside_it_has_and_does_not_touch_its_pipelines() -> None:
    base, beside = (
        yaml.safe_load((DEPLOY / name).read_text())
        for name in ("otel-collector.yaml", "otel-collector-prometheus.yaml")
    )
    (receiver,) = beside["receivers"]
    assert receiver == "prometheusremotewrite"
    ((name, pipeline),) = beside["service"]["pipelines"].items()
    assert name.startswith("metrics/")  # an own one: lists of one and the same would be replaced, not joined
    assert pipeline["receivers"] == [receiver]
    assert pipeline["processors"] == base["service"]["pipelines"]["metrics"]["processors"]
    assert pipeline["exporters"] == base["service"]["pipelines"]["metrics"]["exporters"]
    assert set(pipeline["exporters"]) <= base["exporters"].keys()
