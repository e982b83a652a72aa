"""docker-compose.yml is one Compose would take, and says what the code says: topics, settings, stages, ports."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from pipeline.settings import STAGE_NAMES, Settings, load_settings
from schemas.topics import ALL, MAX_MESSAGE_BYTES, OTLP
from tests.compose.compose_file import (
    EXAMPLE,
    FILE,
    ONE_SHOT,
    ROOT,
    MissingVariableError,
    environment,
    example,
    filled_in,
    services,
    workers,
)
from tests.services.kafka_server import IMAGE, broker_settings

BUILT = "aftermath:local"
PINNED = re.compile(r"[a-z0-9./-]+:v?\d[\w.]*")


def compose_client() -> list[str]:
    """How Compose is called here; the test is left out where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, timeout=30, check=False)
            if asked.returncode == 0:
                return command
    pytest.skip("no Compose client: install docker-compose to check the file against its schema")


def setting_names() -> set[str]:
    return {f"AFTERMATH_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("profiles", [[], ["demo"], ["otlp"], ["demo", "otlp"]])
def test_compose_takes_the_file(profiles: list[str], tmp_path: Path) -> None:
    command = compose_client()
    (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in filled_in().items()))
    flags = [word for profile in profiles for word in ("--profile", profile)]
    done = subprocess.run(
        [*command, "--env-file", str(tmp_path / "env"), "-f", str(FILE), *flags, "config", "--quiet"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr


def test_every_stage_has_one_service_and_no_service_runs_another() -> None:
    assert sorted(workers()) == sorted(STAGE_NAMES)
    assert services()["setup"]["command"] == ["setup"]


def test_services_use_no_key_that_compose_does_not_know() -> None:
    known = {
        *("image", "build", "command", "entrypoint", "environment", "ports", "volumes", "depends_on", "healthcheck"),
        *("restart", "stop_grace_period", "profiles", "read_only", "tmpfs", "cap_drop", "security_opt", "ulimits"),
    }
    assert {key for service in services().values() for key in service} <= known


def test_every_variable_of_ours_is_a_setting() -> None:
    used = {name for service in services().values() for name in environment(service) if name.startswith("AFTERMATH_")}
    assert used
    assert used <= setting_names()


def test_the_settings_of_a_worker_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for worker in workers().values():
        for name, value in environment(worker).items():
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.kafka == "kafka:29092"
    assert settings.clickhouse_url == "http://clickhouse:8123"
    assert settings.recorded is False


def test_workers_setup_and_demo_are_told_the_same() -> None:
    found = [environment(service) for service in (*workers().values(), services()["setup"], services()["demo"])]
    assert all(item == found[0] for item in found)


def test_addresses_are_those_of_services_and_their_listeners() -> None:
    found = services()
    told = environment(found["detect"])
    kafka = environment(found["kafka"])
    assert f"NETWORK://{told['AFTERMATH_KAFKA']}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    clickhouse = environment(found["clickhouse"])
    assert told["AFTERMATH_CLICKHOUSE_USER"] == clickhouse["CLICKHOUSE_USER"]
    assert told["AFTERMATH_CLICKHOUSE_PASSWORD"] == clickhouse["CLICKHOUSE_PASSWORD"]
    assert told["AFTERMATH_CLICKHOUSE_DATABASE"] == clickhouse["CLICKHOUSE_DB"]
    collector = yaml.safe_load((ROOT / "deploy/otel-collector.yaml").read_text())
    assert collector["exporters"]["kafka"]["brokers"] == [told["AFTERMATH_KAFKA"]]


def test_the_broker_is_configured_as_the_one_of_the_tests() -> None:
    """Names are compared whole: Kafka only warns of a setting that it does not know."""
    found = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment(services()["kafka"]).items()
        if name.startswith("KAFKA_")
    }
    ours = broker_settings("", "", "", "")
    own = {"inter.broker.listener.name", "message.max.bytes", "log.dirs", "log.message.timestamp.type"}
    assert found.keys() <= ours.keys() | own
    addresses = {
        *("listeners", "advertised.listeners", "listener.security.protocol.map", "controller.quorum.voters"),
        "controller.listener.names",
    }
    same = found.keys() & ours.keys() - addresses
    assert {name: found[name] for name in same} == {name: ours[name] for name in same}
    assert found["message.max.bytes"] == str(MAX_MESSAGE_BYTES)
    assert found["auto.create.topics.enable"] == "false"
    one_broker = {name for name in ours if name.endswith(("replication.factor", "min.isr"))}
    assert one_broker <= found.keys()


def test_the_broker_has_the_image_that_the_tests_run() -> None:
    assert services()["kafka"]["image"] == IMAGE


def test_the_collector_writes_to_topics_that_setup_makes() -> None:
    collector = yaml.safe_load((ROOT / "deploy/otel-collector.yaml").read_text())["exporters"]["kafka"]
    assert {collector[signal]["topic"] for signal in ("traces", "metrics", "logs")} == {topic.name for topic in OTLP}
    assert set(OTLP) <= set(ALL)
    assert services()["collector"]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}


