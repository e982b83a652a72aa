"""What is usual for a series of numbers: its level, its season, its spread, and how far it strays by nature.

Three forecasts of the next point compete: the median of the last points, the same hour of other days, the same hour of
the week. A season counts once it has been tried for a day, and a forecast is credible while its error is not twice that
of the best. A point is off by its distance to the nearest credible one: what one of them explains is no surprise. That
is compared with the spread of what is usually left over.

How far is too far is learned too: a height that a series has reached twice before, by itself, is in its nature, and a
point must be a quarter beyond it. Four heights each way are kept and fade over weeks, so what spikes every day or week
is told at first and then no more. Where a side is harm to users, peaks of several points within a day count as one:
three outages of one day are no habit.

Everything is columns, a row a series; a call takes at most one point of each series, so batches cannot matter. Judge
first (`expect`, `judge`), learn after (`learn`), and learn nothing but the peaks while an anomaly is open.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.sessions import Columns, Slots, Times
from schemas.times import MICROS, MINUTE

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

HOUR = 60 * MINUTE
POINTS = 60  # of the level; and an anomaly that lasts as long is the usual level from then on
ENOUGH = 12  # points before anything is judged
RUNS = (1, 2, 4)  # a point by itself, and the means of two and of four: a shift too small to show in one point
PEAK = 4.0  # spreads: a peak begins here, and an anomaly is over below
LEAST_LIMIT = 5.0  # spreads: never beyond below this
PEAKS = 4  # heights that are kept, the greatest, each way
BY_NATURE = 2  # a height reached so often before is in the nature of the series
LEAST_OF_PEAKS = 0.01  # of that height: what is less is no spread
AS_RIGHT = 2.0  # times the error of the best forecast: another one is as credible
HIGHER = 1.25  # of the height it has by nature
FADES_OVER = 42 * 24 * HOUR  # to a third, so that what comes once a week stays known
APART = 24 * HOUR  # harm is in the nature of a series only where it is seen on different days
SLOWLY = 288.0  # points: over which spread and errors are learned
CLIP = 3.5  # a point moves spread, errors and season by no more than so many spreads
CALM_ENDS_PEAK = 6  # points
DAYS, WEEKS = 5.0, 3.0  # over which the hours of a day and of a week are learned

SERIES: dict[str, tuple[str, int]] = {
    "seen": ("int32", 0),  # points learned
    "held": ("int32", 0),  # points in `usual`, ever
    "last_time": ("int64", 0),
    "spacing": ("float32", 0),  # microseconds between points
    "usual": ("float32", POINTS),
    "latest": ("float32", POINTS),  # the last points whatever they were: what a lasting new level is learned from
    "day": ("float32", 24),
    "day_seen": ("uint8", 24),
    "week": ("float32", 168),
    "week_seen": ("uint8", 168),
    "error": ("float32", 3),  # of the three forecasts
    "error_seen": ("int32", 3),
    "left": ("float32", RUNS[-1]),  # what the forecast left over, newest first
    "spread": ("float32", len(RUNS)),
    "heights": ("float32", len(RUNS) * 2 * PEAKS),  # of the greatest peaks before, up and down
    "newest": ("uint8", len(RUNS) * 2),  # the place in `heights` of the entry begun last
    "newest_at": ("int64", len(RUNS) * 2),  # and when that was
    "peak": ("float32", len(RUNS)),  # height of the peak at hand
    "told": ("uint8", 0),  # whether there was an onset in the peaks at hand
    "peak_calm": ("uint8", len(RUNS)),
    "peak_over": ("uint8", len(RUNS)),  # its points beyond
    "peak_long": ("uint8", len(RUNS)),
}


@dataclass(frozen=True, slots=True)
class Expected:
    """The forecast for one point of each of these series. All arrays have their length."""

    parts: Floats  # the three forecasts, by forecast and series; nan where one has none
    is_credible: Bools  # those that have been right
    best: Slots  # which has been right most
    level: Floats
    floor: Floats  # least spread
    is_ready: Bools

    @property
    def forecast(self) -> Floats:
        """The one to show to people."""
        return np.asarray(self.parts[self.best, np.arange(self.best.size)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far the points are off. scores and limits: in spreads, by run."""

    left: Floats
    means: Floats
    scores: Floats
    limits: Floats
    is_known: Bools  # hardly higher than the peak at hand that was told of already

    @property
    def is_beyond(self) -> Bools:
        """By run and series."""
        return self.scores > self.limits


