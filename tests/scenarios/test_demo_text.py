"""What a person reads of the demo's three incidents. UPDATE_GOLDEN=1 writes the files anew: read them before you commit."""

import os
from pathlib import Path

import pytest

from pipeline.backtest import Backtest
from pipeline.demo.recording import recording_of
from pipeline.demo.story import story
from pipeline.limits import load_limits
from reports.incident import render
from schemas.incidents import Incident

GOLDEN = Path(__file__).parent / "golden"
BANNED = ("synergistic", "transformative", "agentic", "democratizing", "seamless", "$", "€", "usd")


@pytest.fixture(scope="module")
def incidents() -> dict[str, Incident]:
    backtest = Backtest(load_limits(Path("pipeline/demo/limits.yml")))
    with recording_of(story()) as recording:
        for chunk in recording.chunks():
            backtest.read(chunk)
    backtest.finish()
    return {incident.kind: incident for incident in backtest.outcomes.incidents}


@pytest.mark.parametrize("kind", ["agent_caused_failure", "feedback_loop", "infrastructure_failure"])
def test_the_text_of_an_incident_is_as_it_was_read(kind: str, incidents: dict[str, Incident]) -> None:
    text = render(incidents[kind], 100) + "\n"
    path = GOLDEN / f"{kind}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    assert max(map(len, text.splitlines())) <= 100


def test_no_text_names_money_or_uses_a_banned_word(incidents: dict[str, Incident]) -> None:
    for incident in incidents.values():
        text = (render(incident) + incident.summary + incident.title).lower()
        assert not [word for word in BANNED if word in text]


def test_control_characters_of_what_an_agent_wrote_do_not_reach_the_terminal(incidents: dict[str, Incident]) -> None:
    hostile = incidents["feedback_loop"].model_copy(update={"title": "a\x1b]8;;http://x\x07b\u202ec\r\nd"})
    first = render(hostile).splitlines()[1]
    assert not set(first) & set("\x1b\x07\u202e\r")