def test_ports_are_published_on_this_machine_only() -> None:
    published = [port for service in services().values() for port in service.get("ports", [])]
    assert len(published) == len(set(published)) > 0
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    published = {name: service["ports"] for name, service in workers().items() if service.get("ports")}
    assert published == {"record": ["127.0.0.1:8420:8420"]}, "the live page, and no other"
    assert not services()["setup"].get("ports")


def test_no_password_stands_in_the_file_and_an_empty_one_is_refused() -> None:
    secret = {name for name, value in example().items() if name.endswith("PASSWORD")}
    assert secret
    assert all(example()[name] == "" for name in secret)
    for name in secret:
        with pytest.raises(MissingVariableError, match=name):
            services(filled_in() | {name: ""})
    given = re.findall(r"(?im)^\s*-?\s*\w*(?:PASSWORD|SECRET|TOKEN)\w*\s*[:=]\s*(\S+)", FILE.read_text())
    assert given
    assert all(value.startswith("${") for value in given)


def test_the_example_has_every_variable_of_the_file_and_no_other() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE.read_text()))
    assert set(example()) == used
    assert EXAMPLE.stat().st_size < 2_000


@pytest.mark.parametrize("name", [name for name in services() if name not in ONE_SHOT])
def test_what_runs_for_ever_is_restarted(name: str) -> None:
    assert services()[name]["restart"] == "unless-stopped"


def test_what_others_wait_for_has_a_health_check() -> None:
    found = services()
    for name, service in found.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert found[other]["healthcheck"]["test"][0] == "CMD", (name, other)
            else:
                assert how == {"condition": "service_completed_successfully"}
                assert other in ONE_SHOT, (name, other)


def test_workers_start_after_setup_and_are_given_longer_to_stop_than_they_take() -> None:
    for worker in workers().values():
        assert set(worker["depends_on"]) == {"setup"}
        assert int(worker["stop_grace_period"].removesuffix("s")) > Settings.model_fields["stop_seconds"].default


def test_workers_can_write_nothing_but_a_temporary_folder_and_their_journal() -> None:
    for worker in workers().values():
        assert worker["read_only"] is True
        assert worker["tmpfs"] == ["/tmp"]
        assert worker["cap_drop"] == ["ALL"]
        writable = [volume for volume in worker["volumes"] if not volume.endswith(":ro")]
        assert writable == [f"journal:{environment(worker)['AFTERMATH_JOURNAL_DIR']}"]


def test_images_are_pinned_to_a_version() -> None:
    for name, service in services().items():
        image = service["image"]
        assert image == BUILT or PINNED.fullmatch(image), name


def test_every_mounted_file_is_there() -> None:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), (name, source)


def test_named_volumes_are_declared_and_used() -> None:
    declared = set(yaml.safe_load(FILE.read_text())["volumes"])
    mounted = {volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])}
    assert declared == {source for source in mounted if not source.startswith((".", "/"))}


def test_grafana_reads_with_a_user_that_can_only_read() -> None:
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/clickhouse.yaml").read_text())
    (found,) = source["datasources"]
    variable = found["secureJsonData"]["password"].removeprefix("$")
    grafana, clickhouse = (environment(services()[name]) for name in ("grafana", "clickhouse"))
    assert grafana[variable] == clickhouse[variable] != clickhouse["CLICKHOUSE_PASSWORD"]
    assert found["type"] == grafana["GF_PLUGINS_PREINSTALL"]
    root = ElementTree.parse(ROOT / "deploy/clickhouse/reader.xml").getroot()
    user = root.find(f"users/{found['jsonData']['username']}")
    assert user is not None
    assert [(node.tag, node.get("from_env")) for node in user if node.get("from_env")] == [("password", variable)]
    assert root.findtext(f"profiles/{user.findtext('profile')}/readonly") == "2"
    assert [node.text for node in user.findall("grants/query")] == [
        f"GRANT SELECT ON {found['jsonData']['defaultDatabase']}.*"
    ]


def test_the_demo_plays_what_the_command_saves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shell runs the service's own script, with a command in the place of ours that says how it was called."""
    fake = tmp_path / "aftermath"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    demo = services()["demo"]
    for recorded, expected in (
        ("true", "publish --recorded /tmp/story/*.jsonl"),
        ("false", "publish /tmp/story/*.jsonl"),
    ):
        done = subprocess.run(
            [*demo["entrypoint"], *demo["command"]],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "AFTERMATH_RECORDED": recorded},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        first, second = done.stdout.splitlines()
        assert first == "demo --save /tmp/story"
        assert second == expected


def test_the_story_is_saved_where_the_script_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.cli import main

    assert main(["demo", "--save", str(tmp_path / "story")]) == 0
    assert sorted(path.suffix for path in (tmp_path / "story").iterdir()) == [".jsonl", ".jsonl", ".jsonl", ".yml"]
    assert "events written" in capsys.readouterr().out


def test_the_collector_is_of_the_version_that_the_tests_run() -> None:
    modules = (ROOT / "tests/services/collector/go.mod").read_text()
    exporter = re.search(r"contrib/exporter/kafkaexporter v([\d.]+)", modules)
    assert exporter is not None
    images = {service["image"].rpartition(":")[::2] for service in services().values() if "image" in service}
    assert ("otel/opentelemetry-collector-contrib", exporter[1]) in images