def expect(series: Columns, slots: Slots, at: Times, least_share: Floats, least: Floats) -> Expected:
    """The forecasts for these moments. The spread is at least `least_share` of the level and at least `least`."""
    held = np.minimum(series["held"][slots], POINTS)
    usual = series["usual"][slots].astype(np.float64)
    level = _median(usual, held)
    parts = np.array([level, _hour(series, "day", slots, at), _hour(series, "week", slots, at)])
    spacing = np.maximum(series["spacing"][slots].astype(np.float64), 1.0)
    seen = series["error_seen"][slots].T
    is_proven = ~np.isnan(parts) & (seen >= np.maximum(ENOUGH, 24 * HOUR / spacing))
    is_proven[0] = True
    error = np.where(is_proven, series["error"][slots].astype(np.float64).T, np.inf)
    best = error.min(axis=0)
    is_credible = error <= AS_RIGHT * best
    floor = np.maximum(least_share * np.abs(level), np.maximum(least, 1e-9))
    up = np.ones(slots.size)
    by_nature = np.maximum(_by_nature(series, slots, 0, up), _by_nature(series, slots, 0, -up))
    floor = np.maximum(floor, LEAST_OF_PEAKS * by_nature)
    return Expected(parts, is_credible, error.argmin(axis=0), level, floor, series["seen"][slots] >= ENOUGH)


def judge(series: Columns, slots: Slots, values: Floats, expected: Expected, side: Floats) -> Verdict:
    """How far these points are off, on the side that matters (1 above, -1 below, 0 both)."""
    left = _left(values, expected)
    before = series["left"][slots].astype(np.float64)
    means = _means(left, before)
    spread = np.maximum(1.2533 * series["spread"][slots].astype(np.float64).T, expected.floor)
    scores = np.zeros((len(RUNS), slots.size))
    limits = np.zeros((len(RUNS), slots.size))
    is_known = np.zeros((len(RUNS), slots.size), dtype=bool)
    for run, mean in enumerate(means):
        off = np.where(side == 0, np.abs(mean), np.maximum(side * mean, 0.0))
        scores[run] = np.where(expected.is_ready, off / spread[run], 0.0)
        limits[run] = np.maximum(LEAST_LIMIT, HIGHER * _by_nature(series, slots, run, np.sign(mean)) / spread[run])
        peak = series["peak"][slots, run].astype(np.float64) * np.sign(mean)
        is_known[run] = (side == 0) & (series["told"][slots] > 0) & (off < HIGHER * peak)
    return Verdict(left, means, scores, limits, is_known)


def _means(left: Floats, before: Floats) -> Floats:
    """By run: the mean of this point and those before it."""
    together = np.cumsum(np.column_stack([left, before[:, : RUNS[-1] - 1]]), axis=1)
    return np.array([together[:, run - 1] / run for run in RUNS])


def since(series: Columns, slots: Slots, verdict: Verdict, run: Slots) -> Slots:
    """How many points ago the run began to be off: the first that bears half of its mean.

    The mean of four is beyond as soon as the last one is far enough off, and then nothing was wrong before.
    """
    together = np.column_stack([verdict.left, series["left"][slots, : RUNS[-1] - 1].astype(np.float64)])
    mean = verdict.means[run, np.arange(slots.size)][:, None]
    bears = (together * np.sign(mean) >= np.abs(mean) / 2) & (np.arange(RUNS[-1]) < np.array(RUNS)[run][:, None])
    return np.asarray(RUNS[-1] - 1 - bears[:, ::-1].argmax(axis=1), dtype=np.int64)


def _left(values: Floats, expected: Expected) -> Floats:
    """What the nearest of the credible forecasts leaves over; nothing where the value lies between two of them."""
    left = np.where(expected.is_credible, values - expected.parts, np.nan)
    least, most = np.nanmin(left, axis=0), np.nanmax(left, axis=0)
    return np.asarray(np.where(least > 0, least, np.where(most < 0, most, 0.0)))


