"""`aftermath run`: workers against the configured Kafka and ClickHouse, until they are told to stop.

With `--embedded` broker and database are in this process, as in the demo, but nothing is played: one's own agents are
watched, live. Everything is gone when it ends.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from pipeline import logs
from pipeline.settings import STAGE_NAMES, load_settings
from schemas.errors import UsageError

log = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code of app.run_worker."""
    unknown = [name for name in args.stage or () if name not in STAGE_NAMES]
    if unknown:
        raise UsageError(f"There is no stage {unknown[0][:40]!r}; there are {', '.join(STAGE_NAMES)}.")
    overrides: dict[str, Any] = {}
    if args.recorded:
        overrides["recorded"] = True
    if args.otlp is not None:
        overrides["otlp_port"] = args.otlp
    if args.web is not None:
        overrides["web_port"] = args.web
    if args.embedded:
        return _embedded(args, overrides)
    from pipeline.app import run_worker

    settings = load_settings(**overrides)
    logs.configure(logging.getLogger().level, settings.log_format)
    for sentence in settings.in_clear():
        log.warning(sentence)
    return run_worker(settings, args.stage)


def _embedded(args: argparse.Namespace, overrides: dict[str, Any]) -> int:
    from pipeline.app import run_worker
    from pipeline.embedded import (
        embedded_broker,
        embedded_database,
        embedded_settings,
        remove_connection_file,
        write_connection_file,
    )
    from pipeline.embedded.connection_file import DEFAULT_PATH
    from schemas.topics import ALL
    from sinks.clickhouse import migrations
    from sinks.clickhouse.client import connect

    if args.recorded:
        raise UsageError(
            "--recorded reads topics that hold a recording, and an embedded broker is empty; leave it out."
        )
    with embedded_broker(ALL) as kafka, embedded_database() as database:
        client = connect(database.url, database.user, database.password)
        migrations.migrate(client)
        client.close()
        settings = load_settings(
            **embedded_settings(kafka, database),
            **overrides,
        )
        logs.configure(logging.getLogger().level, settings.log_format)
        write_connection_file(DEFAULT_PATH, kafka, database)
        try:
            print(_next(settings.otlp_port), flush=True)
            return run_worker(settings, args.stage)
        finally:
            remove_connection_file(DEFAULT_PATH)


def _next(port: int | None) -> str:
    called = Path(sys.argv[0])
    program = str(called) if called.name == "aftermath" else "aftermath"  # it is seldom on the path of a first try
    lines = ["Kafka and ClickHouse run in this process; Ctrl-C ends it, and everything here is gone then."]
    if port:
        lines.append("Your agents send to it over HTTP, with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and")
        lines.append(f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}")
    elif port is None:
        lines.append("Take OpenTelemetry over HTTP too: --otlp 4318")
    commands = ("tail --since start", "incidents list", "publish FILE")
    lines.append("In a second terminal here: " + ", ".join(f"{program} {words}" for words in commands))
    return "\n".join(lines)
