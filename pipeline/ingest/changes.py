"""Who changed what -> ClusterEvent rows: audit log of Kubernetes, feature flags, CDEvents, and our own JSON.

An audit entry is a request, whatever came of it; only finished ones that change something are kept, dry runs are not.
Who is an agent is configured: shell patterns on the user name (`system:serviceaccount:shop:capacity-agent`). Other
service accounts are controllers, everybody else is a person.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from pipeline.ingest.kubernetes import time_of
from pipeline.ingest.resources import NO_NAMESPACE, path, segment
from pipeline.ingest.values import json_text, name_of
from schemas.codecs import json_events
from schemas.events import TEXT_LENGTH
from schemas.times import MICROS

Row = dict[str, Any]
Found = Mapping[str, Any]

CHANGING_VERBS: Final = frozenset(["create", "update", "patch", "delete", "deletecollection"])
SINGULAR: Final = {"policies": "policy", "ingresses": "ingress", "storageclasses": "storageclass"}
CONFIGS: Final = frozenset(["configmap", "secret"])
HELM_RELEASE: Final = re.compile(r"sh\.helm\.release\.v1\.(.+)\.v(\d+)")
SERVICE_ACCOUNT: Final = "system:serviceaccount:"
SYSTEM: Final = "system:"
FLAGD_CHANGE: Final = "configuration_change"
CDEVENTS: Final = "dev.cdevents."
DEPLOYS: Final = ("service.deployed", "service.upgraded", "service.rolledback", "service.removed", "service.published")


def is_audit(found: Found) -> bool:
    """Whether an object is an entry of the audit log."""
    return "auditID" in found and isinstance(found.get("objectRef"), dict) and isinstance(found.get("user"), dict)


def audit_event(found: Found, cluster: str, tenant: str, agents: Sequence[str]) -> Row | None:
    """The row of an entry; None where it changed nothing. Raises UnmappableError where it has no time."""
    verb, about = found.get("verb"), found["objectRef"]
    if verb not in CHANGING_VERBS or found.get("stage", "ResponseComplete") != "ResponseComplete":
        return None
    if "dryRun=" in str(found.get("requestURI", "")):
        return None
    user = name_of(found["user"].get("username")) or "unknown"
    kind = _singular(segment(about.get("resource")) or "object")
    name = segment(about.get("name")) or "*"
    sub = about.get("subresource")
    status = found.get("responseStatus")
    code = status.get("code") if isinstance(status, dict) else None
    is_refused = isinstance(code, int) and code >= 400
    extra = found["user"].get("extra")
    pod = extra.get("authentication.kubernetes.io/pod-name") if isinstance(extra, dict) else None
    labels = {"code": code, "user_agent": found.get("userAgent"), "pod": pod, "subresource": sub}
    value = _replicas(found.get("requestObject"))
    release = HELM_RELEASE.fullmatch(name) if kind in CONFIGS else None
    if release is not None:  # Helm sends no events: each revision is an object that it makes and then patches
        if verb != "create":
            return None
        kind, name, value = "helmrelease", release[1], release[2]
    return {
        "event_time": time_of(found.get("stageTimestamp") or found.get("requestReceivedTimestamp")),
        "tenant": tenant,
        "event_id": name_of(found["auditID"]) or "audit",
        "resource": path(
            cluster,
            segment(about.get("namespace")) or NO_NAMESPACE,
            kind,
            name,
        ),
        "kind": _audit_kind(kind, sub, is_refused),
        "reason": name_of(f"{verb}/{sub}" if isinstance(sub, str) and sub else verb),
        "severity": "warning" if is_refused else "normal",
        "actor": user,
        "actor_kind": _actor_kind(user, agents),
        "value": value,
        "message": f"{user} {verb} {kind}" + (f": {code}" if is_refused else ""),
        "labels": json_text({name: item for name, item in labels.items() if item is not None}),
    }


def is_flag_change(found: Found) -> bool:
    """Whether an object tells of changed feature flags: OpenFeature's or flagd's event, LaunchDarkly's webhook."""
    return (
        isinstance(found.get("flagsChanged"), list)
        or _flagd_changes(found) is not None
        or (found.get("kind") == "flag" and "titleVerb" in found)
    )


