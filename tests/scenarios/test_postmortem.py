"""The postmortems of the demo's incidents, from a database that the whole pipeline filled.

UPDATE_GOLDEN=1 writes the files anew: read them before you commit. Only the sections are held, not the notes and queries.
"""

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.whatif import replay
from pipeline.correlation.whatif import Values
from reports.lint import lint, load_rules
from reports.postmortem.build import build
from reports.postmortem.formats import FORMATS
from reports.postmortem.model import Document
from reports.postmortem.verify import verify
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from tests.scenarios.remembered import Remembered

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
GOLDEN = Path(__file__).parent / "golden"
KINDS = ("agent_caused_failure", "feedback_loop", "infrastructure_failure")
TABLES = {
    "agent.traces.v1": "agent_traces",
    "system.metrics.v1": "system_metrics",
    "cluster.events.v1": "cluster_events",
}
WHOLE = ("session ", "agent ", "series ", "incident ")  # sums rest on all events of these


@dataclass(slots=True)
class Read:
    """What was asked while the database was there."""

    documents: dict[str, Document] = field(default_factory=dict)
    again: dict[str, Document] = field(default_factory=dict)
    stops: dict[str, datetime] = field(default_factory=dict)  # kind and limit -> when `aftermath whatif` stops it
    found: dict[str, list[str]] = field(default_factory=dict)
    without: list[tuple[str, set[int], set[int], set[int]]] = field(default_factory=list)  # event; changed, cite, sums


@pytest.fixture(scope="module")
def read(demo: Client, postmortems: dict[str, Document]) -> Read:
    return _read(demo, postmortems)


def _read(client: Client, postmortems: dict[str, Document]) -> Read:
    read, answers = Read(), dict[str, Remembered]()
    for incident in stored.newest(client, 10):
        document = read.documents[incident.kind] = postmortems[incident.kind]
        again = answers[incident.kind] = Remembered(client)
        read.again[incident.kind] = build(again, incident.incident_id, incident.revision)
        for outcome in replay(
            client, incident, Values(tokens=2_000_000), 7
        ).outcomes:  # the budget of the demo's limits
            if outcome.stop:
                at = datetime.fromtimestamp(outcome.stop.at / 1_000_000, UTC)
                read.stops[f"{incident.kind} {outcome.limit}"] = at
        for name, form in FORMATS.items():
            text = form.render(document)
            read.found[f"{incident.kind} {name}"] = [finding.says for finding in verify(again, text)]
    loop = answers["feedback_loop"]
    for name, form in FORMATS.items():
        text = form.render(read.documents["feedback_loop"])
        told = text.replace("2026-03-02 at 14:", "2026-03-02 at 15:", 1)
        assert told != text
        read.found[f"{name} wrong"] = [finding.says for finding in verify(loop, told)]
        lines = [line for line in text.splitlines() if "Detected at" not in line]
        read.found[f"{name} short"] = [finding.says for finding in verify(loop, "\n".join(lines))]
    text = FORMATS["md"].render(read.documents["feedback_loop"])
    more = text.replace("## Root cause\n", "## Root cause\n\n- It was the weather.\n", 1)
    read.found["more"] = [f"{finding.line} {finding.says}" for finding in verify(loop, more)]
    read.found["sql"] = [finding.says for finding in verify(loop, text.replace("LIMIT 1", "LIMIT 2"))]
    failure = read.documents["agent_caused_failure"]
    read.found["acknowledged"] = _acknowledged(client, failure)
    told = stored.by_id(client, failure.incident_id).evidence
    for event in {(event.type, event.topic, event.resource): event for event in told}.values():  # one of each, for time
        read.without.append(_without(client, failure, event))
    return read


def _acknowledged(client: Client, document: Document) -> list[str]:
    """What the postmortem says of it once somebody took the incident; the word is then taken back."""
    client.command(
        "INSERT INTO acknowledgements (tenant, incident_id, acknowledged_at, acknowledged_by) "
        f"VALUES ('acme', '{document.incident_id}', '2026-03-02 14:15:00', 'mo')"
    )
    after = build(client, document.incident_id, document.revision)
    client.command("TRUNCATE TABLE acknowledgements")
    return [
        one.cells[0]
        for chapter in after.chapters
        for one in chapter.statements
        if one.template == "response.acknowledged"
    ]


