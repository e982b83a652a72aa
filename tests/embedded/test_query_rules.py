"""The questions of the query rules that are shipped, and what nobody may ask."""

import time
from collections.abc import Iterator

import pytest

from alerts.rules import SHIPPED, load_rules
from alerts.rules.queries import Asked
from pipeline.clock import now_micros
from pipeline.embedded import Database
from schemas.signals import Signal, compact_json
from sinks.clickhouse import rows
from sinks.clickhouse.client import Client
from sinks.clickhouse.errors import ClickHouseError
from tests.databases import drop, migrated

pytestmark = pytest.mark.embedded
HOUR = 3600


@pytest.fixture
def client(clickhouse: Database) -> Iterator[Client]:
    found = migrated(clickhouse)
    yield found
    drop(found)


def burn(name: str, soonest: int | None, minutes_ago: int = 1) -> Signal:
    at = now_micros() - minutes_ago * 60_000_000
    details = {"subject": name, "unit": "tokens"} | (
        {} if soonest is None else {"used_up_in_seconds": [soonest, 9 * HOUR]}
    )
    return Signal(
        signal_id=f"{name}-{minutes_ago}",
        type="token_burn.budget",
        tenant="acme",
        agent_id=name,
        window_start=at,
        window_end=at,
        detected_at=at,
        score=9.0,
        severity="warning",
        summary=f"{name} burns, {minutes_ago} min ago",
        evidence=compact_json(details),
        rule_version="1",
    )


def test_a_budget_that_lasts_less_than_two_hours_is_an_alert(client: Client) -> None:
    (rule,) = [rule for rule in load_rules(SHIPPED) if rule.id == "budget_exhausted_soon"]
    assert rule.query is not None
    signals = [
        burn("soon", 2 * HOUR - 1),
        burn("soon", HOUR, 3),
        burn("later", 2 * HOUR),
        burn("done", None),
        burn("old", HOUR, 11),
    ]
    client.insert_frame("signals", rows.signal_frame(signals), "t")
    found = client.ask(rule.query.sql, 10, 101)
    (incident,) = Asked(rule, rule.query).answered(found, now_micros())
    assert (incident.tenant, incident.agent_id, incident.title) == ("acme", "soon", "soon burns, 1 min ago")


def test_a_question_that_takes_too_long_is_ended(client: Client) -> None:
    began = time.monotonic()
    with pytest.raises(ClickHouseError):
        client.ask("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", 1, 10)
    assert time.monotonic() - began < 20


def test_a_question_writes_nothing(client: Client) -> None:
    for text in ("INSERT INTO signals (tenant) VALUES ('x')", "SELECT 1) FORMAT Null; DROP TABLE signals --"):
        with pytest.raises(ClickHouseError):
            client.ask(text, 5, 10)
    assert client.query("SELECT count() AS n FROM signals WHERE tenant = 'x'") == [{"n": 0}]
    assert client.ask("SELECT 1 AS one -- a comment", 5, 10) == [{"one": 1}]
