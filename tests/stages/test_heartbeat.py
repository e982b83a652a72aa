"""The heartbeat on a broker, to a server on this machine: it stops while a stage stands still, and comes back."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from confluent_kafka import Consumer, TopicPartition

from alerts.receivers import ReceiverConfig, build
from alerts.routing.files import load_routes
from pipeline.clock import now_micros
from pipeline.settings import Settings
from pipeline.stages.base import StageError
from pipeline.stages.notify import Notify
from schemas.codecs import TICK
from schemas.errors import ConfigurationError
from schemas.topics import TRACES
from tests.stages.conftest import Start, until
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded

ROUTES = """
route: {receiver: console}
heartbeat: {receiver: dead_man, interval: 50ms, still_after: 300ms}
"""


class DeadMan:
    """Counts the beats, as such a service does; `status` is what it answers."""

    def __init__(self) -> None:
        self.beats: list[Any] = []
        self.status = 200

    async def answer(self, request: web.Request) -> web.Response:
        self.beats.append(json.loads(await request.read()))
        return web.Response(status=self.status)


@pytest.fixture
async def dead_man() -> AsyncIterator[tuple[DeadMan, str]]:
    found = DeadMan()
    app = web.Application()
    app.router.add_post("/{tail:.*}", found.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield found, str(server.make_url("/ping/secret-path"))


def a_stage(settings: Settings, folder: Path, kind: str, url: str) -> Notify:
    path = folder / "routes.yml"
    path.write_text(ROUTES)
    configs = {
        "console": ReceiverConfig(kind="console"),
        "dead_man": ReceiverConfig.model_validate({"kind": kind, "url": url or None, "allow_private": True}),
    }
    errors: list[StageError] = []
    routes = load_routes(path, configs)
    return Notify(settings, errors.append, rules=[], receivers=build(configs, now=now_micros), routes=routes)


def confirm(kafka: Broker, group: str, offset: int) -> None:
    """As detect does when it has read so far."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(TRACES.name, 0, offset)], asynchronous=False)
    consumer.close()


@pytest.mark.parametrize("kind", ["webhook", "alertmanager"])
async def test_it_beats_while_there_is_progress(
    kafka: Broker,
    settings: Settings,
    started: Start,
    tmp_path: Path,
    dead_man: tuple[DeadMan, str],
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service, url = dead_man
    await started(a_stage(settings, tmp_path, kind, url))
    await until(lambda: len(service.beats) >= 2)
    beat = service.beats[0]
    if kind == "webhook":
        assert beat["type"] == "heartbeat"
        assert beat["data"]["source"] == settings.group_prefix
        assert beat["data"]["stages"] == ["detect", "correlate", "notify"]
    else:
        (alert,) = beat
        assert alert["labels"] == {
            "alertname": "AftermathHeartbeat",
            "severity": "none",
            "source": settings.group_prefix,
        }
        assert alert["startsAt"] < alert["endsAt"]

    kafka.produce(TRACES.name, [TICK])  # nobody reads it: detect is dead
    await until(lambda: "no progress for 0.3 s, or none yet since this worker began: detect" in caplog.text)
    silent_at = len(service.beats)
    assert caplog.text.count("no progress") == 1  # said once

    confirm(kafka, settings.group("detect"), 1)
    await until(lambda: len(service.beats) > silent_at)
    assert len(service.beats) == silent_at + 1  # none came between

    service.status = 503
    await until(lambda: "no heartbeat to dead_man: dead_man: HTTP 503" in caplog.text)
    assert "secret-path" not in caplog.text


async def test_a_receiver_that_cannot_carry_it_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="receiver dead_man: its kind carries no heartbeat"):
        a_stage(settings, tmp_path, "console", "")
