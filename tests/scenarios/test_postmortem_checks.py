"""Data integrity and unauthorised content: named in the overview when an audit or check event says so, and only then."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from reports.postmortem.build import build
from reports.postmortem.case import load
from reports.postmortem.formats import FORMATS
from reports.postmortem.sections import overview
from reports.postmortem.verify import verify
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
DATABASE, CART = "prod-eu/checkout/statefulset/cart-db", "prod-eu/checkout/deployment/cart"
NOT_OBSERVED = [
    "Data integrity: not observed: no audit or check event speaks of it.",
    "Unauthorised content: not observed: no audit or check event speaks of it.",
]
TIME = pl.Datetime("us", "UTC")


def event(name: str, clock: str, message: str, **fields: Any) -> dict[str, Any]:
    hour, minute, second = map(int, clock.split(":"))
    at = datetime(2026, 3, 2, hour, minute, second, tzinfo=UTC)
    return {
        "event_id": name, "event_time": at, "tenant": "acme", "kind": "audit", "resource": DATABASE, "reason": "", "actor": "",
        "message": message, "topic": "checks", "offset": len(name), "ingest_time": at,
    } | fields  # fmt: skip


BROKEN = event("check-1", "14:22:40", "412 orders have no payment row: orphaned rows", reason="IntegrityCheckFailed")
EARLY = event("check-2", "14:08:00", "checksum of backup-0302 is wrong", reason="ChecksumMismatch")
POSTED = event("audit-7", "14:16:05", "Unauthorised content on the sale page", resource="prod-eu/checkout/page/sale")


@pytest.fixture
def said(demo: Client) -> Iterator[Any]:
    """A function: store these events, and return what the overview then says of data and content, with its source."""

    def with_events(*events: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        demo.command("DELETE FROM cluster_events WHERE topic = 'checks'")
        if events:
            frame = pl.DataFrame(list(events)).with_columns(pl.col("event_time", "ingest_time").cast(TIME))
            demo.insert_frame("cluster_events", frame, repr(events))
        (found,) = [item for item in stored.newest(demo, 10) if item.kind == "agent_caused_failure"]
        if events == (BROKEN, POSTED):
            assert verify(demo, FORMATS["md"].render(build(demo, found.incident_id, found.revision))) == []
        chapter = overview.SECTION.written(demo, load(demo, found.incident_id, found.revision))
        return [
            (one.cells[0], one.references)
            for one in chapter.statements
            if one.template in ("overview.data", "overview.content")
        ]

    yield with_events
    demo.command("DELETE FROM cluster_events WHERE topic = 'checks'")


def test_an_event_that_says_so_is_named_with_its_time_place_and_reference(said: Any) -> None:
    assert said(BROKEN, POSTED) == [
        (
            "Data integrity: audit event at 14:22:40 on statefulset/cart-db: 412 orders have no payment row: orphaned rows.",
            ("event check-1",),
        ),
        (
            "Unauthorised content: audit event at 14:16:05 on page/sale: Unauthorised content on the sale page.",
            ("event audit-7",),
        ),
    ]
    assert [text for text, _ in said()] == NOT_OBSERVED  # and gone with its event


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(EARLY, id="before the cause"),
        pytest.param(BROKEN | {"event_time": datetime(2026, 3, 2, 16, tzinfo=UTC)}, id="long after the end"),
        pytest.param(BROKEN | {"tenant": "rival"}, id="of another tenant"),
        pytest.param(BROKEN | {"resource": "prod-eu/payments/statefulset/ledger"}, id="of another part of the cluster"),
        pytest.param(BROKEN | {"kind": "config"}, id="no audit"),
        pytest.param(event("a", "14:16:00", "mo patch deployment", resource=CART, labels='{"checksum/config":"1"}'), id="a label"),
        pytest.param(
            event("b", "14:16:00", "system:content-publisher patch page", reason="patch", actor="system:content-publisher"),
            id="the name of who did it",
        ),
        pytest.param(event("c", "14:16:00", "mo update page: 401 Unauthorized", resource=CART), id="a refused request"),
    ],
)  # fmt: skip
def test_what_does_not_say_so_or_is_elsewhere_names_nothing(other: dict[str, Any], said: Any) -> None:
    assert [text for text, _ in said(other)] == NOT_OBSERVED
