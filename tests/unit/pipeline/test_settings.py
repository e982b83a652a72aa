"""Settings: where they come from, what is refused, and the fixed ones of Faust."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from alerts.page import Links
from alerts.receivers import ReceiverConfig
from pipeline.settings import (
    SAFE,
    LinkSettings,
    ReceiverSettings,
    Settings,
    check_faust_settings,
    faust_settings,
    load_settings,
)
from schemas.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no variable of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERMATH_CONFIG", raising=False)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aftermath.toml").write_text('kafka = "file:9092"\npane_seconds = 10\n')
    monkeypatch.setenv("AFTERMATH_KAFKA", "env:9092")
    settings = load_settings()
    assert (settings.kafka, settings.pane_seconds, settings.pane) == ("env:9092", 10, 10_000_000)
    assert load_settings(kafka="flag:1").kafka == "flag:1"


def test_nested_values_and_lists_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERMATH_RECEIVERS__HOOK__KIND", "webhook")
    monkeypatch.setenv("AFTERMATH_RECEIVERS__HOOK__URL", "https://hooks.example.com/s3cret")
    monkeypatch.setenv("AFTERMATH_STAGES", '["detect", "correlate"]')
    settings = load_settings()
    assert settings.stages == ("detect", "correlate")
    assert settings.receivers["hook"].url == SecretStr("https://hooks.example.com/s3cret")


def test_every_fault_is_listed_and_no_value_of_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERMATH_RECEIVERS", '{"hook": {"kind": "pigeon", "url": "s3cret"}}')
    monkeypatch.setenv("AFTERMATH_KAFKA", "nowhere")
    monkeypatch.setenv("AFTERMATH_PANE_SECONDS", "0")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    assert all(part in text for part in ("kafka: ", "pane_seconds: ", "receivers.hook.kind: "))
    assert "s3cret" not in text


def test_a_misspelt_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aftermath.toml").write_text("pane_second = 10\n")
    with pytest.raises(ConfigurationError, match="pane_second"):
        load_settings()


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "aftermath.toml").write_text("kafka = [\n")
    with pytest.raises(ConfigurationError, match=r"aftermath\.toml cannot be read"):
        load_settings()


def test_secrets_do_not_show() -> None:
    settings = load_settings(clickhouse_password="s3cret")
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_receiver_settings_have_the_fields_of_a_receiver() -> None:
    mine, theirs = ReceiverSettings.model_fields, ReceiverConfig.model_fields
    assert set(mine) == set(theirs)
    assert {name: field.default for name, field in mine.items()} == {name: f.default for name, f in theirs.items()}


def test_link_settings_have_the_fields_of_links() -> None:
    assert {name: field.default for name, field in LinkSettings.model_fields.items()} == {
        name: field.default for name, field in Links.model_fields.items()
    }


def test_faust_is_configured_safely_and_each_safe_setting_is_checked() -> None:
    found = faust_settings(Settings(), "detect")
    check_faust_settings(SimpleNamespace(**found))
    assert (found["id"], found["broker"]) == ("aftermath.detect", ["kafka://127.0.0.1:9092"])
    assert found["broker_request_timeout"] > found["broker_session_timeout"]
    for name in SAFE:
        wrong = SimpleNamespace(**{**found, name: "something else"})
        with pytest.raises(ConfigurationError, match=f"{name} is 'something else'"):
            check_faust_settings(wrong)


def test_a_worker_with_a_name_keeps_it_in_each_group() -> None:
    assert "consumer_group_instance_id" not in faust_settings(Settings(), "detect")
    found = faust_settings(Settings(instance="worker-1"), "detect")
    assert found["consumer_group_instance_id"] == "aftermath.detect.worker-1"


def test_neither_settings_nor_player_import_faust() -> None:
    code = "import sys, pipeline.settings, pipeline.player; assert 'faust' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
