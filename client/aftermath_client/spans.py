"""Spans on their way to `agent.traces.v1`: a bounded queue, and the thread that empties it.

`add` never waits: where the queue is full the span is dropped and counted. Encoding and sending happen in the thread.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from aftermath_client.clock import monotonic
from aftermath_client.codec import encode

log = logging.getLogger("aftermath_client")

TRACES = "agent.traces.v1"
MOST_WAITING = 10_000  # spans in the queue; librdkafka holds at most QUEUE_KB more
QUEUE_KB = 16_384
LOOK_SECONDS = 0.2


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
    """The thread that sends. `close` waits until the queue is empty, or as long as it is told."""

    def __init__(self, spans: Spans, kafka: str, config: Mapping[str, Any]) -> None:
        self.failed = 0
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

    def _run(self) -> None:
        while True:
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
        while True:
            try:
                self._producer.produce(TRACES, value, key, on_delivery=self._report)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(LOOK_SECONDS)
                if self._is_closing.is_set():
                    self.failed += 1
                    return
            except KafkaException as error:
                self.failed += 1
                log.error("a span was not published: %s", error.args[0].str())
                return

    def _report(self, error: Any, _: Any) -> None:
        if error is not None:
            self.failed += 1

    def close(self, timeout: float) -> int:
        """Send what waits; returns how many spans were left over."""
        end = monotonic() + timeout
        while len(self._spans) and monotonic() < end:
            self._is_closing.wait(0.01)
        self._is_closing.set()
        self._thread.join(max(0.1, end - monotonic()))
        return int(self._producer.flush(max(0.1, end - monotonic()))) + len(self._spans)
