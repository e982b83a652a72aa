"""Each stage of docker-compose.yml on a real Kafka: its own command line and environment start it and stop it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.settings import STAGE_NAMES, Settings
from pipeline.topic_setup import setup_topics
from tests.compose.compose_file import ROOT, filled_in, services, workers
from tests.services import kafka_jars
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import RealKafka, fresh_topics

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
JOIN_SECONDS = 90.0
AFTERMATH = Path(sys.executable).with_name("aftermath")  # the image's entrypoint


def adapted(service: Mapping[str, Any], kafka: str, prefix: str, folder: Path) -> dict[str, str]:
    """The service's environment, with the addresses of this machine in the place of those of the network."""
    told = {name: value for name, value in service["environment"].items() if name.startswith("AFTERMATH_")}
    files = {target: source for source, target, *_ in (volume.split(":") for volume in service["volumes"])}
    told["AFTERMATH_KAFKA"] = kafka
    told["AFTERMATH_CLICKHOUSE_URL"] = "http://127.0.0.1:1"  # a stage must start while it is down
    told["AFTERMATH_LIMITS_FILE"] = str(ROOT / files[told["AFTERMATH_LIMITS_FILE"]])
    told["AFTERMATH_GROUP_PREFIX"] = prefix
    told["AFTERMATH_HEALTH_PORT"] = "0"  # here all share one address
    assert told["AFTERMATH_JOURNAL_DIR"] in files
    told["AFTERMATH_JOURNAL_DIR"] = str(folder / "journal")
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **told}


@contextmanager
def process(stage: str, environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker in a folder of its own, its log beside it; ended whatever happens."""
    command = ["0" if word == "8420" else word for word in workers()[stage]["command"]]
    with (folder / f"{stage}.log").open("wb") as log:
        started = subprocess.Popen(
            [str(AFTERMATH), *command], cwd=folder, env=dict(environment), stdout=log, stderr=log
        )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def waiting(kafka: str, groups: list[str]) -> set[str]:
    """The groups that have no member with partitions yet."""
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    left = set()
    for name, future in admin.describe_consumer_groups(groups, request_timeout=20).items():
        try:
            group = future.result()
        except KafkaException:  # its coordinator is still loading, or it does not exist yet
            left.add(name)
            continue
        has_some = any(member.assignment and member.assignment.topic_partitions for member in group.members)
        if group.state != ConsumerGroupState.STABLE or not has_some:
            left.add(name)
    return left


def test_every_stage_starts_joins_its_group_and_stops_with_0_when_told(real_kafka: RealKafka, tmp_path: Path) -> None:
    settings = Settings(kafka=real_kafka.bootstrap, group_prefix=f"compose-{uuid.uuid4().hex[:8]}", recorded=False)
    fresh_topics(settings)
    with ExitStack() as stack:
        started = {
            stage: stack.enter_context(
                process(stage, adapted(service, settings.kafka, settings.group_prefix, tmp_path), tmp_path)
            )
            for stage, service in workers().items()
        }
        assert set(started) == set(STAGE_NAMES)

        def log(stage: str) -> str:
            return (tmp_path / f"{stage}.log").read_text(errors="replace")[-2_000:]

        end = time.monotonic() + JOIN_SECONDS
        while left := waiting(settings.kafka, [settings.group(stage) for stage in started]):
            ended = [stage for stage, one in started.items() if one.poll() is not None]
            assert not ended, log(ended[0])
            assert time.monotonic() < end, f"{left} did not join"
            time.sleep(0.2)
        for one in started.values():
            one.send_signal(signal.SIGTERM)
        grace = int(workers()["detect"]["stop_grace_period"].removesuffix("s"))
        end = time.monotonic() + grace
        for stage, one in started.items():
            assert one.wait(max(1.0, end - time.monotonic())) == 0, log(stage)
        assert all(filled_in()["AFTERMATH_CLICKHOUSE_PASSWORD"] not in log(stage) for stage in started)


def test_a_broker_with_the_settings_of_the_file_takes_our_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names and values, on the addresses of this machine: a fault in them would show only at `up`."""
    if (lacks := JarKafka.lacks()) is not None:
        pytest.skip(lacks)
    told = services()["kafka"]["environment"]

    def as_in_the_file(listener: str, controller: str, advertised: str, voters: str) -> dict[str, str]:
        found = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): value
            for name, value in told.items()
            if name.startswith("KAFKA_")
        }
        host = listener.removeprefix("PLAINTEXT://")
        return found | {
            "listeners": f"NETWORK://{host},{controller}",
            "advertised.listeners": f"NETWORK://{advertised.removeprefix('PLAINTEXT://')}",
            "controller.quorum.voters": voters,
        }

    monkeypatch.setattr(kafka_jars, "broker_settings", as_in_the_file)
    kafka = JarKafka()
    try:
        kafka.start()
        settings = Settings(kafka=kafka.bootstrap, recorded=False)
        assert setup_topics(settings)
        assert setup_topics(settings) == []
    finally:
        kafka.remove()
