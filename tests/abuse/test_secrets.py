"""A11, A25, A26: secrets of others are taken out before they are stored or sent, and ours are never shown."""

import json
import traceback
from collections.abc import Iterable

import pytest
from pydantic import SecretStr

from alerts.receivers.body import body_of
from pipeline.cli import main
from pipeline.embedded import Database
from pipeline.settings import ReceiverSettings, Settings, load_settings
from schemas.codecs.single import decode_incident
from schemas.errors import AftermathError
from sinks.clickhouse.client import connect
from sinks.redaction import redact_text
from tests.abuse import payloads
from tests.abuse.conftest import canary
from tests.abuse.pages import notification_of
from tests.abuse.running import Ran, texts

pytestmark = [pytest.mark.embedded, pytest.mark.timeout(120)]
RAW = ("agent_traces", "system_metrics", "cluster_events", "dead_letters")
OURS = "our-0wn-s3cret"


def found_in(text: str) -> list[str]:
    return sorted({part[:10] for part in text.split("c4n4ry")[1:]})


@pytest.mark.parametrize("name", payloads.secrets())
def test_each_form_of_a_secret_is_taken_out(name: str) -> None:
    text = payloads.secrets()[name].replace("{}", canary(1))
    for shown in (text, f"first {text} last", json.dumps({"output": text})):
        assert "c4n4ry" in shown
        assert "c4n4ry" not in redact_text(shown), shown


def test_no_secret_is_in_a_raw_table_or_in_the_preview_of_a_dead_letter(with_secrets: Ran) -> None:
    rows = {table: with_secrets.rows[table] for table in RAW}
    assert all(rows.values())
    assert "redacted" in texts(rows)
    assert len(with_secrets.rows["dead_letters"]) == len(payloads.secrets())
    assert found_in(texts(rows)) == []


def test_no_secret_is_in_any_other_table(with_secrets: Ran) -> None:
    rows = {table: found for table, found in with_secrets.rows.items() if table not in RAW}
    assert rows["incidents"]
    assert found_in(texts(rows)) == []


def test_no_secret_is_on_a_page(with_secrets: Ran) -> None:
    assert "PAGE critical" in with_secrets.pages
    assert found_in(with_secrets.pages) == []


def test_no_secret_is_in_the_body_of_a_webhook(with_secrets: Ran) -> None:
    bodies = list(webhook_bodies(with_secrets.incidents))
    assert bodies
    assert found_in("\n".join(bodies)) == []


def webhook_bodies(incidents: Iterable[bytes]) -> Iterable[str]:
    for value in incidents:
        incident = decode_incident(value)
        yield body_of(notification_of(incident), incident, None, 1_000_000).decode()


def test_the_story_with_secrets_is_found_as_the_story_without(with_secrets: Ran) -> None:
    kinds = {decode_incident(value).kind for value in with_secrets.incidents}
    assert kinds == {"feedback_loop", "agent_caused_failure", "infrastructure_failure"}


def ours() -> Settings:
    return Settings(
        clickhouse_password=SecretStr(OURS),
        receivers={
            "hook": ReceiverSettings(
                kind="webhook", url=SecretStr(f"https://hook.example/{OURS}"), secret=SecretStr(f"whsec_{OURS}")
            )
        },
    )


def test_our_secrets_do_not_show_in_settings_however_they_are_printed() -> None:
    settings = ours()
    for shown in (repr(settings), str(settings), f"{settings.receivers}", settings.model_dump_json()):
        assert OURS not in shown


def test_our_secrets_do_not_show_when_a_setting_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERMATH_CLICKHOUSE_PASSWORD", OURS)
    monkeypatch.setenv("AFTERMATH_RECEIVERS", json.dumps({"hook": {"kind": OURS, "url": {"x": OURS}, OURS[:4]: OURS}}))
    monkeypatch.setenv("AFTERMATH_PANE_SECONDS", "none")
    with pytest.raises(AftermathError) as caught:
        load_settings()
    assert "pane_seconds" in str(caught.value)
    assert OURS not in "".join(traceback.format_exception(caught.value))


def test_doctor_says_that_a_password_is_set_and_not_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (
        ("KAFKA", "127.0.0.1:1"),
        ("CLICKHOUSE_URL", "http://127.0.0.1:1"),
        ("CLICKHOUSE_PASSWORD", OURS),
        ("RECEIVERS__HOOK__KIND", "webhook"),
        ("RECEIVERS__HOOK__URL", f"https://hook.example/{OURS}"),
    ):
        monkeypatch.setenv(f"AFTERMATH_{name}", value)
    monkeypatch.setattr("pipeline.topic_setup.TIMEOUT_SECONDS", 0.5)
    assert main(["doctor"]) == 3
    shown = capsys.readouterr()
    assert "clickhouse_password=****" in shown.out
    assert OURS not in shown.out + shown.err


def test_a_wrong_password_is_not_repeated_in_the_error(clickhouse: Database) -> None:
    with pytest.raises(AftermathError) as caught:
        connect(clickhouse.url, clickhouse.user, OURS)
    assert "AFTERMATH_CLICKHOUSE_PASSWORD" in str(caught.value)
    assert OURS not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url", [f"http://u:{OURS}@db:8123", f"ftp://u:{OURS}@db", f"http://u:{OURS}@db/?password={OURS}"]
)
def test_an_address_with_a_password_in_it_is_refused_without_it(url: str) -> None:
    with pytest.raises(AftermathError) as caught:
        connect(url)
    assert OURS not in str(caught.value)
