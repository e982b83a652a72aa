"""The generated corpus through the backtest, and a score for each family, beside that of the naive rules.

An alarm is an incident, whatever its later revisions say. On a trajectory where something is wrong an alarm is right
when its kind is one of those that are right for it and it was detected after that had begun; every other alarm is
false, and on a healthy trajectory all are. A trajectory counts once. Each is a tenant of its own, all in one backtest.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any

from bench import naive
from pipeline.backtest import Backtest, Outcomes
from pipeline.core.limits import Limit, Limits, Match
from pipeline.correlation import correlator
from pipeline.files import BadLine, batches
from pipeline.operators.detect import DETECTORS
from schemas.errors import UsageError
from schemas.times import MICROS
from tests.corpus.truth import Event, Trajectory, Truth

PACKAGE = "pipeline.detectors."
BUCKET_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is said to be wrong, and when it was said."""

    kind: str
    at: int


@dataclass(slots=True)
class Verdict:
    """One trajectory: the first right alarm, and whether there was a false one."""

    truth: Truth
    right: Alarm | None
    false_kinds: frozenset[str]

    @property
    def delay(self) -> float | None:
        """Seconds from the fifth repetition, else from the beginning, to the right alarm."""
        since = self.truth.fifth_repetition_at or self.truth.begins_at
        return None if self.right is None or since is None else (self.right.at - since) / MICROS


@dataclass(slots=True)
class Score:
    """Counts of trajectories: found and missed among the wrong ones, and those with a false alarm."""

    positives: int = 0
    healthy: int = 0
    found: int = 0
    falsely: int = 0  # trajectories with a false alarm
    delays: list[float] = field(default_factory=list)
    oracle: list[float] = field(default_factory=list)

    @property
    def precision(self) -> float | None:
        """None where nothing was said."""
        return self.found / (self.found + self.falsely) if self.found + self.falsely else None

    @property
    def recall(self) -> float | None:
        """None where nothing is wrong."""
        return self.found / self.positives if self.positives else None

    @property
    def f1(self) -> float | None:
        """None where nothing is wrong."""
        wrong = self.falsely + self.positives - self.found
        return 2 * self.found / (2 * self.found + wrong) if self.positives else None

    @property
    def delay(self) -> float | None:
        """The median time to detect in seconds."""
        return median(self.delays) if self.delays else None


@dataclass(slots=True)
class Result:
    """Family or group -> score, of the detectors and of the naive rules."""

    ours: dict[str, Score]
    naive: dict[str, Score]
    groups: dict[str, Score]
    naive_groups: dict[str, Score]
    unknown_limits: list[str]
    verdicts: list[Verdict]
    events: int