def _by_nature(series: Columns, slots: Slots, run: int, sign: Floats) -> Floats:
    """The height on this side that earlier peaks have reached BY_NATURE times."""
    places = (2 * run + (sign < 0)) * PEAKS
    heights = series["heights"][slots[:, None], places[:, None] + np.arange(PEAKS)].astype(np.float64)
    return np.partition(heights, PEAKS - BY_NATURE, axis=1)[:, PEAKS - BY_NATURE]


def learn(
    series: Columns,
    slots: Slots,
    at: Times,
    values: Floats,
    expected: Expected,
    verdict: Verdict,
    calm: Bools,
    is_harm: Bools,
) -> None:
    """Learn these points: the peaks and the latest from all of them, the rest only where `calm`."""
    series["left"][slots, 1:] = series["left"][slots, :-1]
    series["left"][slots, 0] = verdict.left
    _learn_peaks(series, slots, at, verdict, is_harm)
    seen = series["seen"][slots]
    series["latest"][slots, seen % POINTS] = values
    series["seen"][slots] = seen + 1
    last = series["last_time"][slots]
    gap = (at - last).astype(np.float64)
    rate = np.where(seen > 1, 0.1, 1.0)
    known = series["spacing"][slots].astype(np.float64)
    gap = np.where(seen > 1, np.minimum(gap, 3 * known), gap)  # a hole in the series is no spacing
    series["spacing"][slots] = np.where(seen > 0, known + rate * (gap - known), 0.0)
    series["last_time"][slots] = at
    _learn_calm(series, slots[calm], at[calm], values[calm], expected, verdict, calm)


def settle(series: Columns, slots: Slots) -> None:
    """An anomaly is over: its points are no part of the means to come."""
    series["left"][slots] = 0.0


def take_level(series: Columns, slots: Slots) -> None:
    """The latest points are the usual ones from now on: the new level has lasted."""
    series["usual"][slots] = series["latest"][slots]
    series["held"][slots] = np.minimum(series["seen"][slots], POINTS)
    series["left"][slots] = 0.0


