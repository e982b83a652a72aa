"""Metric jump: a metric of a resource leaves what is usual for it, and comes back, or stays and becomes the usual.

Usual, and how far from it is too far, is learned for each series (pipeline/core/series.py). One signal for each
anomaly, at its onset, and one when it is over; what is learned stands still in between, at most for 60 points: then the
new level is the usual one. An onset must hold for half a minute: two points at 15 seconds, one at five minutes. It is a
`spike` or a `drop` where a point by itself is beyond, a `level_shift` where only the mean of two or four is, or where
it stayed. Of a series that sends nothing any more while it is off `silent` is said: what is known of it ends there, and
that is no all-clear. When it speaks again and is still off, it is told anew.

What a metric is decides the scale it is judged on, and which side is bad (pipeline/core/scales.py). Cumulative counters
are judged by their rate; a reset gives none. Where one side is harm to users, the same harm again on the same day is no
habit of the series.

rows    MetricPoint rows of closed panes, ordered, with `pane`
memory  (tenant, resource, metric, labels) -> columns; 1.75 kB a series, of one that is off its names, too; leaves after
        48 h of silence
"""

from typing import Any

import numpy as np

from pipeline.core import series as learned
from pipeline.core.jumps import COLUMNS, Said, Silent, jump_signal, silent_signal
from pipeline.core.limits import Limits
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.scales import LEAST_SPREAD, SHARE, kind_of_metric, off_scale, on_scale
from pipeline.core.series import PEAK, POINTS, Bools, Floats
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots, Times
from schemas.signals import Signal
from schemas.times import MICROS, MINUTE

KEEP = 48 * 60 * MINUTE
HOLDS_FOR = 30 * MICROS
MOST_HOLDING = 4  # points of an onset, however close they are
CALM_ENDS = 2  # points in a row back at the usual level
RESTS_FOR = 3 * MINUTE  # after an end: a relapse before must hold longer to be told
SILENT_AFTER = 10.0  # of its points that did not come
LEAST_SILENCE, MOST_SILENCE = 5 * MINUTE, 24 * 60 * MINUTE

# of the anomaly at hand; `began` is of the first point beyond, also before it is an onset
ANOMALY: dict[str, tuple[str, int]] = {
    "previous": ("float64", 0),  # value of a cumulative series, at
    "previous_at": ("int64", 0),
    "beyond": ("uint8", 0),  # points in a row that are beyond
    "began": ("int64", 0),
    "is_open": ("uint8", 0),
    "direction": ("int8", 0),
    "calm": ("uint8", 0),
    "rests": ("uint8", 0),  # calm points to go after an end
    "long": ("uint8", 0),  # points since the onset
    "run": ("uint8", 0),  # the run of points that showed it; above 0 a shift
    "silent": ("uint8", 0),  # it was said that it sends nothing any more
}


class SeriesMemory:
    """What is remembered of every live series of a partition."""

    keep = KEEP

    def __init__(self) -> None:
        self.index = SessionIndex(KEEP)  # of series here
        self.series = Columns(**learned.SERIES, **ANOMALY)
        self.off: BySlot = BySlot()  # slot -> the row of COLUMNS that was said last of a series that is off
        self.index.attach(self.series)
        self.index.attach(self.off)
        self.kinds: dict[int, tuple[int, int]] = {}  # hash of metric and unit -> scale, side

    def __len__(self) -> int:
        return len(self.index)

    def expire(self, at: int) -> None:
        """Forget the series that were silent for KEEP."""
        self.index.expire(at)

    def saved(self) -> Any:
        """For a snapshot; what a metric's name means is found again."""
        return self.index.saved()

    def restore(self, saved: Any) -> None:
        """The other way."""
        self.index.restore(saved)


def fresh(_: SessionIndex | None = None) -> SeriesMemory:
    """An empty memory."""
    return SeriesMemory()


def detect(rows: Rows, memory: SeriesMemory, limits: Limits) -> list[Signal]:
    """Judge every point, then learn from it; changes `memory`."""
    if not len(rows):
        return []
    at, panes = rows.ints("event_time"), rows.ints("pane")
    all_panes = np.unique(panes)
    was_off = np.fromiter(sorted(memory.off), np.int64, len(memory.off))
    found: list[Said | Silent] = [*_fell_silent(memory.series, was_off, all_panes[:1])]
    named = {one.slot: memory.off[one.slot] for one in found}  # a slot may get another series now
    keys = mix([rows.hashes(name) for name in ("tenant", "resource", "metric", "labels")])
    slots = memory.index.slots(keys, at)
    scales, sides = _kinds(rows, memory)
    values = rows.floats("value")
    is_cumulative = rows.equals("kind", "cumulative")
    for places in _rounds(slots):
        points, moments = values[places], at[places]
        counted = is_cumulative[places]
        if counted.any():
            points = _rates(memory.series, slots[places], points, moments, counted)
            has_value = ~np.isnan(points)
            places, points, moments = places[has_value], points[has_value], moments[has_value]
        own = slots[places]
        found += _fell_silent(memory.series, own, all_panes, panes[places])
        found += _round(memory.series, places, own, moments, points, scales[places], sides[places])
    found += _fell_silent(memory.series, np.flatnonzero(memory.series["is_open"]), all_panes)
    return _signals(rows, found, named, memory, limits)


