"""Spans on their way to `agent.traces.v1`: a bounded queue, and the thread that empties it.

`add` never waits: where the queue is full the span is dropped and counted. Encoding and sending happen in the thread.
What a session that tries says (`agent.probes.v1`, probes.py) goes before the spans.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from aftermath_client.clock import monotonic
from aftermath_client.codec import encode

log = logging.getLogger("aftermath_client")

TRACES, PROBES = "agent.traces.v1", "agent.probes.v1"
MOST_WAITING = 10_000  # spans in the queue; librdkafka holds at most QUEUE_KB more
QUEUE_KB = 16_384
LOOK_SECONDS = 0.2
RENEW_SECONDS = 1.0  # between two looks at what a session that tries goes on with
MOST_CLAIMS = 100


class Spans:
    """The queue. Any thread may add; one takes."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.dropped = 0
        self._most = most
        self._waiting: deque[dict[str, Any]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, span: dict[str, Any]) -> None:
        """Queue a span, or drop it where there is no room."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            if self.dropped == 1:
                log.warning("spans are dropped: Kafka takes fewer than this service makes")
        else:
            self._waiting.append(span)

    def take(self) -> dict[str, Any] | None:
        """The oldest, if there is one."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None


class Sender:
    """The thread that sends. `close` waits until the queue is empty, or as long as it is told.

    renew: called every second, by the same thread; what it claims is sent before any span that waits.
    """

    def __init__(self, spans: Spans, kafka: str, config: Mapping[str, Any], renew: Callable[[], None]) -> None:
        self.failed = 0
        self._renew = renew
        self._claims: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_CLAIMS)
        self._spans = spans
        self._producer = Producer(
            {
                **config,
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "zstd",
                "linger.ms": 20,
                "queue.buffering.max.kbytes": QUEUE_KB,
                "log_level": 0,
            }
        )
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aftermath guard spans", daemon=True)
        self._thread.start()

    def claim(self, key: str, record: dict[str, Any]) -> None:
        """Queue what a session that tries says; never waits."""
        self._claims.append((key, record))

    def _run(self) -> None:
        renewed_at = monotonic()
        while True:
            if monotonic() - renewed_at >= RENEW_SECONDS:
                renewed_at = monotonic()
                self._renew()
            while self._claims:
                key, record = self._claims.popleft()
                self._produce(PROBES, encode("probe", record), key.encode())
            span = self._spans.take()
            if span is None:
                self._producer.poll(0)
                if self._is_closing.wait(LOOK_SECONDS):
                    return
                continue
            self._send(span)

    def _send(self, span: dict[str, Any]) -> None:
        try:
            value = encode("agent_span", span)
        except (ValueError, TypeError) as error:  # a value of the service that is none of the schema
            self.failed += 1
            log.error("a span cannot be published: %s", error)
            return
        key = f"{span['tenant']}/{span.get('root_session_id') or span['session_id']}".encode()
        self._produce(TRACES, value, key)

    def _produce(self, topic: str, value: bytes, key: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._report)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(LOOK_SECONDS)
                if self._is_closing.is_set():
                    self.failed += 1
                    return
            except KafkaException as error:
                self.failed += 1
                log.error("%s does not take what this service publishes: %s", topic, error.args[0].str())
                return

    def _report(self, error: Any, _: Any) -> None:
        if error is not None:
            self.failed += 1

    def close(self, timeout: float) -> int:
        """Send what waits; returns how many spans were left over."""
        end = monotonic() + timeout
        while (len(self._spans) or self._claims) and monotonic() < end:
            self._is_closing.wait(0.01)
        self._is_closing.set()
        self._thread.join(max(0.1, end - monotonic()))
        return int(self._producer.flush(max(0.1, end - monotonic()))) + len(self._spans)
