"""What Kubernetes says about pods: names, the normal events of a start, the warnings of a crash loop."""

from pipeline.demo.recorder import Recorder, seconds_later
from schemas.signals import compact_json, stable_hash

POD_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def replica_set_pods(deployment: str, first: int, number: int) -> tuple[str, ...]:
    """Names as the ReplicaSet controller makes them: `cart-6d5f8b-x2k9q`. The same for the same numbers."""
    names = []
    for index in range(first, first + number):
        digits = int(stable_hash(deployment, index), 16)
        suffix = "".join(POD_ALPHABET[digits // len(POD_ALPHABET) ** place % len(POD_ALPHABET)] for place in range(5))
        names.append(f"{deployment}-{stable_hash(deployment)[:9]}-{suffix}")
    return tuple(names)


def labels(owner: str, node: str) -> str:
    """Who owns the pod (a resource), and the short name of its node."""
    return compact_json({"owner": owner, "node": node})


def pod_starts(recorder: Recorder, moment: int, scope: str, pod: str, owner: str, node: str, image: str) -> None:
    """The four normal events of a pod that comes up; `Started` about two seconds after `Scheduled`."""
    about = {
        "resource": f"{scope}/pod/{pod}",
        "kind": "kubernetes",
        "actor_kind": "controller",
        "labels": labels(owner, node),
    }
    steps = (
        (
            0.0,
            "Scheduled",
            "default-scheduler",
            f"Successfully assigned {scope.split('/')[1]}/{pod} to {node}",
        ),
        (0.9, "Pulled", "kubelet", f'Container image "{image}" already present on machine'),
        (1.3, "Created", "kubelet", "Created container main"),
        (2.1, "Started", "kubelet", "Started container main"),
    )
    for after, reason, actor, message in steps:
        recorder.cluster(seconds_later(moment, after), **about, reason=reason, actor=actor, message=message)


def pod_warns(
    recorder: Recorder,
    moment: int,
    scope: str,
    pod: str,
    owner: str,
    node: str,
    reason: str,
    message: str,
    count: int = 1,
) -> None:
    """A warning of the kubelet; `count` is how often it said so by now, as Kubernetes counts."""
    recorder.cluster(
        moment,
        resource=f"{scope}/pod/{pod}",
        kind="kubernetes",
        reason=reason,
        severity="warning",
        actor="kubelet",
        actor_kind="controller",
        count=count,
        message=message,
        labels=labels(owner, node),
    )
