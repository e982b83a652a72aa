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
CLUSTER_NAMES: Final = ("k8s.cluster.name", "cloud.region", "deployment.environment.name", "deployment.environment")


def cluster_of(*sources: Mapping[str, Any]) -> str:
    """The cluster that the first of the sources names."""
    for source in sources:
        for name in CLUSTER_NAMES:
            if found := segment(source.get(name)):
                return found
    return DEFAULT_CLUSTER


def resource_of(*sources: Mapping[str, Any]) -> str:
    """The resource that these attributes are about; the first source that has one says it."""
    cluster = cluster_of(*sources)
    for source in sources:
        namespace = segment(source.get("k8s.namespace.name")) or NO_NAMESPACE
        for kind in WORKLOADS:
            if name := segment(source.get(f"k8s.{kind}.name")):
                return path(cluster, namespace, kind, name)
        if name := segment(source.get("k8s.node.name")):
            return path(cluster, NODE_SPACE, "node", name)
        if name := segment(source.get("service.name")):
            space = segment(source.get("service.namespace")) or segment(source.get("k8s.namespace.name"))
            return path(cluster, space or NO_NAMESPACE, "service", name)
        if name := segment(source.get("host.name")):
            return path(cluster, NODE_SPACE, "host", name)
    return path(cluster, NO_NAMESPACE, "service", "unknown")


def path(cluster: str, namespace: str, kind: str, name: str) -> str:
    """The four segments, cut to the length of a name."""
    return f"{cluster}/{namespace}/{kind.lower()}/{name}"[:NAME_LENGTH]


def segment(value: Any) -> str | None:
    """A value as one segment of a resource; None where there is none."""
    return value.replace("/", ".")[: NAME_LENGTH // 4] if isinstance(value, str) and value else None
