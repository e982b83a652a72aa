"""Five generated weeks of three agents, as rows of the tables: four quiet ones, and one in which things move.

`steady` does the same all along. `mover` gets a new version in the last week that uses a new tool on a new place, takes
more steps, changes permissions, writes blindly and goes on where an approval was denied. `rare` runs too seldom for any
statement. The rule `noisy` pages for what on-call marks as noise.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from schemas.times import parse_time
from sinks.clickhouse.client import Client

WEEK = "2026-W47"
START = datetime(2026, 11, 16, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
RUNS = {"steady": 60, "mover": 60, "rare": 4}  # a week
USAGE = """
INSERT INTO agent_usage (tenant, agent_id, agent_version, operation, model, tool_name, target, pane, source, calls, errors,
    input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, duration_ms)
SELECT tenant, agent_id, agent_version, operation, model, tool_name, target,
    toDateTime64(intDiv(toUnixTimestamp(event_time), 5) * 5, 6, 'UTC') AS pane, 'agent.traces.v1/0',
    count(), countIf(status = 'error'), sum(t.input_tokens), sum(t.output_tokens), sum(t.cached_input_tokens),
    sum(t.reasoning_tokens), sum(t.duration_ms)
FROM agent_traces AS t
GROUP BY tenant, agent_id, agent_version, operation, model, tool_name, target, pane"""


def fill(client: Client) -> None:
    """Write all of it."""
    rows = list(spans())
    columns: dict[str, list[Any]] = {
        name: [row.get(name, default) for row in rows] for name, default in COLUMNS.items()
    }
    _insert(client, "agent_traces", pl.DataFrame(columns))
    client.command(USAGE)
    _insert(client, "signals", pl.DataFrame(list(signals())))
    incidents, pages, marks = (pl.DataFrame(list(found)) for found in zip(*told(), strict=True))
    _insert(client, "incidents", incidents)
    _insert(client, "notifications", pages)
    _insert(client, "incident_marks", marks.filter(pl.col("mark") != ""))
    _insert(client, "cluster_events", pl.DataFrame([event("role", "audit", "reader"), event("quota", "quota", "40")]))
    _insert(client, "limits_loosened", pl.DataFrame([LOOSER]))


LOOSER: dict[str, Any] = {
    **{"version": 4, "author": "user:mo", "name": "max_steps", "was": "30", "now_is": "90"},
    **{"match": '{"agent_id":"mover"}', "effective_from": START + timedelta(days=1)},
}
COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("tenant", "agent_id", "agent_version", "session_id", "span_id", "operation", "status"), ""),
    **dict.fromkeys(("model", "tool_name", "access", "target", "approval", "topic"), ""),
    **dict.fromkeys(("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens", "duration_ms"), 0),
    **dict.fromkeys(("event_time", "partition", "offset"), 0),
}


def spans() -> Iterator[dict[str, Any]]:
    """Every run of every agent: model calls and tool calls in turn."""
    draw = random.Random(7)
    offset = 0
    for week in range(-4, 1):
        for agent, runs in RUNS.items():
            is_moved = agent == "mover" and week == 0
            for run in range(runs):
                at = START + timedelta(weeks=week, minutes=draw.randrange(7 * 24 * 60))
                for step in range(draw.randrange(6, 14) + (8 if is_moved else 0)):
                    at += timedelta(seconds=draw.randrange(2, 20))
                    head = {
                        "tenant": "acme", "agent_id": agent, "agent_version": "2.0" if is_moved else "1.0",
                        "session_id": f"{agent}_{week + 4}_{run}", "span_id": f"s{offset}", "topic": "agent.traces.v1",
                        "offset": offset, "event_time": parse_time(at),
                        "status": "error" if draw.random() < (0.08 if is_moved else 0.02) else "ok",
                    }  # fmt: skip
                    offset += 1
                    yield head | (_chat(draw) if step % 2 == 0 else _call(draw, is_moved))


def _chat(draw: random.Random) -> dict[str, Any]:
    tokens = draw.randrange(2_000, 6_000)
    return {
        "operation": "chat", "model": "m1", "input_tokens": tokens, "cached_input_tokens": tokens // 2,
        "output_tokens": tokens // 10, "reasoning_tokens": tokens // 40, "duration_ms": draw.randrange(800, 4_000),
    }  # fmt: skip


def _call(draw: random.Random, is_moved: bool) -> dict[str, Any]:
    if is_moved and draw.random() < 0.4:
        approval, access = draw.choice([("denied", "write"), ("granted", "write"), ("requested", "write")])
        return {
            "operation": "execute_tool", "tool_name": "shell.run", "access": access, "approval": approval,
            "target": "prod/pay/deployment/pay", "duration_ms": draw.randrange(3_000, 9_000),
        }  # fmt: skip
    tool = draw.choices(["docs.search", "docs.read", "ticket.reply"], [5, 3, 2])[0]
    access = "write" if tool == "ticket.reply" else "read"
    return {
        "operation": "execute_tool", "tool_name": tool, "access": access, "target": "prod/help/ticket/t",
        "approval": "not_required" if access == "write" else "", "duration_ms": draw.randrange(100, 900),
    }  # fmt: skip


def signals() -> Iterator[dict[str, Any]]:
    """What the detectors said of the last week, and once before it."""
    kinds = (
        "governance.permission_change",
        "governance.blind_write",
        "governance.blind_write",
        "governance.step_limit",
    )
    for number, kind in enumerate(kinds):
        yield _signal(number, kind, START + timedelta(hours=30 + number), "limits-3")
    yield _signal(9, "governance.step_limit", START - timedelta(days=9), "limits-2")


def _signal(number: int, kind: str, at: datetime, version: str) -> dict[str, Any]:
    return {
        "signal_id": f"g{number}", "type": kind, "tenant": "acme", "agent_id": "mover", "session_id": f"mover_4_{number}",
        "detected_at": parse_time(at), "rule_version": version,
    }  # fmt: skip


def told() -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Incidents with the page each led to and the mark it got: rule `noisy` is noise, `sound` is not."""
    for number in range(30):
        rule = "noisy" if number < 16 else "sound"
        at = parse_time(START + timedelta(hours=5 * number - 40))
        name = f"i{number}"
        gap = '[{"component": "mover", "failure_point": "f", "gap": "step limit: passed, nothing stopped the session"}]'
        incident = {
            "tenant": "acme", "incident_id": name, "revision": 1, "kind": "feedback_loop", "status": "resolved",
            "agent_id": "mover", "governance_gaps": gap if number % 5 == 0 else "[]", "started_at": at, "detected_at": at,
        }  # fmt: skip
        page = {
            "dedup_key": name, "tenant": "acme", "incident_id": name, "rule": rule, "mode": "page", "transition": "firing",
            "state": "sent", "state_order": 2, "at": at,
        }  # fmt: skip
        mark = "" if number == 29 else "noise" if rule == "noisy" and number % 8 else "useful"
        yield incident, page, {"tenant": "acme", "incident_id": name, "mark": mark, "marked_at": at}


def event(kind: str, of: str, value: str) -> dict[str, Any]:
    """A change of what somebody may do."""
    return {
        "event_time": parse_time(START + timedelta(days=2)), "tenant": "acme", "event_id": f"e-{kind}", "kind": of,
        "resource": f"prod/help/{kind}/main", "value": value, "previous_value": "20", "topic": "cluster.events.v1",
        "offset": len(kind), "actor_kind": "human",
    }  # fmt: skip


def _insert(client: Client, table: str, frame: pl.DataFrame) -> None:
    times = [name for name in frame.columns if name in ("event_time", "at", "effective_from") or name.endswith("_at")]
    client.insert_frame(table, frame.with_columns(pl.col(times).cast(TIME)), f"weeks:{table}")
