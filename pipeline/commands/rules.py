"""`aftermath rules check / test / backtest`: are rule files right, do their tests hold, what would they change."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alerts.comparison import Comparison, compare
from alerts.rehearsal import Heard, rehearse
from alerts.routing.files import load_routes
from alerts.rules.files import SHIPPED, check_rules, load_rules
from pipeline.backtest import Backtest
from pipeline.files import BadLine, batches
from pipeline.limits import load_limits
from pipeline.settings import load_settings
from reports.incident import plain
from schemas.errors import UsageError
from schemas.incidents import Incident
from schemas.times import format_time

MOST_SHOWN = 20


def run(args: argparse.Namespace) -> int:
    """1 where there are findings, or a difference."""
    if args.action == "backtest":
        return _backtest(args)
    folder = args.folder or load_settings().rules_dir or SHIPPED
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name the one that holds the rule files.")
    findings = check_rules(folder)
    for finding in findings:
        print(finding)
    if args.action == "test" and not findings:
        for rule in load_rules(folder):
            stories = sum(bool(test.story) for test in rule.tests)
            print(f"{rule.id}: {len(rule.tests)} tests hold" + (f", {stories} of them stories" if stories else ""))
    print(
        f"{len(findings)} findings in {folder}" if findings else f"The rules in {folder} are right: their tests pass."
    )
    return 1 if findings else 0


def _backtest(args: argparse.Namespace) -> int:
    in_force = args.against or load_settings().rules_dir or SHIPPED
    routes = None if args.routes is None else load_routes(args.routes)
    before, after = load_rules(in_force), load_rules(args.rules)
    revisions, bad = _revisions(args.files, args.limits)
    found = compare(rehearse(before, revisions, routes), rehearse(after, revisions, routes))
    if args.json:
        print(json.dumps(_document(found, revisions, bad), ensure_ascii=False))
    else:
        _print(found, revisions, bad, in_force)
    return 0 if found.is_same else 1


def _revisions(files: list[Path], limits: Path | None) -> tuple[list[Incident], list[BadLine]]:
    """The revisions in files of them (`backtest --out`), or those that the events of other files lead to."""
    if all(_holds_incidents(path) for path in files):
        lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
        return [Incident.model_validate_json(line) for line in lines], []
    backtest = Backtest(load_limits(limits))
    bad: list[BadLine] = []
    for chunk in batches(files, bad.append):
        backtest.read(chunk)
    backtest.finish()
    return backtest.outcomes.revisions, bad


def _holds_incidents(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline() or "{}")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        return False  # .gz, .zst, OTLP over many lines: the reader of events knows them
    return isinstance(first, dict) and "incident_id" in first and "revision" in first


def _document(found: Comparison, revisions: list[Incident], bad: list[BadLine]) -> dict[str, Any]:
    return {
        "incidents": len({revision.incident_id for revision in revisions}),
        "bad_lines": len(bad),
        "pages_by_day": {day: {"before": old, "after": new} for day, (old, new) in found.pages_by_day.items()},
        "alerts_by_rule": {rule: {"before": old, "after": new} for rule, (old, new) in found.by_rule.items()},
        "added": [asdict(one) | {"at": format_time(one.at)} for one in found.added],
        "removed": [asdict(one) | {"at": format_time(one.at)} for one in found.removed],
    }


def _print(found: Comparison, revisions: list[Incident], bad: list[BadLine], in_force: Path) -> None:
    count = len({revision.incident_id for revision in revisions})
    print(f"{count} incidents, {len(bad)} bad lines; against {in_force}")
    print("pages a day           before  after")
    for day, (old, new) in found.pages_by_day.items():
        print(f"  {day:<20}{old:>6}{new:>7}")
    print("alerts by rule        before  after")
    for rule, (old, new) in found.by_rule.items():
        print(f"  {rule:<20}{old:>6}{new:>7}")
    for word, alerts in (("added", found.added), ("removed", found.removed)):
        print(f"{word}: {len(alerts) or 'none'}")
        for one in alerts[:MOST_SHOWN]:
            print(f"  {_line(one)}")
        if len(alerts) > MOST_SHOWN:
            print(f"  and {len(alerts) - MOST_SHOWN} more (--json has them all)")


def _line(one: Heard) -> str:
    return f"{format_time(one.at)}  {one.mode} to {one.receiver}  {one.rule}  {one.incident_id}  {plain(one.title)}"