def _fell_silent(series: Columns, slots: Slots, panes: Times, upto: Times | None = None) -> list[Silent]:
    """Series that are off and sent nothing for too long by one of these panes, at the latest by the one in `upto`."""
    is_asked = (series["is_open"][slots] > 0) & (series["silent"][slots] == 0)
    slots = slots[is_asked]
    if not slots.size:
        return []
    last = series["last_time"][slots]
    spacing = series["spacing"][slots].astype(np.float64)
    wait = np.clip(SILENT_AFTER * spacing, LEAST_SILENCE, MOST_SILENCE).astype(np.int64)
    first = np.searchsorted(panes, last + wait)
    is_silent = first < panes.size
    shown = panes[np.minimum(first, panes.size - 1)]
    if upto is not None:
        is_silent &= shown <= upto[is_asked]
    series["silent"][slots[is_silent]] = 1
    chosen = zip(slots[is_silent].tolist(), last[is_silent].tolist(), shown[is_silent].tolist(), strict=True)
    return [Silent(*one) for one in chosen]


def _signals(
    rows: Rows, found: list[Said | Silent], named: dict[int, dict[str, Any]], memory: SeriesMemory, limits: Limits
) -> list[Signal]:
    said = [one for one in found if isinstance(one, Said)]
    shown = rows.take(np.array([one.place for one in said], dtype=np.int64), COLUMNS) if said else None
    content = iter(shown.iter_rows(named=True) if shown is not None else ())
    signals = []
    for one in found:
        if isinstance(one, Silent):
            row = named.pop(one.slot, None) or memory.off[one.slot]
            signals.append(silent_signal(row, one, rows.pane_size, limits))
            continue
        row = next(content)
        signals.append(jump_signal(row, one, rows.pane_size, limits))
        if one.said in ("opens", "speaks"):
            memory.off[one.slot] = row
        else:
            memory.off.pop(one.slot, None)
    return signals


def _rounds(slots: Slots) -> list[Slots]:
    """Places of the first row of every series, then of the second, and so on; the rows are in the order of time."""
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    is_first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(is_first)
    number = np.arange(slots.size) - np.repeat(starts, np.diff(np.r_[starts, slots.size]))
    by_number = np.argsort(number, kind="stable")
    cuts = np.cumsum(np.bincount(number))[:-1]
    return [np.sort(part) for part in np.split(order[by_number], cuts)]


def _kinds(rows: Rows, memory: SeriesMemory) -> tuple[Slots, Slots]:
    """The scale and the side that matters of each row's metric."""
    hashes = mix([rows.hashes("metric"), rows.hashes("unit")])
    known, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    new = [place for place, key in zip(first.tolist(), known.tolist(), strict=True) if key not in memory.kinds]
    if new:
        names = rows.take(np.array(new), ("metric", "unit"))
        for place, metric, unit in zip(new, names["metric"], names["unit"], strict=True):
            memory.kinds[int(hashes[place])] = kind_of_metric(metric, unit)
    kinds = np.array([memory.kinds[key] for key in known.tolist()], dtype=np.int64)
    return kinds[inverse, 0], kinds[inverse, 1]


def _rates(series: Columns, slots: Slots, values: Floats, at: Times, counted: Bools) -> Floats:
    """Cumulative values as their rate a second since the point before; nan at the first and after a reset."""
    before, before_at = series["previous"][slots], series["previous_at"][slots]
    has_rate = (before_at > 0) & (at > before_at) & (values >= before)
    elapsed = np.where(has_rate, at - before_at, MICROS) / MICROS
    rate = np.where(has_rate, (values - before) / elapsed, np.nan)
    series["previous"][slots[counted]] = values[counted]
    series["previous_at"][slots[counted]] = at[counted]
    return np.where(counted, rate, values)


