"""What would have stopped the demo's incidents, from the raw tables that the whole pipeline filled.

UPDATE_GOLDEN=1 writes the files anew: read them before you commit.
"""

import os
from pathlib import Path

import pytest

from pipeline.commands.whatif import replay
from pipeline.correlation.whatif import Values
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
