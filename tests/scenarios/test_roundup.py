"""The roundup of five generated weeks: its text, its bytes, its lint, and what it says where nothing was.

UPDATE_GOLDEN=1 writes the files anew: read them before you commit.
"""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest

from pipeline.cli import main, parser
from pipeline.embedded import Database
from reports.lint import lint, load_rules
from reports.roundup.build import TEMPLATES, Roundup, build
from reports.roundup.formats import FORMATS
from reports.roundup.week import week_of
from schemas.errors import UsageError
from sinks.clickhouse.client import Client, connect
from tests.databases import drop, migrated
from tests.scenarios.weeks import WEEK, fill
from tests.unit.alerts.receivers.test_email import Relay, listening

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(300)]
GOLDEN = Path(__file__).parent / "golden"
NOTHING = "2031-W01"  # a week of which no row is there
README = Path("README.md").read_text()


@pytest.fixture(scope="module")
def weeks(clickhouse: Database) -> Iterator[Client]:
    client = migrated(clickhouse)
    fill(client)
    yield client
    drop(client)


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


def test_each_sentence_comes_again_from_the_sql_and_the_parameters_in_the_file(
    weeks: Client, roundup: Roundup, clickhouse: Database
) -> None:
    """Asked by the user who only reads, who can change no rule either: a demotion is proposed, and that is all."""
    document = json.loads(FORMATS["json"](roundup))
    reader = connect(clickhouse.url, clickhouse.analyst, clickhouse.analyst_password, weeks.database)
    for chapter in document["sections"]:
        for each in chapter["statements"]:
            rows = reader.query(document["queries"][each["template"]], each["parameters"])
            assert len(rows) <= 1
            template = TEMPLATES[each["template"]]
            cells = template.say(rows[0]) if rows else template.missing(each["parameters"])
            assert list(cells) == each["cells"]
    reader.close()


def test_the_line_of_cron_in_the_readme_sends_the_last_whole_week_on_monday(
    weeks: Client,
    clickhouse: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = re.findall(
        r"(?m)^((?:[\d*]+ ){5}) ?aftermath (roundup .*?) +#.*or: (--format html) > roundup.html$", README
    )
    assert line == ("0 6 * * 1 ", "roundup --to mail", "--format html")
    assert parser().parse_args(line[1].split()).to == "mail"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_URL", clickhouse.url)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", clickhouse.password)
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_DATABASE", weeks.database)
    last_weeks = {f"{datetime.now(UTC) - timedelta(weeks=1):%G-W%V}"}
    assert main(["roundup", *line[2].split()]) == 0
    last_weeks.add(f"{datetime.now(UTC) - timedelta(weeks=1):%G-W%V}")  # where it became Monday meanwhile
    assert re.findall(r'data-week="(.*?)"', capsys.readouterr().out)[0] in last_weeks


@pytest.mark.parametrize(
    ("name", "start"), [("2026-W47", "2026-11-16"), ("2026-W53", "2026-12-28"), ("2027-W01", "2027-01-04")]
)
def test_a_week_begins_on_monday_and_ends_before_the_next(name: str, start: str, weeks: Client) -> None:
    found = week_of(weeks, name).parameters
    monday = datetime.fromisoformat(start)
    times = [monday, monday + timedelta(weeks=1), monday - timedelta(weeks=4)]
    assert [found[key] for key in ("start", "end", "before")] == [f"{at:%Y-%m-%d} 00:00:00" for at in times]


def test_a_week_without_anything_says_so(weeks: Client) -> None:
    text = FORMATS["md"](build(weeks, NOTHING))
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
        assert await asyncio.to_thread(main, ["roundup", "--week", NOTHING, "--to", "mail"]) == 3
    (mail,) = relay.mails
    assert mail["Subject"] == f"Weekly roundup {WEEK}"
    text = cast(EmailMessage, next(mail.iter_parts())).get_content().replace("\r\n", "\n")
    assert text == FORMATS["md"](roundup)
