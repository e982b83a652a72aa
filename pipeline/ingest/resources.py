"""Which resource telemetry is about: `cluster/namespace/kind/name` from the attributes of OpenTelemetry.

The workload where it is named, since it outlives its pods; else the pod, the node, the service.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.events import NAME_LENGTH

DEFAULT_CLUSTER: Final = "cluster"
NO_NAMESPACE: Final = "default"
NODE_SPACE: Final = "-"  # nodes belong to the cluster
WORKLOADS: Final = ("deployment", "statefulset", "daemonset", "cronjob", "job", "replicaset", "pod")
# labels of Prometheus -> kind; `exported_` where its own labels of the exporter have the same names. `job` is its own
LABELS: Final = {kind: kind for kind in WORKLOADS if kind != "job"} | {"job_name": "job"}
LABEL_PREFIXES: Final = ("exported_", "")
CLUSTER_NAMES: Final = ("k8s.cluster.name", "cloud.region", "deployment.environment.name", "deployment.environment")


def cluster_of(*sources: Mapping[str, Any]) -> str:
    """The cluster that the first of the sources names."""
    for source in sources:
        for name in CLUSTER_NAMES:
            if found := segment(source.get(name)):
                return found
    return DEFAULT_CLUSTER


def resource_of(*sources: Mapping[str, Any]) -> str:
    """The resource that these attributes are about: what one of the sources names by OpenTelemetry's names of
    Kubernetes, else by the labels of Prometheus, else the service or host of the first that has one.
    """
    cluster = cluster_of(*sources)
    for find in (_of_kubernetes, _of_labels, _of_service):
        for source in sources:
            if found := find(source, cluster):
                return found
    return path(cluster, NO_NAMESPACE, "service", "unknown")


def _of_kubernetes(source: Mapping[str, Any], cluster: str) -> str | None:
    namespace = segment(source.get("k8s.namespace.name")) or NO_NAMESPACE
    for kind in WORKLOADS:
        if name := segment(source.get(f"k8s.{kind}.name")):
            return path(cluster, namespace, kind, name)
    name = segment(source.get("k8s.node.name"))
    return path(cluster, NODE_SPACE, "node", name) if name else None


def _of_labels(source: Mapping[str, Any], cluster: str) -> str | None:
    """What kube-state-metrics and the kubelet measure, by their labels; by the exporter's own name it would be one."""
    cluster = segment(source.get("cluster")) or cluster
    for prefix in LABEL_PREFIXES:
        if namespace := segment(source.get(f"{prefix}namespace")):
            for label, kind in LABELS.items():
                if name := segment(source.get(prefix + label)):
                    return path(cluster, namespace, kind, name)
        elif name := segment(source.get(f"{prefix}node")):
            return path(cluster, NODE_SPACE, "node", name)
    return None


def _of_service(source: Mapping[str, Any], cluster: str) -> str | None:
    if name := segment(source.get("service.name")):
        space = segment(source.get("service.namespace")) or segment(source.get("k8s.namespace.name"))
        return path(cluster, space or NO_NAMESPACE, "service", name)
    name = segment(source.get("host.name"))
    return path(cluster, NODE_SPACE, "host", name) if name else None


def path(cluster: str, namespace: str, kind: str, name: str) -> str:
    """The four segments, cut to the length of a name."""
    return f"{cluster}/{namespace}/{kind.lower()}/{name}"[:NAME_LENGTH]


def segment(value: Any) -> str | None:
    """A value as one segment of a resource; None where there is none."""
    return value.replace("/", ".")[: NAME_LENGTH // 4] if isinstance(value, str) and value else None
