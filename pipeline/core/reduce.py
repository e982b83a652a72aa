"""Frames of closed panes reduced to what correlate needs: usage sums and facts."""

import polars as pl

from schemas.signals import Fact, Usage
from schemas.usage import KEY, SUMS, usage_of

PLACE = ("tenant", "pane")


def usage_in(rows: pl.DataFrame, source: str) -> list[Usage]:
    """Integer sums of AgentSpan rows by pane and by what was called; one message a tenant and pane."""
    if not rows.height:
        return []
    sums = [
        pl.len().cast(pl.Int64).alias("calls"),
        (pl.col("status") == "error").sum().cast(pl.Int64).alias("errors"),
        *(pl.col(name).sum() for name in SUMS if name not in ("calls", "errors")),
    ]
    table = rows.lazy().group_by(*PLACE, *KEY).agg(sums).sort(*PLACE, *KEY).collect()
    parts = table.partition_by(PLACE, as_dict=True, maintain_order=True)
    return [usage_of(str(tenant), int(pane), source, part) for (tenant, pane), part in parts.items()]


def facts_of(rows: pl.DataFrame, *, late: bool = False) -> list[Fact]:
    """Every ClusterEvent that is not a Kubernetes event: facts and changes, times filled in."""
    facts = rows.filter(pl.col("kind") != "kubernetes").with_columns(
        published_time=pl.coalesce("published_time", "event_time"),
        valid_from=pl.coalesce("valid_from", "event_time"),
    )
    return [
        Fact(
            tenant=row["tenant"],
            fact_id=row["event_id"],
            kind=row["kind"],
            resource=row["resource"],
            event_time=row["event_time"],
            published_time=row["published_time"],
            valid_from=row["valid_from"],
            valid_until=row["valid_until"],
            value=row["value"],
            previous_value=row["previous_value"],
            source=row["source"],
            reason=row["reason"],
            severity=row["severity"],
            actor=row["actor"],
            actor_kind=row["actor_kind"],
            session_id=row["session_id"],
            count=row["count"],
            message=row["message"],
            labels=row["labels"],
            late=late,
            topic="cluster.events.v1",
            partition=row["partition"],
            offset=row["offset"],
        )
        for row in facts.iter_rows(named=True)
    ]
