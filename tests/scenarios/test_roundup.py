"""The roundup of five generated weeks: its text, its bytes, its lint, and what it says where nothing was.

UPDATE_GOLDEN=1 writes the files anew: read them before you commit.
"""

import asyncio
import json
import os
import re
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest

from pipeline.cli import main
from pipeline.embedded import Database
from reports.lint import lint, load_rules
from reports.roundup.build import Roundup, build
from reports.roundup.formats import FORMATS
from schemas.errors import UsageError
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect
from tests.scenarios.weeks import WEEK, fill
from tests.unit.alerts.receivers.test_email import Relay, listening

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def weeks(clickhouse: Database) -> Iterator[Client]:
    client = connect(clickhouse.url, clickhouse.user, clickhouse.password, f"d_{uuid.uuid4().hex[:12]}")
    migrations.migrate(client)
    fill(client)
    yield client
    client.command(f"DROP DATABASE {client.database}", use_database=False)
    client.close()


@pytest.fixture(scope="module")
def roundup(weeks: Client) -> Roundup:
    return build(weeks, WEEK)


def sections(text: str) -> str:
    """Without the notes and the queries."""
    return text.split("## Sources")[0]


def test_the_text_is_as_it_was_read(roundup: Roundup) -> None:
    text = re.sub(r"Catalogue \w+\.", "Catalogue.", sections(FORMATS["md"](roundup)))
    path = GOLDEN / "roundup.md"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", FORMATS)
def test_it_passes_its_own_lint(name: str, roundup: Roundup) -> None:
    assert lint(FORMATS[name](roundup), load_rules(), is_markdown=name == "md") == []


def test_rows_in_another_order_and_twice_give_the_same_bytes(weeks: Client, roundup: Roundup) -> None:
    for table in ("agent_traces", "agent_usage", "signals", "incidents", "notifications"):
        rows = f"SELECT * FROM {table} ORDER BY rand() LIMIT 3000"
        weeks.command(f"INSERT INTO {table} {rows} SETTINGS insert_deduplicate = 0")
    again = build(weeks, WEEK)
    for form in FORMATS.values():
        assert form(again) == form(roundup)


def test_every_sentence_carries_its_query(roundup: Roundup) -> None:
    document = json.loads(FORMATS["json"](roundup))
    statements = [each for chapter in document["sections"] for each in chapter["statements"]]
    assert {each["template"] for each in statements} == set(document["queries"])
    assert all(each["references"] for each in statements)
    assert all(
        len(each["cells"]) == max(1, len(chapter["columns"]))
        for chapter in document["sections"]
        for each in chapter["statements"]
    )


def test_a_week_without_anything_says_so(weeks: Client) -> None:
    text = FORMATS["md"](build(weeks, "2031-W01"))
    assert "Changes by agents: not observed." in text
    assert "mover" not in sections(text)


@pytest.mark.parametrize("name", ["2026-W54", "2026-47", "W47", "2026-W00", "next"])
def test_what_is_no_week_is_refused(weeks: Client, name: str) -> None:
    with pytest.raises(UsageError, match="as 2026-W47"):
        build(weeks, name)


async def test_it_is_sent_by_a_receiver_of_kind_email_and_by_no_other(
    weeks: Client, roundup: Roundup, clickhouse: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    relay = Relay()
    async with listening(relay) as port:
        for name, value in {
            "CLICKHOUSE_URL": clickhouse.url,
            "CLICKHOUSE_PASSWORD": clickhouse.password,
            "CLICKHOUSE_DATABASE": weeks.database,
            "RECEIVERS__MAIL__KIND": "email",
            "RECEIVERS__MAIL__URL": f"smtp://127.0.0.1:{port}",
            "RECEIVERS__MAIL__SENDER": "aftermath@example.com",
            "RECEIVERS__MAIL__RECIPIENTS": '["lead@example.com"]',
            "RECEIVERS__MAIL__ALLOW_PRIVATE": "true",
            "RECEIVERS__LOG__KIND": "console",
        }.items():
            monkeypatch.setenv(f"AFTERMATH_{name}", value)
        assert await asyncio.to_thread(main, ["roundup", "--week", WEEK, "--to", "mail"]) == 0
        assert await asyncio.to_thread(main, ["roundup", "--week", WEEK, "--to", "log"]) == 2
        relay.answers["MAIL"] = "550 no"
        assert await asyncio.to_thread(main, ["roundup", "--week", WEEK, "--to", "mail"]) == 3
    (mail,) = relay.mails
    assert mail["Subject"] == f"Weekly roundup {WEEK}"
    text = cast(EmailMessage, next(mail.iter_parts())).get_content().replace("\r\n", "\n")
    assert text == FORMATS["md"](roundup)
