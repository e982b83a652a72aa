"""record: what Aftermath found and did -> ClickHouse.

    signals.v1        -> signals, agent_usage (markers, actions and facts are for correlate only)
    incidents.v1      -> incidents, incident_revisions, incident_timeline
    watches.v1        -> write_watches
    notifications.v1  -> notifications; incident_timeline, where something was not sent
    agent.controls.v1 -> controls, and incident_timeline where one is about an incident
    oncall.v1         -> acknowledgements, incident_timeline
    limits.v1         -> limits_loosened, where a version lets agents do more than the one before
    dead_letters.v1   -> dead_letters, a redacted preview

What is said of incidents is written sooner than what was used, and not behind it: somebody may be waiting for it.
The latter is not even read before the pane that it came with is closed.
A row that comes twice (another run of detect, a revision produced again) has the same key, and the tables fold it.
"""

import json
import logging
from contextlib import suppress
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.loosened import Loosened, loosened
from pipeline.frontier import MICROS_PER_MS, Element
from pipeline.stages.batching import GAP_SECONDS, BatchingStage, Rows
from pipeline.stages.limits_log import LimitsLog
from schemas.codecs.single import UnreadableError, decode, decode_incident, decode_rows
from schemas.controls import Control, ControlError, control_of
from schemas.oncall import Acknowledgement, decode_word
from schemas.signals import Signal, Usage, compact_json
from schemas.topics import CONTROLS, DEAD_LETTERS, INCIDENTS, LIMITS, NOTIFICATIONS, ONCALL, SIGNALS, WATCHES
from schemas.watches import decode_watched
from sinks.clickhouse.rows import (
    acknowledged_frame,
    acknowledgement_frame,
    control_frame,
    control_timeline_frame,
    dead_letter_frame,
    incident_frame,
    limits_loosened_frame,
    not_sent_frame,
    notification_frame,
    signal_frame,
    timeline_frame,
    usage_frame,
    watched_frame,
)
from sinks.dead_letters import preview_row

SOON_SECONDS = 0.05  # instead of GAP_SECONDS: the revisions of one pane come within that
SOON = frozenset({INCIDENTS.name, NOTIFICATIONS.name})
LATER = frozenset({SIGNALS.name, WATCHES.name})  # what detect found: it comes while a pane closes, and pages nobody

log = logging.getLogger(__name__)


class Record(BatchingStage[None]):
    """One worker's share of the topics."""

    name = "record"
    topics = (
        *(SIGNALS.name, INCIDENTS.name, WATCHES.name),
        *(NOTIFICATIONS.name, CONTROLS.name, ONCALL.name, LIMITS.name, DEAD_LETTERS.name),
    )

    def gap_seconds(self, topic: str) -> float:
        if self.reads_late(topic):
            return self.settings.pane_seconds / 2  # the pane is closed by then, and its incidents are written
        return SOON_SECONDS if topic in SOON else GAP_SECONDS

    def reads_late(self, topic: str) -> bool:
        return topic in LATER and not self.settings.recorded

    def rows(self, element: Element) -> Rows:
        values = [record.value for record in element.records if record.value is not None]
        if element.topic == SIGNALS.name:
            rows = decode_rows(values, Signal, Usage)
            return {
                "signals": signal_frame([row for row in rows if isinstance(row, Signal)]),
                "agent_usage": usage_frame([row for row in rows if isinstance(row, Usage)]),
            }
        if element.topic == INCIDENTS.name:
            incidents = [decode_incident(value) for value in values]
            frame = incident_frame(incidents)
            return {
                "incidents": frame,
                "incident_revisions": frame.clone(),
                "incident_timeline": timeline_frame(incidents),
            }
        if element.topic == WATCHES.name:
            return {"write_watches": watched_frame([decode_watched(value) for value in values])}
        if element.topic == NOTIFICATIONS.name:
            told = [decode(value)[1] for value in values]
            return {"notifications": notification_frame(told), "incident_timeline": not_sent_frame(told)}
        if element.topic == CONTROLS.name:
            controls = _controls(element)
            return {"controls": control_frame(controls), "incident_timeline": control_timeline_frame(controls)}
        if element.topic == ONCALL.name:
            words = [word for word in map(decode_word, values) if isinstance(word, Acknowledgement)]
            return {"acknowledgements": acknowledgement_frame(words), "incident_timeline": acknowledged_frame(words)}
        if element.topic == LIMITS.name:
            return {"limits_loosened": limits_loosened_frame(self._loosened(element))}
        return {"dead_letters": dead_letter_frame([preview_row(decode(value)[1]) for value in values])}

    def _loosened(self, element: Element) -> list[dict[str, Any]]:
        """What the versions in this element widened, each against the one before it, read from the topic."""
        reader = LimitsLog(self.settings.kafka_connection, Limits())
        try:
            reader.look()
        finally:
            reader.close()
        authors = {}
        for record in element.records:
            if record.value is not None:
                with suppress(UnreadableError):  # the reader has logged it
                    value = decode(record.value)[1]
                    authors[value.get("version")] = (value.get("author", ""), record.timestamp * MICROS_PER_MS)
        found = []
        version: Limits | None = reader.limits
        while version is not None and version.before is not None:
            if version.version in authors:
                author, appended_at = authors[version.version]
                head = {"version": version.version, "author": author}
                head["effective_from"] = version.effective_from or appended_at
                found += [head | _said(one) for one in loosened(version.before, version)]
            version = version.before
        return found


def _said(one: Loosened) -> dict[str, str]:
    match = one.match.model_dump(exclude_defaults=True)
    return {"match": compact_json(match), "name": one.name, "was": _json(one.was), "now_is": _json(one.now)}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _controls(element: Element) -> list[Control]:
    """What nobody obeys is not stored either: a record that is no control of its key's agent."""
    found = []
    for record in element.records:
        if record.value is None:
            continue
        try:
            found.append(control_of(decode(record.value)[1], (record.key or b"").decode(errors="replace")))
        except (UnreadableError, ControlError, KeyError) as error:
            ids = {"topic": element.topic, "partition": element.partition, "offset": record.offset}
            log.error("%s, offset %s is not used: %s", element.topic, record.offset, error, extra=ids)
    return found
