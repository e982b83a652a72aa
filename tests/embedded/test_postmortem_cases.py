"""What the demo's story does not show of a postmortem: a breach of steps, a full context, who authorised, the version before."""

import uuid
from typing import Any

import polars as pl
import pytest

from reports.postmortem.build import build
from sinks.clickhouse import rows
from sinks.clickhouse.client import Client
from tests.embedded.test_clickhouse import MINUTE, T0, incident

pytestmark = pytest.mark.embedded
TIME = pl.Datetime("us", "UTC")


def span(offset: int, minute: int, **fields: Any) -> dict[str, Any]:
    row = {
        "session_id": "session_1", "agent_id": "agent_1", "agent_version": "2.0", "span_id": f"c{offset}",
        "operation": "chat", "step": None, "max_steps": None, "context_tokens": None, "context_limit": None,
        "finish_reason": "", "tool_name": "", "access": "", "approval": "", "approved_by": "", "topic": "agent.traces.v1",
        "offset": offset, "event_time": T0 + minute * MINUTE,
    }  # fmt: skip
    return row | fields


def said(client: Client, **write: Any) -> dict[str, str]:
    """The sentences of a postmortem by template; `write` is the action that caused it."""
    tenant = f"t_{uuid.uuid4().hex[:8]}"
    acted = incident(tenant, 2, incident_id=f"i{tenant}", agent_version="2.0")
    client.insert_frame("incident_revisions", rows.incident_frame([acted]), tenant)
    spans = [
        span(1, -90, session_id="session_0", agent_version="1.9"),
        span(2, -3, step=38, max_steps=40, context_tokens=120_000, context_limit=200_000),
        span(3, -2, step=40, max_steps=40, context_tokens=191_000, context_limit=200_000, finish_reason="length"),
        span(4, -1, step=43, max_steps=40, context_tokens=90_000, context_limit=200_000, finish_reason="length"),
        span(5, 0, **{"span_id": "s1", "operation": "execute_tool", "tool_name": "scale", "access": "write"} | write),
    ]
    frame = pl.DataFrame([{**row, "tenant": tenant} for row in spans], infer_schema_length=None)
    counts = ("step", "max_steps", "context_tokens", "context_limit")
    client.insert_frame(
        "agent_traces", frame.with_columns(pl.col(counts).cast(pl.Int64), pl.col("event_time").cast(TIME)), tenant
    )
    document = build(client, acted.incident_id, 2)
    return {one.template: one.cells[0] for chapter in document.chapters for one in chapter.statements}


def test_an_orchestration_breach_a_context_overload_and_the_version_before_are_named(client: Client) -> None:
    found = said(client, approval="denied")
    assert found["governance.steps"] == "Orchestration: the session came to step 43, beyond its limit of 40."
    assert found["governance.context"] == (
        "Context: 191,000 of 200,000 tokens at most (96%); over nine tenths full. It was cut 2 times by the length limit."
    )
    assert found["lineage.version"].startswith("agent_1 ran as version 2.0")
    assert found["lineage.before"] == "The version before it: 1.9, last seen on 2026-03-01 at 10:30:00."


@pytest.mark.parametrize(
    ("write", "says"),
    [
        ({"approval": "denied"}, "its approval was denied; it ran all the same"),
        ({"approval": "granted", "approved_by": "user:mo"}, "its approval was granted by user:mo"),
        ({"approval": ""}, "no approval was recorded; nobody authorised the write"),
        ({"approval": "not_required"}, "no approval was required of it"),
    ],
)
def test_who_authorised_the_write_is_said_as_the_span_says_it(write: dict[str, str], says: str, client: Client) -> None:
    assert said(client, **write)["governance.authorised"] == f"Verification: scale ran at 12:00:00; {says}."