def _round(
    series: Columns, places: Slots, slots: Slots, at: Times, values: Floats, scale: Slots, side: Slots
) -> list[Said]:
    """Judge and learn one point of each of these series."""
    points = on_scale(values, scale)
    least_share, least = LEAST_SPREAD[scale, 0], LEAST_SPREAD[scale, 1]
    expected = learned.expect(series, slots, at, least_share, least)
    verdict = learned.judge(series, slots, points, expected, side.astype(np.float64))
    was_open = series["is_open"][slots] > 0
    is_beyond = verdict.is_beyond
    is_beyond[1:] &= verdict.scores[0] > PEAK / 2  # not one wild point that a mean still holds
    sign = np.where(verdict.left >= 0, 1, -1)
    opens, run = _onsets(series, slots, at, is_beyond, verdict, sign)
    score = verdict.scores[series["run"][slots], np.arange(slots.size)]
    is_calm = was_open & ((score < PEAK) | (sign != series["direction"][slots]))
    long = series["long"][slots].astype(np.int64) + 1
    series["calm"][slots] = calm = np.where(is_calm, series["calm"][slots].astype(np.int64) + 1, 0)
    closes = was_open & (calm >= CALM_ENDS)
    stays = was_open & ~closes & (long >= POINTS)
    series["long"][slots] = np.where(opens, 1, np.where(was_open, long, 0))
    series["direction"][slots] = np.where(opens, sign, series["direction"][slots])
    series["run"][slots] = np.where(opens, run, series["run"][slots])
    speaks = (series["silent"][slots] > 0) & was_open & ~is_calm & ~stays
    series["silent"][slots] = 0
    series["told"][slots] |= opens
    series["is_open"][slots] = is_open = (was_open | opens) & ~closes & ~stays
    learned.learn(series, slots, at, points, expected, verdict, ~is_open & ~is_beyond[0] & ~stays, side != 0)
    rests = series["rests"][slots].astype(np.int64)
    series["rests"][slots] = np.where(
        closes,
        np.minimum(RESTS_FOR / np.maximum(series["spacing"][slots], 1.0), 255).astype(np.int64),
        np.maximum(0, rests - (score < PEAK)),
    )
    learned.settle(series, slots[closes])
    if stays.any():
        learned.take_level(series, slots[stays])
    said = []
    for number in np.flatnonzero(opens | closes | stays | speaks).tolist():
        slot, kind = int(slots[number]), int(scale[number])
        usual = float(expected.forecast[number])
        shown = int(run[number]) if opens[number] else 0
        said.append(
            Said(
                slot,
                int(places[number]),
                "opens" if opens[number] else "closes" if closes[number] else "stays" if stays[number] else "speaks",
                float(values[number]),
                off_scale(usual, kind, float(values[number])),
                float(verdict.scores[shown, number]),
                float(verdict.limits[shown, number]),
                int(series["direction"][slot]) * (-1 if kind == SHARE else 1),
                bool(series["run"][slot] > 0),
                int(series["began"][slot]),
                int(series["long"][slot]),
                learned.spacing_seconds(series, slot),
            )
        )
    return said


def _onsets(
    series: Columns, slots: Slots, at: Times, is_beyond: Bools, verdict: learned.Verdict, sign: Slots
) -> tuple[Bools, Slots]:
    """Where an anomaly begins, and the shortest run of points that shows it."""
    was_open, is_known = series["is_open"][slots] > 0, verdict.is_known
    by_itself = is_beyond[0]
    run = is_beyond.argmax(axis=0)
    spacing = np.maximum(series["spacing"][slots].astype(np.float64), 1.0)
    needed = np.clip(np.ceil(HOLDS_FOR / spacing), 1, MOST_HOLDING)
    before = series["beyond"][slots].astype(np.int64)
    goes_on = by_itself & (before > 0) & (sign == series["direction"][slots])
    beyond = np.where(by_itself & ~was_open, np.where(goes_on, before + 1, 1), 0)
    rests = series["rests"][slots].astype(np.int64)
    needed = np.where((rests > 0) | is_known[0], MOST_HOLDING, needed)
    is_shift = (run > 0) & ~was_open & (rests == 0) & ~is_known[run, np.arange(slots.size)]
    opens = (beyond >= needed) | is_shift
    ago = learned.since(series, slots, verdict, run) * spacing.astype(np.int64)
    began = np.where(is_shift, at - ago, np.where(beyond == 1, at, series["began"][slots]))
    series["began"][slots] = np.where(was_open, series["began"][slots], began)
    series["direction"][slots] = np.where(beyond > 0, sign, series["direction"][slots])
    series["beyond"][slots] = np.where(opens, 0, beyond)
    return opens, run
