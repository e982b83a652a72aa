"""A bad message is kept whole on its topic and shown redacted in the table."""

from schemas.codecs.single import decode
from schemas.errors import Reason, Rejected
from sinks.clickhouse.rows import TIME, dead_letter_frame
from sinks.dead_letters import dead_letter, dead_letter_message, preview_row


def rejected(value: bytes = b'{"password": "hunter2"', key: bytes | None = b"acme/s1") -> Rejected:
    return Rejected(812, Reason.MALFORMED, "not JSON", value, key, 1_772_366_400_000_000)


def test_the_message_on_the_topic_keeps_the_bytes() -> None:
    name, record = decode(dead_letter_message(rejected(), "agent.traces.v1", 3, "detect"))
    assert name == "dead_letter"
    assert (record["topic"], record["partition"], record["offset"]) == ("agent.traces.v1", 3, 812)
    assert record["reason"] == "malformed"
    assert record["value"] == b'{"password": "hunter2"'
    assert record["key"] == b"acme/s1"


def test_the_row_of_the_table_holds_no_secret() -> None:
    row = preview_row(dead_letter(rejected(), "agent.traces.v1", 3, "detect"))
    assert row["preview"] == '{"password": "[redacted]"'
    assert row["size"] == 22


def test_a_secret_at_the_cut_of_the_preview_is_seen_whole() -> None:
    value = b"x" * 480 + b' {"password": "' + b"s" * 300 + b'"}'
    assert "sss" not in preview_row(dead_letter(rejected(value), "t", 0, "detect"))["preview"]


def test_bytes_that_are_no_text_and_control_characters_are_replaced() -> None:
    row = preview_row(dead_letter(rejected(b"\xff\x00\x1b[31mred", None), "t", 0, "detect"))
    assert row["preview"] == "\ufffd\ufffd\ufffd[31mred"
    assert row["key"] == ""


def test_a_huge_message_fits_into_one_record() -> None:
    assert len(dead_letter_message(rejected(b"x" * 5_000_000), "t", 0, "detect")) < 1_000_000


def test_the_frame_has_times_and_a_row_for_each() -> None:
    frame = dead_letter_frame([preview_row(dead_letter(rejected(), "t", 0, "detect"))])
    assert frame.height == 1
    assert frame.schema["ingest_time"] == TIME
    assert dead_letter_frame([]).columns == frame.columns