def _learn_calm(
    series: Columns, slots: Slots, at: Times, values: Floats, expected: Expected, verdict: Verdict, calm: Bools
) -> None:
    held = series["held"][slots]
    series["usual"][slots, held % POINTS] = values
    series["held"][slots] = held + 1
    learned = series["error_seen"][slots, 0]
    rate = np.maximum(1 / SLOWLY, 1 / (learned + 1.0))
    spread = series["spread"][slots].astype(np.float64)
    is_known = learned > ENOUGH
    for run, mean in enumerate(np.abs(verdict.means[:, calm])):
        most = np.where(is_known, CLIP * spread[:, run] + expected.floor[calm], np.inf)
        series["spread"][slots, run] = spread[:, run] + rate * (np.minimum(mean, most) - spread[:, run])
    most = np.where(is_known, 2 * CLIP * spread[:, 0] + expected.floor[calm], np.inf)
    for number, part in enumerate(expected.parts):
        forecast = part[calm]
        has = ~np.isnan(forecast)
        if number == 0:
            has &= held > 0
        count = series["error_seen"][slots, number]
        error = series["error"][slots, number].astype(np.float64)
        off = np.minimum(np.abs(values - np.where(has, forecast, values)), most)
        step = np.maximum(1 / SLOWLY, 1 / (count + 1.0))
        series["error"][slots, number] = np.where(has, error + step * (off - error), error)
        series["error_seen"][slots, number] = np.where(number == 0, count + 1, count + has)
    an_hour = np.minimum(1.0, series["spacing"][slots].astype(np.float64) / HOUR)  # of an hour, a point
    for name, hours, lasts in (("day", 24, DAYS), ("week", 168, WEEKS)):
        place = (at // HOUR % hours).astype(np.int64)
        count = series[f"{name}_seen"][slots, place]
        known = series[name][slots, place].astype(np.float64)
        step = np.maximum(1 / (count + 1.0), an_hour / lasts)
        off = np.clip(values - known, -most, most)
        series[name][slots, place] = np.where(count > 0, known + step * off, values)
        series[f"{name}_seen"][slots, place] = np.minimum(count.astype(np.int64) + 1, 255)


def _learn_peaks(series: Columns, slots: Slots, at: Times, verdict: Verdict, is_harm: Bools) -> None:
    """A peak ends after six points below, or when it has lasted; its height is learned then."""
    gone = np.maximum(at - series["last_time"][slots], 0)
    fades = np.exp(-np.where(series["seen"][slots] > 0, gone, 0) / FADES_OVER)
    series["heights"][slots] *= fades[:, None].astype(np.float32)
    for run in range(len(RUNS)):
        height = verdict.means[run]
        peak = series["peak"][slots, run].astype(np.float64)
        is_over = verdict.scores[run] > PEAK
        calm = np.where(is_over, 0, series["peak_calm"][slots, run].astype(np.int64) + 1)
        long = np.where(peak != 0, series["peak_long"][slots, run].astype(np.int64) + 1, 0)
        peak = np.where(is_over & (np.abs(height) > np.abs(peak)), height, peak)
        ends = (peak != 0) & ((calm >= CALM_ENDS_PEAK) | (long >= POINTS))
        over = np.where(is_over, series["peak_over"][slots, run].astype(np.int64) + 1, series["peak_over"][slots, run])
        is_lasting = is_harm & (over > RUNS[run])
        _keep_height(series, slots[ends], run, at[ends], peak[ends], is_lasting[ends])
        series["peak_over"][slots, run] = np.where(ends, 0, np.minimum(over, 255))
        series["peak"][slots, run] = np.where(ends, 0.0, peak)
        series["peak_calm"][slots, run] = np.minimum(calm, 255)
        series["peak_long"][slots, run] = np.where(ends, 0, np.minimum(long, 255))

    series["told"][slots] *= (series["peak"][slots] != 0).any(axis=1)


def _keep_height(series: Columns, slots: Slots, run: int, at: Times, peak: Floats, is_lasting: Bools) -> None:
    """Harm within a day of the entry before is one with it: the higher stays."""
    way = 2 * run + (peak < 0)
    height = np.abs(peak)
    places = way[:, None] * PEAKS + np.arange(PEAKS)
    kept = series["heights"][slots[:, None], places].astype(np.float64)
    joins = is_lasting & (at - series["newest_at"][slots, way] < APART)
    chosen = np.where(joins, series["newest"][slots, way].astype(np.int64), kept.argmin(axis=1))
    is_greater = height > kept[np.arange(slots.size), chosen]
    slots, way, chosen, height, at = (part[is_greater] for part in (slots, way, chosen, height, at))
    begins = ~joins[is_greater]
    series["heights"][slots, way * PEAKS + chosen] = height
    series["newest"][slots[begins], way[begins]] = chosen[begins]
    series["newest_at"][slots[begins], way[begins]] = at[begins]


def _median(values: Floats, held: Slots) -> Floats:
    """The median of the first `held` values of each row; 0 where there are none."""
    ordered = np.where(np.arange(values.shape[1]) < held[:, None], values, np.inf)
    ordered.sort(axis=1)
    rows, last = np.arange(held.size), np.maximum(held, 1)
    found = (ordered[rows, (last - 1) // 2] + ordered[rows, last // 2]) / 2
    return np.where(held > 0, found, 0.0)


def _hour(series: Columns, name: str, slots: Slots, at: Times) -> Floats:
    """What the profile says of these moments, between the middles of two hours; nan where it says nothing."""
    hours = series.shapes[name][1]
    since = at - HOUR // 2
    first = since // HOUR
    part = (since - first * HOUR) / HOUR
    here, there = (first % hours).astype(np.int64), ((first + 1) % hours).astype(np.int64)
    has_here, has_there = series[f"{name}_seen"][slots, here] > 0, series[f"{name}_seen"][slots, there] > 0
    one, two = series[name][slots, here].astype(np.float64), series[name][slots, there].astype(np.float64)
    both = one * (1 - part) + two * part
    found = np.where(has_here, np.where(has_there, both, one), np.where(has_there, two, np.nan))
    return np.asarray(found, dtype=np.float64)


def spacing_seconds(series: Columns, slot: int) -> float:
    """Seconds between the points of one series."""
    return float(series["spacing"][slot]) / MICROS
