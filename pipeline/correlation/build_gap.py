"""What a telemetry gap says: which source is silent, or what is not remembered; since when, and what that means for the
verdicts. Pure."""

from schemas.incidents import Attribution, Incident
from schemas.signals import stable_hash
from schemas.times import format_time
from schemas.topics import SIGNALS

OWN = "memory"  # of correlate; the memory of a worker of detect is named by its source, as in markers


def begun(tenant: str, source: str, since: int | None, now: int, revision: int, rule_version: str) -> Incident:
    """A source is silent; `since` is where its data ends, None where it has sent none; the id depends on these."""
    began = "yet" if since is None else f"since {_clock(since)}"
    then = "" if since is None else " since then"
    return _gap(
        tenant,
        source,
        since,
        title=f"no data from {source} {began}: verdicts{then} are provisional",
        started_at=now if since is None else since,
        now=now,
        summary=(
            f"Neither rows nor ticks come from {source}. Incidents are found without it and marked provisional; each is"
            " confirmed or withdrawn when it is back. Look whether a worker of detect reads that partition."
        ),
        revision=revision,
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


def forgotten(
    tenant: str, source: str, offset: int, begins: int, until: int, now: int, revision: int, rule_version: str
) -> Incident:
    """Nothing is remembered from before `begins`, and that matters for what begins before `until`.

    source: whose memory it was: OWN for all of correlate, or a partition that detect reads.
    """
    is_own = source == OWN
    stage, log, subject = (
        ("correlate", SIGNALS.name, "what was") if is_own else ("detect", source, f"what {source} told")
    )
    return _gap(
        tenant,
        source if is_own else f"memory of {source}",
        begins,
        title=(
            f"{subject} before {_clock(begins)} is not remembered:"
            f" verdicts on what began by {_clock(until)} are provisional"
        ),
        started_at=begins,
        now=now,
        summary=(
            f"A worker of {stage} had no snapshot it could use, and {log} begins at offset {offset}: who did"
            f" what before {_clock(begins)} is not known. What began before {_clock(until)} stays marked provisional,"
            " because its cause may lie further back, and holds no agent. The worker's log says why the snapshot was"
            " left aside."
        ),
        revision=revision,
        rule_version=rule_version,
    )


def outlived(gap: Incident, begins: int, until: int, revision: int) -> Incident:
    """Enough is remembered again."""
    return gap.model_copy(
        update={
            "revision": revision,
            "status": "resolved",
            "updated_at": until,
            "resolved_at": until,
            "summary": (
                f"Causes of what begins from {_clock(until)} on are all remembered. What began before may have had its"
                f" cause before {_clock(begins)}, and stays marked provisional."
            ),
        }
    )


def _gap(
    tenant: str,
    source: str,
    since: int | None,
    *,
    title: str,
    started_at: int,
    now: int,
    summary: str,
    revision: int,
    rule_version: str,
) -> Incident:
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
        title=title,
        started_at=started_at,
        detected_at=now,
        updated_at=now,
        summary=summary,
        attribution=Attribution(verdict="undetermined", probability=0.0),
        rule_version=rule_version,
    )


def _clock(moment: int) -> str:
    return format_time(moment)[11:19]