def _flagd_changes(found: Found) -> dict[str, Any] | None:
    """Of an event of flagd's stream `{"type": "configuration_change", "data": {"flags": ...}}`: what each flag was."""
    data = found.get("data")
    flags = data.get("flags") if isinstance(data, dict) and found.get("type") == FLAGD_CHANGE else None
    return flags if isinstance(flags, dict) else None


def flag_events(found: Found, cluster: str, tenant: str, at: int) -> list[Row]:
    """A row for each flag. `at` is when it was told, for what does not say when it was."""
    names, actor, kind, message, moment = found.get("flagsChanged"), None, None, found.get("message"), at
    changes = _flagd_changes(found)
    if changes is not None:
        names = list(changes)
    elif not isinstance(names, list):
        member = found.get("member")
        actor = name_of(member.get("email")) if isinstance(member, dict) else None
        names, kind, message = [found.get("name")], "human" if actor else None, found.get("title")
        date = found.get("date")
        moment = date * (MICROS // 1000) if isinstance(date, int) else at
    guessed = "launchdarkly" if kind or "titleVerb" in found else "flagd" if changes is not None else "flags"
    source = segment(found.get("providerName")) or guessed
    rows = []
    for name in names[:1000]:
        flag = segment(name)
        if flag is not None:
            row: Row = {
                "event_time": time_of(moment),
                "tenant": tenant,
                "event_id": name_of(f"{found.get('_id') or source}-{flag}-{moment}"),
                "resource": path(cluster, segment(found.get("namespace")) or NO_NAMESPACE, "flag", flag),
                "kind": "flag",
                "reason": _how(changes, name) or name_of(found.get("titleVerb")) or "changed",
                "actor": actor,
                "actor_kind": kind,
                "source": source,
                "message": str(message)[:TEXT_LENGTH] if message else None,
            }
            rows.append(row)
    return rows


def _how(changes: Mapping[str, Any] | None, flag: str) -> str | None:
    change = changes.get(flag) if changes else None
    return name_of(change.get("type")) if isinstance(change, dict) else None


def is_cdevent(found: Found) -> bool:
    """Whether an object is an event of CDEvents."""
    context = found.get("context")
    return isinstance(context, dict) and str(context.get("type", "")).startswith(CDEVENTS)


def cdevent(found: Found, cluster: str, tenant: str) -> Row | None:
    """The row of a deployed, upgraded, rolled back or removed service; None of anything else."""
    context, subject = found["context"], found.get("subject")
    what = next((name for name in DEPLOYS if str(context["type"]).startswith(CDEVENTS + name)), None)
    if what is None or not isinstance(subject, dict):
        return None
    content = subject.get("content")
    content = content if isinstance(content, dict) else {}
    place = content.get("environment")
    place = segment(place.get("id")) if isinstance(place, dict) else None
    return {
        "event_time": time_of(context.get("timestamp")),
        "tenant": tenant,
        "event_id": name_of(f"{context.get('source')}-{context.get('id')}"),
        "resource": path(cluster, place or NO_NAMESPACE, "service", segment(subject.get("id")) or "unknown"),
        "kind": "deploy",
        "reason": what,
        "source": name_of(context.get("source")),
        "value": str(content.get("artifactId") or "")[:TEXT_LENGTH] or None,
    }


def own_event(found: Found) -> Row:
    """An event in our own words, as JSON lines have it. Raises UnreadableError."""
    said = {name: value for name, value in found.items() if name not in ("type", "ingest_time")}
    return dict(json_events.event_of(said, "cluster_event").__dict__)


def _singular(resource: str) -> str:
    return SINGULAR.get(resource, resource.removesuffix("s"))


def _audit_kind(kind: str, sub: Any, is_refused: bool) -> str:
    if is_refused:
        return "audit"
    if sub == "scale":
        return "scale"
    if kind == "helmrelease":
        return "deploy"
    return "config" if kind in CONFIGS else "audit"


def _actor_kind(user: str, agents: Sequence[str]) -> str:
    if any(fnmatchcase(user, pattern) for pattern in agents):
        return "agent"
    return "controller" if user.startswith(SYSTEM) else "human"


def _replicas(value: Any) -> str | None:
    spec = value.get("spec") if isinstance(value, dict) else None
    replicas = spec.get("replicas") if isinstance(spec, dict) else None
    return str(replicas) if isinstance(replicas, int) else None
