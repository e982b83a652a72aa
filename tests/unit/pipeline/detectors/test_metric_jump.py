"""Metric jumps: what is an onset and what is none, how one ends, and what is learned in between."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.limits import Limits
from pipeline.core.plain import decode, encode
from pipeline.core.rows import Rows
from pipeline.core.scales import LOG, PLAIN, SHARE, kind_of_metric
from pipeline.detectors import metric_jump
from pipeline.detectors.metric_jump import SeriesMemory
from schemas.signals import Signal
from schemas.times import MICROS
from tests.builders import PANE, at, closed_rows, frame, metric, run_detector

STEADY = [10.0, 10.2, 9.9, 10.1] * 8
FIVE_MINUTES = 300.0


def jumps(values: Sequence[float], step: float = 15.0, **fields: Any) -> list[Signal]:
    rows = [metric(step * i, value, **{"metric": "connections"} | fields) for i, value in enumerate(values)]
    return run_detector(metric_jump, [closed_rows(frame("metric_point", rows))])


def shapes(found: Sequence[Signal]) -> list[tuple[str, bool]]:
    return [(signal.type.removeprefix("symptom."), signal.details["is_over"]) for signal in found]


def test_two_points_beyond_open_a_jump_and_one_does_not() -> None:
    assert jumps([*STEADY, 30.0, 10.0, 10.1]) == []
    (found,) = jumps([*STEADY, 30.0, 30.0])
    assert found.window_start == at(15 * len(STEADY))
    assert found.detected_at == at(15 * (len(STEADY) + 1)) + PANE
    assert "rose to 30, usually 10" in found.summary


def test_one_point_that_stands_for_minutes_is_enough() -> None:
    (found,) = jumps([*STEADY, 30.0], step=FIVE_MINUTES)
    assert found.window_start == found.window_end == at(FIVE_MINUTES * len(STEADY))
    assert found.details["spacing_seconds"] == pytest.approx(FIVE_MINUTES)


def test_a_shift_begins_where_its_points_do_and_not_where_the_mean_does() -> None:
    usual = [9.0, 11.0, 10.3, 9.7] * 8
    (found,) = jumps([*usual, 15.6, 15.8], step=FIVE_MINUTES)
    assert found.type == "symptom.level_shift"
    assert found.window_start == at(FIVE_MINUTES * len(usual))


def test_nothing_is_judged_before_there_are_enough_points() -> None:
    assert jumps([*STEADY[:11], 90.0], step=FIVE_MINUTES) == []
    assert len(jumps([*STEADY[:12], 90.0], step=FIVE_MINUTES)) == 1


def test_a_perfectly_steady_series_that_explodes_is_found_and_a_small_change_of_it_is_not() -> None:
    assert jumps([10.0] * 30 + [11.0, 11.0]) == []
    assert len(jumps([10.0] * 30 + [90.0, 90.0])) == 1


def test_a_jump_speaks_once_and_again_when_it_is_over() -> None:
    opened, closed = jumps([*STEADY, *[50.0] * 10, 10.0, 10.1])
    assert shapes([opened, closed]) == [("spike", False), ("spike", True)]
    assert closed.details["usual"] == pytest.approx(10.05, abs=0.2), "the jump was not learned"
    assert closed.summary.endswith("is back to 10.1")


def test_a_fall_is_a_drop_and_a_small_change_that_only_the_mean_shows_is_a_shift() -> None:
    draw = random.Random(1)
    noisy = [100 + draw.gauss(0, 5) for _ in range(300)]
    assert shapes(jumps([*noisy, 0.0, 0.0])) == [("drop", False)]
    shifted = [*noisy, *(118 + draw.gauss(0, 1) for _ in range(6))]
    (found,) = jumps(shifted)
    assert shapes([found]) == [("level_shift", False)]
    assert "shifted up to" in found.summary


def test_a_level_that_lasts_becomes_the_usual_one_and_going_back_is_then_a_jump() -> None:
    found = jumps([*STEADY, *[50.0, 50.5] * 40, *STEADY])
    assert shapes(found[:2]) == [("spike", False), ("level_shift", True)]
    assert found[1].details["is_usual_now"]
    assert "that is its usual level from now on" in found[1].summary
    assert (found[2].details["direction"], found[2].details["is_over"]) == (-1, False)


def test_a_flutter_after_the_end_is_no_new_jump_and_a_relapse_that_holds_is() -> None:
    jump = [*STEADY, 50.0, 50.0, 50.0, 10.0, 10.1]
    assert shapes(jumps([*jump, 50.0, 50.0, 10.0, 10.1])) == [("spike", False), ("spike", True)]
    assert shapes(jumps([*jump, *[50.0] * 4])[2:]) == [("spike", False)]


def test_a_series_that_spikes_by_nature_raises_its_own_limit() -> None:
    draw = random.Random(2)
    spiky = [10 + draw.random() + (40 + 20 * draw.random() if i % 37 == 5 else 0) for i in range(2000)]
    onsets = [signal for signal in jumps(spiky, step=FIVE_MINUTES) if not signal.details["is_over"]]
    late = [signal for signal in onsets if signal.window_end > at(FIVE_MINUTES * 400)]
    assert len(onsets) >= 1, "the first one is news"
    assert len(late) <= 2
    assert shapes(jumps([*spiky, 4000.0], step=FIVE_MINUTES))[-1] == ("spike", False)


def daily(days: int, draw: random.Random) -> list[float]:
    """A point every half hour: busy at noon, quiet at night."""
    return [100 + 80 * math.sin(i / 48 * 2 * math.pi) + draw.gauss(0, 3) for i in range(48 * days)]


def test_a_season_that_is_known_is_no_jump_and_its_absence_is_one() -> None:
    draw = random.Random(3)
    usual = daily(12, draw)
    known = [signal for signal in jumps(usual, step=1800.0) if signal.window_end > at(1800.0 * 48 * 6)]
    assert known == []
    at_noon = len(usual) - 36  # the last peak of the day
    assert usual[at_noon] == pytest.approx(180, abs=15)
    without = [*usual[: at_noon - 2], *[100.0] * 6]
    assert shapes(jumps(without, step=1800.0))[-1] == ("drop", False)


@pytest.mark.parametrize(("name", "value", "fires"), [
    ("latency_p95", 30.0, True), ("latency_p95", 1.0, False), ("availability", 1.0, True), ("availability", 30.0, False),
    ("db.connections", 30.0, True), ("db.connections", 1.0, True),
])  # fmt: skip
def test_the_good_direction_is_no_symptom(name: str, value: float, fires: bool) -> None:
    assert bool(jumps([*STEADY, value, value], metric=name)) is fires


@pytest.mark.parametrize(("metric_name", "unit", "kind"), [
    ("http.latency_p95_ms", "ms", (LOG, 1)), ("availability", "%", (SHARE, 1)), ("login.success_rate", None, (SHARE, 1)),
    ("nodes_ready", None, (PLAIN, -1)), ("http.errors", None, (PLAIN, 1)), ("memory.bytes", "By", (PLAIN, 0)),
    ("machine_temperature_system_failure", None, (PLAIN, 0)), ("node_failure_total", None, (PLAIN, 1)),
    ("HTTPErrorCount", None, (PLAIN, 1)), ("flags_enabled", None, (PLAIN, 0)), ("already_seen", None, (PLAIN, 0)),
    ("replicas-unavailable", None, (PLAIN, 1)), ("ResponseTime", "s", (LOG, 1)), ("kafka/consumer/lag", None, (PLAIN, 1)),
    ("room_temperature", None, (PLAIN, 0)),
])  # fmt: skip
def test_what_a_metric_is_decides_scale_and_side(metric_name: str, unit: str | None, kind: tuple[int, int]) -> None:
    assert kind_of_metric(metric_name, unit) == kind


def test_a_success_rate_is_judged_by_what_fails() -> None:
    good = [100.0, 99.99, 100.0, 99.98] * 8
    (found,) = jumps([*good, 97.0, 97.0], metric="availability", unit="%")
    assert shapes([found]) == [("drop", False)]
    assert "fell to 97 %, usually 100 %" in found.summary
    poor = [94.0, 96.0, 93.0, 97.0] * 8
    assert jumps([*poor, 92.0, 92.0], metric="availability", unit="%") == []


def test_a_cumulative_series_is_judged_by_its_rate_across_resets() -> None:
    steady = [100.0 * i for i in range(40)]
    assert jumps([*steady, 0.0, 100.0, 200.0], kind="cumulative") == []
    assert len(jumps([*steady, 9900.0, 19900.0], kind="cumulative")) == 1


def test_what_is_remembered_of_a_series_has_a_bound() -> None:
    assert metric_jump.fresh().series.bytes_per_slot <= 1_750


def lines(draw: random.Random) -> list[dict[str, Any]]:
    """Six series of different spacing and kind, each with something wrong in the middle; three fall silent in it."""
    rows = []
    holes = {0: (0.55, 0.75), 1: (0.55, 2.0), 3: (0.55, 0.58 + 0.3 * draw.random())}  # back to normal, never, by chance
    for number, step in enumerate((5.0, 15.0, 15.0, 60.0, 7.0, 300.0)):
        resource = f"prod/shop/deployment/d{number}"
        for i in range(int(3600 / step)):
            value = 50 + draw.gauss(0, 2) + (90 if 0.5 < i * step / 3600 < 0.6 else 0)
            first, last = holes.get(number, (2.0, 2.0))
            if first < i * step / 3600 < last:
                continue
            name, kind = ("calls_total", "cumulative") if number == 2 else ("latency", "gauge")
            rows.append(metric(step * i, value * (i if number == 2 else 1), resource=resource, metric=name, kind=kind))
    return sorted(rows, key=lambda row: (row["event_time"], row["resource"]))


@settings(max_examples=6, deadline=None)  # three hours of panes in each: most cuts and holes meet in one
@given(st.integers(0, 1000), st.lists(st.integers(1, 700), max_size=12))
def test_neither_batches_nor_a_restart_in_between_matter(seed: int, cuts: list[int]) -> None:
    rows = closed_rows(frame("metric_point", lines(random.Random(seed))))
    whole = metric_jump.detect(Rows(rows, PANE), metric_jump.fresh(), Limits())
    panes = rows["pane"].unique().sort().to_list()
    places = sorted({0, len(panes), *(cut for cut in cuts if cut < len(panes))})
    memory, found = metric_jump.fresh(), []
    for first, last in zip(places, places[1:], strict=False):
        part = rows.filter(rows["pane"].is_in(panes[first:last]))
        found += metric_jump.detect(Rows(part, PANE), memory, Limits())
        memory = restarted(memory)
    in_order = [signal.signal_id for signal in sorted(whole, key=lambda s: (s.window_end, s.signal_id))]
    assert whole
    assert [signal.signal_id for signal in sorted(found, key=lambda s: (s.window_end, s.signal_id))] == in_order
    assert {signal.summary for signal in found} == {signal.summary for signal in whole}


def restarted(memory: SeriesMemory) -> SeriesMemory:
    again = metric_jump.fresh()
    again.restore(decode(encode(memory.saved(), {}), {}))
    return again


def onsets(values: Sequence[float], **fields: Any) -> list[Signal]:
    return [signal for signal in jumps(values, step=FIVE_MINUTES, **fields) if not signal.details["is_over"]]


def test_a_height_that_was_reached_twice_is_no_news_the_third_time_unless_it_is_exceeded() -> None:
    spikes = [*STEADY, 50.0, *STEADY, 50.0, *STEADY]
    assert len(onsets(spikes)) == 2
    assert len(onsets([*spikes, 50.0])) == 2
    assert len(onsets([*spikes, 70.0])) == 3


def test_harm_that_lasts_is_news_again_on_the_same_day_and_work_is_not() -> None:
    outages = [*STEADY, *[50.0] * 3, *STEADY, *[50.0] * 3, *STEADY, *[50.0] * 3]
    assert len(onsets(outages, metric="http.latency_ms", unit="ms")) == 3
    assert len(onsets(outages, metric="disk.writes")) == 2


def test_falling_back_to_where_a_bursty_series_rests_is_no_drop() -> None:
    draw = random.Random(4)
    busy = [0.0 if i // 30 % 3 else 100 * draw.random() for i in range(2000)]
    assert [signal.type for signal in onsets(busy) if signal.type == "symptom.drop"] == []


CART = "prod/shop/deployment/cart"
OTHER = [metric(15.0 * i, 10.0 + i % 2, metric="heap", resource="prod/shop/deployment/pay") for i in range(400)]


def points(values: Sequence[float | None], step: float = 15.0) -> list[dict[str, Any]]:
    return [metric(step * i, v, metric="errors", resource=CART) for i, v in enumerate(values) if v is not None]


def told(values: Sequence[float | None]) -> list[Signal]:
    """What is said of a series beside another that goes on: time goes by."""
    rows = sorted([*points(values), *OTHER], key=lambda row: row["event_time"])
    return run_detector(metric_jump, [closed_rows(frame("metric_point", rows))])


def test_a_series_that_falls_silent_while_it_is_off_is_said_to_be_and_that_is_no_all_clear() -> None:
    opened, silent = told([*STEADY, *[50.0] * 4])
    last = at(15 * (len(STEADY) + 3))
    assert (opened.type, silent.type) == ("symptom.spike", "symptom.silent")
    assert silent.window_start == last
    assert last + 300 * MICROS <= silent.window_end <= last + 320 * MICROS
    assert silent.details["is_silent"]
    assert "was off when it sent its last point" in silent.summary


def test_a_series_that_is_well_may_fall_silent_and_one_that_is_slow_has_its_time() -> None:
    assert told([*STEADY, *[50.0] * 4, *STEADY[:4]])[2:] == []
    assert [signal.type for signal in told([*STEADY, *[50.0] * 4, *[None] * 18, *[50.0] * 4])] == [
        "symptom.spike", "symptom.silent",
    ]  # fmt: skip
    for late, said in ((9, ["symptom.spike"]), (11, ["symptom.spike", "symptom.silent"])):
        slow = points([*STEADY, 50.0], step=FIVE_MINUTES)
        slow.append(metric(FIVE_MINUTES * (len(STEADY) + late), 1.0, metric="heap"))
        assert [signal.type for signal in run_detector(metric_jump, [closed_rows(frame("metric_point", slow))])] == said


def test_what_speaks_again_is_still_off_or_is_back() -> None:
    gone = [*STEADY, *[50.0] * 4, *[None] * 30]
    off = told([*gone, 50.0, 50.0])
    assert [signal.type.removeprefix("symptom.") for signal in off[:3]] == ["spike", "silent", "spike"]
    assert "is heard of again, at 50" in off[2].summary
    assert not off[2].details["is_over"]
    back = told([*gone, *STEADY])
    assert shapes([back[0], back[2]]) == [("spike", False), ("spike", True)]
    assert back[2].summary.endswith("is back to 10.2")
