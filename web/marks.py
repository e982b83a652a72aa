"""An incident as the page needs it: times in milliseconds, and the sentences that people read elsewhere too."""

from typing import Any, Final

from reports.incident import first_steps
from schemas.controls import Control
from schemas.incidents import CLASS_TEXT, Incident

LIST_FIELDS: Final = (
    "id", "kind", "status", "severity", "title", "scope", "owner", "agent_id", "verdict", "probability", "provisional",
    "started_ms", "detected_ms", "resolved_ms", "updated_ms", "acknowledged_by", "revision",
)  # fmt: skip


def incident_json(incident: Incident) -> dict[str, Any]:
    """Flat where the incident is flat; lists as they are, with words."""
    waste = incident.exhaustion
    return {
        "id": incident.incident_id,
        "tenant": incident.tenant,
        "revision": str(incident.revision),  # beyond what a browser's numbers hold
        "provisional": incident.provisional,
        "kind": incident.kind,
        "status": incident.status,
        "severity": incident.severity,
        "severity_change": _severity_change(incident),
        "scope": incident.scope,
        "owner": incident.owner,
        "agent_id": incident.agent_id,
        "agent_version": incident.agent_version,
        "session_ids": list(incident.session_ids),
        "title": incident.title,
        "summary": incident.summary,
        "started_ms": incident.started_at // 1000,
        "detected_ms": incident.detected_at // 1000,
        "updated_ms": incident.updated_at // 1000,
        "resolved_ms": incident.resolved_at // 1000 if incident.resolved_at else None,
        "acknowledged_by": incident.acknowledged_by,
        "verdict": incident.attribution.verdict,
        "probability": incident.attribution.probability,
        "ranked": [
            {
                "kind": found.kind,
                "shows": found.shows,
                "resource": found.resource,
                "agent_id": found.agent_id,
                "span_id": found.span_id,
                "event_id": found.event_id,
                "at_ms": found.event_time // 1000,
                "probability": found.probability,
                "factors": dict(found.factors),
            }
            for found in incident.attribution.ranked
        ],
        "gaps": [
            {
                "shows": gap.shows,
                "class": gap.class_,
                "says": CLASS_TEXT[gap.class_],
                "source": gap.source,
                "read_ms": gap.read_at // 1000 if gap.read_at else None,
                "event_id": gap.event_id,
            }
            for gap in incident.context_gaps
        ],
        "limits": [
            {"component": gap.component, "failure_point": gap.failure_point, "gap": gap.gap}
            for gap in incident.governance_gaps
        ],
        "waste": waste.model_dump(mode="json") if waste else None,
        "blast_radius": [{"resource": item.resource, "distance": item.distance} for item in incident.blast_radius],
        "do_first": first_steps(incident),
    }


def _severity_change(incident: Incident) -> dict[str, Any] | None:
    step = incident.newest_step("severity")
    return {"shows": step.shows, "at_ms": step.at // 1000} if step else None


def held_json(control: Control) -> dict[str, Any]:
    """A control that is in force."""
    return {
        "tenant": control.tenant,
        "agent_id": control.agent_id,
        "about": control.about,
        "action": control.action,
        "mode": control.mode,
        "author": control.author,
        "reason": control.reason,
        "at_ms": control.at // 1000,
        "until_ms": None if control.until is None else control.until // 1000,
    }
