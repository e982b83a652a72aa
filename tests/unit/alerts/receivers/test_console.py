"""What can't get on a terminal, and what happens where there is none. The text itself: golden/console.txt."""

import io
from dataclasses import replace

from alerts.page import Pages
from alerts.receivers import ReceiverConfig, build
from alerts.receivers.console import block
from tests.unit.alerts.receivers.telling import INCIDENT, PAGES, firing


def test_the_end_says_how_long_it_was_and_provisional_is_said() -> None:
    over = INCIDENT.model_copy(
        update={"status": "resolved", "resolved_at": INCIDENT.started_at + 190_000_000, "provisional": True}
    )
    text = block(Pages().of(replace(firing(), transition="resolved"), over))
    assert text.startswith("PAGE critical RESOLVED\n")
    assert "  since         2026-03-02T10:03:00Z, for 3 min 10 s\n" in text
    assert "  not final     provisional: not all of the data is there\n" in text


def test_nothing_an_agent_writes_can_repaint_the_terminal_or_fake_a_page() -> None:
    evil = "x\x1b[2J\x1b]0;owned\x07\nPAGE critical FIRING\r\x9b31m\u202e"
    incident = INCIDENT.model_copy(
        update={"title": evil, "summary": evil, "scope": evil, "agent_id": evil, "owner": evil}
    )
    text = block(PAGES.of(replace(firing(incident), title=evil), incident))
    assert text.count("\n") == block(PAGES.of(firing(), INCIDENT)).count("\n")
    assert [line for line in text.splitlines() if line.startswith("PAGE")] == ["PAGE critical FIRING"]
    assert all(sign == "\n" or sign.isprintable() for sign in text)


async def test_a_stream_that_is_gone_is_a_failed_delivery() -> None:
    stream = io.StringIO()
    console = build({"console": ReceiverConfig(kind="console")}, now=lambda: 0, stream=stream)["console"]
    stream.close()
    delivery = await console.send(firing(), INCIDENT)
    assert (delivery.ok, delivery.detail, delivery.is_transient) == (False, "the console is closed", False)


async def test_a_terminal_that_knows_only_ascii_gets_the_page_too() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    console = build({"console": ReceiverConfig(kind="console")}, now=lambda: 0, stream=stream)["console"]
    incident = INCIDENT.model_copy(update={"title": "Köln"})
    assert (await console.send(firing(incident), incident)).ok
    assert rb"K\xf6ln" in raw.getvalue()