@contextmanager
def switched_off(names: Sequence[str]) -> Iterator[None]:
    """Leave detectors out of every backtest that is made and run inside. Raises UsageError for one that is not there."""
    here = {name: value for name, value in vars(correlator).items() if _is_detector(value)}
    known = {_short(module) for modules in DETECTORS.values() for module in modules} | {*map(_short, here.values())}
    if unknown := set(names) - known:
        raise UsageError(f"no detector {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    before, from_usage = dict(DETECTORS), correlator.FROM_USAGE
    try:
        correlator.FROM_USAGE = tuple(module for module in from_usage if _short(module) not in names)
        for record, modules in before.items():
            DETECTORS[record] = tuple(module for module in modules if _short(module) not in names)
        for name, module in here.items():
            if _short(module) in names:
                silent = SimpleNamespace(**vars(module) | {"detect": lambda *_, **__: []})
                setattr(correlator, name, silent)
        yield
    finally:
        DETECTORS.update(before)
        correlator.FROM_USAGE = from_usage
        for name, module in here.items():
            setattr(correlator, name, module)


def _is_detector(value: Any) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(PACKAGE)


def _short(module: ModuleType) -> str:
    return module.__name__.removeprefix(PACKAGE)


def limits_of(trajectories: Iterable[Trajectory]) -> tuple[Limits, list[str]]:
    """The limits of all tenants together, as far as the engine knows them, and the names of those it does not."""
    entries, unknown = [], set[str]()
    for trajectory in trajectories:
        for entry in trajectory.limits:
            foreign = set(entry) - set(Limit.model_fields) | set(entry["match"]) - set(Match.model_fields)
            unknown |= foreign
            known = {name: value for name, value in entry.items() if name in Limit.model_fields}
            if len(known) > 1 and not foreign & set(entry["match"]):
                entries.append(Limit.model_validate(known))
    return Limits(version=1, limits=tuple(entries)), sorted(unknown)


def run(events: Iterable[Event], limits: Limits | None = None) -> Outcomes:
    """The events through a backtest, by way of a file, as a user's would go. Raises UsageError for a bad one."""
    with tempfile.TemporaryDirectory(prefix="aftermath-quality-") as folder:
        path = Path(folder) / "events.jsonl"
        with path.open("w") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        backtest, bad = Backtest(limits), list[BadLine]()
        for chunk in batches([path], bad.append):
            backtest.read(chunk)
        backtest.finish()
    if bad:
        raise UsageError(f"{len(bad)} events are none, the first: {bad[0].detail}; mend what makes them")
    return backtest.outcomes


def judge(trajectory: Trajectory, alarms: Iterable[Alarm]) -> Verdict:
    """What the alarms on this trajectory are worth."""
    truth = trajectory.truth
    right: list[Alarm] = []
    false_kinds = set[str]()
    for alarm in alarms:
        is_right = truth.begins_at is not None and alarm.kind in truth.kinds and alarm.at >= truth.begins_at
        if is_right:
            right.append(alarm)
        else:
            false_kinds.add(alarm.kind)
    return Verdict(truth, min(right, key=lambda alarm: alarm.at, default=None), frozenset(false_kinds))


def alarms_of(outcomes: Outcomes) -> dict[str, list[Alarm]]:
    """Tenant -> its incidents as alarms, withdrawn ones left out."""
    found: dict[str, list[Alarm]] = defaultdict(list)
    for incident in outcomes.incidents:
        if incident.status != "withdrawn":
            found[incident.tenant].append(Alarm(incident.kind, incident.detected_at))
    return found


def naive_alarms(trajectory: Trajectory) -> list[Alarm]:
    """What the naive rules say: loops of each run and agent, rates of calls and tokens of each agent at 60 s."""
    alarms = []
    for spans in naive.runs(trajectory.events).values():
        calls = [naive.call_of(span) for span in spans]
        alarms += [Alarm("feedback_loop", spans[place]["event_time"]) for place in naive.loops(calls)]
    for rates in naive.rate_alarms(trajectory.events, BUCKET_SECONDS).values():
        alarms += [Alarm("resource_exhaustion", at) for name in ("calls", "tokens") for at in rates[name]]
    return alarms


def by_family(verdicts: Iterable[Verdict]) -> dict[str, Score]:
    """Each family by itself: its false alarms are those on its own trajectories."""
    scores: dict[str, Score] = defaultdict(Score)
    for verdict in verdicts:
        score = scores[verdict.truth.family]
        _count(score, verdict)
        score.falsely += bool(verdict.false_kinds)
        score.healthy += not verdict.truth.is_positive
    return dict(scores)


def by_kind(verdicts: Sequence[Verdict]) -> dict[str, Score]:
    """Each kind of incident: its false alarms are those of this kind on any trajectory, the healthy ones among them.

    A family for which two kinds are right counts with the first.
    """
    scores: dict[str, Score] = defaultdict(Score)
    for verdict in verdicts:
        if verdict.truth.kinds:
            _count(scores[verdict.truth.kinds[0]], verdict)
        for kind in verdict.false_kinds:
            scores[kind].falsely += 1
    for score in scores.values():
        score.healthy = sum(not verdict.truth.is_positive for verdict in verdicts)
    return dict(scores)


def _count(score: Score, verdict: Verdict) -> None:
    score.positives += verdict.truth.is_positive
    if verdict.right is not None:
        score.found += 1
        score.delays += [] if verdict.delay is None else [verdict.delay]
    if verdict.truth.oracle_seconds is not None:
        score.oracle.append(verdict.truth.oracle_seconds)


def measure(trajectories: Sequence[Trajectory], off: Sequence[str] = ()) -> Result:
    """Run them all and judge them."""
    limits, unknown = limits_of(trajectories)
    with switched_off(off):
        outcomes = run((event for trajectory in trajectories for event in trajectory.events), limits)
    alarms = alarms_of(outcomes)
    ours = [judge(trajectory, alarms.get(trajectory.tenant, ())) for trajectory in trajectories]
    plain = [judge(trajectory, naive_alarms(trajectory)) for trajectory in trajectories]
    return Result(
        ours=by_family(ours),
        naive=by_family(plain),
        groups=by_kind(ours),
        naive_groups=by_kind(plain),
        unknown_limits=unknown,
        verdicts=ours,
        events=sum(len(trajectory.events) for trajectory in trajectories),
    )
