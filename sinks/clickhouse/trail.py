"""Reads the audit trail of a change back from ClickHouse: the view `trail_of`, and which changes there are."""

from typing import Any

from schemas.errors import UsageError
from sinks.clickhouse.client import Client

MOST_CHANGES = 20
CHANGES = """
SELECT tenant, span_id, event_time, agent_id, tool_name, target
FROM agent_traces FINAL
WHERE access IN ('write', 'destructive', 'provision') AND {where}
ORDER BY event_time DESC, span_id
LIMIT {{limit:UInt32}}
"""
# the wait for an effect, and how long after it the other side is waited for: as unmatched_change.py has them
TOLD = """
WITH (
    SELECT tuple(any(event_time), splitByChar('/', any(target))[1])
    FROM agent_traces FINAL WHERE tenant = {tenant:String} AND span_id = {span_id:String}
) AS call
SELECT count() AS told
FROM cluster_events
WHERE tenant = {tenant:String} AND kind IN ('deploy', 'scale', 'config', 'flag', 'quota')
    AND startsWith(resource, concat(call.2, '/'))
    AND event_time > call.1 + toIntervalMinute(5) AND event_time <= call.1 + toIntervalMinute(35)
"""


def changes(client: Client, what: str) -> list[dict[str, Any]]:
    """The changes that agents made to a resource (it has a slash in it), newest first, or the one of a span id.

    A span id may be cut short. Raises UsageError where there is none.
    """
    is_resource = "/" in what
    where = "target = {what:String}" if is_resource else "startsWith(span_id, {what:String})"
    found = client.query(CHANGES.format(where=where), {"what": what, "limit": MOST_CHANGES})
    if not found:
        kind = "resource" if is_resource else "span"
        raise UsageError(
            f"No agent's change of the {kind} {what[:120]!r} is stored: give cluster/namespace/kind/name, "
            "or the span id of an action (`aftermath incidents show` names them)."
        )
    if not is_resource and len(found) > 1:
        raise UsageError(f"More than one change has a span id that begins with {what[:40]!r}: write more of it.")
    return found


def trail(client: Client, tenant: str, span_id: str) -> list[dict[str, Any]]:
    """The links of one change, in order."""
    return client.query(
        "SELECT * FROM trail_of(tenant = {tenant:String}, span_id = {span_id:String})",
        {"tenant": tenant, "span_id": span_id},
    )


def is_told_of(client: Client, tenant: str, span_id: str) -> bool:
    """Whether the cluster of the target told of any change after the wait for an effect of this call.

    If it did not, it is silent, and that it told of no effect decides nothing.
    """
    (row,) = client.query(TOLD, {"tenant": tenant, "span_id": span_id})
    return bool(row["told"])
