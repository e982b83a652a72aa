"""Files of JSON lines: read, merged, stamped, and what is said of lines that are none."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard

from pipeline import files
from pipeline.files import BadLine, batches, merged, read_events
from pipeline.lines import LINE_LIMIT
from schemas.codecs import Decoded, single
from schemas.errors import Reason, UsageError
from schemas.events import TOPIC_RECORDS, AgentSpan
from schemas.times import format_time
from tests.builders import at, event, metric, span

MAINTENANCE = event(2, "e1", "maintenance", "prod/shop/statefulset/db", source="calendar")


def write(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        half = len(data) // 2  # two frames, as appending to a file makes them
        data = zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    path.write_bytes(data)
    return path


def refuse(bad: BadLine) -> None:
    raise AssertionError(str(bad))


def read(*paths: Path) -> tuple[list[str], list[BadLine]]:
    bad: list[BadLine] = []
    found = [getattr(recorded.event, "span_id", recorded.event.record) for recorded in read_events(paths, bad.append)]
    return found, bad


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz", "events.jsonl.zst"])
def test_plain_and_packed_files_hold_the_same_events(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [span(0), "", metric(1, 0.5), "  ", MAINTENANCE])
    assert read(path) == (["span-0", "metric_point", "cluster_event"], [])


def test_times_are_rfc3339_or_microseconds_and_ingest_time_may_be_recorded(tmp_path: Path) -> None:
    rows = [
        span(1, event_time=format_time(at(1)), ingest_time=format_time(at(3))),
        span(1, ingest_time=at(3)),
        span(1),
        span(1, ingest_time=None),
    ]
    found = list(read_events([write(tmp_path / "a.jsonl", rows)], refuse))
    assert [recorded.event.event_time for recorded in found] == [at(1)] * 4
    assert [recorded.ingest_time for recorded in found] == [at(3), at(3), None, None]
    assert single.decode(found[0].value) == ("agent_span", found[0].event.__dict__)


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ("not json", Reason.MALFORMED, "one JSON object a line"),
        ("[1, 2]", Reason.MALFORMED, "one JSON object a line"),
        ('{"type": "agent_span"', Reason.MALFORMED, "not a JSON object"),
        ('{"tenant": "acme"}', Reason.MISSING_FIELD, "agent_span, metric_point, cluster_event"),
        (json.dumps(span(0, type="tick")), Reason.UNKNOWN_VALUE, "agent_span, metric_point, cluster_event"),
        (json.dumps(span(0, type=["agent_span"])), Reason.UNKNOWN_VALUE, "agent_span, metric_point, cluster_event"),
        (json.dumps(span(0, tenant="")), Reason.MISSING_FIELD, "tenant"),
        (json.dumps(span(0, event_time="1969-01-01T00:00:00Z")), Reason.TIME_OUT_OF_RANGE, "event_time"),
        (json.dumps(span(0, ingest_time="3000-01-01T00:00:00Z")), Reason.TIME_OUT_OF_RANGE, "ingest_time"),
        (json.dumps(span(0, ingest_time="soon")), Reason.WRONG_TYPE, "2026-03-01T12:00:00Z"),
        (json.dumps(span(0, ingest_time=1.5)), Reason.WRONG_TYPE, "ingest_time"),
        (json.dumps(span(0, ingest_time=True)), Reason.WRONG_TYPE, "ingest_time"),
        (json.dumps(metric(0, float("nan"))), Reason.NOT_FINITE, "NaN"),
        (json.dumps(span(0, attributes="[" * 33)), Reason.NESTED_TOO_DEEP, "attributes"),
        (
            json.dumps(span(0, **dict.fromkeys(("tool_args", "summary", "expects", "attributes"), "😀" * 65_536))),
            Reason.TOO_LARGE,
            "cut its texts",
        ),
        ('{"type": "agent_span", "summary": "' + "a" * LINE_LIMIT + '"}', Reason.TOO_LARGE, "cut its texts"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_bad_line_is_named_with_its_place_and_loses_nothing_else(
    tmp_path: Path, line: str, reason: Reason, said: str
) -> None:
    path = write(tmp_path / "a.jsonl", [span(1), "", line, span(2)])
    found, bad = read(path)
    assert found == ["span-1", "span-2"]
    assert [(one.line, one.reason) for one in bad] == [(3, reason)]
    assert str(bad[0]).startswith(f"{path}:3: {reason}: ")
    assert said in str(bad[0])


def test_bad_lines_before_the_first_good_one_are_named_too(tmp_path: Path) -> None:
    found, bad = read(write(tmp_path / "a.jsonl", ["# exported by hand", "", span(1), "oops"]))
    assert found == ["span-1"]
    assert [one.line for one in bad] == [1, 4]


def test_a_byte_order_mark_is_no_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(span(1)).encode())
    assert read(path) == (["span-1"], [])


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(span(1)) + "\n" + json.dumps(span(2)))
    assert read(path) == (["span-1", "span-2"], [])


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", [])) == ([], [])
    assert list(batches([tmp_path / "a.jsonl"], refuse)) == []


@pytest.mark.parametrize(
    "content", [b"time,agent\n1,a\n2,b\n", bytes(range(256)) * 50, json.dumps([span(1)], indent=1).encode(), b"\0" * 10]
)
def test_a_file_that_is_no_json_lines_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="write one event a line"):
        read(path)


def test_a_hopeless_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", ["x"] * files.HOPELESS_LINES + [span(1)])
    with pytest.raises(UsageError, match="1000 lines"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "missing.jsonl")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("cut", ["end", "all"])
def test_a_packed_file_that_was_cut_or_is_none_is_refused(tmp_path: Path, name: str, cut: str) -> None:
    path = write(tmp_path / name, [span(n, summary=f"{n**5}") for n in range(500)])
    path.write_bytes(path.read_bytes()[:-20] if cut == "end" else b"plain text\n")
    with pytest.raises(UsageError, match="get a whole copy"):
        read(path)
    with pytest.raises(UsageError, match="get a whole copy"):
        merged([path], refuse)


def test_files_are_merged_by_ingest_time_else_event_time_and_equal_times_keep_their_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [span(5), span(1), span(2, span_id="late", ingest_time=at(9)), span(3)])
    second = write(tmp_path / "b.jsonl.gz", [span(3, span_id="after-3"), metric(4, 0.5), span(0)])
    with merged([first, second], refuse) as recording:
        found = [(getattr(event, "span_id", "metric"), stamp) for event, stamp in recording.events()]
        assert len(recording) == 7
        assert recording.by_topic == {"agent.traces.v1": 6, "system.metrics.v1": 1, "cluster.events.v1": 0}
    assert found == [
        ("span-0", at(0)),
        ("span-1", at(1)),
        ("span-3", at(3)),
        ("after-3", at(3)),
        ("metric", at(4)),
        ("span-5", at(5)),
        ("late", at(9)),
    ]


def test_stamps_are_whole_milliseconds_as_kafka_keeps_them(tmp_path: Path) -> None:
    rows = [span(0, event_time=at(0) + 1999), span(1, event_time=at(0) + 1001), span(2, event_time=at(0) + 999)]
    with merged([write(tmp_path / "a.jsonl", rows)], refuse) as recording:
        assert [(m.stamp, single.decode(m.value)[1]["event_time"]) for m in recording.messages()] == [
            (at(0), at(0) + 999),
            (at(0) + 1000, at(0) + 1001),
            (at(0) + 1000, at(0) + 1999),
        ]


def test_messages_have_the_topic_and_key_that_services_send_them_with(tmp_path: Path) -> None:
    rows = [span(0, session_id="child", root_session_id="root"), metric(1, 0.5), MAINTENANCE]
    with merged([write(tmp_path / "a.jsonl", rows)], refuse) as recording:
        first = list(recording.messages())
        assert list(recording.messages()) == first
    assert [(topic, key, stamp) for topic, key, _, stamp in first] == [
        ("agent.traces.v1", b"acme/root", at(0)),
        ("system.metrics.v1", b"acme/prod/shop/deployment/cart", at(1)),
        ("cluster.events.v1", b"acme/prod/shop", at(2)),
    ]
    assert single.decode(first[0].value)[0] == "agent_span"


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    row = span(0, step=3, start_time=at(-1), attributes={"a": [1]})
    with merged([write(tmp_path / "a.jsonl", [row])], refuse) as recording:
        [(found, _)] = recording.events()
    assert found == AgentSpan.model_validate({name: value for name, value in row.items() if name != "type"})


def test_chunks_split_the_merged_order_by_topic_so_that_none_runs_ahead(tmp_path: Path) -> None:
    rows = [span(n) for n in range(30)] + [metric(n + 0.5, n) for n in range(10, 30)] + [MAINTENANCE]
    path = write(tmp_path / "a.jsonl", rows)
    chunks = list(batches([path], refuse, 12))
    sizes = [{part.topic: part.frame.height for part in chunk} for chunk in chunks]
    assert sizes[0] == {"agent.traces.v1": 11, "cluster.events.v1": 1}
    assert [sum(size.values()) for size in sizes] == [12, 12, 12, 12, 3]
    ends = [max(part.newest_ingest_time for part in chunk) for chunk in chunks]
    starts = [min(part.frame["ingest_time"].min() for part in chunk) for chunk in chunks]  # type: ignore[type-var]
    assert all(start >= end for start, end in zip(starts[1:], ends[:-1], strict=True))  # type: ignore[operator]
    for topic in TOPIC_RECORDS:
        frame = pl.concat([part.frame for chunk in chunks for part in chunk if part.topic == topic])
        assert frame["offset"].to_list() == list(range(frame.height))
        assert frame["event_time"].is_sorted()
        assert frame["ingest_time"].to_list() == frame["event_time"].to_list()
        assert frame["partition"].unique().to_list() == [0]


def test_the_size_of_chunks_changes_no_row(tmp_path: Path) -> None:
    rows = [span(n % 17, span_id=f"s{n}", step=n) for n in range(100)] + [metric(n % 13, n) for n in range(50)]
    path = write(tmp_path / "a.jsonl", rows)

    def frames(size: int) -> list[pl.DataFrame]:
        parts: list[Decoded] = [part for chunk in batches([path], refuse, size) for part in chunk]
        return [pl.concat([p.frame for p in parts if p.topic == t]) for t in ("agent.traces.v1", "system.metrics.v1")]

    assert all(one.equals(other) for one, other in zip(frames(7), frames(5_000), strict=True))


def test_nothing_of_a_file_is_lost_between_lines_and_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [span(n, step=n) if n % 10 else "bad" for n in range(1, 200)])
    bad: list[BadLine] = []
    parts = [part for chunk in batches([path], bad.append) for part in chunk]
    assert len(bad) == 19
    assert sum(part.frame.height for part in parts) == 180
    assert [part.rejected for part in parts] == [()]


def test_a_reader_that_stops_at_the_first_bad_line_leaves_nothing_open(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl.zst", [span(1), "bad", span(2)])
    with pytest.raises(AssertionError, match=r"a\.jsonl\.zst:2: malformed"):
        merged([path], refuse)
