"""Runs the backtest on recorded data of other projects and prints what it found, set by set.

    python -m bench.real_input FOLDER [SET ...]

FOLDER holds the sets as bench/converters expects them. What is right or wrong in the findings, on a second look, is
kept in bench/README.md.
"""

import argparse
import importlib
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from pipeline.backtest import Backtest
from pipeline.files import BadLine, batches

SETS = ("claude_code", "magentic_one", "framework_traces", "llm_traffic", "k8s_events", "petshop", "nab")


def main() -> None:
    """Print one block a set."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("sets", nargs="*", default=SETS, choices=SETS, metavar="SET")
    args = arguments.parse_args()
    print(f"{'set':<18}{'events':>9}{'late':>7}{'bad':>5}{'seconds':>9}  signals, incidents")
    for name in args.sets:
        report(name, args.folder)


def report(name: str, folder: Path) -> None:
    """Convert, replay and print one set."""
    convert = importlib.import_module(f"bench.converters.{name}").convert
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in convert(folder))
        began = time.perf_counter()
        backtest, bad = Backtest(), list[BadLine]()
        for chunk in batches([path], bad.append):
            backtest.read(chunk)
        backtest.finish()
        seconds = time.perf_counter() - began
    outcomes = backtest.outcomes
    read = sum(found.total() for found in outcomes.counts.values())
    late = sum(found["late"] for found in outcomes.counts.values())  # type: ignore[call-overload]
    signals = dict(Counter(signal.type for signal in outcomes.signals))
    print(f"{name:<18}{read:>9}{late:>7}{len(bad):>5}{seconds:>9.1f}  {signals}, {len(outcomes.incidents)} incidents")
    for incident in outcomes.incidents[:60]:
        sessions = ",".join(incident.session_ids)
        attribution = incident.attribution
        print(
            f"    {incident.kind:<22} {attribution.verdict} {attribution.probability:.2f} {sessions} | {incident.title}"
        )


if __name__ == "__main__":
    main()
