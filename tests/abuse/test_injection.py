"""A07, A13, A14, A17: text of an attacker is text, in every table, on every page and in every rule."""

import json
import re
import unicodedata
from typing import Any

import pytest

from alerts.receivers.body import body_of
from schemas.codecs.single import decode_incident
from schemas.events import LONG_TEXT, RECORD_TOPICS
from sinks.clickhouse.rows import TABLES
from sinks.redaction import redact_text
from tests.abuse import payloads
from tests.abuse.conftest import names_of
from tests.abuse.pages import notification_of
from tests.abuse.running import Ran

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(120)]
HEADLINE = re.compile(r"^(?:PAGE|TICKET) \w+ (?:FIRING|RESOLVED)$")


def stored(text: str, column: str) -> str:
    return redact_text(text) if column in LONG_TEXT | {"previous_value"} else text


@pytest.mark.parametrize("record", RECORD_TOPICS)
def test_every_text_comes_back_from_clickhouse_as_it_went_in(attacked: Ran, record: str) -> None:
    columns = names_of(record)
    found = [{name: row[name] for name in columns} for row in attacked.rows[TABLES[record]]]
    for name, text in payloads.texts().items():
        expected = {column: stored(text, column) for column in columns}
        assert found.count(expected) == 1, name


def test_no_table_was_made_changed_or_emptied(attacked: Ran, undisturbed: Ran) -> None:
    assert attacked.schema == undisturbed.schema
    assert attacked.rows.keys() == undisturbed.rows.keys()
    assert not any(row["tenant"] == "evil" for row in attacked.rows["incidents"])
    tenants = {"acme", *payloads.texts().values()}
    for table, rows in attacked.rows.items():
        if table not in ("dead_letters", "schema_migrations") and rows and "tenant" in rows[0]:
            assert {row["tenant"] for row in rows} <= tenants, table


def test_the_looping_agents_of_every_name_have_an_incident(attacked: Ran) -> None:
    """Else the tests of pages below would look at nothing."""
    agents = {row["agent_id"] for row in attacked.rows["incidents"]}
    assert set(payloads.texts().values()) <= agents


def test_a_page_has_no_control_characters_and_no_line_of_its_own_making(attacked: Ran) -> None:
    assert "victim-agent" in attacked.pages
    bad = {
        f"U+{ord(sign):04X}"
        for sign in attacked.pages
        if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp")
    }
    assert bad == set()
    sent = [row for row in attacked.rows["notifications"] if row["receiver"] == "console" and row["state"] == "sent"]
    headlines = [line for line in attacked.pages.split("\n") if HEADLINE.match(line)]
    assert len(headlines) == len(sent) > len(payloads.texts()) / 2


def test_templates_in_texts_are_not_filled_in(attacked: Ran) -> None:
    for name in ("template", "template field", "jinja"):
        text = payloads.texts()[name]
        titles = [row["title"] for row in attacked.rows["incidents"] if row["agent_id"] == text]
        assert titles
        assert all(text in title for title in titles), name
    assert "49" not in {word for row in attacked.rows["incidents"] for word in row["title"].split()}


def test_the_body_of_a_webhook_stays_one_json_document_with_the_texts_as_they_are(attacked: Ran) -> None:
    agents = set()
    for value in attacked.incidents:
        incident = decode_incident(value)
        body: dict[str, Any] = json.loads(body_of(notification_of(incident), incident, None, 100_000))
        agents.add(body["data"]["incident"]["agent_id"])
    assert set(payloads.texts().values()) <= agents
