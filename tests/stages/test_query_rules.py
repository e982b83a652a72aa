"""Query rules in notify: rows become alerts and end, a database that is down changes nothing, a restart forgets nothing."""

from typing import Any

import pytest

from alerts.outbox import Notification
from alerts.page import Told
from alerts.receivers import Delivery
from alerts.rules.model import Rule
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from schemas.errors import DependencyError
from schemas.incidents import Incident
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
RULE = Rule.model_validate(
    {
        "id": "asked",
        "title": "x",
        "query": {"sql": "SELECT 1", "every": "10s", "kind": "resource_exhaustion"},
        "mode": "ticket",
        "runbook": "docs/x.md",
        "owner": "team",
    }
)


class Console:
    name = "console"
    resend_seconds = None
    can_renew = False

    def __init__(self) -> None:
        self.told: list[tuple[str, str | None]] = []

    async def send(self, notification: Notification, incident: Incident, others: Told = ()) -> Delivery:
        self.told.append((notification.transition, incident.agent_id))
        return Delivery(True, "ok")


class Database:
    """Answers with `rows`; counts questions."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.is_down = False
        self.asked = 0

    def ask(self, sql: str, seconds: float) -> list[dict[str, Any]]:
        assert (sql, seconds) == ("SELECT 1", 10.0)
        self.asked += 1
        if self.is_down:
            raise DependencyError("ClickHouse is down")
        return self.rows


async def test_rows_are_told_until_they_are_gone(kafka: Broker, settings: Settings, started: Start) -> None:
    console, database, errors = Console(), Database(), list[StageError]()
    now = 1_772_445_630_000_000

    def a_stage() -> Notify:
        return Notify(
            settings, errors.append, rules=[RULE], receivers={"console": console}, ask=database.ask, now=lambda: now
        )

    stage = a_stage()
    database.rows = [{"tenant": "acme", "agent_id": "a"}, {"tenant": "acme", "agent_id": "b"}]
    await started(stage)
    await until(lambda: sorted(console.told) == [("firing", "a"), ("firing", "b")])

    database.is_down = True
    now += 10_000_000
    await until(lambda: database.asked == 2)
    assert await stage.stop()
    assert len(console.told) == 2

    database.is_down, database.rows = False, [{"tenant": "acme", "agent_id": "b"}]
    again = a_stage()
    await started(again)
    await until(lambda: console.told[2:] == [("resolved", "a")])
    now += 9_999_999
    asked = database.asked
    now += 1
    await until(lambda: database.asked == asked + 1)
    assert await again.stop()
    assert len(console.told) == 3
    assert not errors
