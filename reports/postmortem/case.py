"""One revision of an incident as the sections plan from it. Says nothing itself: its values become parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from reports.postmortem.model import Parameters, Reader
from schemas.errors import UsageError
from schemas.incidents import Attribution, BlastResource, Candidate, ContextGap, Evidence, GovernanceGap
from schemas.times import parse_time

ROW = """SELECT *
FROM incident_revisions
WHERE incident_id = {incident_id:String} AND revision = {revision:Int64}
LIMIT 1"""
_EVIDENCE = TypeAdapter(tuple[Evidence, ...])
_CONTEXT = TypeAdapter(tuple[ContextGap, ...])
_GOVERNANCE = TypeAdapter(tuple[GovernanceGap, ...])
_BLAST = TypeAdapter(tuple[BlastResource, ...])


@dataclass(frozen=True, slots=True)
class Case:
    """reader: for finders, queries that yield parameters."""

    reader: Reader
    parameters: Parameters  # incident_id and revision
    tenant: str
    agent_id: str
    agent_version: str
    session_id: str  # the first of those held responsible
    scope: str
    started_at: int
    updated_at: int
    detected_at: int
    resolved_at: int | None
    verdict: str
    has_waste: bool
    ranked: tuple[Candidate, ...]
    context_gaps: tuple[ContextGap, ...]
    governance_gaps: tuple[GovernanceGap, ...]
    resources: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    def ask(self, **more: str | int) -> Parameters:
        """The parameters of every query about this incident, and more."""
        return {**self.parameters, **more}

    @property
    def cause(self) -> Candidate | None:
        """The first candidate, where the verdict holds one responsible."""
        is_held = self.verdict in ("agent", "change", "shared")
        return self.ranked[0] if is_held and self.ranked else None

    @property
    def action(self) -> str:
        """Span id of the agent's action that caused it; empty where there is none."""
        return (self.cause.span_id or "") if self.cause else ""

    @property
    def decided_at(self) -> int:
        """Until when what an agent read and believed counts: its action, else the start of the incident."""
        return self.cause.event_time if self.cause and self.action else self.started_at


def load(reader: Reader, incident_id: str, revision: int) -> Case:
    """Read one revision. Raises UsageError where it is not stored."""
    parameters: Parameters = {"incident_id": incident_id, "revision": revision}
    rows = reader.query(ROW, parameters)
    if not rows:
        raise UsageError(f"Revision {revision} of incident {incident_id[:40]!r} is not stored here.")
    return _case(reader, parameters, rows[0])


def _case(reader: Reader, parameters: Parameters, row: Mapping[str, Any]) -> Case:
    attribution = Attribution.model_validate_json(row["attribution"])
    resolved = row["resolved_at"]
    return Case(
        reader=reader,
        parameters=parameters,
        tenant=row["tenant"],
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_ids"][0] if row["session_ids"] else "",
        scope=row["scope"],
        started_at=parse_time(row["started_at"]),
        updated_at=parse_time(row["updated_at"]),
        detected_at=parse_time(row["detected_at"]),
        resolved_at=parse_time(resolved) if isinstance(resolved, datetime) else None,
        verdict=attribution.verdict,
        has_waste=bool(row["exhaustion"]),
        ranked=attribution.ranked,
        context_gaps=_CONTEXT.validate_json(row["context_gaps"] or "[]"),
        governance_gaps=_GOVERNANCE.validate_json(row["governance_gaps"] or "[]"),
        resources=tuple(item.resource for item in _BLAST.validate_json(row["blast_radius"] or "[]")),
        evidence=_EVIDENCE.validate_json(row["evidence"] or "[]"),
    )
