"""`aftermath setup`: creates the topics and the ClickHouse tables; `--check` only says what is missing."""

import argparse

from pipeline.settings import Settings, load_settings
from pipeline.topic_setup import check_topics, setup_topics
from schemas.errors import AftermathError
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect_as_set


def run(args: argparse.Namespace) -> int:
    """Create what is missing, or with --check exit 1 if something is."""
    settings = load_settings()
    client = connect_as_set(settings)
    try:
        if args.check:
            return _check(settings, client)
        created = setup_topics(settings)
        applied = migrations.migrate(client, cluster=settings.clickhouse_cluster)
    finally:
        client.close()
    print(f"Topics created: {', '.join(created) or 'none, all there'}.")
    print(f"Migrations applied: {', '.join(applied) or 'none, all there'}.")
    return 0


def _check(settings: Settings, client: Client) -> int:
    findings = list(migrations.check(client))
    try:
        check_topics(settings)
    except AftermathError as error:
        if error.exit_code == 3:
            raise
        findings.append(str(error))
    for finding in findings:
        print(finding)
    print("Run `aftermath setup`." if findings else "Topics and tables are all there.")
    return 1 if findings else 0
