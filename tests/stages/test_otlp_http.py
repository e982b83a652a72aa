"""OTLP over HTTP on a broker: what is taken is on Kafka before 200 is said, and what must not be taken is not."""

import gzip
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from pydantic import SecretStr

from pipeline import otlp_http
from pipeline.ingest.messages import decode
from pipeline.otlp_http import OtlpHttp
from pipeline.settings import Settings
from schemas.errors import ConfigurationError
from schemas.topics import OTLP_LOGS, OTLP_SPANS
from tests.otlp import logs, otel_span, traces
from tests.stages.kafka import Broker

pytestmark = pytest.mark.embedded
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def port(settings: Settings) -> AsyncIterator[OtlpHttp]:
    made = OtlpHttp(settings, 0)
    await made.start()
    yield made
    await made.stop()


async def post(port: OtlpHttp, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(port.url + path, data=io.BytesIO(body), headers=headers) as answer,
    ):
        return answer.status, await answer.read(), dict(answer.headers)


async def test_what_was_answered_with_200_is_on_kafka_in_the_order_it_came(kafka: Broker, port: OtlpHttp) -> None:
    first, second = traces([otel_span(1, 1)]), gzip.compress(traces([otel_span(2, 2)]))
    status, body, headers = await post(port, "/v1/traces", first, PROTOBUF)
    assert (status, body, headers["Content-Type"]) == (200, b"", "application/x-protobuf")
    assert (await post(port, "/v1/traces", second, PROTOBUF | {"Content-Encoding": "gzip"}))[0] == 200
    status, body, _ = await post(port, "/v1/logs", logs(("a line", {})), PROTOBUF)
    assert status == 200
    spans = [span.span_id for value in kafka.values(OTLP_SPANS.name) for span in decode(OTLP_SPANS.name, value).spans]
    assert spans == [f"{number:016x}" for number in (1, 2)]
    assert len(kafka.values(OTLP_LOGS.name)) == 1


async def test_what_is_no_otlp_is_refused_with_a_reason_and_nothing_is_sent(kafka: Broker, port: OtlpHttp) -> None:
    for path, body, headers, status, says in (
        ("/v1/traces", b"\xff\xfe", PROTOBUF, 400, b"neither OTLP protobuf nor JSON"),
        ("/v1/traces", b"{broken", JSON, 400, b"not JSON"),
        ("/v1/traces", b"{}", {"Content-Type": "text/plain"}, 415, b"application/x-protobuf"),
        ("/v1/traces", traces([otel_span(1, 1)]), PROTOBUF | {"Origin": "http://a.page"}, 403, b"browser"),
        ("/v1/profiles", b"x", PROTOBUF, 404, b""),
    ):
        found, answer, _ = await post(port, path, body, headers)
        assert (found, says in answer) == (status, True), answer
    assert (await post(port, "/v1/traces", b"", PROTOBUF))[0] == 200, "nothing is valid, and nothing"
    assert kafka.values(OTLP_SPANS.name) == []


async def test_a_span_that_kafka_could_not_hold_is_said_to_be_rejected_and_the_rest_goes(
    kafka: Broker, port: OtlpHttp
) -> None:
    spans = [otel_span(1, 1), otel_span(2, 2, attributes={"text": "x" * 1_200_000}), otel_span(3, 3)]
    status, body, _ = await post(port, "/v1/traces", traces(spans), PROTOBUF)
    said = ExportTraceServiceResponse.FromString(body).partial_success
    assert (status, said.rejected_spans) == (200, 1)
    assert "larger than a message of Kafka" in said.error_message
    assert sum(decode(OTLP_SPANS.name, value).size for value in kafka.values(OTLP_SPANS.name)) == 2


async def test_a_bomb_is_refused_before_it_is_unfolded(port: OtlpHttp) -> None:
    bomb = gzip.compress(b"\0" * 100_000_000)
    status, _, _ = await post(port, "/v1/traces", bomb, PROTOBUF | {"Content-Encoding": "gzip"})
    assert status == 413


async def test_while_kafka_does_not_answer_the_sender_keeps_it(
    kafka: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_http, "ANSWER_SECONDS", 0.3)
    port = OtlpHttp(settings, 0)
    await port.start()
    kafka.set_down()
    status, _, headers = await post(port, "/v1/traces", traces([otel_span(1, 1)]), PROTOBUF)
    assert (status, headers["Retry-After"]) == (503, "5")
    kafka.set_up()
    await port.stop()


async def test_others_than_this_machine_need_a_token(settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"otlp_host": "0.0.0.0"})
    with pytest.raises(ConfigurationError, match="AFTERMATH_OTLP_TOKEN"):
        OtlpHttp(open_to_all, 0)
    port = OtlpHttp(settings.model_copy(update={"otlp_token": SecretStr("canary-4711")}), 0)
    await port.start()
    body = traces([otel_span(1, 1)])
    for sent, status in (
        ({}, 401),
        ({"Authorization": "Bearer no"}, 401),
        ({"Authorization": "Bearer canary-4711"}, 200),
    ):
        found, answer, _ = await post(port, "/v1/traces", body, PROTOBUF | sent)
        assert found == status
        assert b"canary" not in answer
    await port.stop()


async def test_a_port_that_is_taken_is_named(settings: Settings, port: OtlpHttp) -> None:
    second = OtlpHttp(settings, int(port.url.rpartition(":")[2]))
    with pytest.raises(ConfigurationError, match="name a free port with --otlp"):
        await second.start()
