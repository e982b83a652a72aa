"""`aftermath backtest FILE...`: files through the operators that run live, without Kafka."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.backtest import Backtest
from pipeline.commands.terminal import terminal
from pipeline.files import BadLine, batches
from pipeline.limits import load_limits
from reports.incident import render
from reports.table import incident_list
from schemas.errors import Outcome, UsageError
from schemas.incidents import Incident

MOST_BAD_SHOWN = 10


def run(args: argparse.Namespace) -> int:
    """Read, judge, write; 0 also where lines were refused: they are counted and named."""
    backtest = Backtest(load_limits(args.limits))
    bad: list[BadLine] = []
    for chunk in batches(args.files, bad.append):
        backtest.read(chunk)
    backtest.finish()
    outcomes = backtest.outcomes
    counts = {
        topic: {str(name): number for name, number in sorted(found.items())} for topic, found in outcomes.counts.items()
    }
    if args.out is not None:
        write(args.out, backtest)
    difference = compare(args.against, outcomes.incidents) if args.against is not None else None
    if args.json:
        document = {
            "incidents": [incident.model_dump(mode="json") for incident in outcomes.incidents],
            "counts": counts,
            "bad_lines": dict(Counter(str(line.reason) for line in bad)),
        }
        print(json.dumps(document | ({"against": difference} if difference is not None else {}), ensure_ascii=False))
    else:
        _print(backtest, bad, args.out)
        if args.show:
            for incident in outcomes.incidents:
                print(f"\n{render(incident, min(110, terminal().width))}")
        if difference is not None:
            for name, ids in difference.items():
                print(f"{name}: {', '.join(ids) or 'none'}")
    return 1 if difference is not None and any(difference.values()) else 0


def write(folder: Path, backtest: Backtest) -> None:
    """`signals.jsonl`, `incidents.jsonl` (the newest revision of each) and `revisions.jsonl`, one object a line."""
    from dataclasses import asdict

    outcomes = backtest.outcomes
    documents: dict[str, list[dict[str, Any]]] = {
        "signals": [asdict(signal) | {"evidence": signal.details} for signal in outcomes.signals],
        "incidents": [incident.model_dump(mode="json") for incident in outcomes.incidents],
        "revisions": [incident.model_dump(mode="json") for incident in outcomes.revisions],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in documents.items():
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}; name a folder for --out") from error


def compare(folder: Path, incidents: list[Incident]) -> dict[str, list[str]]:
    """Ids of incidents added, removed and changed against an earlier `incidents.jsonl`."""
    path = folder / "incidents.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        before = {row["incident_id"]: row for row in map(json.loads, lines)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); --against takes the folder of an earlier --out") from error
    after = {incident.incident_id: incident.model_dump(mode="json") for incident in incidents}
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }


def _print(backtest: Backtest, bad: list[BadLine], out: Path | None) -> None:
    outcomes = backtest.outcomes
    for line in bad[:MOST_BAD_SHOWN]:
        print(line, file=sys.stderr)
    if len(bad) > MOST_BAD_SHOWN:
        reasons = Counter(line.reason for line in bad)
        print(
            f"… {len(bad)} bad lines in all: {', '.join(f'{n} {r}' for r, n in reasons.most_common())}", file=sys.stderr
        )
    late = sum(found[Outcome.LATE] for found in outcomes.counts.values())
    read = sum(found.total() for found in outcomes.counts.values())
    print(f"{read:,} events read, {late:,} late, {len(bad):,} bad lines; {len(outcomes.signals):,} signals")
    if outcomes.incidents:
        screen = terminal()
        screen.print(incident_list(outcomes.incidents, screen.width))
    else:
        print("No incidents.")
    if out is not None:
        print(f"Written to {out}: signals.jsonl, incidents.jsonl, revisions.jsonl")
