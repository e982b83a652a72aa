"""Confluent's wire format: a registry that speaks its protocol, is down, does not know, or has another schema."""

import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.schema_registry import SchemaRegistry, header_of
from pipeline.settings import Settings
from pipeline.stages import unframing
from pipeline.stages.archive import Archive
from pipeline.stages.base import StageError
from pipeline.stages.detect import Detect
from schemas import registry
from schemas.codecs.single import decode, encode_event
from schemas.errors import ConfigurationError, Outcome, Reason
from schemas.events import EVENTS
from schemas.topics import DEAD_LETTERS, METRICS, TRACES, Topic
from schemas.topics import EVENTS as EVENT_TOPIC
from tests.builders import T0, at, event, metric, span
from tests.stages.conftest import Sink, Start, until
from tests.stages.kafka import Broker
from tests.stages.test_detect import a_span

pytestmark = pytest.mark.embedded
OURS, FOREIGN, UNKNOWN = 7, 8, 9


class Registry(ThreadingHTTPServer):
    """GET /schemas/ids/N of a schema registry."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        ours = json.dumps(registry.newest("agent_span").text, indent=4)  # other white space, the same schema
        self.schemas = {OURS: ours, FOREIGN: '{"type": "record", "name": "x", "fields": []}'}
        self.is_down = False
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        found = self.server.schemas.get(int(self.path.rpartition("/")[2]))
        status = 503 if self.server.is_down else 404 if found is None else 200
        body = json.dumps({"schema": found} if status == 200 else {"error_code": 40403}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Registry]:
    made = Registry()
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(5)


def framed(number: int, seconds: float) -> bytes:
    return b"\0" + struct.pack(">I", number) + a_span(seconds)[10:]


async def test_what_a_registry_knows_as_ours_is_read_and_the_rest_is_a_dead_letter(
    kafka: Broker, settings: Settings, started: Start, server: Registry
) -> None:
    told = settings.model_copy(update={"schema_registry_url": server.url, "schema_registry_user": "kim"})
    values = [framed(OURS, 1), a_span(2), framed(FOREIGN, 3), framed(UNKNOWN, 4), framed(OURS, 5), b"\0\0"]
    kafka.produce(TRACES.name, values, stamp=at(5) // 1000)
    errors: list[StageError] = []
    sink = Sink()
    detect = Detect(told, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
    archive = Archive(told, errors.append, writer=sink, rules=TimeRules())
    await started(detect)
    await started(archive)
    await until(lambda: detect.progress.confirmed and archive.progress.confirmed)
    assert not errors
    counts = detect.counters[TRACES.name]
    assert (counts[Outcome.ACCEPTED], counts[Outcome.REJECTED]) == (3, 3)
    assert [row["offset"] for row in sink.rows["agent_traces"]] == [0, 1, 4]
    letters = [decode(value)[1] for value in kafka.values(DEAD_LETTERS.name)]
    assert [(letter["offset"], letter["reason"]) for letter in letters] == [
        (offset, Reason.UNKNOWN_ENCODING) for offset in (2, 3, 5)
    ]
    assert [letter["value"] for letter in letters] == [values[2], values[3], values[5]], "as they came"
    assert {authorization for _, authorization in server.asked} == {"Basic a2ltOg=="}
    paths = [path for path, _ in server.asked]
    assert paths.count(f"/schemas/ids/{OURS}") == 2, "once by each stage"


@pytest.mark.parametrize(
    ("row", "table", "topic"),
    [(span(1), "agent_traces", TRACES), (metric(1, 79.0), "system_metrics", METRICS), (
        event(1, "e1", "freeze", "prod/shop/namespace/shop"), "cluster_events", EVENT_TOPIC)],
    ids=["agent_span", "metric_point", "cluster_event"],
)  # fmt: skip
async def test_each_of_our_three_topics_takes_the_wire_format(
    kafka: Broker, settings: Settings, started: Start, server: Registry, row: dict[str, Any], table: str, topic: Topic
) -> None:
    record = row.pop("type")
    server.schemas[OURS] = json.dumps(registry.newest(record).text)
    plain = encode_event(EVENTS[record].model_validate(row))
    kafka.produce(topic.name, [b"\0" + struct.pack(">I", OURS) + plain[10:], plain], stamp=at(5) // 1000)
    told = settings.model_copy(update={"schema_registry_url": server.url})
    errors: list[StageError] = []
    sink = Sink()
    archive = Archive(told, errors.append, writer=sink, rules=TimeRules())
    await started(archive)
    await until(lambda: archive.progress.confirmed)
    assert not errors
    first, second = ({**found, "offset": 0} for found in sink.rows[table])
    assert first == second
    assert first["tenant"] == "acme"


async def test_while_the_registry_is_down_the_stage_waits_and_loses_nothing(
    kafka: Broker, settings: Settings, started: Start, server: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unframing, "PAUSE_SECONDS", 0.05)
    server.is_down = True
    told = settings.model_copy(update={"schema_registry_url": server.url})
    kafka.produce(TRACES.name, [framed(OURS, 1)], stamp=at(5) // 1000)
    errors: list[StageError] = []
    stage = Detect(told, errors.append, limits=Limits(), rules=TimeRules(), now=lambda: T0)
    await started(stage)
    await until(lambda: "answers 503" in stage.waiting_on)
    assert stage.progress.confirmed == 0
    server.is_down = False
    await until(lambda: stage.progress.confirmed == 1)
    assert (stage.waiting_on, errors) == ("", [])
    assert stage.counters[TRACES.name][Outcome.ACCEPTED] == 1


@pytest.mark.parametrize("text", ["", "no json", "[]", "3", '{"type": "nothing"}', '{"type": "record", "name": "x"}'])
def test_what_is_no_schema_is_none_of_ours(text: str) -> None:
    assert header_of(text) is None


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="AFTERMATH_SCHEMA_REGISTRY_URL"):
        SchemaRegistry("file:///etc/passwd")
