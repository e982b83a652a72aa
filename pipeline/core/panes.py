"""Panes and the watermark of one source partition: which rows are late, and which panes are complete.

The log decides, never a clock: the watermark is the newest append time (`ingest_time`, a running maximum) minus the
lateness. A row's own append time counts: first it closes panes, then the row is judged, record by record and never by
batch. So any split of a partition into batches gives the same panes; the tests hold that.

One value a run: `TimeRules`. All times are integer microseconds UTC; a pane is named by its start, included, and ends
`pane` later, excluded.
"""

import hashlib
from dataclasses import dataclass, field

import polars as pl

from schemas.signals import compact_json
from schemas.times import MICROS

NEVER = -(2**62)

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
PLACE = (
    "topic",
    "partition",
    "offset",
    "ingest_time",
    "pane",
    "is_late",
)  # where a row came from, not what it says


@dataclass(frozen=True, slots=True)
class TimeRules:
    """Lengths of time that hold for a whole set of topics, in microseconds."""

    lateness: int = 10 * MICROS
    pane: int = 5 * MICROS
    skew: int = 60 * MICROS  # a row further ahead of its append time than this counts as late

    def pane_of(self, moment: int) -> int:
        """Start of the pane that holds this moment."""
        return moment // self.pane * self.pane


@dataclass(frozen=True, slots=True)
class Closed:
    """What one batch closed.

    rows: the on-time rows of the closed panes with a column `pane`, ordered by pane and then as DESIGN section 3
    says, equal keys folded. late: late rows that travel with a closed pane (column `pane`), as evidence.
    upto: start of the last closed pane (NEVER where none is closed yet); every pane up to it is complete.
    """

    rows: pl.DataFrame
    late: pl.DataFrame
    upto: int


@dataclass(slots=True)
class Lateness:
    """The running watermark of a partition and the verdict on each row. Used alone by archive, and inside Panes."""

    rules: TimeRules = field(default_factory=TimeRules)
    newest: int = NEVER  # newest append time seen

    @property
    def watermark(self) -> int:
        """Panes that end at or before this moment are complete."""
        return self.newest - self.rules.lateness if self.newest > NEVER else NEVER

    def judge(self, frame: pl.DataFrame, newest: int) -> pl.DataFrame:
        """The frame with `pane`, `is_late`, `is_ahead` and `open_pane` (the first pane still open at its offset).

        `newest` is the append time at the end of the batch, records without a row included.
        """
        rules = self.rules
        at = pl.max_horizontal(pl.col("ingest_time"), pl.lit(self.newest, dtype=pl.Int64))
        watermark = at - rules.lateness
        pane = pl.col("event_time") // rules.pane * rules.pane
        is_ahead = pl.col("event_time") > at + rules.skew
        judged = frame.with_columns(
            pane=pane,
            is_ahead=is_ahead,
            is_late=(pane + rules.pane <= watermark) | is_ahead,
            open_pane=watermark // rules.pane * rules.pane,
        )
        if newest > 0:  # an empty batch has no append time
            self.newest = max(self.newest, newest)
        return judged


class Panes:
    """The open panes of one source partition."""

    def __init__(self, record: str, rules: TimeRules) -> None:
        self.record = record
        self.rules = rules
        self.lateness = Lateness(rules)
        self.closed_upto = NEVER
        self._open: list[pl.DataFrame] = []

    def read(self, judged: pl.DataFrame) -> Closed:
        """Take the rows of one batch (from `lateness.judge`) and hand out every pane that is now complete."""
        if judged.height:
            carried = judged.filter("is_late", ~pl.col("is_ahead")).with_columns(pane=pl.col("open_pane"))
            on_time = judged.filter(~pl.col("is_late"))
            self._open += [part.drop("open_pane", "is_ahead") for part in (on_time, carried) if part.height]
        end = self.rules.pane_of(self.lateness.watermark) if self.lateness.newest > NEVER else NEVER
        upto = end - self.rules.pane if end > NEVER else NEVER
        if upto <= self.closed_upto:
            return Closed(judged.clear(), judged.clear(), self.closed_upto)
        self.closed_upto = upto
        if not self._open:
            return Closed(judged.clear(), judged.clear(), upto)
        rows = pl.concat(self._open) if len(self._open) > 1 else self._open[0]
        is_closed = pl.col("pane") <= upto
        rest = rows.filter(~is_closed)
        self._open = [rest] if rest.height else []
        done = rows.filter(is_closed)
        late = self._ordered(done.filter("is_late"))
        return Closed(self._ordered(done.filter(~pl.col("is_late"))), late, upto)

    def _ordered(self, rows: pl.DataFrame) -> pl.DataFrame:
        return fold_equal_keys(rows, KEYS[self.record]).sort("pane", *ORDER[self.record], maintain_order=True)


def fold_equal_keys(rows: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """One row a key and pane: of rows with equal keys the one with the greatest content hash stays.

    Only rows that share a key cost a hash, and those are few: a message sent twice.
    """
    if rows.height < 2:
        return rows
    place = [*key, "pane"]
    is_double = rows.select(pl.struct(place).is_duplicated()).to_series()
    if not is_double.any():
        return rows
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


def content_hash(values: tuple[object, ...]) -> str:
    """A hash of what a row says, equal in every process and version."""
    return hashlib.blake2b(compact_json(values).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
