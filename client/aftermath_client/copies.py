"""The local copy of four topics (controls, facts, limits, probes) and `Reader`, the thread that keeps it.

Only what is this tenant's, and of controls this agent's, is kept. Whoever asks never waits: what others see is replaced
as a whole. The copy is *whole* when every partition was read to its end once; *heard* is when the broker answered last.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from aftermath_client.clock import monotonic
from aftermath_client.codec import UnreadableError, decode
from aftermath_client.controls import Control, control_of
from aftermath_client.facts import Facts
from aftermath_client.limits import Versions
from aftermath_client.probes import Rights

log = logging.getLogger("aftermath_client")

CONTROLS, FACTS, LIMITS, PROBES = "agent.controls.v1", "facts.v1", "limits.v1", "agent.probes.v1"
TOPICS = (CONTROLS, FACTS, LIMITS, PROBES)
POLL_SECONDS = 0.5
HEARD_EVERY = 2.0  # seconds between two questions to the broker
MOST_CONTROLS = 1_000


class LocalCopy:
    """What this process knows of the four topics. `put` is called by one thread."""

    def __init__(self, tenant: str, agent_id: str) -> None:
        self.tenant = tenant
        self.agent_id = agent_id
        self.controls: tuple[Control, ...] = ()  # those that may hold this agent
        self.by_tool: Mapping[str, tuple[Control, ...]] = {}  # the same by the tool they name, or `*`
        self.facts = Facts()
        self.limits = Versions()
        self.probes = Rights()
        self.unreadable = 0
        self.is_whole = False
        self.heard_at = float("-inf")  # monotonic seconds
        self.changed = threading.Condition()
        self._by_key: dict[str, Control] = {}

    def put(self, topic: str, key: str, value: bytes | None, appended_at: int = 0) -> None:
        """Take one record. What cannot be read is counted, said once in the log, and changes nothing."""
        if topic != LIMITS and not key.startswith(self._prefix(topic)):
            return
        try:
            record = None if value is None else decode(value)[1]
            if topic == FACTS:
                if record is not None and record["tenant"] != self.tenant:
                    return  # another tenant, whose name begins as ours does
                self.facts.put(key, record)
            elif topic == CONTROLS:
                self._control(key, record)
            elif topic == PROBES:
                self._probe(key, record, appended_at)
            elif record is not None and (fault := self.limits.add(record, appended_at)):
                raise UnreadableError(fault)
        except (UnreadableError, KeyError, TypeError) as error:
            self.unreadable += 1
            if self.unreadable == 1:
                log.warning("%s, key %s is not used: %s", topic, key[:100], error)

    def _prefix(self, topic: str) -> str:
        if topic == FACTS:
            return f"{self.tenant}/"
        return f"{quote(self.tenant, safe='*')}/{quote(self.agent_id, safe='*')}/"

    def _probe(self, key: str, record: dict[str, Any] | None, appended_at: int) -> None:
        if record is None:
            return
        if key != probe_key(record) or (record["tenant"], record["agent_id"]) != (self.tenant, self.agent_id):
            raise UnreadableError("a claim that is not of the agent its key names")
        with self.changed:
            self.probes.put(record, appended_at, monotonic())
            self.changed.notify_all()

    def _control(self, key: str, record: dict[str, Any] | None) -> None:
        control = None if record is None else control_of(record, key)
        if record is not None and control is None:
            raise UnreadableError("a control that is not of the agent its key names")
        self._by_key.pop(key, None)
        if control is not None and control.may_hold:
            self._by_key[key] = control
            if len(self._by_key) > MOST_CONTROLS:
                del self._by_key[min(self._by_key, key=lambda name: self._by_key[name].at)]
        with self.changed:
            self.controls = tuple(self._by_key.values())
            names = {control.tool_name for control in self.controls}
            self.by_tool = {name: tuple(c for c in self.controls if c.tool_name == name) for name in names}
            self.changed.notify_all()


def probe_key(record: Mapping[str, Any]) -> str:
    """What a claim stands under: all of one control are in one partition, and so in order."""
    names = (record["tenant"], record["agent_id"], record["control_id"])
    return "/".join(quote(name, safe="*") for name in names)


class Reader:
    """A thread that reads the topics from their start, and what is added; it ends with `close`."""

    def __init__(self, copy: LocalCopy, kafka: str, config: Mapping[str, Any]) -> None:
        self._copy = copy
        self._settings = {
            **config,
            "bootstrap.servers": kafka,
            "group.id": "aftermath.client",  # never committed, never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aftermath guard copy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        consumer = Consumer(self._settings)
        unread: set[tuple[str, int]] | None = None
        asked_at = float("-inf")
        try:
            while not self._is_closing.is_set():
                if unread is None:
                    unread = self._assign(consumer)
                    continue
                message = consumer.poll(POLL_SECONDS)
                if message is not None:
                    self._take(message, unread)
                if not unread and monotonic() - asked_at >= HEARD_EVERY:
                    self._ask(consumer)
                    asked_at = monotonic()
        finally:
            consumer.close()

    def _assign(self, consumer: Any) -> set[tuple[str, int]] | None:
        """All partitions there are; None while the broker does not say, or a topic is missing.

        Without the topic of probes, of a cluster that was set up before there was one, nobody tries and all else holds.
        """
        places = []
        try:
            for topic in TOPICS:
                found = consumer.list_topics(topic, timeout=POLL_SECONDS * 4).topics[topic]
                if topic == PROBES and found.error is not None:
                    log.warning("%s cannot be read (%s): half open, no session tries", topic, found.error.str())
                    continue
                if found.error is not None or not found.partitions:
                    self._is_closing.wait(POLL_SECONDS)
                    return None
                places += [TopicPartition(topic, number, OFFSET_BEGINNING) for number in found.partitions]
        except KafkaException:
            self._is_closing.wait(POLL_SECONDS)
            return None
        consumer.assign(places)
        return {(place.topic, place.partition) for place in places}

    def _take(self, message: Any, unread: set[tuple[str, int]]) -> None:
        error = message.error()
        if error is None:
            self._copy.heard_at = monotonic()
            key = (message.key() or b"").decode(errors="replace")
            self._copy.put(message.topic(), key, message.value(), message.timestamp()[1] * 1000)
        elif error.name() == "_PARTITION_EOF":
            unread.discard((message.topic(), message.partition()))
            if not unread:
                self._copy.heard_at = monotonic()
                self._copy.is_whole = True

    def _ask(self, consumer: Any) -> None:
        """Ask the broker something small: that it answers is what the copy's freshness rests on."""
        try:
            consumer.get_watermark_offsets(TopicPartition(LIMITS, 0), timeout=POLL_SECONDS)
        except KafkaException:
            return
        self._copy.heard_at = monotonic()

    def close(self) -> None:
        """End the thread."""
        self._is_closing.set()
        self._thread.join(10.0)
