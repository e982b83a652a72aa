"""The demo's events as a recording: checked by the models, in the order of their stamps."""

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.recording import Recording
from schemas.codecs.single import encode_event
from schemas.events import EVENTS
from schemas.times import parse_time


def recording_of(events: Iterable[Mapping[str, Any]]) -> Recording:
    """What `pipeline.files.merged` makes of files, made of events in memory. Close what is returned."""
    recording = Recording()
    try:
        for fields in events:
            ingest = fields.get("ingest_time")
            content = {name: value for name, value in fields.items() if name not in ("type", "ingest_time")}
            event = EVENTS[fields["type"]].model_validate(content)
            recording.add(event, encode_event(event), event.event_time if ingest is None else parse_time(ingest))
        recording.sort()
    except BaseException:
        recording.close()
        raise
    return recording
