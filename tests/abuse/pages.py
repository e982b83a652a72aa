"""A page of an incident, as notify would send it."""

from alerts.outbox import Notification
from schemas.incidents import Incident


def notification_of(incident: Incident) -> Notification:
    """It fires, at the receiver `hook`."""
    return Notification(
        dedup_key="key",
        tenant=incident.tenant,
        incident_id=incident.incident_id,
        revision=incident.revision,
        rule="feedback_loop",
        mode="page",
        transition="firing",
        receiver="hook",
        severity=incident.severity,
        state="pending",
        at=incident.updated_at,
        title=incident.title,
    )
