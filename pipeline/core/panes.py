"""Panes and the watermark of one source partition: which rows are late, and which panes are complete.

The log decides, never a clock: the watermark is the newest append time (`ingest_time`, a running maximum) minus the
lateness. A row's own append time counts: first it closes panes, then the row is judged, record by record and never by
batch. So any split of a partition into batches gives the same panes; the tests hold that.

One value a run: `TimeRules`. All times are integer microseconds UTC; a pane is named by its start, included, and ends
`pane` later, excluded. What is compared row by row are numpy columns: a call on 3,000 numbers costs a few
microseconds there, ten times less than a frame's expression.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from schemas.signals import compact_json
from schemas.times import MICROS

NEVER = -(2**62)
Times = np.ndarray[tuple[int], np.dtype[np.int64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

KEYS = {
    "agent_span": ("tenant", "trace_id", "span_id"),
    "metric_point": ("tenant", "resource", "metric", "labels", "event_time"),
    "cluster_event": ("tenant", "event_id"),
}
ORDER = {
    "agent_span": ("event_time", "start_time", "step", "tenant", "trace_id", "span_id"),
    "metric_point": ("event_time", "tenant", "resource", "metric", "labels"),
    "cluster_event": ("event_time", "tenant", "event_id"),
}
PLACE = ("topic", "partition", "offset", "ingest_time", "pane")  # where a row came from, not what it says


@dataclass(frozen=True, slots=True)
class TimeRules:
    """Lengths of time that hold for a whole set of topics, in microseconds."""

    lateness: int = 10 * MICROS
    pane: int = 5 * MICROS
    skew: int = 60 * MICROS  # a row further ahead of its append time than this counts as late

    def pane_of(self, moment: int) -> int:
        """Start of the pane that holds this moment."""
        return moment // self.pane * self.pane

    def since_end(self, now: int) -> int:
        """How long ago the newest pane that is complete by now became so, where append times are as the clock is."""
        return (now - self.lateness) % self.pane


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows of a batch with the verdict on each.

    pane: where it belongs. late: its pane was closed, or it is far ahead. carried: late, and evidence for the first
    pane still open at its offset (`open_pane`); a row far ahead is not carried.
    """

    frame: pl.DataFrame
    pane: Times
    late: Mask
    carried: Mask
    open_pane: Times

    @property
    def is_late(self) -> pl.Series:
        """For each row whether it was late."""
        return pl.Series("is_late", self.late)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of closed panes: a frame with a column `pane`, equal keys folded, and the place in it of each row in order.

    The order is by pane and then as DESIGN section 3 says.
    """

    frame: pl.DataFrame
    order: Times

    @property
    def rows(self) -> pl.DataFrame:
        """The frame put in order."""
        return self.frame[self.order]


@dataclass(frozen=True, slots=True)
class Closed:
    """What one batch closed.

    on_time: the rows of the closed panes. carried: late rows that travel with a closed pane (column `pane`), as
    evidence. upto: start of the last closed pane (NEVER where none is closed yet); every pane up to it is complete.
    """

    on_time: Part
    carried: Part
    upto: int

    @property
    def rows(self) -> pl.DataFrame:
        """The on-time rows in order."""
        return self.on_time.rows

    @property
    def late(self) -> pl.DataFrame:
        """The carried rows in order."""
        return self.carried.rows


@dataclass(slots=True)
class Lateness:
    """The running watermark of a partition and the verdict on each row. Used alone by archive, and with Panes."""

    rules: TimeRules = field(default_factory=TimeRules)
    newest: int = NEVER  # newest append time seen

    @property
    def watermark(self) -> int:
        """Panes that end at or before this moment are complete."""
        return self.newest - self.rules.lateness if self.newest > NEVER else NEVER

    def judge(self, frame: pl.DataFrame, newest: int) -> Judged:
        """Judge the rows of a batch. `newest` is the append time at its end, records without a row included."""
        rules = self.rules
        event_time = frame["event_time"].to_numpy()
        at = np.maximum(frame["ingest_time"].to_numpy(), self.newest)
        pane = event_time // rules.pane * rules.pane
        ahead = event_time > at + rules.skew
        closed = pane + rules.pane <= at - rules.lateness
        if newest > 0:  # an empty batch has no append time
            self.newest = max(self.newest, newest)
        open_pane = (at - rules.lateness) // rules.pane * rules.pane
        return Judged(frame, pane, closed | ahead, closed & ~ahead, open_pane)


class Panes:
    """The open panes of one source partition."""

    def __init__(self, record: str, rules: TimeRules) -> None:
        self.record = record
        self.rules = rules
        self.lateness = Lateness(rules)
        self.closed_upto = NEVER
        self._open: list[tuple[pl.DataFrame, Times]] = []  # on time
        self._carried: list[tuple[pl.DataFrame, Times]] = []  # late, with the pane they travel with
        self._empty: pl.DataFrame | None = None

    def read(self, judged: Judged) -> Closed:
        """Take the rows of one batch (from `lateness.judge`) and hand out every pane that is now complete."""
        if self._empty is None:
            self._empty = judged.frame.clear().with_columns(pane=pl.lit(0, dtype=pl.Int64))
        if judged.late.any():
            self._keep(self._open, judged.frame, judged.pane, ~judged.late)
            self._keep(self._carried, judged.frame, judged.open_pane, judged.carried)
        elif judged.frame.height:
            self._open.append((judged.frame, judged.pane))
        end = self.rules.pane_of(self.lateness.watermark) if self.lateness.newest > NEVER else NEVER
        upto = end - self.rules.pane if end > NEVER else NEVER
        if upto <= self.closed_upto:
            return Closed(self._nothing(), self._nothing(), self.closed_upto)
        self.closed_upto = upto
        return Closed(self._take(self._open, upto), self._take(self._carried, upto), upto)

    def saved(self) -> Any:
        """The watermark and the rows that wait, for a snapshot."""
        return {
            "newest": self.lateness.newest,
            "closed_upto": self.closed_upto,
            "open": _together(self._open),
            "carried": _together(self._carried),
        }

    def restore(self, saved: Any) -> None:
        """The other way, into panes that have read nothing yet."""
        self.lateness.newest, self.closed_upto = saved["newest"], saved["closed_upto"]
        for held, found in ((self._open, saved["open"]), (self._carried, saved["carried"])):
            held[:] = [(found.drop("pane"), found["pane"].to_numpy())] if found is not None else []

    @staticmethod
    def _keep(held: list[tuple[pl.DataFrame, Times]], frame: pl.DataFrame, panes: Times, rows: Mask) -> None:
        if rows.any():
            held.append((frame.filter(pl.Series(rows)), panes[rows]))

    def _take(self, held: list[tuple[pl.DataFrame, Times]], upto: int) -> Part:
        """The rows of closed panes out of `held`, which keeps the rest."""
        done: list[tuple[pl.DataFrame, Times]] = []
        rest: list[tuple[pl.DataFrame, Times]] = []
        for frame, panes in held:
            if panes.max() <= upto:
                done.append((frame, panes))
            elif panes.min() > upto:
                rest.append((frame, panes))
            else:
                closed = panes <= upto
                self._keep(done, frame, panes, closed)
                self._keep(rest, frame, panes, ~closed)
        held[:] = rest
        if not done:
            return self._nothing()
        frame = pl.concat([part for part, _ in done], rechunk=True) if len(done) > 1 else done[0][0]
        panes = np.concatenate([panes for _, panes in done]) if len(done) > 1 else done[0][1]
        frame = frame.hstack([pl.Series("pane", panes)])
        frame = fold_equal_keys(frame, KEYS[self.record])
        return Part(frame, order_of(frame, ORDER[self.record]))

    def _nothing(self) -> Part:
        assert self._empty is not None  # set by the first read
        return Part(self._empty, np.zeros(0, dtype=np.int64))


def _together(held: list[tuple[pl.DataFrame, Times]]) -> pl.DataFrame | None:
    """Rows that wait, with their panes, as one frame; None where there are none."""
    if not held:
        return None
    return pl.concat([frame.with_columns(pl.Series("pane", panes)) for frame, panes in held])


def order_of(rows: pl.DataFrame, order: tuple[str, ...]) -> Times:
    """Places of the rows by event time and then by the rest of `order`; so also by pane, since panes are slices of it.

    Most rows have an event time of their own: only the others are compared by all columns.
    """
    times = rows["event_time"].to_numpy()
    by_time = np.argsort(times, kind="stable")
    same = np.flatnonzero(np.diff(times[by_time]) == 0)
    if same.size:
        tied = np.unique(np.concatenate([same, same + 1]))  # places in by_time
        among = rows.select(order)[by_time[tied]].with_columns(place=pl.Series(by_time[tied]))
        by_time[tied] = among.sort(order, maintain_order=True)["place"].to_numpy()
    return by_time


def fold_equal_keys(rows: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """One row a key and pane: of rows with equal keys the one with the greatest content hash stays.

    Only rows that share a key cost a content hash, and those are few: a message sent twice.
    """
    if rows.height < 2:
        return rows
    for names in (key[-1:], key[1:]):  # mostly an id tells every two rows apart; the tenant alone tells none
        if np.unique(hash_of(rows, names)).size == rows.height:
            return rows
    place = [*key, "pane"]
    is_double = rows.select(pl.struct(place).is_duplicated()).to_series()
    if not is_double.any():
        return rows  # different keys with one hash
    doubles = rows.filter(is_double)
    content = [name for name in rows.columns if name not in PLACE]
    hashes = [content_hash(row) for row in doubles.select(content).iter_rows()]
    kept = (
        doubles.with_columns(pl.Series("content_hash", hashes))
        .sort("content_hash", descending=True, maintain_order=True)
        .unique(place, keep="first", maintain_order=True)
        .drop("content_hash")
    )
    return pl.concat([rows.filter(~is_double), kept])


def hash_of(rows: pl.DataFrame, names: tuple[str, ...]) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """One 64-bit hash a row over these columns; equal in every process that has the same version of polars."""
    hashes = rows.select(pl.col(name).hash(7) for name in names)
    return mix([hashes[name].to_numpy() for name in names])


def mix(columns: "list[np.ndarray[Any, np.dtype[np.uint64]]]") -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """Several hash columns as one; the order of the columns counts."""
    mixed = columns[0].copy()
    for column in columns[1:]:
        mixed = (mixed * np.uint64(0x9E3779B97F4A7C15)) ^ (mixed >> np.uint64(29)) ^ column
    return mixed


def content_hash(values: tuple[object, ...]) -> str:
    """A hash of what a row says, equal in every process and version."""
    return hashlib.blake2b(compact_json(values).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
