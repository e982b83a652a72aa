"""A log line: JSON off a terminal, text on one, ids as fields; nothing from outside can forge, paint or leak."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from pipeline.logs import LogFormat, configure

LOGGER = "pipeline.stages.notify"
FORGED = "ok\n2026-03-02T14:00:00 critical pipeline.app: all is lost\r\x1b[2J\u202e"
SECRET = "hunter2-very-secret"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(wanted: LogFormat = "auto", stream: io.StringIO | None = None, **extra: object) -> str:
    out = stream or io.StringIO()
    configure(logging.INFO, wanted, out)
    logging.getLogger(LOGGER).error("not told: %s", extra.pop("said", "503"), extra=extra)
    return out.getvalue()


def test_a_line_is_json_off_a_terminal_with_its_ids_and_its_stage() -> None:
    with bound_contextvars(stage="notify"):
        line = json.loads(written(incident_id="i_1", offset=79))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "not told: 503",
        "incident_id": "i_1",
        "offset": 79,
        "stage": "notify",
        "level": "error",
        "logger": LOGGER,
    }


@pytest.mark.parametrize(
    ("wanted", "stream", "is_json"),
    [("auto", io.StringIO, True), ("auto", Terminal, False), ("json", Terminal, True), ("text", io.StringIO, False)],
)
def test_the_setting_wins_over_what_the_stream_is(wanted: LogFormat, stream: type[io.StringIO], is_json: bool) -> None:
    said = written(wanted, stream(), incident_id="i_1")
    assert said.startswith("{") == is_json
    assert ("\x1b[" in said) == (wanted == "auto" and stream is Terminal)  # colours only for a person's eyes
    if not is_json:
        assert said.rstrip().endswith(f"{LOGGER}: not told: 503  incident_id=i_1")


def test_configured_twice_a_line_is_written_once() -> None:
    configure(logging.INFO, "text", io.StringIO())
    assert written("text").count("not told") == 1


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_secrets_are_not_written_and_the_link_that_is_meant_is(wanted: LogFormat) -> None:
    said = written(
        wanted,
        said=f"password={SECRET}",
        receiver=f"https://u:{SECRET}@host/x",
        link=f"http://127.0.0.1:1/?token={SECRET}",
    )
    assert said.count(SECRET) == 1
    assert f"?token={SECRET}" in said


@pytest.mark.parametrize("wanted", ["json", "text"])
@given(text=st.text() | st.just(FORGED))
def test_no_text_makes_a_second_line_or_a_control_character(wanted: LogFormat, text: str) -> None:
    said = written(wanted, said=text, incident_id=text)
    assert said.count("\n") == 1
    assert all(sign.isprintable() for sign in said[:-1])


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_the_lines_of_a_traceback_cannot_pass_for_ours(wanted: LogFormat) -> None:
    out = io.StringIO()
    configure(logging.INFO, wanted, out)
    try:
        raise ValueError(f"{FORGED} api_key={SECRET}")
    except ValueError:
        logging.getLogger(LOGGER).exception("stage failed")
    said = out.getvalue()
    first, *others = said.rstrip("\n").split("\n")
    assert "stage failed" in first
    assert "ValueError" in said
    assert SECRET not in said
    assert all(line.startswith("  ") for line in others)
    assert {sign for sign in said if not sign.isprintable()} <= {"\n"}
