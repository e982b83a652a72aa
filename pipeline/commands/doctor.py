"""`aftermath doctor`: what is configured, what answers, and what to do about the rest."""

import argparse
import json
from collections.abc import Callable
from importlib import metadata
from typing import Literal

from alerts.rules.files import SHIPPED, check_rules
from pipeline.limits import load_limits
from pipeline.settings import Settings, load_settings
from schemas.errors import AftermathError

Level = Literal["ok", "warn", "todo"]  # warn: it works, and somebody should know
Finding = tuple[str, Level, str]  # what, how it is, what was seen or what to do
PARTS = ("faust-streaming", "aiokafka", "confluent-kafka", "clickhouse-connect", "polars", "fastavro", "cramjam")


def run(args: argparse.Namespace) -> int:
    """Every check, also after one has failed. 0 all well, 1 something to do, 3 a dependency is down."""
    settings = load_settings()
    findings: list[Finding] = [("settings", "ok", _settings_text(settings))]
    findings += [("in clear", "warn", sentence) for sentence in settings.in_clear()]
    is_down = False
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("packages", _packages),
        ("limits", _limits),
        ("alert rules", _rules),
        ("Kafka", _kafka),
        ("ClickHouse", _clickhouse),
    ]
    for name, check in checks:
        try:
            findings.append((name, "ok", check(settings)))
        except AftermathError as error:
            findings.append((name, "todo", str(error)))
            is_down = is_down or error.exit_code == 3
    if args.json:
        rows = [{"check": what, "ok": level != "todo", "level": level, "says": says} for what, level, says in findings]
        print(json.dumps(rows))
    else:
        for what, level, says in findings:
            print(f"{'ok' if level == 'ok' else level.upper():<4} {what:<12} {says}")
    return 0 if all(level != "todo" for _, level, _ in findings) else 3 if is_down else 1


def _settings_text(settings: Settings) -> str:
    password = "set" if settings.clickhouse_password.get_secret_value() else "none"
    return (
        f"Kafka {settings.kafka_connection}, groups {settings.group_prefix}.*, ClickHouse {settings.clickhouse_url} as "
        f"{settings.clickhouse_user} (password {password}), lateness {settings.lateness_seconds} s, "
        f"panes {settings.pane_seconds} s, receivers {', '.join(sorted(settings.receivers))}"
    )


def _packages(_: Settings) -> str:
    from pipeline.transport import self_test

    self_test()
    return ", ".join(f"{name} {metadata.version(name)}" for name in PARTS)


def _limits(settings: Settings) -> str:
    limits = load_limits(settings.limits_file)
    where = str(settings.limits_file) if settings.limits_file else "no file: nothing is limited"
    return f"version {limits.version}, {len(limits.limits)} entries ({where})"


def _rules(settings: Settings) -> str:
    folder = settings.rules_dir or SHIPPED
    findings = check_rules(folder)
    if findings:
        raise AftermathError(f"{len(findings)} findings, the first: {findings[0]}; see `aftermath rules check`.")
    return f"{len(list(folder.glob('*.yml')))} rules in {folder}, their tests pass"


def _kafka(settings: Settings) -> str:
    from pipeline.topic_setup import check_topics

    check_topics(settings)
    return "answers, topics as they must be"


def _clickhouse(settings: Settings) -> str:
    from sinks.clickhouse import migrations
    from sinks.clickhouse.client import connect_as_set

    client = connect_as_set(settings)
    try:
        missing = migrations.check(client)
        if missing:
            raise AftermathError(f"{len(missing)} migrations to apply, the first: {missing[0]}; run `aftermath setup`.")
        version = client.query("SELECT version() AS version")[0]["version"]
    finally:
        client.close()
    return f"version {version}, all migrations applied"
