"""The frames of record."""

from typing import Any

import polars as pl

from alerts.rules.samples import sample_incident
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.record import Record
from schemas.codecs.single import encode_incident
from schemas.topics import INCIDENTS


class Message:
    """A record with a value."""

    timestamp, timestamp_type, key, offset = 0, 0, None, 0

    def __init__(self, value: bytes) -> None:
        self.value = value


class NoWriter:
    """Nothing is written here."""

    def write(self, table: str, frame: pl.DataFrame, token: str) -> list[Any]:
        raise NotImplementedError


def test_no_two_tables_share_a_frame() -> None:
    # tables are written at once, and two threads with one frame of polars may wait for each other for ever
    stage = Record(Settings(), lambda error: None, writer=NoWriter())
    message = Message(encode_incident(sample_incident({})))
    rows = stage.rows(Element(INCIDENTS.name, 0, [message], 0, 1, 1, 0, 1))
    assert set(rows) == {"incidents", "incident_revisions", "incident_timeline"}
    assert len({id(frame) for frame in rows.values()}) == 3
    assert rows["incidents"].equals(rows["incident_revisions"])
