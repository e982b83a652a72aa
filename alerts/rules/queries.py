"""Query rules: an SQL question asked every few minutes; each row it answers with is an alert, until it is gone.

    query:
      sql: SELECT tenant, agent_id, 'many refused calls' AS title FROM ... GROUP BY ...
      every: 5m
      time_limit: 10s           # the server stops it then
      kind: resource_exhaustion

Columns are `tenant` (which every row has), and where they are wanted `scope`, `agent_id`, `key` (what else tells rows
apart), `title`, `summary` and `severity`. A row becomes an incident that stands in no table, for the rule that asked
and no other; from there on it goes the way of every alert. Pure: who calls asks and brings the rows.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from alerts.durations import Duration
from schemas.incidents import SEVERITIES, Attribution, Incident, Kind
from schemas.signals import stable_hash

if TYPE_CHECKING:
    from alerts.outbox import Notification
    from alerts.rules.model import Rule

MARK = "query."
MOST_ROWS = 100
COLUMNS = frozenset({"tenant", "scope", "agent_id", "key", "title", "summary", "severity"})
READS = re.compile(r"\s*(SELECT|WITH)\b", re.IGNORECASE)
SECOND = 1_000_000


class Query(BaseModel):
    """What a query rule asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sql: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    every: Annotated[Duration, Field(ge=10 * SECOND, le=86_400 * SECOND)]
    time_limit: Annotated[Duration, Field(ge=SECOND, le=60 * SECOND)] = 10 * SECOND
    kind: Kind

    @field_validator("sql")
    @classmethod
    def _reads_only(cls, value: str) -> str:
        if READS.match(value) is None or ";" in value:
            raise ValueError("sql is one SELECT, or WITH ... SELECT, without a semicolon")
        return value


class Asked:
    """The answers to one rule: which rows are open."""

    def __init__(self, rule: "Rule", query: Query) -> None:
        self._rule, self._query = rule, query
        self._open: dict[str, Incident] = {}

    def restore(self, record: "Notification") -> None:
        """What was told, or is held, of this rule before a restart."""
        labels = record.label_map
        name = labels.get("fingerprint", "")
        self._open[name] = self._incident(name, record.incident_id, record.at, {**labels, "title": self._rule.title})

    def answered(self, rows: Sequence[Mapping[str, Any]], now: int) -> list[Incident]:
        """Revisions: rows that are new, and those that are gone. Raises ValueError where a row is not usable."""
        found = {}
        for row in rows[:MOST_ROWS]:
            self._check(row)
            parts = [str(row.get(name) or "") for name in ("tenant", "scope", "agent_id", "key")]
            found[f"{MARK}{self._rule.id}.{stable_hash(*parts)}"] = row
        new = [
            self._incident(name, stable_hash(name, now), now, row)
            for name, row in found.items()
            if name not in self._open
        ]
        gone = [
            one.model_copy(update={"revision": now, "status": "resolved", "updated_at": now, "resolved_at": now})
            for name, one in self._open.items()
            if name not in found
        ]
        self._open = {name: one for name, one in self._open.items() if name in found}
        self._open |= {one.fingerprint: one for one in new}
        return [*new, *gone]

    def _check(self, row: Mapping[str, Any]) -> None:
        if unknown := sorted(set(row) - COLUMNS):
            raise ValueError(f"{self._rule.id}: {unknown[0]} is no column of a query rule; there are {sorted(COLUMNS)}")
        if not row.get("tenant"):
            raise ValueError(f"{self._rule.id}: a row without a tenant; select one")
        if row.get("severity") and row["severity"] not in SEVERITIES:
            raise ValueError(f"{self._rule.id}: severity is one of {', '.join(SEVERITIES)}, not {row['severity']!r}")

    def _incident(self, fingerprint: str, incident_id: str, now: int, row: Mapping[str, Any]) -> Incident:
        return Incident(
            incident_id=incident_id,
            fingerprint=fingerprint,
            revision=now,
            tenant=str(row["tenant"]),
            kind=self._query.kind,
            status="open",
            severity=row.get("severity") or self._rule.severity or "warning",
            scope=str(row.get("scope") or "") or None,
            agent_id=str(row.get("agent_id") or "") or None,
            agent_version=None,
            session_ids=(),
            title=str(row.get("title") or self._rule.title),
            started_at=now,
            detected_at=now,
            updated_at=now,
            summary=str(row.get("summary") or ""),
            attribution=Attribution(verdict="undetermined", probability=0.0),
        )
