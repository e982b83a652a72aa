"""The labels of an alert: what it is, in the words that routes, silences and receivers match.

They are taken once, when the alert fires, and kept until its end: the same labels are the same alert, so that what
changes from revision to revision (counts, probabilities) is no label, and a kind or owner that changes later does not
open a second alert. An empty label is the same as none.
"""

from collections.abc import Mapping

from alerts.plain_text import plain
from schemas.incidents import Incident, Severity
from schemas.resources import cluster_of

LONGEST = 200


def labels_of(
    incident: Incident, *, rule: str, mode: str, severity: Severity, owner: str, more: Mapping[str, str]
) -> dict[str, str]:
    """Sorted by name, without empty ones. `more` are those of the rule; they cannot replace ours."""
    cluster = cluster_of(incident.scope) or ""
    ours = {
        "agent_id": incident.agent_id,
        "alertname": rule,
        "cluster": cluster,
        "fingerprint": incident.fingerprint,
        "incident_id": incident.incident_id,
        "kind": incident.kind,
        "mode": mode,
        "namespace": (incident.scope or "").removeprefix(cluster).strip("/"),
        "owner": owner,
        "scope": incident.scope,
        "severity": severity,
        "tenant": incident.tenant,
        "verdict": incident.attribution.verdict,
    }
    found = {name: plain(value or "", LONGEST) for name, value in {**more, **ours}.items()}
    return {name: found[name] for name in sorted(found) if found[name]}
