"""What would have stopped the demo's incidents, from the raw tables that the whole pipeline filled.

UPDATE_GOLDEN=1 writes the files anew: read them before you commit.
"""

import os
from pathlib import Path

import pytest

from pipeline.commands.whatif import replay
from pipeline.correlation.whatif import Values
from reports.incident import would_stop
from reports.whatif import render
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", ["agent_caused_failure", "feedback_loop", "infrastructure_failure"])
def test_what_would_have_stopped_it_is_as_it_was_read(kind: str, demo: Client) -> None:
    incident = next(found for found in stored.newest(demo, 10) if found.kind == kind)
    text = render(replay(demo, incident, Values(), 7)) + "\n"
    path = GOLDEN / f"whatif_{kind}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_the_incident_names_the_limits_that_cost_the_least(demo: Client) -> None:
    def said(kind: str) -> list[str]:
        incident = next(found for found in stored.newest(demo, 10) if found.kind == kind)
        return would_stop(replay(demo, incident, Values(), 7, 200))

    assert said("agent_caused_failure") == [
        "approval: at 14:09:00, 1 call and 580 tokens less; 0 of 3 healthy sessions too",
        "canary: at 14:09:00, 1 call and 580 tokens less; 0 of 3 healthy sessions too",
        "and 1 more: aftermath whatif d4dc4a3528be7b99",
    ]
    assert said("feedback_loop")[0] == (
        "approval: at 14:03:37, 118 calls and 10,016,987 tokens less; 0 of 3 healthy sessions too"
    )
    assert said("infrastructure_failure") == []
