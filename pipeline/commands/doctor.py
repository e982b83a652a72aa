"""`aftermath doctor`: what is configured, what answers, and what to do about the rest. Changes and sends nothing."""

import argparse
import json

from pipeline.checks import clickhouse, configuration, kafka, receivers
from pipeline.checks.finding import Check, findings
from pipeline.settings import load_settings

CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", configuration.settings_shown),
    ("packages", configuration.packages),
    ("limits", configuration.limits),
    ("alert rules", configuration.rules),
    ("routes", configuration.routes),
    ("owners", configuration.owners),
    ("receivers", receivers.receivers),
    ("Kafka", kafka.kafka),
    ("ClickHouse", clickhouse.clickhouse),
)


def run(args: argparse.Namespace) -> int:
    """Every check, also after one has failed. 0 all well, 1 something to do, 3 something does not answer."""
    settings = load_settings()
    found = []
    for name, check in CHECKS:
        for finding in findings(name, check, settings):
            found.append(finding)
            if not args.json:  # as it comes: what does not answer takes its time
                mark = "ok" if finding.level == "ok" else finding.level.upper()
                print(f"{mark:<4} {finding.check:<16} {finding.says}", flush=True)
    todo = [finding for finding in found if finding.level == "todo"]
    if args.json:
        rows = [{"check": one.check, "ok": one.level != "todo", "level": one.level, "says": one.says} for one in found]
        print(json.dumps(rows))
    return 3 if any(finding.is_down for finding in todo) else 1 if todo else 0
