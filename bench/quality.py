"""How good are the detectors? A table for the generated corpus, and one for the recorded sets with labels.

    python -m bench.quality [--seeds 100..104] [--data FOLDER] [--set SET] [--left-out FAMILY] [--off DETECTOR] [--json]

Thresholds are set on the seeds SETTING of tests/corpus/generate.py (`--seeds 0..4`), the table for others is printed on
REPORTING, which never overlap. The family left out is not told on setting seeds; on the others it is marked with *. With
--data the recorded sets are judged too; FOLDER holds them as bench/converters expects. Never pooled: one line a family,
one a kind of incident, one a measure of a set; each beside the naive rules (bench/naive.py) in the same run.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.quality_corpus import Result, Score, measure
from bench.quality_sets import SETS, Measure
from schemas.errors import AftermathError, UsageError
from tests.corpus.families import BY_NAME, FAMILIES
from tests.corpus.generate import LEFT_OUT, REPORTING, SETTING, corpus


def seeds_of(text: str) -> range:
    """`100..104`, both included. Raises UsageError where it is no range, or mixes setting with reporting."""
    first, _, last = text.partition("..")
    if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
        raise UsageError(f"--seeds {text}: write two numbers, the smaller one first, as in 100..104")
    found = range(int(first), int(last or first) + 1)
    in_setting = [seed in SETTING for seed in found]
    if any(in_setting) and not all(in_setting):
        raise UsageError(f"--seeds {text}: {SETTING[0]}..{SETTING[-1]} are for setting; print others by themselves")
    return found


def report(seeds: range, left_out: str | None, off: Sequence[str]) -> Result:
    """Tell the corpus of these seeds and measure it. Raises UsageError for a family or detector that is not there."""
    if left_out is not None and left_out not in BY_NAME:
        raise UsageError(f"no family {left_out}; there are {', '.join(BY_NAME)}")
    is_setting = seeds[0] in SETTING
    return measure(corpus(seeds, without=left_out if is_setting else None), off)


def print_corpus(result: Result, left_out: str | None) -> None:
    """Positives, healthy families, and the kinds of incident."""
    number = len(result.verdicts)
    print(f"Generated corpus: {number} trajectories, {result.events:,} events\n")
    if result.unknown_limits:
        print(f"Limits the engine does not know yet: {', '.join(result.unknown_limits)}\n")
    head = f"{'':<34}{'':>4}  {'precision':>9} {'recall':>6} {'F1':>5} {'seconds':>8} {'oracle':>7}"
    print(f"{head}   naive: {'precision':>9} {'recall':>6} {'F1':>5} {'seconds':>8}")
    for family in FAMILIES:
        score = result.ours.get(family.name)
        if family.is_positive and score is not None:
            name = family.name + ("*" if family.name == left_out else "")
            oracle = f"{median(score.oracle):7.0f}" if score.oracle else " " * 7
            plain = result.naive[family.name]
            print(f"{name:<34}{score.positives:>4}  {_line(score)} {oracle}          {_line(plain)}")
    print(f"\n{'by kind, healthy ones included':<34}")
    for kind in sorted(result.groups):
        plain = result.naive_groups.get(kind, Score())
        score = result.groups[kind]
        print(f"{kind:<34}{score.positives:>4}  {_line(score)} {'':7}          {_line(plain)}")
    print(f"\n{'healthy: share with an alarm':<34}{'':>4}  {'ours':>9} {'naive':>6}")
    healthy = [family.name for family in FAMILIES if not family.is_positive and family.name in result.ours]
    for name in healthy:
        score, plain = result.ours[name], result.naive[name]
        ours_share, naive_share = score.falsely / score.healthy, plain.falsely / plain.healthy
        print(f"{name:<34}{score.healthy:>4}  {ours_share:>9.0%} {naive_share:>6.0%}")
    print(f"{'all healthy (goal: 1%)':<34}{_healthy(result):>4}  ", end="")
    print(f"{_false_share(result, result.ours):>9.1%} {_false_share(result, result.naive):>6.1%}")
    if left_out in result.ours:
        print(f"\n* left out of the setting of thresholds: {left_out}")


def _line(score: Score) -> str:
    numbers = (f"{'-':>{width}}" if value is None else f"{value:>{width}.2f}" for value, width in _figures(score))
    return " ".join(numbers) + (f" {score.delay:8.1f}" if score.delay is not None else f" {'-':>8}")


def _figures(score: Score) -> tuple[tuple[float | None, int], ...]:
    return (score.precision, 9), (score.recall, 6), (score.f1, 5)


def _healthy(result: Result) -> int:
    return sum(score.healthy for score in result.ours.values())


def _false_share(result: Result, scores: dict[str, Score]) -> float:
    falsely = sum(score.falsely for score in scores.values() if score.healthy)
    return falsely / max(1, _healthy(result))


def print_sets(measures: Sequence[Measure]) -> None:
    """One line a measure."""
    print(f"\n{'recorded set':<14}{'':<44}{'ours':>8}{'naive':>8}  {'goal':<8}")
    for one in measures:
        ours, plain = (f"{'-':>8}" if value is None else f"{value:8.2f}" for value in (one.ours, one.naive))
        print(f"{one.set:<14}{one.what:<44}{ours}{plain}  {one.goal:<8} {one.note}".rstrip())


def document(result: Result, measures: Sequence[Measure], seeds: range, left_out: str | None) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "seeds": [seeds[0], seeds[-1]],
        "left_out": left_out,
        "trajectories": len(result.verdicts),
        "events": result.events,
        "unknown_limits": result.unknown_limits,
        "families": {name: _pair(result.ours, result.naive, name) for name in sorted(result.ours)},
        "kinds": {name: _pair(result.groups, result.naive_groups, name) for name in sorted(result.groups)},
        "false_alarms_per_healthy": {
            "ours": _false_share(result, result.ours),
            "naive": _false_share(result, result.naive),
        },
        "sets": [asdict(one) for one in measures],
    }


def _pair(ours: dict[str, Score], plain: dict[str, Score], name: str) -> dict[str, Any]:
    return {"ours": _as_json(ours[name]), "naive": _as_json(plain.get(name, Score()))}


def _as_json(score: Score) -> dict[str, Any]:
    computed = {name: getattr(score, name) for name in ("precision", "recall", "f1", "delay")}
    return asdict(score) | computed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default=f"{REPORTING[0]}..{REPORTING[-1]}", help="both ends included")
    parser.add_argument("--data", type=Path, help="the folder that holds the recorded sets")
    parser.add_argument("--set", action="append", choices=tuple(SETS), help="of the recorded sets only this one")
    parser.add_argument("--left-out", default=LEFT_OUT, metavar="FAMILY", help=f"default {LEFT_OUT}")
    parser.add_argument("--off", action="append", default=[], metavar="DETECTOR", help="leave a detector out")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args(arguments)
    try:
        seeds = seeds_of(args.seeds)
        result = report(seeds, args.left_out, args.off)
        names = args.set or tuple(SETS)
        measures = [one for name in names for one in SETS[name](args.data)] if args.data is not None else []
    except AftermathError as error:
        print(f"bench.quality: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(document(result, measures, seeds, args.left_out)))
    else:
        print_corpus(result, args.left_out)
        if measures:
            print_sets(measures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
