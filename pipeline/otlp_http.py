"""OTLP over HTTP, for those without a Collector: what an SDK exports goes to the topics that `ingest` reads.

POST /v1/traces, /v1/metrics, /v1/logs; protobuf or JSON, gzip or not. 200 is said when Kafka has it, on all replicas;
before that the sender keeps it: 503 with Retry-After while Kafka takes nothing, or too much is on its way. What a
browser sends (it names an Origin) is refused: a page somebody looks at must not write into the timeline.
"""

import asyncio
import hmac
import ipaddress
import logging
from typing import Any, Final

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pipeline.ingest.pieces import Pieces, pieces
from pipeline.ingest.telemetry import UnmappableError
from pipeline.listening import Port
from pipeline.settings import Settings
from pipeline.stages.publish import Outgoing, Publisher
from schemas.errors import ConfigurationError, DependencyError
from schemas.topics import OTLP_LOGS, OTLP_METRICS, OTLP_SPANS

log = logging.getLogger(__name__)

MOST_BYTES: Final = 16_000_000  # of one request, inflated
MOST_WAITING: Final = 64_000_000  # of all requests that Kafka has not confirmed
ANSWER_SECONDS: Final = 8.0  # exporters give up after 10
RETRY_AFTER: Final = "5"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
SIGNALS: Final[dict[str, tuple[str, Any, str]]] = {
    "/v1/traces": (OTLP_SPANS.name, ExportTraceServiceResponse, "rejected_spans"),
    "/v1/metrics": (OTLP_METRICS.name, ExportMetricsServiceResponse, "rejected_data_points"),
    "/v1/logs": (OTLP_LOGS.name, ExportLogsServiceResponse, "rejected_log_records"),
}


class OtlpHttp:
    """The port. `start` raises ConfigurationError where it must not or cannot listen."""

    def __init__(self, settings: Settings, port: int) -> None:
        host = settings.otlp_host
        self._token = settings.otlp_token.get_secret_value() if settings.otlp_token else ""
        if not self._token and not _is_loopback(host):
            raise ConfigurationError(
                f"AFTERMATH_OTLP_HOST is {host}: whoever reaches it could write telemetry. "
                "Set AFTERMATH_OTLP_TOKEN (exporters send it as `Authorization: Bearer TOKEN`), or use 127.0.0.1."
            )
        self._settings = settings
        self._waiting = 0
        self._publisher: Publisher | None = None
        application = web.Application(client_max_size=MOST_BYTES)
        for path in SIGNALS:
            application.router.add_post(path, self._take)
        self._port = Port(application, host, port, "--otlp")

    @property
    def url(self) -> str:
        """Where it listens, for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return self._port.url

    async def start(self) -> None:
        self._publisher = Publisher(self._settings.kafka_connection, self._settings.group("otlp-http"))
        try:
            await self._port.start()
        except ConfigurationError:
            await self.stop()
            raise
        log.info("OTLP over HTTP: %s", self.url)

    async def stop(self) -> None:
        """Take no more; what was taken is sent."""
        await self._port.stop()
        if self._publisher is not None:
            await self._publisher.close()

    async def _take(self, request: web.Request) -> web.Response:
        kind = request.content_type
        if "Origin" in request.headers:
            return _refusal(403, "not from a browser", kind)
        if self._token and not hmac.compare_digest(
            request.headers.get("Authorization", "").encode(), f"Bearer {self._token}".encode()
        ):
            return _refusal(
                401, "send the header `Authorization: Bearer TOKEN` with the token of AFTERMATH_OTLP_TOKEN", kind
            )
        if kind not in (PROTOBUF, JSON):
            return _refusal(415, f"send {PROTOBUF} or {JSON}", kind)
        topic, answer, rejected = SIGNALS[request.path]
        body = await request.read()  # 413 by aiohttp above MOST_BYTES
        if not body:
            return _answer(answer(), kind)
        if self._waiting + len(body) > MOST_WAITING:
            return _refusal(503, "Kafka is slow: too much is on its way", kind)
        self._waiting += len(body)
        try:
            found = await asyncio.to_thread(pieces, topic, body)
            await self._send(topic, found)
        except UnmappableError as error:
            return _refusal(400, error.detail, kind)
        except (DependencyError, TimeoutError) as error:
            log.warning("OTLP not taken: %s", error or "no answer from Kafka in time")
            return _refusal(503, "Kafka does not take it now; it is safe to send it again", kind)
        finally:
            self._waiting -= len(body)
        said = answer()
        if found.too_large:
            setattr(said.partial_success, rejected, found.too_large)
            said.partial_success.error_message = "larger than a message of Kafka may be; shorten what it carries"
        return _answer(said, kind)

    async def _send(self, topic: str, found: Pieces) -> None:
        if self._publisher is None:
            raise RuntimeError("not started")
        messages = [Outgoing(topic, value, found.key) for value in found.values]
        async with asyncio.timeout(ANSWER_SECONDS):
            await (await self._publisher.send(messages))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer(message: Any, kind: str) -> web.Response:
    if kind == JSON:
        return web.json_response(MessageToDict(message))
    return web.Response(body=message.SerializeToString(), content_type=PROTOBUF)


def _refusal(status: int, text: str, kind: str) -> web.Response:
    """google.rpc.Status, as OTLP asks for; its second field is the message."""
    headers = {"Retry-After": RETRY_AFTER} if status == 503 else {}
    if kind != PROTOBUF:
        return web.json_response({"message": text}, status=status, headers=headers)
    raw = text.encode()[:127]  # so long is its length one byte
    return web.Response(body=b"\x12" + bytes([len(raw)]) + raw, status=status, headers=headers, content_type=PROTOBUF)
