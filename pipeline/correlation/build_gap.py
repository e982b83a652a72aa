"""What a telemetry gap says: which source is silent, since when, and what that means for the verdicts. Pure."""

from schemas.incidents import Attribution, Incident
from schemas.signals import stable_hash
from schemas.times import format_time


def begun(tenant: str, source: str, since: int | None, now: int, revision: int, rule_version: str) -> Incident:
    """A source is silent; `since` is where its data ends, None where it has sent none; the id depends on these."""
    began = "yet" if since is None else f"since {_clock(since)}"
    then = "" if since is None else " since then"
    return Incident(
        incident_id=stable_hash("telemetry_gap", tenant, source, since),
        fingerprint=stable_hash("problem", tenant, "telemetry_gap", source),
        revision=revision,
        tenant=tenant,
        kind="telemetry_gap",
        status="open",
        severity="warning",
        scope=None,
        agent_id=None,
        agent_version=None,
        session_ids=(),
        title=f"no data from {source} {began}: verdicts{then} are provisional",
        started_at=now if since is None else since,
        detected_at=now,
        updated_at=now,
        summary=(
            f"Neither rows nor ticks come from {source}. Incidents are found without it and marked provisional; each is"
            " confirmed or withdrawn when it is back. Look whether a worker of detect reads that partition."
        ),
        attribution=Attribution(verdict="undetermined", probability=0.0),
        rule_version=rule_version,
    )


def ended(gap: Incident, source: str, since: int | None, now: int, revision: int) -> Incident:
    """The source speaks again."""
    until = f"until {_clock(now)}" if since is None else f"between {_clock(since)} and {_clock(now)}"
    return gap.model_copy(
        update={
            "revision": revision,
            "status": "resolved",
            "updated_at": now,
            "resolved_at": now,
            "title": f"no data from {source} {until}",
            "summary": f"{source} speaks again. What was provisional is confirmed or withdrawn as its data arrives.",
        }
    )


def _clock(moment: int) -> str:
    return format_time(moment)[11:19]