def _without(client: Client, document: Document, event: Any) -> tuple[str, set[int], set[int], set[int]]:
    """The postmortem with one message taken out of the archive, which is then put back."""
    place = f"log {event.topic}/{event.partition}@{event.offset}"
    table = TABLES[event.topic]
    where = f"topic = '{event.topic}' AND partition = {event.partition} AND offset = {event.offset}"
    row = client.query(f"SELECT * FROM {table} WHERE {where}")[0]
    names = {place, f"span {row.get('span_id')}", f"event {row.get('event_id')}"}
    client.command(f"CREATE TABLE kept AS {table}")
    client.command(f"INSERT INTO kept SELECT * FROM {table} WHERE {where}")
    client.command(f"DELETE FROM {table} WHERE {where}")
    after = build(client, document.incident_id, document.revision)
    client.command(f"INSERT INTO {table} SELECT * FROM kept SETTINGS insert_deduplicate = 0")
    client.command("DROP TABLE kept")
    before = [statement for chapter in document.chapters for statement in chapter.statements]
    now = [statement for chapter in after.chapters for statement in chapter.statements]
    assert [one.template for one in before] == [one.template for one in now]
    return (
        place,
        {number for number, (one, two) in enumerate(zip(before, now, strict=True)) if one.cells != two.cells},
        {number for number, one in enumerate(before) if names & set(one.references)},
        {number for number, one in enumerate(before) if any(name.startswith(WHOLE) for name in one.references)},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_as_it_was_read(kind: str, read: Read) -> None:
    text = FORMATS["md"].render(read.documents[kind]).split("## Sources")[0]
    text = "".join(line + "\n" for line in text.splitlines() if not line.startswith("Incident `"))
    path = GOLDEN / f"postmortem_{kind}.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(
    ("kind", "template", "limit"),
    [
        ("feedback_loop", "prevention.steps", "step limit of 50"),
        ("feedback_loop", "prevention.budget", "token budget of 2,000,000"),
        ("agent_caused_failure", "prevention.approval", "approval"),
        ("agent_caused_failure", "prevention.freeze", "freeze check"),
    ],
)
def test_it_stops_where_the_replay_of_limits_stops(kind: str, template: str, limit: str, read: Read) -> None:
    said = [one for chapter in read.documents[kind].chapters for one in chapter.statements if one.template == template]
    assert [re.findall(r" at (\d\d:\d\d:\d\d)", one.cells[0])[0] for one in said] == [
        f"{read.stops[f'{kind} {limit}']:%H:%M:%S}"
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_it_is_the_same_again_passes_its_own_lint_and_verifies(kind: str, name: str, read: Read) -> None:
    text = FORMATS[name].render(read.documents[kind])
    assert text == FORMATS[name].render(read.again[kind])
    assert lint(text, load_rules(), is_markdown=name == "md") == []
    assert read.found[f"{kind} {name}"] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_number_and_a_missing_sentence_are_found(name: str, read: Read) -> None:
    (wrong,) = read.found[f"{name} wrong"]
    assert wrong.startswith("overview.when gives another text")
    shows = "Detected at" if name == "md" else "response.detected"  # a finding shows the beginning of a line
    assert any(says.startswith("missing: ") and shows in says for says in read.found[f"{name} short"])


def test_a_sentence_without_a_source_is_found_with_its_line(read: Read) -> None:
    (found,) = read.found["more"]
    assert "a sentence without a source" in found
    assert "It was the weather." in found
    assert int(found.split()[0]) > 10


def test_an_acknowledgement_is_told_with_its_time(read: Read) -> None:
    assert read.found["acknowledged"] == ["Acknowledged at 14:15:00, 3 min after it began."]


def test_a_query_that_was_changed_in_the_file_is_found(read: Read) -> None:
    assert read.found["sql"]


def test_a_message_that_is_gone_changes_exactly_the_sentences_that_cite_it(read: Read) -> None:
    assert len(read.without) > 10
    for place, changed, cite, sums in read.without:
        assert cite, place
        assert changed - (sums - cite) == cite, place
